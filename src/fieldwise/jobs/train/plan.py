"""What training would take, told beforehand: ``fieldwise train --dry-run``."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np

from fieldwise.config import Config
from fieldwise.data.cache import Cache
from fieldwise.io.memory import available_bytes, held_bytes
from fieldwise.jobs.prepare.estimate import estimate
from fieldwise.jobs.prepare.prepare import find_prepared
from fieldwise.jobs.prepare.prepared import Prepared
from fieldwise.jobs.presets import with_preset
from fieldwise.jobs.train.settings import lr_settings
from fieldwise.kernels.layout import Layout
from fieldwise.models.config import ModelConfig
from fieldwise.models.memory import PROCESS_BYTES, training_memory
from fieldwise.models.sizes import count_parameters, num_outputs
from fieldwise.outcome import Outcome
from fieldwise.schema import Schema
from fieldwise.training.cooccurrence import cooccurrence_fields
from fieldwise.training.dependence import find_determined
from fieldwise.training.gibbs import sampling_memory, sampling_row_bytes
from fieldwise.training.initial import posterior_method, settled
from fieldwise.training.solvable import not_solved, solving_memory
from fieldwise.training.variational import variational_memory

__all__ = ["TrainingPlan", "TrainingStage", "cooccurrence_rows", "plan"]

_CHECKPOINTS = 3


class TrainingStage(msgspec.Struct, frozen=True, kw_only=True):
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
        With ``train.device = "cuda"``: bytes of the GPU for the table, dense part and batches apart;
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


class TrainingPlan(Outcome, msgspec.Struct, frozen=True, kw_only=True):
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
    stages: list[TrainingStage]
    memory: int
    memory_free: int | None
    disk: int


def plan(config: Config) -> TrainingPlan:
    """Say what `train` would take, without writing anything that stays.

    Raises
    ------
    DataError, ResourceError
        As `prepare` does.
    """
    config = with_preset(config)
    prepared = find_prepared(config)
    if prepared is not None:
        log = _of_prepared(config, prepared)
        # Vocabularies are mapped, but for what the encoder makes of them.
        held, of_encoder = held_bytes(), sum(array.nbytes for array in prepared.encoder.arrays().values())
    else:
        log = _of_sample(config)
        held, of_encoder = 0, 0  # what they take is known once the log is prepared
    model = settled(
        log.config.model,
        config.train,
        log.layout,
        log.num_examples,
        num_classes=log.num_classes,
        weighted=config.weighted,
        has_inputs=log.has_inputs,
    )
    num_features, num_fields = log.layout.num_features, log.layout.num_fields
    stages = []
    if model.has_lr:
        stages.append(_stage(config, ModelConfig(kind="lr", labels=model.labels), log, held, of_encoder))
    if model.is_sampled:
        stages.append(_posterior(model, config, log))
    if model.members != ("bayesian-fm",):
        stages.append(_stage(config, model, log, held, of_encoder))
    return TrainingPlan(
        prepared=prepared is not None,
        examples=log.num_examples,
        fields=num_fields,
        features=num_features,
        stages=stages,
        memory=max(stage.memory for stage in stages),
        memory_free=available_bytes(),
        disk=max(stage.disk + sum(done.saved for done in stages[:number]) for number, stage in enumerate(stages)),
    )


def cooccurrence_rows(model: ModelConfig, prepared: Prepared) -> list[int]:
    """Return the rows of each field that a model adds to those of the log (`training.cooccurrence`)."""
    train = prepared.parts["train"]
    sizes = np.diff(train.layout.base).tolist()
    return [sizes[value] for value in _in_bags(model, train, prepared.encoder.schema)]


def _in_bags(model: ModelConfig, train: Cache, schema: Schema) -> list[int]:
    """Return the numbers of the fields that a model's co-occurrence bags are of."""
    names = [field.name for field in schema.fields]
    if not model.has_interactions(len(names)) or model.cooccurrence == "none":
        return []
    return [value for _, value in cooccurrence_fields(model, train, names, find_determined(train))]


