"""What training would take, told beforehand: ``fieldwise train --dry-run``."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import numpy as np

from fieldwise.config import Config
from fieldwise.data.cache import Cache
from fieldwise.io.memory import available_bytes
from fieldwise.jobs.prepare.budget import held_bytes
from fieldwise.jobs.prepare.estimate import estimate
from fieldwise.jobs.prepare.prepare import Prepared, find_prepared
from fieldwise.jobs.train.begin import start_for, starts_from_lr
from fieldwise.jobs.train.train import lr_settings
from fieldwise.kernels.layout import Layout
from fieldwise.models.config import ModelConfig
from fieldwise.models.memory import PROCESS_BYTES, table_weights, training_memory
from fieldwise.models.sizes import count_parameters, num_outputs
from fieldwise.schema import Schema
from fieldwise.training.dependence import find_determined
from fieldwise.training.histories import history_fields
from fieldwise.training.posterior import posterior_memory, posterior_row_bytes

__all__ = ["Plan", "Stage", "history_rows", "plan"]

_CHECKPOINTS = 3


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """One training: the logistic regression that a model starts from, or the model.

    Attributes
    ----------
    model
        Its kind.
    parameters
        Weights.
    row_bytes, table_bytes
        Of a row of the table with its optimizer's state, and of all rows.
    memory
        All bytes that cannot be dropped while it trains.
    saved, disk
        The saved model; and at most while it trains: the model before and the next one, checkpoints that are kept and
        the next one.
    gpu_memory
        With ``train.device = "cuda"``: bytes of the GPU for the table and its average, dense part and batches apart;
        else None.
    """

    model: str
    parameters: int
    row_bytes: int
    table_bytes: int
    memory: int
    saved: int
    disk: int
    gpu_memory: int | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What `train` would take.

    Attributes
    ----------
    prepared
        Whether the log is prepared already; if not, examples and features are estimated from its first rows.
    examples, fields, features
        Of the training part, F and D.
    stages
        What is trained, in order; memory is that of one at a time.
    memory, memory_free
        Bytes that cannot be dropped, at most, and what the machine can give to a process that begins now.
    disk
        Bytes in the run folder at most.
    """

    prepared: bool
    examples: int
    fields: int
    features: int
    stages: list[Stage]
    memory: int
    memory_free: int | None
    disk: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def plan(config: Config) -> Plan:
    """Say what `train` would take, without writing anything that stays.

    Raises
    ------
    DataError, ResourceError
        As `prepare` does.
    """
    prepared = find_prepared(config)
    if prepared is not None:
        log = _of_prepared(config, prepared)
        # Vocabularies are mapped, but for what the encoder makes of them.
        held, of_encoder = held_bytes(), sum(array.nbytes for array in prepared.encoder.arrays().values())
    else:
        log = _of_sample(config)
        held, of_encoder = 0, 0  # what they take is known once the log is prepared
    config = start_for(log.config, log.layout, log.num_examples, log.num_classes)
    model, num_features, num_fields = config.model, log.layout.num_features, log.layout.num_fields
    stages = []
    if starts_from_lr(model):
        stages.append(_stage(config, ModelConfig(kind="lr"), log, held, of_encoder))
    if model.num_posterior(num_fields):
        stages.append(_sampling(model, log.num_examples, num_features, num_fields))
    stages.append(_stage(config, model, log, held, of_encoder))
    return Plan(
        prepared=prepared is not None,
        examples=log.num_examples,
        fields=num_fields,
        features=num_features,
        stages=stages,
        memory=max(stage.memory for stage in stages),
        memory_free=available_bytes(),
        disk=max(stage.disk + sum(done.saved for done in stages[:number]) for number, stage in enumerate(stages)),
    )


def history_rows(model: ModelConfig, prepared: Prepared) -> list[int]:
    """Return the rows of each field that a model adds to those of the log (`training.histories`)."""
    train = prepared.parts["train"]
    sizes = np.diff(train.layout.base).tolist()
    return [sizes[value] for value in _in_histories(model, train, prepared.encoder.schema)]


