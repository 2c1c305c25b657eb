"""One model on one prepared log: from its first weights to the weights in the run's bundle and their metrics."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import torch

from fieldwise.bundle import BundleWriter, bundle_digest, open_bundle, set_calibration, set_posterior
from fieldwise.calibration import Calibration
from fieldwise.config import Config
from fieldwise.data.batches import Batches
from fieldwise.data.cache import Cache
from fieldwise.data.sources import format_of
from fieldwise.distributed.world import World
from fieldwise.errors import Stopped
from fieldwise.events import EpochEnd, Listener, Noted, StageStart, Warned
from fieldwise.features.encoder import Encoder
from fieldwise.io.disk import require_disk
from fieldwise.jobs.prepare.prepared import Prepared
from fieldwise.jobs.result import MemberResult, Result
from fieldwise.jobs.run import RunFolder
from fieldwise.jobs.train import team
from fieldwise.jobs.train.begin import by_steps, sample, solve
from fieldwise.jobs.train.initial import Pretrained, initial_of
from fieldwise.jobs.train.members import evaluate_members
from fieldwise.jobs.train.settings import settings_of
from fieldwise.kernels.storage import decode_weights
from fieldwise.metrics import Metrics
from fieldwise.models.click import ClickModel, build_model
from fieldwise.models.load import DTYPES
from fieldwise.models.registry import model_label
from fieldwise.tables.config import TableOptimizerConfig
from fieldwise.training.checkpoint import Checkpoints
from fieldwise.training.cooccurrence import find_cooccurrence
from fieldwise.training.dependence import find_determined
from fieldwise.training.initial import leave_out_determined, set_base_rate, take_member, warm_start
from fieldwise.training.interrupt import Interrupt, Interrupted
from fieldwise.training.kept_state import KeptState, as_if_trained, keep_state, read_state, settle
from fieldwise.training.loop import fit
from fieldwise.training.make import with_epsilon
from fieldwise.training.saving import load_weights, save_weights
from fieldwise.training.score import calibrate, evaluate_model, fit_stacker
from fieldwise.training.state import TrainingState
from fieldwise.training.step import at_work
from fieldwise.training.unseen import fill_unseen

__all__ = ["Trained", "train_model"]

_EVALUATION_BATCH = 8192
_COMPARED_ROWS = 64
"""Rows to which a network is asked before it is published."""


class Trained(NamedTuple):
    """A model with the weights that were kept, how it came to them, the metrics of each part, and those of each member
    of a stack alone.
    """

    model: ClickModel
    history: TrainingState
    metrics: dict[str, Metrics | None]
    members: list[MemberResult]
    pretrain_seconds: float | None
    kept: Result | None = None
    """Of logistic regression, where no weights of the model were better."""


def _takes(model: ClickModel, member: Result) -> bool:
    """Give a stack its trained member from a finished run, where that is the same model."""
    bundle = open_bundle(Path(member.folder)).verify()
    return take_member(model, member.model, decode_weights(bundle.table), bundle.dense)


def _take_state(run: Path, other: Path, world: World) -> None:
    """Keep the state of the logistic regression that the run keeps."""

    def take() -> None:
        checkpoint, state = read_state(other, 1)
        state = msgspec.structs.replace(state, bundle=bundle_digest(run / "bundle"))
        Checkpoints(run / "state").save(1, checkpoint.table, checkpoint.dense, msgspec.to_builtins(state))

    world.first(take, type(None))


def _evaluate_part(
    model: ClickModel, prepared: Prepared, name: str, world: World, interrupt: Interrupt
) -> Metrics | None:
    """Return the metrics of one part of the log; None where there is no such part."""
    if name not in prepared.parts:
        return None
    batches = _in_order(prepared.parts[name], world)
    with at_work(model):
        return evaluate_model(model, interrupt.watch(batches.epoch(0)), world)


def _in_order(cache: Cache, world: World) -> Batches:
    """Return the batches in which examples are answered, this worker's share of each."""
    return Batches(cache, _EVALUATION_BATCH, shuffle=False, share=(world.rank, world.size))


