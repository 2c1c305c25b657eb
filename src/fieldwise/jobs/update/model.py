"""The model of an update: begun where the version in use ended, and written as the next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fieldwise.bundle import Bundle, BundleWriter, bundle_digest
from fieldwise.calibration import Calibration
from fieldwise.config import Config
from fieldwise.data.cache import Cache
from fieldwise.distributed.world import ALONE, World
from fieldwise.errors import ConfigError
from fieldwise.features.encoder import Encoder
from fieldwise.features.indexed import IndexedEncoder
from fieldwise.features.renewal import Memory
from fieldwise.jobs.train.settings import settings_of
from fieldwise.jobs.update.head import MEMORY_PREFIX, Head
from fieldwise.kernels.cooccurrence import Cooccurrence
from fieldwise.kernels.layout import UNSEEN
from fieldwise.models.click import build_model
from fieldwise.models.config import ModelConfig
from fieldwise.models.load import DTYPES
from fieldwise.nn.cooccurrence import CooccurrenceBags
from fieldwise.training.kept_state import KeptState, keep_state
from fieldwise.training.make import make_stepper
from fieldwise.training.renewed_rows import RenewedField, renewed_bags, take_rows
from fieldwise.training.saving import save_weights
from fieldwise.training.step import Stepper
from fieldwise.training.unseen import fill_unseen

__all__ = ["go_on", "renewed_fields", "write_state", "write_version"]

_COMPARED_ROWS = 64


def go_on(
    head: Head, encoder: Encoder, of_fields: Mapping[int, RenewedField], config: Config, world: World = ALONE
) -> Stepper:
    """Return the model of a version and what moves it, as they were when it was made, for a renewed encoder.

    Parameters
    ----------
    of_fields
        What has changed in each field, by its number (`renewed_fields`).
    world
        Who learns together.

    Raises
    ------
    ConfigError
        Nothing in it is trained by steps.
    """
    bundle, checkpoint, state = head.bundle, head.checkpoint, head.state
    model_config = msgspec.convert(bundle.model, ModelConfig)
    settings = settings_of(config, model_config.kind)
    renewed = dict(of_fields)
    old_bags = Cooccurrence.saved(bundle.dense, "cooccurrence.")
    before, layout = bundle.encoder.layout, encoder.layout
    bags = renewed_bags(old_bags, layout, renewed)
    if old_bags:
        before = CooccurrenceBags(before, [_owned(bag) for bag in old_bags]).layout
        for number, bag in enumerate(old_bags):
            if bag.value in renewed:
                renewed[layout.num_fields + number] = renewed[bag.value]
    num_classes, dtype = len(encoder.schema.classes), DTYPES[bundle.dtype]
    model = build_model(model_config, layout, num_classes, settings.seed, dtype, bags)
    if not model.trained:
        raise ConfigError(
            "this model is sampled from its training log, and cannot learn from a day",
            where=bundle.folder,
            got=model_config.kind,
            fix="train it again on the newest days",
        )
    model.calibration = msgspec.convert(bundle.calibration, Calibration)
    stepper = make_stepper(
        model,
        state.table,
        settings.dense,
        state.batch_size,
        world=world,
        precision=settings.precision,
        seed=settings.seed,
        comm_bfloat16=settings.comm_dtype == "bfloat16",
    )
    own_bags = {
        f"model.{name}": tensor.numpy() for name, tensor in model.state_dict().items() if "cooccurrence" in name
    }
    stepper.restore_others({**checkpoint.dense, **own_bags})
    take_rows(model.table, before, checkpoint.table, renewed)
    return stepper


def write_version(stepper: Stepper, encoder: Encoder, bundle: Bundle, cache: Cache, folder: Path) -> str | None:
    """Write the bundle of a new version, and return why it cannot be served; None where it can."""
    model = stepper.model
    num_bags = model.table.layout.num_fields - model.num_log_fields
    fill_unseen(model.table, [*encoder.vocabulary_counts, *[None] * num_bags], stepper.world)
    writer = BundleWriter(
        folder, encoder, bundle.model, bundle.dtype, bundle.csv, msgspec.to_builtins(model.calibration), bundle.format
    )
    compared = cache.gather(np.arange(min(_COMPARED_ROWS, cache.num_examples))).batch
    return save_weights(model, writer, 1, stepper.world, compared)


def write_state(
    run: Path, version: int, stepper: Stepper, memories: Mapping[str, Memory], state: KeptState, folder: Path
) -> None:
    """Write what training goes on from after a version, whose bundle lies in `folder`; every worker calls it, the first
    with what the vocabularies remember.
    """
    arrays: dict[str, npt.NDArray[Any]] = {
        f"{MEMORY_PREFIX}{name}.{key}": array
        for name, memory in memories.items()
        for key, array in memory._asdict().items()
    }
    state = msgspec.structs.replace(state, bundle=bundle_digest(folder), day=state.day + 1)
    keep_state(run, version, stepper, state, arrays, stepper.world)


def renewed_fields(before: Encoder, encoder: Encoder) -> dict[int, RenewedField]:
    """Return what has changed in each field with a vocabulary, by its number."""
    found = {}
    for number, (name, field) in enumerate(before.fields.items()):
        if name in encoder.renewed:
            assert isinstance(field, IndexedEncoder), "it has a vocabulary"
            of_field = encoder.renewed[name]
            found[number] = RenewedField(of_field.joined, of_field.left, not field.counts[UNSEEN])
    return found


def _owned(bag: Cooccurrence) -> Cooccurrence:
    """Return a bag with memory of its own, for torch."""
    return bag._replace(offsets=np.array(bag.offsets), ids=np.array(bag.ids))
