"""``fieldwise train``: from a configuration to a saved, evaluated model."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch

from fieldwise.bundle import BundleWriter, bundle_digest, open_bundle, set_calibration
from fieldwise.calibration import Calibration
from fieldwise.config import Config
from fieldwise.data.batches import Batches
from fieldwise.data.cache import Cache
from fieldwise.data.sources import format_of
from fieldwise.distributed.group import Workers
from fieldwise.distributed.world import World
from fieldwise.errors import ConfigError, Stopped
from fieldwise.events import EpochEnd, Listener, Noted, StageStart, Warned, ignore
from fieldwise.features.encoder import Encoder
from fieldwise.io.disk import require_disk
from fieldwise.io.stores import local_path
from fieldwise.jobs.outputs import refuse_output_folder
from fieldwise.jobs.prepare.logs import with_tables
from fieldwise.jobs.prepare.part_rows import check_parts
from fieldwise.jobs.prepare.prepare import Prepared
from fieldwise.jobs.presets import left_out, with_preset, without, without_budget
from fieldwise.jobs.result import Epoch, MemberResult, Result
from fieldwise.jobs.run import RUN_NAME, RunFolder, read_result
from fieldwise.jobs.threads import use_threads
from fieldwise.jobs.train import team
from fieldwise.jobs.train.begin import by_steps, initial_weights, sample, solve, with_kind
from fieldwise.jobs.train.folds import CrossValidated, cross_validated
from fieldwise.jobs.train.initial import Pretrained, initial_of, lr_weights
from fieldwise.jobs.train.members import evaluate_members
from fieldwise.kernels.storage import decode_weights
from fieldwise.metrics import Metrics
from fieldwise.models.click import ClickModel, build_model
from fieldwise.models.config import ModelConfig
from fieldwise.models.load import DTYPES
from fieldwise.models.registry import model_label
from fieldwise.nn.deep import count_weights
from fieldwise.tables.config import TableOptimizerConfig
from fieldwise.training.checkpoint import Checkpoints
from fieldwise.training.config import TrainConfig
from fieldwise.training.cooccurrence import find_cooccurrence
from fieldwise.training.dependence import find_determined
from fieldwise.training.initial import leave_out_determined, set_base_rate, take_member, warm_start
from fieldwise.training.interrupt import Interrupt, Interrupted, noting_signals
from fieldwise.training.kept_state import KeptState, as_if_trained, keep_state, read_state, settle
from fieldwise.training.loop import fit
from fieldwise.training.saving import load_weights, save_weights
from fieldwise.training.score import calibrate, evaluate_model, fit_stacker
from fieldwise.training.state import TrainingState
from fieldwise.training.step import at_work
from fieldwise.training.unseen import fill_unseen

__all__ = ["Pretrained", "pretrain", "train"]

_EVALUATION_BATCH = 8192
_COMPARED_ROWS = 64
"""Rows to which a network is asked before it is published."""
_SECONDS_FOR_OTHERS = 60.0


class _Trained(NamedTuple):
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


def train(
    config: Config,
    out: str | Path,
    *,
    data: Any = None,
    overwrite: bool = False,
    listen: Listener = ignore,
    prepared: Prepared | None = None,
    lr_folder: Path | None = None,
    member_folder: Path | None = None,
    workers: Workers | None = None,
) -> Result:
    """Train the model of `config` into the run folder `out`, preparing the log first where that is not done.

    A run that was stopped or killed goes on from its newest checkpoint and ends as if it had never stopped.

    Parameters
    ----------
    config
        See `config.Config`.
    out
        The run folder. A finished run of the same configuration is left alone and its result returned.
    data
        Rows in memory in place of the configuration's files: a table of pyarrow, pandas or polars, a dict of columns, a
        list of dicts or a numpy structured array; or ``{"train": rows, "valid": rows, "test": rows}``. They are kept in
        the folder of prepared logs for a day, the last ten for longer (`jobs.prepare.logs`).
    overwrite
        Start anew.
    listen
        Called with every event.
    prepared
        The prepared log, where it is at hand.
    lr_folder
        The run folder of the logistic regression that the model starts from; ``pretrain`` inside `out` unless given.
    member_folder
        The run folder of the only trained member of a stack, with the same settings: where that run is finished, its
        weights are the member's, and nothing is trained again.
    workers
        The processes that train together, each calling this with the same arguments; the log and `out` lie where all of
        them see them. All return the same.

    Raises
    ------
    UserError
        The configuration, the log or the run folder is not what it must be.
    ResourceError
        Memory or disk has no room for it.
    Stopped
        By SIGTERM or Ctrl-C, after a checkpoint was saved.
    WorkerLost
        One of the workers has ended.
    """
    config = with_preset(with_tables(config, data))
    refuse_output_folder(local_path(out), config, RUN_NAME, is_run=True)
    use_threads(config.train.threads)
    if config.model.kind == "lr":  # what [pretrain] replaces in [train] says nothing of it
        config = msgspec.structs.replace(config, train=lr_settings(config))
    world = team.world_of(workers)
    config = team.with_device(config, world, listen)
    prepared = prepared or team.prepare_log(config, workers, listen)
    config = msgspec.structs.replace(config, model=config.model.for_schema(prepared.encoder.schema))
    check_parts(config, prepared, listen)
    _check_calibration(config, prepared)
    # Workers of a start before this one, on a host that was cut off, hold the folder until they see that they are left.
    patience = _SECONDS_FOR_OTHERS if workers is not None else 0.0
    run = RunFolder(out, config, prepared.folder.name, overwrite, patience)
    schema = prepared.encoder.schema
    with team.holding(run, world) as finished:
        if finished is not None:
            return msgspec.structs.replace(finished, read=finished.read or prepared.read, **schema.of_label)
        listen = team.recorded(run, world, listen)
        pretrained = None
        config = with_kind(config, prepared)
        dropped: list[str] = []
        if config.train.minutes is not None:
            of_model = config
            dropped = world.first(lambda: left_out(of_model, prepared, run.folder), list[str])
            config = without(config, dropped)
            if dropped:
                names = ", ".join(map(model_label, dropped))
                listen(Noted(f"left out, for train.minutes = {config.train.minutes:g}: {names}"))
        folds: CrossValidated | None = None
        if config.data.folds is not None and config.data.fold is None:
            of_folds = without_budget(config)
            folds = cross_validated(
                of_folds, run.folder / "folds", lambda own, out: train(own, out, listen=listen, workers=workers)
            )
            if folds.config.model.kind != config.model.kind:
                listen(Noted(f"{model_label('lr')} is trained on all rows: most folds have kept it"))
            config = folds.config
        if config.model.has_lr:
            pretrained = pretrain(config, lr_folder or run.folder / "pretrain", prepared, listen, workers)
        with noting_signals() as interrupt, team.giving_way(interrupt, world):
            samples = (lr_folder or run.folder / "pretrain").parent
            trained = _train_model(
                config,
                run,
                prepared,
                pretrained,
                samples,
                interrupt,
                world,
                listen,
                _finished(member_folder),
                [] if folds is None else folds.stacking_weights,
            )
        model, history, metrics = trained.model, trained.history, trained.metrics
        weights, others = count_weights(model)
        kept = trained.kept
        result = Result(
            model=config.model.kind,
            kept=None if kept is None else kept.model,
            units=config.model.units if config.model.locally_connected else None,
            parameters=model.table.num_parameters + weights if kept is None else kept.parameters,
            biases=others if kept is None else kept.biases,
            valid=metrics["valid"],
            test=metrics["test"],
            members=trained.members,
            pretrain_seconds=trained.pretrain_seconds,
            seconds_per_epoch=history.seconds_per_epoch,
            epochs=len(history.epochs),
            best_epoch=history.best_epoch,
            l2=history.epochs[history.best_epoch - 1].l2 if kept is None else kept.l2,
            examples_per_second=history.examples_per_second,
            history=Epoch.list_of(history.epochs),
            folder=str(run.folder),
            left_out=dropped,
            folds={} if folds is None else folds.metrics,
            read=prepared.read,
            **schema.of_label,
        )
        return team.finish(run, result, world)


def pretrain(
    config: Config, folder: Path, prepared: Prepared, listen: Listener = ignore, workers: Workers | None = None
) -> Pretrained:
    """Train logistic regression as ``[pretrain]`` says, as a run of its own in `folder`, and return its weights."""
    listen(StageStart("pretrain", "lr"))
    own = msgspec.structs.replace(config, model=ModelConfig(kind="lr"))
    result = train(own, folder, listen=listen, prepared=prepared, workers=workers)
    start = lr_weights(folder)
    if result.l2 is not None:
        start = initial_weights(start, result.l2, folder, prepared, team.world_of(workers), listen)
    return Pretrained(start, result.epochs * result.seconds_per_epoch, folder, result)


def _finished(member_folder: Path | None) -> Result | None:
    """Return the result of a member's run, where it is finished and kept a model of its own."""
    if member_folder is None or not (member_folder / RUN_NAME).exists():
        return None
    result = read_result(member_folder, with_bundle=True)
    return None if result is None or result.kept is not None else result


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