def train_model(
    config: Config,
    run: RunFolder,
    prepared: Prepared,
    pretrained: Pretrained | None,
    samples: Path,
    interrupt: Interrupt,
    world: World,
    listen: Listener,
    member: Result | None,
    stacking_weights: list[float],
    most_sampling: float | None = None,
) -> Trained:
    """Train one model, leave it with the weights that were kept, which also lie in the run's bundle; evaluate it.

    Where there are no validation rows a stack is weighed by `stacking_weights`, if they are given. With a budget
    (``train.minutes``) sampling takes at most `most_sampling` seconds, and epochs what is left.
    """
    model_config, encoder, folder = config.model, prepared.encoder, run.folder
    linear = model_config.kind == "lr"
    settings = settings_of(config, model_config.kind).for_examples(prepared.parts["train"].num_examples)
    dtype = "float64" if settings.precision == "float64" else "float32"
    learnt_from = prepared.parts["train"]
    pairs = model_config.is_sampled or model_config.has_interactions(encoder.layout.num_fields)
    determined = find_determined(learnt_from) if pairs else []
    bags = find_cooccurrence(model_config, learnt_from, [field.name for field in encoder.schema.fields], determined)
    num_classes = len(encoder.schema.classes)
    model = build_model(model_config, encoder.layout, num_classes, settings.seed, DTYPES[dtype], bags)
    # Updates go on without (`KeptState`): at a quarter of the rates, they were measured so.
    of_table = with_epsilon(settings.table, model, settings.batch_size, learnt_from.num_examples)
    stepper = team.stepper_of(model, msgspec.structs.replace(settings, table=of_table), world)
    if not linear:
        model.table.draw(settings.seed)
    model.calibration = Calibration.of_negative_rate(settings.negative_rate)
    set_base_rate(model, learnt_from)
    if model.stacker is not None and stacking_weights:
        model.stacker.weigh(stacking_weights)
    leave_out_determined(model, determined)
    pretrain_seconds, sampling_seconds, posterior = None, 0.0, None
    if pretrained is not None:
        warm_start(model, pretrained.start)
        pretrain_seconds = pretrained.seconds
    if model.sampled:
        sampling_seconds, posterior = sample(config, samples, model, prepared, interrupt, world, listen, most_sampling)
        if model.trained:
            pretrain_seconds = sampling_seconds + (pretrain_seconds or 0.0)
    there = sum(path.stat().st_size for path in (*folder.glob("bundle/*"), *run.checkpoints.glob("*/*")))
    needed = _disk_bytes(model, encoder, settings.table) - there
    world.first(lambda: require_disk(needed, folder, "the model with two checkpoints"), type(None))
    listen(StageStart("train", model_config.kind))
    calibration = msgspec.to_builtins(model.calibration)
    writer = BundleWriter(
        folder / "bundle",
        encoder,
        msgspec.to_builtins(model_config),
        dtype,
        prepared.summary["csv"],
        calibration,
        config.data.format or format_of(config.paths("train")),
    )
    valid = prepared.parts.get("valid")
    batches = Batches(
        learnt_from,
        settings.batch_size,
        seed=settings.seed,
        share=(world.rank, world.size),
        negative_rate=settings.negative_rate,
    )

    def before_evaluation() -> None:
        fill_unseen(model.table, [*encoder.vocabulary_counts, *[None] * len(bags)], world)

    compared = learnt_from.gather(np.arange(min(_COMPARED_ROWS, learnt_from.num_examples))).batch
    reasons: set[str] = set()

    def keep(number: int) -> None:
        reason = save_weights(model, writer, number, world, compared)
        if reason is not None and reason not in reasons:
            reasons.add(reason)
            listen(Warned(f"the saved model needs torch to answer, and cannot be served: {reason}"))

    checkpoints = team.checkpoints_of(run, stepper, warn=lambda text: listen(Warned(text)))
    reason = by_steps(config, prepared) if linear else ""
    if reason is None:
        history = solve(config, model, prepared, checkpoints, interrupt, world, listen)
        before_evaluation()
        keep(1)
    elif member is not None and _takes(model, member):
        listen(Noted(f"{model_label(member.model)} of the stack is the model in {member.folder}"))
        before_evaluation()
        if valid is not None:
            fit_stacker(model, interrupt.watch(_in_order(valid, world).epoch(0)), world)
        keep(1)
        each = EpochEnd(0, math.nan, member.seconds_per_epoch, member.examples_per_second, None)
        epochs = [each._replace(epoch=number + 1) for number in range(member.epochs)]
        history = TrainingState(epochs=epochs, best_epoch=member.best_epoch)
    elif not model.trained:
        before_evaluation()
        keep(1)
        assert posterior is not None, "it is sampled"
        history = _sampled_history(posterior.num_sweeps, sampling_seconds, learnt_from.num_examples)
    else:
        if reason:
            listen(Noted(f"logistic regression is trained by FTRL, not solved: {reason}"))
        initial = None
        if pretrained is not None and valid is not None:
            initial = initial_of(pretrained, settings.stop_on, writer, _in_order(valid, world), num_classes, world)
        minutes = config.train.minutes
        # Dropout draws from torch's global generator: seeded here, restored afterwards.
        with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
            torch.manual_seed(settings.seed)
            history = fit(
                stepper,
                batches,
                _in_order(valid, world) if valid else None,
                settings,
                keep=keep,
                before_evaluation=before_evaluation,
                initial=initial,
                has_learned=pretrained is not None,
                checkpoints=checkpoints,
                interrupt=interrupt,
                report=folder / team.name_of("not_finite.jsonl", world),
                most_seconds=None if minutes is None else max(60 * minutes - sampling_seconds, 0.0),
                listen=listen,
            )
        if pretrained is not None and history.best_epoch == 0:
            result = pretrained.result
            own = model_label(model_config.kind)
            listen(Noted(f"{model_label('lr')} is kept: no weights of {own} were better on valid by more than noise"))
            _take_state(folder, pretrained.folder, world)
            return Trained(
                model, history, {"valid": result.valid, "test": result.test}, [], pretrain_seconds, kept=result
            )
        if settings.average_epochs or history.best_position or history.best_epoch != len(history.epochs):
            bundle = open_bundle(folder / "bundle").verify()
            load_weights(model, bundle.table, bundle.dense)
            settle(model.table)
    if posterior is not None:
        variances, bias = posterior.spread(encoder.layout.base.tolist()), posterior.logit_bias_variance
        world.first(lambda: set_posterior(folder / "bundle", variances, bias), type(None))
    try:
        if settings.calibration != "none" and valid is not None:
            rows = interrupt.watch(_in_order(valid, world).epoch(0))
            model.calibration = calibrate(model, settings.calibration, rows, world)
            plain = msgspec.to_builtins(model.calibration)
            world.first(lambda: set_calibration(folder / "bundle", plain), type(None))
        listen(StageStart("evaluate", model_config.kind))
        metrics = {name: _evaluate_part(model, prepared, name, world, interrupt) for name in ("valid", "test")}
        model_seconds = sum(epoch.seconds for epoch in history.epochs) + (pretrained.seconds if pretrained else 0.0)
        members = evaluate_members(
            model,
            settings.negative_rate,
            lambda part: _evaluate_part(model, prepared, part, world, interrupt),
            None if valid is None else interrupt.watch(_in_order(valid, world).epoch(0)),
            world,
            {name: sampling_seconds if member.sampled else model_seconds for name, member in model.each()},
        )
    except Interrupted:
        if model.trained and reason is not None:
            # What goes on from here finds nothing left to train, takes the weights that were kept, and evaluates.
            num_steps = len(history.epochs) * batches.num_batches
            checkpoints.save(num_steps, model.table.rows, stepper.arrays(), msgspec.to_builtins(history))
        raise Stopped("stopped while the trained model was evaluated; run the same command again to resume") from None
    if model.trained:
        table = settings.table
        if reason is None:
            table = stepper.table.optimizer.config = msgspec.structs.replace(
                table, l2=history.epochs[history.best_epoch - 1].l2
            )
            as_if_trained(model.table, encoder.counts, float(learnt_from.labels().mean()))
        digest = world.first(lambda: bundle_digest(folder / "bundle"), str)
        state = KeptState(bundle=digest, batch_size=settings.batch_size, table=table)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)  # what an update draws depends on nothing that this process did before
            keep_state(folder, 1, stepper, state, world=world)
    return Trained(model, history, metrics, members, pretrain_seconds)


