"""What training would take, told beforehand: ``fieldwise train --dry-run``."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from fieldwise.config import Config
from fieldwise.memory import available_bytes
from fieldwise.models.config import ModelConfig
from fieldwise.models.memory import PROCESS_BYTES, table_weights, training_memory
from fieldwise.models.sizes import count_parameters, num_outputs
from fieldwise.training.dependence import find_determined
from fieldwise.training.histories import history_fields
from fieldwise.training.posterior import posterior_memory, posterior_row_bytes
from fieldwise.verbs.begin import with_start
from fieldwise.verbs.budget import held_bytes
from fieldwise.verbs.estimate import estimate
from fieldwise.verbs.prepare import Prepared, find_prepared
from fieldwise.verbs.train import lr_settings

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
        layout = prepared.encoder.layout
        config = msgspec.structs.replace(config, model=config.model.for_fields(layout.num_fields))
        config = with_start(config, prepared)
        num_features, num_fields = layout.num_features, layout.num_fields
        num_examples = prepared.parts["train"].num_examples
        outputs = num_outputs(len(prepared.encoder.schema.classes))
        # Vocabularies are mapped, but for what the encoder makes of them.
        held, of_encoder = held_bytes(), sum(array.nbytes for array in prepared.encoder.arrays().values())
        histories = history_rows(config.model, prepared)
        rows = [*np.diff(layout.base).tolist(), *histories]
    else:
        expected = estimate(config)
        num_features, num_fields, outputs = expected.features, len(expected.fields), 1
        valid = config.data.valid
        num_examples = int(expected.rows * (1 - valid)) if isinstance(valid, float) else expected.rows
        rows, held, of_encoder, histories = None, 0, 0, []  # what they take is known once the log is prepared
    stages = []
    model = config.model.for_fields(num_fields)
    if model.num_posterior(num_fields):
        stages.append(_sampling(model, num_examples, num_features, num_fields))
    if model.locally_connected and model.start != "random":
        stages.append(_stage(config, ModelConfig(kind="lr"), num_features, num_fields, outputs, held, of_encoder))
    with_histories = num_features + sum(histories), num_fields + len(histories)
    stages.append(_stage(config, model, *with_histories, outputs, held, of_encoder, rows))
    return Plan(
        prepared=prepared is not None,
        examples=num_examples,
        fields=num_fields,
        features=num_features,
        stages=stages,
        memory=max(stage.memory for stage in stages),
        memory_free=available_bytes(),
        disk=max(stage.disk + sum(done.saved for done in stages[:number]) for number, stage in enumerate(stages)),
    )


def history_rows(model: ModelConfig, prepared: Prepared) -> list[int]:
    """Return the rows of each field that a model adds to those of the log (`training.histories`)."""
    train, names = prepared.parts["train"], [field.name for field in prepared.encoder.schema.fields]
    if not model.has_pairs(len(names)) or model.histories == "none":
        return []
    sizes = np.diff(train.layout.base).tolist()
    return [sizes[value] for _, value in history_fields(model, train, names, find_determined(train))]


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


def _stage(
    config: Config,
    model: ModelConfig,
    num_features: int,
    num_fields: int,
    outputs: int,
    held: int,
    of_encoder: int,
    rows: list[int] | None = None,
) -> Stage:
    settings = lr_settings(config) if model.kind in ("lr", "lr-network") else config.train
    itemsize = 8 if settings.precision == "float64" else 4
    posterior = model.num_posterior(num_fields)
    n = table_weights(model.kind, model.units, model.hidden, outputs, posterior)
    memory = training_memory(
        model.kind,
        num_features,
        num_fields,
        model.units,
        model.hidden,
        settings.table,
        num_outputs=outputs,
        batch_size=settings.largest_batch,
        itemsize=itemsize,
        averaged=settings.average_epochs > 0,
        posterior=posterior,
    )
    size = count_parameters(model.kind, num_features, num_fields, model.units, model.hidden, outputs, model, rows)
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