def lr_settings(config: Config) -> TrainConfig:
    """Return the training settings of logistic regression: those of ``[train]``, with what ``[pretrain]`` replaces."""
    own = config.pretrain
    return msgspec.structs.replace(
        config.train,
        epochs=own.epochs,
        patience=own.patience,
        table=own.table,
        dense=own.dense,
        schedule="constant",
        warmup=0.0,
        average_epochs=0.0,
    )


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


def _train_model(
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
) -> _Trained:
    """Train one model, leave it with the weights that were kept, which also lie in the run's bundle; evaluate it.

    Where there are no validation rows a stack is weighed by `stacking_weights`, if they are given.
    """
    model_config, encoder, folder = config.model, prepared.encoder, run.folder
    linear = model_config.kind == "lr"
    settings = lr_settings(config) if linear else config.train
    settings = settings.for_examples(prepared.parts["train"].num_examples)
    dtype = "float64" if settings.precision == "float64" else "float32"
    learnt_from = prepared.parts["train"]
    pairs = model_config.is_sampled or model_config.has_interactions(encoder.layout.num_fields)
    determined = find_determined(learnt_from) if pairs else []
    bags = find_cooccurrence(model_config, learnt_from, [field.name for field in encoder.schema.fields], determined)
    num_classes = len(encoder.schema.classes)
    model = build_model(model_config, encoder.layout, num_classes, settings.seed, DTYPES[dtype], bags)
    if model.stacker is not None and stacking_weights:
        model.stacker.weight[1:] = torch.tensor(stacking_weights)
    stepper = team.stepper_of(model, settings, world)
    if not linear:
        model.table.draw(settings.seed)
    model.calibration = Calibration.of_negative_rate(settings.negative_rate)
    set_base_rate(model, learnt_from)
    leave_out_determined(model, determined)
    pretrain_seconds, sampling_seconds = None, 0.0
    if pretrained is not None:
        warm_start(model, pretrained.start)
        pretrain_seconds = pretrained.seconds
    if model.sampled:
        sampling_seconds, num_sweeps = sample(config, samples, model, prepared, interrupt, world, listen)
        if model.trained:
            pretrain_seconds = sampling_seconds + (pretrain_seconds or 0.0)
    there = sum(path.stat().st_size for path in (*folder.glob("bundle/*"), *run.checkpoints.glob("*/*")))
    needed = _disk_bytes(model, encoder, settings.table) - there
    world.first(lambda: require_disk(needed, folder, "the model and two checkpoints"), type(None))
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
            listen(Warned(f"the saved model can be asked where torch is installed, and not be served: {reason}"))

    checkpoints = team.checkpoints_of(run, stepper, warn=lambda text: listen(Warned(text)))
    reason = by_steps(config, prepared) if linear else ""
    if reason is None:
        history = solve(config, model, prepared, checkpoints, interrupt, world, listen)
        before_evaluation()
        keep(1)
    elif member is not None and _takes(model, member):
        listen(Noted(f"{model_label(member.model)} of the stack is the one in {member.folder}"))
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
        history = _sampled_history(num_sweeps, sampling_seconds, learnt_from.num_examples)
    else:
        if reason:
            listen(Noted(f"logistic regression is trained by FTRL, not solved: {reason}"))
        initial = None
        if pretrained is not None and valid is not None:
            initial = initial_of(pretrained, settings.stop_on, writer, _in_order(valid, world), num_classes, world)
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
                checkpoints=checkpoints,
                interrupt=interrupt,
                report=folder / team.name_of("not_finite.jsonl", world),
                listen=listen,
            )
        if pretrained is not None and history.best_epoch == 0:
            result = pretrained.result
            own = model_label(model_config.kind)
            listen(Noted(f"{model_label('lr')} is kept: no weights of {own} were better on valid by more than noise"))
            _take_state(folder, pretrained.folder, world)
            return _Trained(
                model, history, {"valid": result.valid, "test": result.test}, [], pretrain_seconds, kept=result
            )
        if settings.average_epochs or history.best_position or history.best_epoch != len(history.epochs):
            bundle = open_bundle(folder / "bundle").verify()
            load_weights(model, bundle.table, bundle.dense)
            settle(model.table)
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
        raise Stopped("stopped while the trained model was evaluated; the same command goes on from there") from None
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
    return _Trained(model, history, metrics, members, pretrain_seconds)


def _sampled_history(sweeps: int, seconds: float, num_examples: int) -> TrainingState:
    """Return what happened to a model that was sampled and not trained: a sweep is an epoch, and the last is kept."""
    each = max(seconds / sweeps, 1e-9)
    epochs = [EpochEnd(number + 1, math.nan, each, num_examples / each, None) for number in range(sweeps)]
    return TrainingState(epochs=epochs, best_epoch=sweeps)


def _check_calibration(config: Config, prepared: Prepared) -> None:
    """Refuse what these rows cannot give."""
    settings, num_classes = config.train, len(prepared.encoder.schema.classes)
    if settings.calibration != "none" and "valid" not in prepared.parts:
        raise ConfigError(
            "a calibration is learned from validation rows, and there are none",
            where="train.calibration",
            got=settings.calibration,
            fix='set data.valid, in place of data.folds if there are some, or train.calibration = "none"',
        )
    if num_classes > 2 and (settings.calibration == "isotonic" or settings.negative_rate < 1):
        raise ConfigError(
            "this is defined for two classes only",
            where="train.calibration" if settings.calibration == "isotonic" else "train.negative_rate",
            got=f"{num_classes} classes",
            fix="use temperature" if settings.calibration == "isotonic" else "train on all rows",
        )


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
