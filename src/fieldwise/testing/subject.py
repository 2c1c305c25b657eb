"""What is checked: a way to build a model, and a small log with everything in it that a field can be."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import msgspec
import numpy as np
import pyarrow as pa
import torch
from torch import nn

from fieldwise.data.cache import Examples
from fieldwise.features.encoder import Encoder
from fieldwise.kernels.layout import Layout
from fieldwise.models.click import ClickModel, build_model
from fieldwise.models.config import ModelConfig
from fieldwise.models.dnn import DNN
from fieldwise.models.lc import LocallyConnected
from fieldwise.schema import Field, Schema
from fieldwise.tables.config import TableOptimizerConfig
from fieldwise.training.config import DenseOptimizerConfig
from fieldwise.training.device import choose_device
from fieldwise.training.make import make_stepper
from fieldwise.training.step import Stepper

__all__ = ["NUM_ROWS", "Builder", "CheckFailed", "DeepPart", "Subject", "make_log"]

Builder = Callable[[Layout, int, int, torch.dtype], ClickModel]
"""``build(layout, num_classes, seed, dtype)``: a model with its dense weights drawn from the seed."""
DeepPart = Callable[[int, int], nn.Module]
"""``deep(num_inputs, num_outputs)``: takes (B, num_inputs) and returns (B, num_outputs)."""

NUM_ROWS = 100
_FAST = TableOptimizerConfig(learning_rate=0.05)


class CheckFailed(AssertionError):
    """A model does not do what every model must: what, what was expected, what came, and what to do."""

    def __init__(self, what: str, *, expected: object = None, got: object = None, fix: str | None = None) -> None:
        details = (("expected", expected), ("got", got), ("hint", fix))
        super().__init__("\n".join([what, *(f"  {name}: {value}" for name, value in details if value is not None)]))


class Subject:
    """A model under check.

    Parameters
    ----------
    model
        A configuration, or what builds a model of one's own.
    deep
        What takes the place of the configuration's deep part.
    num_classes
        2 or more.
    device
        Where it is trained: ``cpu``, ``cuda`` or ``torch`` (`training.config.TrainConfig`).

    Attributes
    ----------
    encoder, examples
        Fitted on the log, and the log encoded.

    Raises
    ------
    ValueError
        The model of the configuration has no deep part that `deep` could replace.
    """

    def __init__(
        self, model: ModelConfig | Builder, *, deep: DeepPart | None = None, num_classes: int = 2, device: str = "cpu"
    ) -> None:
        self.num_classes, self.device = num_classes, choose_device(device)
        self.config = model if isinstance(model, ModelConfig) and deep is None else None
        self.build: Builder = _builder(model, deep) if isinstance(model, ModelConfig) else model
        self.encoder = _fitted(tuple(field.name for field in _FIELDS), num_classes)
        self.examples = self.encode()

    def encode(self, encoder: Encoder | None = None, log: pa.Table | None = None) -> Examples:
        """Encode the log, or another one, with the subject's encoder or another one."""
        encoded = (encoder or self.encoder).transform(log if log is not None else make_log(self.num_classes))
        assert not encoded.rejects
        return Examples(encoded.batch, encoded.labels, encoded.weights, encoded.groups)

    def reordered(self) -> Encoder:
        """Return the encoder of the same fields in another order."""
        return _fitted(_OTHER_ORDER, self.num_classes)

    def stepper(
        self,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
        layout: Layout | None = None,
        table: TableOptimizerConfig = _FAST,
    ) -> Stepper:
        """Build the model with drawn weights, and what moves them."""
        model = self.build(layout or self.encoder.layout, self.num_classes, seed, dtype)
        rates = DenseOptimizerConfig(learning_rate=0.01)
        stepper = make_stepper(model.train(), table, rates, NUM_ROWS, device=self.device)
        model.table.draw(seed)
        return stepper

    def woken(self, seed: int = 0, layout: Layout | None = None) -> Stepper:
        """Build the model with weights of size one everywhere, so that nothing hides behind zeros, and statistics of
        the log where it keeps some.
        """
        stepper = self.stepper(seed, layout=layout)
        model, rng = stepper.model, np.random.default_rng(seed)
        model.table.write(0, rng.normal(size=model.table.weights.shape))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.from_numpy(rng.normal(0, 0.5, tuple(parameter.shape))))
            if layout is None:
                model(self.examples.batch)
        return stepper


def _builder(config: ModelConfig, deep: DeepPart | None) -> Builder:
    if deep is not None and config.fm_interactions == "auto":  # the part is looked at alone
        config = msgspec.structs.replace(config, fm_interactions=False)

    def build(layout: Layout, num_classes: int, seed: int, dtype: torch.dtype) -> ClickModel:
        model = build_model(config, layout, num_classes, seed, dtype)
        if deep is not None:
            [member] = model.members.values()
            if not isinstance(member, DNN | LocallyConnected) or member.network is None:
                raise ValueError(f"a model of kind {config.kind} has no deep part to replace")
            num_inputs = member.num_full if isinstance(member, DNN) else layout.num_fields * member.num_local
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                member.network = deep(num_inputs, model.num_outputs).to(dtype)
        return model

    return build


# --- the log ---

_FIELDS = (
    Field(name="user", column="user"),  # a value of its own in every row: any model can fit the log
    Field(name="place", column="place", min_count=2),
    Field(name="age", type="number", column="age", edges=(20.0, 40.0, 60.0)),
    Field(name="tags", type="bag", column="tags"),
    Field(name="price", type="number", column="price", scale="log"),
    Field(name="words", type="bag", column="words", weighted=True),
    Field(name="place_x_age", type="cross", parts=("place", "age"), buckets=50),
)
_OTHER_ORDER = ("words", "place", "price", "age", "place_x_age", "user", "tags")


@cache
def make_log(num_classes: int = 2) -> pa.Table:
    """Return the log: all types of fields, frequent and rare values, missing ones and empty bags."""
    rng = np.random.default_rng(0)
    count = range(NUM_ROWS)

    def bag(text: Callable[[int], str]) -> list[str]:
        return ["|".join(text(value) for value in rng.permutation(6)[: rng.integers(0, 4)]) for _ in count]

    return pa.table(
        {
            "user": [f"u{number}" for number in count],
            "place": [None if number % 9 == 0 else f"p{int(8 * rng.random() ** 2)}" for number in count],
            "age": [None if number % 13 == 0 else int(rng.integers(10, 90)) for number in count],
            "tags": bag(lambda value: f"t{value}"),
            "price": [None if number % 11 == 0 else float(rng.lognormal()) for number in count],
            "words": bag(lambda value: f"w{value}:{rng.uniform(0.1, 2):.2f}"),
            "label": [f"c{number}" for number in rng.permutation(np.arange(NUM_ROWS) % num_classes)],
        }
    )


@cache
def _fitted(order: tuple[str, ...], num_classes: int) -> Encoder:
    of_name = {field.name: field for field in _FIELDS}
    positive = "c1" if num_classes == 2 else None
    schema = Schema(fields=tuple(of_name[name] for name in order), label="label", positive=positive)
    return Encoder(schema).fit([make_log(num_classes)])
