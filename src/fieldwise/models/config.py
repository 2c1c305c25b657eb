"""What a model is, as data: the ``[model]`` table of a configuration file."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

__all__ = ["KINDS", "Kind", "ModelConfig"]

Kind = Literal["lr", "lr-network", "dnn", "lc-dnn", "lc-wide-deep", "lc-resnet"]
KINDS: tuple[Kind, ...] = ("lr", "lr-network", "dnn", "lc-dnn", "lc-wide-deep", "lc-resnet")


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which model, and its sizes.

    Attributes
    ----------
    kind
        ``lr``: logistic regression. ``lr-network``: the same function written as the paper's three-layer network.
        ``dnn``: a fully connected first layer over the features, ``hidden[0]`` wide. ``lc-dnn``: the locally
        connected layer under a perceptron. ``lc-wide-deep``: that and a linear model over the features.
        ``lc-resnet``: the locally connected layer under residual blocks.
    units
        K, locally connected units per field, 1 to 64; 1 is the paper.
    hidden
        Widths of the hidden layers.
    activation
        ``relu``, ``gelu``, ``silu``, ``tanh`` or ``sigmoid``.
    dropout
        Share of hidden units silenced in training, 0 <= dropout < 1.
    standardise
        Give the locally connected units mean 0 and variance 1 before the deep part.
    skip
        ``lc-dnn`` and ``lc-resnet`` with two classes: add the sum of every field's unit 0 to the logit (the paper's
        M2 of ones, kept beside the deep part), a wide part without weights of its own.
    start
        ``lr``: logistic regression is trained first and its weights start unit 0 and the wide part. ``random``: not so.
    """

    kind: Kind = "lc-dnn"
    units: Annotated[int, Meta(ge=1, le=64)] = 8
    hidden: tuple[Annotated[int, Meta(ge=1)], ...] = (256, 128)
    activation: Literal["relu", "gelu", "silu", "tanh", "sigmoid"] = "relu"
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    standardise: bool = True
    skip: bool = True
    start: Literal["lr", "random"] = "lr"

    @property
    def locally_connected(self) -> bool:
        """Whether the model has units of one field each."""
        return self.kind.startswith("lc-")