def _in_histories(model: ModelConfig, train: Cache, schema: Schema) -> list[int]:
    """Return the numbers of the fields that a model's histories are of."""
    names = [field.name for field in schema.fields]
    if not model.has_pairs(len(names)) or model.histories == "none":
        return []
    return [value for _, value in history_fields(model, train, names, find_determined(train))]


class _Log(NamedTuple):
    """What a plan follows from: the configuration with the units of this log, its training part, and the rows of each
    field that a model with pairs adds.
    """

    config: Config
    layout: Layout
    num_examples: int
    num_classes: int
    histories: list[int]


def _of_prepared(config: Config, prepared: Prepared) -> _Log:
    layout, num_classes = prepared.encoder.layout, len(prepared.encoder.schema.classes)
    config = msgspec.structs.replace(config, model=config.model.for_fields(layout.num_fields))
    histories = history_rows(config.model, prepared)
    return _Log(config, layout, prepared.parts["train"].num_examples, num_classes, histories)


def _of_sample(config: Config) -> _Log:
    """Look at the first rows of a log that is not prepared."""
    forms: list[int] = []
    of_histories: list[int] = []

    def see(train: Cache, schema: Schema) -> None:
        forms.extend(train.layout.form.tolist())
        of_histories.extend(_in_histories(config.model, train, schema))

    expected = estimate(config, see=see)
    rows = [field.features for field in expected.fields]
    config = msgspec.structs.replace(config, model=config.model.for_fields(len(rows)))
    histories = [rows[field] for field in of_histories]
    return _Log(config, Layout.of(forms, rows), expected.training_rows, expected.classes, histories)


def _sampling(model: ModelConfig, num_examples: int, num_features: int, num_fields: int) -> Stage:
    """Say what the posterior takes that a model starts from."""
    factors, saved = model.posterior_units - 1, num_features * model.posterior_units * 12
    row_bytes = posterior_row_bytes(factors)
    return Stage(
        model="posterior",
        parameters=num_features * model.posterior_units,
        row_bytes=row_bytes,
        table_bytes=num_features * row_bytes,
        memory=posterior_memory(num_examples, num_features, num_fields, factors) + PROCESS_BYTES,
        saved=saved,
        disk=2 * saved,
    )


def _stage(config: Config, model: ModelConfig, log: _Log, held: int, of_encoder: int) -> Stage:
    settings = lr_settings(config) if model.kind == "lr" else config.train
    itemsize = 8 if settings.precision == "float64" else 4
    num_features, num_fields, outputs = log.layout.num_features, log.layout.num_fields, num_outputs(log.num_classes)
    n = table_weights(model.kind, model.units, model.hidden, outputs, model.num_posterior(num_fields))
    shape = (model.kind, num_features, num_fields, model.units, model.hidden)
    memory = training_memory(
        *shape,
        settings.table,
        num_outputs=outputs,
        batch_size=settings.largest_batch,
        itemsize=itemsize,
        averaged=settings.average_epochs > 0,
        config=model,
        histories=log.histories,
    )
    size = count_parameters(*shape, outputs, model, log.histories)
    if model.has_pairs(num_fields):
        num_features += sum(log.histories)
    dense = size.parameters - num_features * n + size.biases
    weight_bytes = 2 if settings.table.storage == "bfloat16" else itemsize
    bundle = of_encoder + num_features * n * weight_bytes + dense * itemsize
    average = num_features * n * itemsize if settings.average_epochs else 0
    on_gpu = average + num_features * n * weight_bytes if settings.average_epochs else 0
    checkpoint = memory.table + average + 4 * dense * itemsize
    return Stage(
        model=model.kind,
        parameters=size.parameters,
        row_bytes=settings.table.bytes_per_row(n, itemsize),
        table_bytes=memory.table,
        memory=max(memory.total, memory.table + memory.dense + held),
        saved=bundle,
        disk=2 * bundle + (_CHECKPOINTS + 1) * checkpoint,
        gpu_memory=memory.table + on_gpu if settings.device == "cuda" else None,
    )
