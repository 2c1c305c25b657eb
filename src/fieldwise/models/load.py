"""A model into a bundle's arrays, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch

from fieldwise.bundle import Bundle
from fieldwise.calibration import Calibration
from fieldwise.errors import ArtefactError, ConfigError, UserError
from fieldwise.kernels.cooccurrence import Cooccurrence
from fieldwise.kernels.layout import Layout
from fieldwise.models.click import ClickModel, build_model
from fieldwise.models.config import ModelConfig
from fieldwise.models.former import read_former, read_former_arrays
from fieldwise.models.sizes import count_parameters, num_outputs
from fieldwise.tables.host import HostTable

__all__ = ["DTYPES", "dense_arrays", "load_dense", "load_model"]

DTYPES = {"float32": torch.float32, "float64": torch.float64}

_BEFORE_PAIRS = {"pairs": "none"}
"""What the models of bundles are that were saved when there were no interactions to speak of."""


def dense_arrays(model: ClickModel) -> dict[str, npt.NDArray[Any]]:
    """Return every dense weight and every statistic of the model, by torch's name."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()}


def load_dense(model: ClickModel, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Give a model what `dense_arrays` returned; RuntimeError where that was another model."""
    # A copy: a bundle's arrays are a read-only map of the file, torch wants memory of its own.
    model.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})


def load_model(bundle: Bundle) -> ClickModel:
    """Return the bundle's model, ready to predict; its table stays memory-mapped.

    Raises
    ------
    ArtefactError
        The weights do not fit the model that the manifest names.
    """
    try:
        plain = bundle.model if "fm_interactions" in bundle.model else read_former(_BEFORE_PAIRS | bundle.model)
        config = msgspec.convert(plain, ModelConfig)
        dtype = DTYPES[bundle.dtype]
        calibration = msgspec.convert(bundle.calibration, Calibration)
    except ConfigError as error:
        raise ArtefactError(
            "the model was saved by an earlier version and has parts that are gone", where=bundle.folder, got=error.got,
            fix=f"{error.fix}; train it again, or answer with fieldwise 0.1",
        ) from None  # fmt: skip
    except (msgspec.ValidationError, KeyError) as error:
        raise ArtefactError("the bundle's model is invalid", where=bundle.folder, got=error) from None
    layout, num_classes = bundle.encoder.layout, len(bundle.encoder.schema.classes)
    try:
        dense = read_former_arrays(config.kind, bundle.dense)
        _refuse_larger(config, layout, num_classes, sum(array.size for array in dense.values()))
        # Copies: what is loaded into the model's buffers is in the bags.
        saved = Cooccurrence.saved(dense, "cooccurrence.")
        bags = [bag._replace(offsets=np.array(bag.offsets), ids=np.array(bag.ids)) for bag in saved]
        if not all(bag.fits(layout) for bag in bags):
            raise ArtefactError("a co-occurrence bag names fields or values that do not exist")
        model = build_model(config, layout, num_classes, dtype=dtype, bags=bags)
    except (UserError, LookupError, TypeError, ValueError) as error:
        raise ArtefactError("the bundle's model cannot be built", where=bundle.folder, got=error) from None
    model.calibration = calibration
    try:
        assert isinstance(model.table, HostTable)
        model.table.serve(bundle.table, lambda batch: bundle.admit(batch, model.table.layout))
    except ValueError as error:
        raise ArtefactError("the table does not fit the model", where=bundle.folder, got=error) from None
    try:
        load_dense(model, dense)
    except (RuntimeError, TypeError) as error:
        raise ArtefactError("the dense weights do not fit the model", where=bundle.folder, got=error) from None
    return model.eval()


def _refuse_larger(config: ModelConfig, layout: Layout, num_classes: int, num_weights: int) -> None:
    """Raise ArtefactError where a model would have more dense weights than there are, before it takes their memory."""
    needed = count_parameters(config, layout.num_features, layout.num_fields, num_outputs(num_classes)).dense
    if needed > num_weights:
        raise ArtefactError("dense weights are missing", expected=f"{needed:,}", got=f"{num_weights:,}")