class _Log(NamedTuple):
    """What a plan follows from: the configuration with the units of this log, its training part, and the rows of each
    co-occurrence bag.
    """

    config: Config
    layout: Layout
    num_examples: int
    num_classes: int
    has_inputs: bool
    bags: list[int]


def _of_prepared(config: Config, prepared: Prepared) -> _Log:
    layout, num_classes = prepared.encoder.layout, len(prepared.encoder.schema.classes)
    config = msgspec.structs.replace(config, model=config.model.for_schema(prepared.encoder.schema))
    bags = cooccurrence_rows(config.model, prepared)
    return _Log(
        config, layout, prepared.parts["train"].num_examples, num_classes, prepared.encoder.schema.has_inputs, bags
    )


def _of_sample(config: Config) -> _Log:
    """Look at the first rows of a log that is not prepared."""
    forms: list[int] = []
    of_bags: list[int] = []
    schemas: list[Schema] = []

    def see(train: Cache, schema: Schema) -> None:
        schemas.append(schema)
        forms.extend(train.layout.form.tolist())
        of_bags.extend(_in_bags(config.model, train, schema))

    expected = estimate(config, see=see)
    rows = [field.features for field in expected.fields]
    config = msgspec.structs.replace(config, model=config.model.for_schema(schemas[0]))
    bags = [rows[field] for field in of_bags]
    return _Log(config, Layout.of(forms, rows), expected.training_rows, expected.classes, schemas[0].has_inputs, bags)


def _posterior(model: ModelConfig, config: Config, log: _Log) -> TrainingStage:
    """Say what finding the posterior of a Bayesian factorisation machine takes."""
    num_features, num_fields = log.layout.num_features, log.layout.num_fields
    factors = model.factors
    if posterior_method(model, config.train, log.layout, log.num_examples, config.weighted) == "gibbs":
        saved, row_bytes = num_features * (factors + 1) * 20, sampling_row_bytes(factors)
        memory = sampling_memory(log.num_examples, num_features, num_fields, factors)
    else:
        saved, row_bytes = num_features * (factors + 1) * 32, variational_memory(1, 0, factors)
        memory = variational_memory(num_features, num_fields, factors)
    return TrainingStage(
        model="bayesian-fm",
        parameters=num_features * (factors + 1),
        row_bytes=row_bytes,
        table_bytes=num_features * row_bytes,
        memory=memory + PROCESS_BYTES,
        saved=saved,
        disk=2 * saved,
    )


def _stage(config: Config, model: ModelConfig, log: _Log, held: int, of_encoder: int) -> TrainingStage:
    settings, solving = config.train, 0
    if model.kind == "lr":
        settings, needed = lr_settings(config), solving_memory(log.layout, log.num_examples)
        if not_solved(config.pretrain, needed, log.num_classes, config.train.negative_rate, len(model.labels)) is None:
            solving = needed
    itemsize = 8 if settings.precision == "float64" else 4
    num_fields = log.layout.num_fields
    size = count_parameters(model, log.layout.num_features, num_fields, num_outputs(log.num_classes), log.bags)
    memory = training_memory(
        model,
        size,
        num_fields + len(log.bags),
        settings.table,
        batch_size=settings.largest_batch,
        itemsize=itemsize,
        averaged=settings.average_epochs > 0,
    )
    num_weights = size.num_rows * size.row_weights
    weight_bytes = 2 if settings.table.storage == "bfloat16" else itemsize
    bundle = of_encoder + num_weights * weight_bytes + size.dense * itemsize
    average = num_weights * itemsize if settings.average_epochs else 0
    checkpoint = memory.table + average + 4 * size.dense * itemsize
    return TrainingStage(
        model=model.kind,
        parameters=size.parameters,
        row_bytes=settings.table.bytes_per_row(size.row_weights, itemsize),
        table_bytes=memory.table,
        memory=max(memory.total, memory.table + memory.dense + held) + solving,
        saved=bundle,
        disk=2 * bundle + (_CHECKPOINTS + 1) * checkpoint,
        gpu_memory=memory.table if settings.device == "cuda" else None,
    )
