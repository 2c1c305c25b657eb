"""What a model is, as data: the ``[model]`` table of a configuration file."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

__all__ = ["KINDS", "Kind", "ModelConfig", "Start"]

Kind = Literal["lr", "dnn", "lc-dnn", "lc-wide-deep", "lc-resnet"]
Start = Literal["auto", "posterior", "lr", "random"]
KINDS: tuple[Kind, ...] = ("lr", "dnn", "lc-dnn", "lc-wide-deep", "lc-resnet")

_FEW_FIELDS, _UNITS_OF_FEW = 64, 16
"""Up to so many fields pairs, and so many units, are worth it unless somebody says otherwise."""


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which model, and its sizes.

    Attributes
    ----------
    kind
        ``lr``: logistic regression. ``dnn``: a fully connected first layer over the features, ``hidden[0]`` wide.
        ``lc-dnn``: the locally connected layer under a perceptron. ``lc-wide-deep``: that and a linear model over the
        features. ``lc-resnet``: the locally connected layer under residual blocks.
    units
        K, locally connected units per field, 1 to 64; 1 is the paper. 0: by the number of fields, 16 for up to 64 of
        them, else 1 (`for_fields`).
    hidden
        Widths of the hidden layers.
    deep
        What stands on the locally connected layer of ``lc-dnn`` and ``lc-wide-deep``: ``perceptron``, ``residual``,
        ``cross`` or ``none`` (`models.parts`), or the name of a part of your own (`models.parts.register_deep`).
    pairs
        A term for every two fields, the dot product of their units (`nn.pairs`): ``none``; ``plain``, a factorisation
        machine; or ``auto``: plain for up to 64 fields, none beyond, where thousands of pairs overfit
        (docs/log/2026-11.md#do-interactions-help-with-many-fields). For ``lc-*`` with K > 1; unit 0, which starts as
        logistic regression's weights, stays out.
    histories
        Fields that the model adds where there are pairs: of ``["user_id", "item_id"]``, for each user the bag of items
        that the training rows have beside that user (`nn.histories`); only which values occur together is used, no
        label and no row but the training rows. ``auto``: of the two fields that stand for things with properties of
        their own, if there are two (`training.histories`), in both directions. ``none``: no such fields.
    history_limit
        At most so many values of a history are kept, 1 or more.
    losses
        Where there are pairs and a deep part. ``joint``: one loss, of all terms. ``apart``: what there is without the
        deep part is trained to be right by itself, too, on a loss of its own, and the logit is the mean of the two.
    deep_units
        Where there are pairs: so many of a field's units, the last ones, are for the deep part alone, 0 to K - 2. It
        reads the others, too, but does not move them, so that they stay as general as pairs and ``unit_l2`` make them.
        A quarter of K unless given.
    activation
        ``relu``, ``gelu``, ``silu``, ``tanh`` or ``sigmoid``.
    dropout
        Share of hidden units silenced in training, 0 <= dropout < 1.
    unit_l2
        >= 0, where there are pairs: the loss of every example has ``unit_l2 / 2`` times the sum of the squares of its
        units but unit 0, as they are before anything standardises them. A feature is drawn to zero as often as it
        occurs; this is what keeps pairs from learning rare features by heart.
    unit_dropout
        Share of the standardised units silenced in training, 0 <= unit_dropout < 1.
    standardise
        Give the locally connected units mean 0 and variance 1 before the deep part.
    skip
        ``lc-dnn`` and ``lc-resnet`` with two classes: add the sum of every field's unit 0 to the logit (the paper's
        M2 of ones, kept beside the deep part), a wide part without weights of its own.
    start
        What unit 0, the wide part and the units of pairs begin with. ``lr``: logistic regression is trained first and
        its weights start unit 0 and the wide part. ``posterior``: that, and where there are pairs, a Bayesian
        factorisation machine is sampled first (`training.posterior`), whose mean the model keeps beside what it
        trains (`models.click`). ``random``: neither. ``auto``: posterior where the model has pairs and the log is small
        enough to sample (`training.start.starts_from_posterior`), lr otherwise.
    posterior_units
        P, the numbers that a posterior gives to each feature, beside the K units: a weight and P - 1 factors. The
        units then have pairs of their own only where there are histories.
    """

    kind: Kind = "lc-dnn"
    units: Annotated[int, Meta(ge=0, le=64)] = 0
    hidden: tuple[Annotated[int, Meta(ge=1)], ...] = (256, 128)
    activation: Literal["relu", "gelu", "silu", "tanh", "sigmoid"] = "relu"
    deep: Annotated[str, Meta(min_length=1)] = "perceptron"
    pairs: Literal["auto", "none", "plain"] = "auto"
    histories: tuple[tuple[str, str], ...] | Literal["auto", "none"] = "auto"
    history_limit: Annotated[int, Meta(ge=1)] = 512
    losses: Literal["joint", "apart"] = "apart"
    deep_units: Annotated[int, Meta(ge=0)] | None = None
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    unit_l2: Annotated[float, Meta(ge=0)] = 0.01
    unit_dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.1
    standardise: bool = True
    skip: bool = True
    start: Start = "auto"
    posterior_units: Annotated[int, Meta(ge=2, le=64)] = 13

    @property
    def locally_connected(self) -> bool:
        """Whether the model has units of one field each."""
        return self.kind.startswith("lc-")

    def for_fields(self, num_fields: int) -> ModelConfig:
        """Return these settings with the units for a log of F fields, where they are not given.

        Few fields say little with one number each, and their products say much. With hundreds of fields there are
        enough numbers, and more of them are only more to learn by heart
        (docs/log/2026-11.md#do-interactions-help-with-many-fields).

        Examples
        --------
        >>> [ModelConfig().for_fields(count).units for count in (7, 64, 65, 158)]
        [16, 16, 1, 1]
        """
        if self.units:
            return self
        return msgspec.structs.replace(self, units=_UNITS_OF_FEW if num_fields <= _FEW_FIELDS else 1)

    @property
    def num_shared(self) -> int:
        """How many of a field's units are not for the deep part alone: unit 0 and those of pairs."""
        return self.units - (self.units // 4 if self.deep_units is None else self.deep_units)

    def num_posterior(self, num_fields: int) -> int:
        """Return how many numbers of a feature a posterior gives, with F fields in the log; 0 where there is none."""
        return self.posterior_units if self.start == "posterior" and self.has_pairs(num_fields) else 0

    def trains_pairs(self, num_fields: int, num_histories: int = 0) -> bool:
        """Return whether the pairs are of the trained units: a posterior has the same pairs, and better ones, unless
        histories are among them.

        Parameters
        ----------
        num_fields, num_histories
            Of the log, and those that the model adds.

        Examples
        --------
        >>> sampled = ModelConfig(start="posterior")
        >>> ModelConfig().trains_pairs(7), sampled.trains_pairs(7), sampled.trains_pairs(7, num_histories=2)
        (True, False, True)
        """
        return self.has_pairs(num_fields) and not (self.num_posterior(num_fields) and not num_histories)

    def has_pairs(self, num_fields: int) -> bool:
        """Whether there is a term for every two of F fields.

        Examples
        --------
        >>> ModelConfig().has_pairs(7), ModelConfig().has_pairs(158), ModelConfig(units=1).has_pairs(7)
        (True, False, False)
        """
        if not self.locally_connected or self.for_fields(num_fields).units < 2 or num_fields < 2:
            return False
        return self.pairs == "plain" or (self.pairs == "auto" and num_fields <= _FEW_FIELDS)