def _sampled_history(sweeps: int, seconds: float, num_examples: int) -> TrainingState:
    """Return what happened to a model that was sampled and not trained: a sweep is an epoch, and the last is kept."""
    each = max(seconds / sweeps, 1e-9)
    epochs = [EpochEnd(number + 1, math.nan, each, num_examples / each, None) for number in range(sweeps)]
    return TrainingState(epochs=epochs, best_epoch=sweeps)


def _disk_bytes(model: ClickModel, encoder: Encoder, optimizer: TableOptimizerConfig) -> int:
    """Return the least that a run folder needs: a bundle, a checkpoint, and the next one while it is written.

    Dense weights count four times in a checkpoint, with the two moments of Adam and their average.
    """
    of_encoder = sum(array.nbytes for array in encoder.arrays().values())
    dense = sum(int(tensor.nbytes) for tensor in model.state_dict().values())
    table = model.table
    itemsize = 2 if optimizer.storage == "bfloat16" else table.dtype.itemsize
    num_features, num_weights = table.layout.num_features, table.num_weights
    weights = num_features * num_weights * itemsize
    rows = num_features * (
        optimizer.bytes_per_row(num_weights, table.dtype.itemsize) + num_weights * table.dtype.itemsize
    )
    return of_encoder + weights + dense + 2 * (rows + 4 * dense)
