"""Saved models (bundles): a folder with everything that turns a raw row into a probability.

::

    bundle/
        manifest.json              the configuration of the model and the checksums of all files; written last
        encoder.safetensors        vocabularies, edges, scales
        table-0003.safetensors     (D, n) weights of the features, D features with n numbers each
        dense-0003.safetensors     all other weights
        network-0003.onnx          what makes logits of the rows, for those who answer without torch (`serving`)
        ranking-0003.onnx          the same for many candidates of one context
        posterior-0003.safetensors (D, 1 + K) variances of what a Bayesian factorisation machine knows, and of its bias

The table may have billions of rows, so the manifest contains a checksum for every block of rows. Opening a bundle
takes the same time for a large table as for a small one; a block is verified when one of its rows is first used
(`Bundle.admit`), or all blocks at once (`Bundle.verify`).

The file names of the weights contain the number of the save: a new save writes new files, then the manifest that refers
to them, then removes the old files, so that a reader always finds a complete model. A bundle contains no code, and
nothing is unpickled.
"""

from fieldwise.bundle.copying import copy_bundle, refuse_other
from fieldwise.bundle.manifest import (
    BUNDLE_FORMAT,
    CURRENT_NAME,
    FORGETTING_NAME,
    VERSIONS_NAME,
    bundle_digest,
    bundle_in_use,
    forgetting_remark,
)
from fieldwise.bundle.member_names import kind_of, member_names
from fieldwise.bundle.reading import Bundle, open_bundle
from fieldwise.bundle.writing import (
    BundleWriter,
    block_rows,
    remove_stale,
    rewrite_bundle,
    set_calibration,
    set_posterior,
)

__all__ = [
    "BUNDLE_FORMAT",
    "CURRENT_NAME",
    "FORGETTING_NAME",
    "VERSIONS_NAME",
    "Bundle",
    "BundleWriter",
    "block_rows",
    "bundle_digest",
    "bundle_in_use",
    "copy_bundle",
    "forgetting_remark",
    "kind_of",
    "member_names",
    "open_bundle",
    "refuse_other",
    "remove_stale",
    "rewrite_bundle",
    "set_calibration",
    "set_posterior",
]
