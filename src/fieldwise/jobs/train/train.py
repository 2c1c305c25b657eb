"""``fieldwise train``: from a configuration to a saved, evaluated model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fieldwise.config import Config
from fieldwise.distributed.group import Workers
from fieldwise.errors import ConfigError
from fieldwise.events import Event, Listener, Noted, StageStart, Warned, ignore
from fieldwise.io.stores import local_path
from fieldwise.jobs.outputs import refuse_output_folder
from fieldwise.jobs.prepare.crosses import is_search_missing
from fieldwise.jobs.prepare.logs import with_tables
from fieldwise.jobs.prepare.part_rows import check_parts
from fieldwise.jobs.prepare.prepared import Prepared
from fieldwise.jobs.presets import MinutesBudget, budget_of, with_preset, without
from fieldwise.jobs.result import Epoch, Result
from fieldwise.jobs.run import RUN_NAME, RunFolder, read_result
from fieldwise.jobs.threads import use_threads
from fieldwise.jobs.train import team
from fieldwise.jobs.train.begin import initial_weights, with_kind
from fieldwise.jobs.train.folds import CrossValidated, cross_validated
from fieldwise.jobs.train.initial import Pretrained, lr_weights
from fieldwise.jobs.train.model import train_model
from fieldwise.jobs.train.settings import settings_of
from fieldwise.jobs.train.trees import check_trees, stacked_with_trees
from fieldwise.models.config import ModelConfig
from fieldwise.models.registry import model_label
from fieldwise.nn.deep import count_weights
from fieldwise.training.interrupt import noting_signals

__all__ = ["Pretrained", "pretrain", "train"]

_SECONDS_FOR_OTHERS = 60.0
_NOT_SEARCHED = (
    'crosses are not searched for, although data.crosses is "auto" (as train.preset = "best" has it): the prepared log '
    'that was given was made without them; leave it out, or prepare it with data.crosses = "auto"'
)


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
    """Train the model of a configuration, evaluate it, and save it to a run folder; prepare the log first if necessary.

    A run that was stopped or killed resumes from its newest checkpoint, and ends as if it had never been stopped.

    Parameters
    ----------
    config
        The configuration (`config.Config`), written in Python or read by `load_config`.
    out
        The run folder. A finished run of the same configuration is left alone, and its result is returned.
    data
        Rows in memory to use instead of the configured files: a pyarrow, pandas or polars table, a dict of columns, a
        list of dicts, or a numpy structured array; or ``{"train": rows, "valid": rows, "test": rows}``. They are kept
        in the folder of prepared logs for a day, the last ten for longer (`jobs.prepare.logs`).
    overwrite
        Replace an existing run, and start again.
    listen
        Called with every event.
    prepared
        The prepared log, if it has been opened already (`prepare`); crosses are not searched for in it.
    lr_folder
        The run folder of the logistic regression that the model starts from; ``pretrain`` inside `out` unless given.
    member_folder
        The run folder of the only trained member of a stack, with the same settings: where that run is finished, its
        weights are the member's, and nothing is trained again.
    workers
        The processes that train together, each calling this with the same arguments; the log and `out` lie where all of
        them see them. All return the same.

    Returns
    -------
    Result
        The metrics of each part (``result.test.auc``), the learning curve, times and the number of parameters.

    Raises
    ------
    ConfigError, DataError, ArtefactError
        The configuration, the log or the run folder is invalid; all are `UserError`.
    ResourceError
        There is not enough memory, or the disk is full.
    Stopped
        SIGTERM or Ctrl-C interrupted training, after a checkpoint was saved; the same call resumes it.
    WorkerLost
        One of the workers has ended.

    Examples
    --------
    >>> import tempfile
    >>> import fieldwise as fw
    >>> log = {"ad": ["car", "tea"] * 50, "click": [0, 1, 1, 1] * 25}
    >>> config = fw.Config(data=fw.DataConfig(label="click", valid=0.2, test=0.2), model=fw.ModelConfig(kind="lr"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = fw.train(config, f"{folder}/run", data=log)
    >>> result.model, result.test.num_examples > 0
    ('lr', True)
    """
    config = with_preset(with_tables(config, data))
    refuse_output_folder(local_path(out), config, RUN_NAME, is_run=True)
    use_threads(config.train.threads)
    # What [pretrain] replaces in [train] says nothing of logistic regression.
    config = msgspec.structs.replace(config, train=settings_of(config, config.model.kind))
    world = team.world_of(workers)
    config = team.with_device(config, world, listen)
    if prepared is not None and config.data.crosses == "auto" and is_search_missing(prepared):
        listen(Warned(_NOT_SEARCHED))
    prepared = prepared or team.prepare_log(config, workers, listen)
    config = msgspec.structs.replace(config, model=config.model.for_schema(prepared.encoder.schema))
    check_parts(config, prepared, listen)
    _check_calibration(config, prepared)
    check_trees(config, prepared, world, listen)
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
        budget = MinutesBudget([])
        if config.train.minutes is not None:
            of_model = config
            budget = world.first(lambda: budget_of(of_model, prepared, run.folder), MinutesBudget)
            config = without(config, budget.members)
            if budget.members:
                names = ", ".join(map(model_label, budget.members))
                listen(Noted(f"left out, for train.minutes = {config.train.minutes:g}: {names}"))
        folds: CrossValidated | None = None
        if config.data.folds is not None and config.data.fold is None:
            of_folds = config.changed("train", minutes=None)
            folds = cross_validated(
                of_folds, run.folder / "folds", lambda own, out: train(own, out, listen=listen, workers=workers)
            )
            if folds.config.model.kind != config.model.kind:
                listen(Noted(f"{model_label('lr')} is trained on all rows: most folds kept it"))
            config = folds.config
        if config.model.has_lr:
            pretrained = pretrain(config, lr_folder or run.folder / "pretrain", prepared, listen, workers)
        with noting_signals() as interrupt, team.giving_way(interrupt, world):
            samples = (lr_folder or run.folder / "pretrain").parent
            trained = train_model(
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
                budget.sampling_seconds if folds is None else None,  # of folds all rows are trained on to the end
            )
        model, history, metrics = trained.model, trained.history, trained.metrics
        weights, others = count_weights(model)
        kept, with_trees = trained.kept, None
        if config.train.trees != "none":
            listen(StageStart("train", config.train.trees))
            seconds = sum(epoch.seconds for epoch in history.epochs) + (trained.pretrain_seconds or 0.0)
            with_trees = stacked_with_trees(config, prepared, run.folder / "bundle", trained.members, seconds)
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
            penalties=_by_field(prepared, history.penalties) if kept is None else kept.penalties,
            examples_per_second=history.examples_per_second,
            history=Epoch.list_of(history.epochs),
            folder=str(run.folder),
            left_out=budget.members,
            folds={} if folds is None else folds.metrics,
            with_trees=with_trees,
            read=prepared.read,
            **schema.of_label,
        )
        return team.finish(run, result, world)


def pretrain(
    config: Config, folder: Path, prepared: Prepared, listen: Listener = ignore, workers: Workers | None = None
) -> Pretrained:
    """Train logistic regression as ``[pretrain]`` says, as a run of its own in `folder`, and return its weights."""
    listen(StageStart("pretrain", "lr"))
    without_trees = msgspec.structs.replace(config.train, trees="none")
    own = msgspec.structs.replace(config, model=ModelConfig(kind="lr"), train=without_trees)

    def once(event: Event) -> None:
        if event != Warned(_NOT_SEARCHED):
            listen(event)

    result = train(own, folder, listen=once, prepared=prepared, workers=workers)
    start = lr_weights(folder)
    if result.l2 is not None:
        names = [field.name for field in prepared.encoder.schema.fields]
        penalties = np.array([result.penalties.get(name, result.l2) for name in names])
        start = initial_weights(start, penalties, folder, prepared, team.world_of(workers), listen)
    return Pretrained(start, result.epochs * result.seconds_per_epoch, folder, result)


def _by_field(prepared: Prepared, penalties: list[float]) -> dict[str, float]:
    names = [field.name for field in prepared.encoder.schema.fields]
    return dict(zip(names, penalties, strict=True)) if penalties else {}


def _finished(member_folder: Path | None) -> Result | None:
    """Return the result of a member's run, where it is finished and kept a model of its own."""
    if member_folder is None or not (member_folder / RUN_NAME).exists():
        return None
    result = read_result(member_folder, with_bundle=True)
    return None if result is None or result.kept is not None else result


def _check_calibration(config: Config, prepared: Prepared) -> None:
    """Refuse what these rows cannot give."""
    settings, num_classes = config.train, len(prepared.encoder.schema.classes)
    if settings.calibration != "none" and "valid" not in prepared.parts:
        raise ConfigError(
            "a calibration needs validation rows, and there are none",
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
