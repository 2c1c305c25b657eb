"""What a model is, as data: the ``[model]`` table of a configuration file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from fieldwise.bundle import member_names
from fieldwise.schema import Schema

__all__ = ["KINDS", "InitialModel", "LabelHead", "ModelConfig"]

KINDS = ("lr", "dnn", "lc-dnn", "lc-wide-deep", "lc-resnet", "bayesian-fm")
"""The models of this library; `models.registry` has those of others, too."""
InitialModel = Literal["lr", "random"]

_FEW_FIELDS, _UNITS_OF_FEW = 64, 16
"""Up to so many fields interactions, and so many units, are worth it unless somebody says otherwise."""


class LabelHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of several labels that a model learns together, an output for each; see `schema.Label`.

    Attributes
    ----------
    label
        Its name: its column.
    among
        The number of the label among whose positive examples it is counted, below its own; None for all examples.
    weight
        Of its logloss.
    """

    label: str
    among: Annotated[int, Meta(ge=0)] | None = None
    weight: Annotated[float, Meta(gt=0)] = 1.0


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which model, and its sizes.

    Attributes
    ----------
    kind
        ``lr`` (`models.lr`), ``dnn`` (`models.dnn`), ``lc-dnn``, ``lc-wide-deep``, ``lc-resnet`` (`models.lc`),
        ``bayesian-fm`` (`models.bayesian_fm`), or a model of your own (`models.registry.register_model`). Several with
        ``+`` between them are a stack (`models.stack`): trained side by side, weighed on validation rows. A kind that
        is there twice is two members, whose random weights differ.
        ``auto``: ``lc-dnn+bayesian-fm`` where that is possible and the log is small enough to sample
        (`training.initial.may_sample`), else ``lc-dnn``.
    units
        K, locally connected units per field, 1 to 64; 1 is the paper. 0: by the number of fields, 16 for up to 64 of
        them, else 1 (`for_fields`).
    hidden
        Widths of the hidden layers, 1 to 2^30 each.
    activation
        ``relu``, ``gelu``, ``silu``, ``tanh`` or ``sigmoid``.
    dropout
        Share of hidden units silenced in training, 0 <= dropout < 1.
    deep
        What stands on the locally connected layer of ``lc-dnn`` and ``lc-wide-deep``: ``perceptron``, ``residual``,
        ``cross`` or ``none``, or the name of a part of your own (`models.registry.register_deep`).
    skip
        ``lc-dnn`` and ``lc-resnet`` with two classes: add the sum of every field's unit 0 to the logit (the paper's
        M2 of ones, kept beside the deep part), a wide part without weights of its own.
    standardise
        Give the locally connected units mean 0 and variance 1 before the deep part.
    unit_dropout
        Share of the standardised units silenced in training, 0 <= unit_dropout < 1.
    fm_interactions
        ``lc-*`` with K > 1: a factorisation machine's term, the dot product of the units of every two fields
        (`nn.fm_interactions`); unit 0, which starts as logistic regression's weights, stays out. ``auto``: for up to 64
        fields, beyond which thousands of pairs overfit
        (docs/log/2026-11/accuracy.md#do-interactions-help-with-many-fields).
    unit_l2
        >= 0, where there are interactions: the loss of every example has ``unit_l2 / 2`` times the sum of the squares
        of its units but unit 0, as they are before anything standardises them. It keeps interactions from overfitting
        rare features.
    deep_units
        Where there are interactions: so many of a field's units, the last ones, are for the deep part alone, 0 to
        K - 2. It reads the others, too, but does not move them, so that they stay as general as interactions and
        ``unit_l2`` make them. A quarter of K unless given.
    auxiliary_loss
        Where there are interactions and a deep part: train what there is without the deep part to be right by itself,
        too, on a loss of its own; the logit is the mean of the two. False: one loss, of all terms together.
    cooccurrence
        Fields that the model adds where there are interactions: of ``[["user_id", "item_id"]]``, for each user the bag
        of items that the training rows have beside that user (`nn.cooccurrence`); only which values occur together is
        used, no label and no row but the training rows. ``auto``: of the two fields that stand for things with
        properties of their own, if there are two (`training.cooccurrence`), in both directions. ``none``: no such
        fields.
    cooccurrence_limit
        At most so many values of a bag are kept, 1 or more.
    initial_model
        What unit 0 and the wide part of ``lc-*`` begin with. ``lr``: the weights of a logistic regression that is
        trained first. ``random``: none.
    factors
        ``bayesian-fm``: the factors of a feature, beside its weight, 1 to 63.
    linear_fields
        Numbers of the fields that linear parts alone read: those with ``[fields.NAME] linear = true``, and crosses that
        ``data.crosses`` lists or finds. Training sets it by the schema.
    options
        Settings of a model of your own, which takes from here what it knows.
    labels
        The labels, where several are learned together; empty for one. Training sets it by the schema.
    """

    kind: Annotated[str, Meta(min_length=1)] = "auto"
    units: Annotated[int, Meta(ge=0, le=64)] = 0
    hidden: tuple[Annotated[int, Meta(ge=1, le=1 << 30)], ...] = (256, 128)
    activation: Literal["relu", "gelu", "silu", "tanh", "sigmoid"] = "relu"
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    deep: Annotated[str, Meta(min_length=1)] = "perceptron"
    skip: bool = True
    standardise: bool = True
    unit_dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.1
    fm_interactions: bool | Literal["auto"] = "auto"
    unit_l2: Annotated[float, Meta(ge=0)] = 0.01
    deep_units: Annotated[int, Meta(ge=0)] | None = None
    auxiliary_loss: bool = True
    cooccurrence: tuple[tuple[str, str], ...] | Literal["auto", "none"] = "auto"
    cooccurrence_limit: Annotated[int, Meta(ge=1)] = 512
    initial_model: InitialModel = "lr"
    factors: Annotated[int, Meta(ge=1, le=63)] = 12
    linear_fields: tuple[Annotated[int, Meta(ge=0)], ...] = ()
    options: dict[str, Any] = {}
    labels: tuple[LabelHead, ...] = ()

    @property
    def members(self) -> tuple[str, ...]:
        """The names of the stack's members, one where it is a model alone (`bundle.member_names`); ``auto`` that nobody
        has settled is LC-DNN.

        Examples
        --------
        >>> ModelConfig(kind="lc-dnn+bayesian-fm").members, ModelConfig().members
        (('lc-dnn', 'bayesian-fm'), ('lc-dnn',))
        """
        return ("lc-dnn",) if self.kind == "auto" else member_names(self.kind)

    @property
    def locally_connected(self) -> bool:
        """Whether one of the members has units of one field each."""
        return any(kind.startswith("lc-") for kind in self.members)

    @property
    def has_lr(self) -> bool:
        """Whether logistic regression is trained first."""
        return self.locally_connected and self.initial_model == "lr"

    @property
    def is_sampled(self) -> bool:
        """Whether one of the members is sampled before the others are trained."""
        return "bayesian-fm" in self.members

    def for_fields(self, num_fields: int) -> ModelConfig:
        """Return these settings with the units for a log of F fields, where they are not given.

        Few fields say little with one number each, and their products say much. With hundreds of fields there are
        enough numbers, and more of them only overfit
        (docs/log/2026-11/accuracy.md#do-interactions-help-with-many-fields).

        Examples
        --------
        >>> [ModelConfig().for_fields(count).units for count in (7, 64, 65, 158)]
        [16, 16, 1, 1]
        """
        if self.units:
            return self
        is_few = num_fields - len(self.linear_fields) <= _FEW_FIELDS
        return msgspec.structs.replace(self, units=_UNITS_OF_FEW if is_few else 1)

    def for_schema(self, schema: Schema) -> ModelConfig:
        """Return these settings with what follows from a log's fields and labels: units, and which are linear."""
        linear = tuple(number for number, field in enumerate(schema.fields) if field.linear)
        columns = schema.label_columns
        labels = tuple(
            LabelHead(label.label, None if label.among is None else columns.index(label.among), label.weight)
            for label in schema.labels
        )
        return msgspec.structs.replace(self, linear_fields=linear, labels=labels).for_fields(len(schema.fields))

    def has_interactions(self, num_fields: int) -> bool:
        """Whether a locally connected member has a term for every two of F fields, and so may have co-occurrence bags.

        Examples
        --------
        >>> [config.has_interactions(7) for config in (ModelConfig(), ModelConfig(units=1), ModelConfig(kind="lr"))]
        [True, False, False]
        >>> ModelConfig().has_interactions(158)
        False
        """
        if not self.locally_connected or self.for_fields(num_fields).units < 2 or num_fields < 2:
            return False
        if self.fm_interactions == "auto":
            return num_fields - len(self.linear_fields) <= _FEW_FIELDS
        return self.fm_interactions
