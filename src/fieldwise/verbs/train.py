"""``fieldwise train``: from a configuration to a saved, evaluated model."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import torch

from fieldwise.bundle import BundleWriter, open_bundle, set_calibration
from fieldwise.calibration import Calibration, Method
from fieldwise.config import Config
from fieldwise.data.batches import Batches
from fieldwise.data.cache import Cache
from fieldwise.disk import require_disk
from fieldwise.errors import ConfigError, Stopped
from fieldwise.features.encoder import Encoder
from fieldwise.kernels.storage import decode_weights
from fieldwise.kernels.threads import set_num_threads
from fieldwise.metrics import Metrics
from fieldwise.models.click import ClickModel, build_model
from fieldwise.models.config import ModelConfig
from fieldwise.models.load import DTYPES, dense_arrays, restore
from fieldwise.nn.deep import count_weights
from fieldwise.optim.dense import build_dense_optimizer
from fieldwise.optim.table import TableOptimizer
from fieldwise.training.checkpoint import Checkpoints
from fieldwise.training.config import TrainConfig
from fieldwise.training.events import Listener, Stage, Warned, ignore
from fieldwise.training.interrupt import Interrupt, Interrupted, noting_signals
from fieldwise.training.linear import make_stepper
from fieldwise.training.loop import History, fit
from fieldwise.training.score import evaluate_model, predict_logits
from fieldwise.training.start import LrStart, start_bias, start_from_lr
from fieldwise.verbs.prepare import Prepared, prepare
from fieldwise.verbs.run import Result, RunFolder

__all__ = ["Pretrained", "pretrain", "train"]

_EVALUATION_BATCH = 8192


class Pretrained(NamedTuple):
    """A trained logistic regression, and what its training took."""

    start: LrStart
    seconds: float


class _Trained(NamedTuple):
    """A model with the weights that were kept, how it came to them, and the metrics of each part."""

    model: ClickModel
    history: History
    metrics: dict[str, Metrics | None]


def train(
    config: Config,
    out: str | Path,
    *,
    overwrite: bool = False,
    listen: Listener = ignore,
    prepared: Prepared | None = None,
    lr_folder: Path | None = None,
) -> Result:
    """Train the model of `config` into the run folder `out`, preparing the log first where that is not done.

    A run that was stopped or killed goes on from its newest checkpoint and ends as if it had never stopped.

    Parameters
    ----------
    config
        See `config.Config`.
    out
        The run folder. A finished run of the same configuration is left alone and its result returned.
    overwrite
        Start anew.
    listen
        Called with every event.
    prepared
        The prepared log, where it is at hand.
    lr_folder
        The run folder of the logistic regression that the model starts from; ``pretrain`` inside `out` unless given.

    Raises
    ------
    UserError
        The configuration, the log or the run folder is not what it must be.
    ResourceError
        Memory or disk has no room for it.
    Stopped
        By SIGTERM or Ctrl-C, after a checkpoint was saved.
    """
    use_threads(config.train.threads)
    prepared = prepared or prepare(config, listen=listen)
    _check_calibration(config, prepared)
    with RunFolder(out, config, prepared.folder.name, overwrite) as run:
        if run.result is not None:
            Checkpoints(run.checkpoints).remove()  # the process that finished may have died before it did so
            return run.result
        pretrained = None
        if config.model.locally_connected and config.model.start == "lr":
            pretrained = pretrain(config, lr_folder or run.folder / "pretrain", prepared, listen)
        with noting_signals() as interrupt:
            trained = _train_model(config, run, prepared, pretrained, interrupt, listen)
        model, history = trained.model, trained.history
        weights, others = count_weights(model)
        result = Result(
            model=config.model.kind,
            units=config.model.units if config.model.locally_connected else None,
            parameters=model.table.num_parameters + weights,
            biases=others,
            valid=trained.metrics["valid"],
            test=trained.metrics["test"],
            pretrain_seconds=pretrained.seconds if pretrained else None,
            seconds_per_epoch=history.seconds_per_epoch,
            epochs=len(history.epochs),
            best_epoch=history.best_epoch,
            examples_per_second=history.examples_per_second,
            folder=str(run.folder),
        )
        run.finish(result)
        Checkpoints(run.checkpoints).remove()
        return result


def pretrain(config: Config, folder: Path, prepared: Prepared, listen: Listener = ignore) -> Pretrained:
    """Train logistic regression as ``[pretrain]`` says, as a run of its own in `folder`, and return its weights."""
    listen(Stage("pretrain", "lr"))
    own = msgspec.structs.replace(config, model=ModelConfig(kind="lr"))
    result = train(own, folder, listen=listen, prepared=prepared)
    bundle = open_bundle(folder).verify()
    return Pretrained(
        LrStart(decode_weights(bundle.table), bundle.dense["bias"]), result.epochs * result.seconds_per_epoch
    )


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
    )


def evaluate_part(model: ClickModel, prepared: Prepared, name: str, interrupt: Interrupt) -> Metrics | None:
    """Return the metrics of one part of the log; None where there is no such part."""
    if name not in prepared.parts:
        return None
    batches = Batches(prepared.parts[name], _EVALUATION_BATCH, shuffle=False)
    return evaluate_model(model, interrupt.watch(batches.epoch(0)))


def use_threads(count: int | None) -> None:
    """Use `count` threads for the kernels and for torch; None leaves both as they are."""
    if count is not None:
        set_num_threads(count)
        torch.set_num_threads(count)


def _train_model(
    config: Config,
    run: RunFolder,
    prepared: Prepared,
    pretrained: Pretrained | None,
    interrupt: Interrupt,
    listen: Listener,
) -> _Trained:
    """Train one model, leave it with the weights that were kept, which also lie in the run's bundle; evaluate it."""
    model_config, encoder, folder = config.model, prepared.encoder, run.folder
    linear = model_config.kind in ("lr", "lr-network")
    settings = lr_settings(config) if linear else config.train
    dtype = "float64" if settings.precision == "float64" else "float32"
    model = build_model(model_config, encoder.layout, len(encoder.schema.classes), settings.seed, DTYPES[dtype])
    table_optimizer = TableOptimizer(model.table, settings.table, settings.batch_size, settings.seed)
    if not linear:
        table_optimizer.draw(settings.seed)
    start_bias(model, prepared.parts["train"])
    model.calibration = Calibration.of_negative_rate(settings.negative_rate)
    with torch.no_grad():  # among the negatives that are left, clicks are more frequent
        model.bias.sub_(model.calibration.offset)
    if pretrained is not None:
        start_from_lr(model, table_optimizer, pretrained.start)
    there = sum(path.stat().st_size for path in (*folder.glob("bundle/*"), *run.checkpoints.glob("*/*")))
    require_disk(_disk_bytes(model, encoder) - there, folder, "the model and two checkpoints")
    listen(Stage("train", model_config.kind))
    csv = msgspec.to_builtins(config.data.csv)
    calibration = msgspec.to_builtins(model.calibration)
    writer = BundleWriter(folder / "bundle", encoder, msgspec.to_builtins(model_config), dtype, csv, calibration)
    valid = prepared.parts.get("valid")
    dense_optimizer = build_dense_optimizer(model.parameters(), settings.dense)
    stepper = make_stepper(model, table_optimizer, dense_optimizer, settings.precision == "bfloat16")
    batches = Batches(
        prepared.parts["train"], settings.batch_size, seed=settings.seed, negative_rate=settings.negative_rate
    )
    checkpoints = Checkpoints(run.checkpoints, warn=lambda text: listen(Warned(text)))
    # Dropout draws from torch's global generator: seeded here, restored afterwards.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        history = fit(
            stepper,
            batches,
            Batches(valid, _EVALUATION_BATCH, shuffle=False) if valid else None,
            settings,
            keep=lambda number: writer.save(number, model.table.weights, dense_arrays(model)),
            checkpoints=checkpoints,
            interrupt=interrupt,
            report=folder / "not_finite.jsonl",
            listen=listen,
        )
    if history.best_epoch != len(history.epochs):
        restore(model, open_bundle(folder / "bundle").verify())
    try:
        if settings.calibration != "none" and valid is not None:
            model.calibration = _calibrated(model, settings.calibration, valid, interrupt)
            set_calibration(folder / "bundle", msgspec.to_builtins(model.calibration))
        listen(Stage("evaluate", model_config.kind))
        metrics = {part: evaluate_part(model, prepared, part, interrupt) for part in ("valid", "test")}
    except Interrupted:
        # What goes on from here finds nothing left to train, takes the weights that were kept, and evaluates.
        num_steps = len(history.epochs) * batches.num_batches
        checkpoints.save(num_steps, model.table.rows, stepper.arrays(), msgspec.to_builtins(history))
        raise Stopped("stopped while the trained model was evaluated; the same command goes on from there") from None
    return _Trained(model, history, metrics)


def _calibrated(model: ClickModel, method: Method, valid: Cache, interrupt: Interrupt) -> Calibration:
    """Return the model's calibration after it has learned from the validation rows."""
    examples = list(interrupt.watch(Batches(valid, _EVALUATION_BATCH, shuffle=False).epoch(0)))
    logits = np.concatenate(list(predict_logits(model, interrupt.watch(each.batch for each in examples))))
    labels = np.concatenate([each.labels for each in examples if each.labels is not None])
    weights = [each.weights for each in examples if each.weights is not None]
    return model.calibration.fitted(method, logits, labels, np.concatenate(weights) if weights else None)


def _check_calibration(config: Config, prepared: Prepared) -> None:
    """Refuse what these rows cannot give."""
    settings, num_classes = config.train, len(prepared.encoder.schema.classes)
    if settings.calibration != "none" and "valid" not in prepared.parts:
        raise ConfigError(
            "a calibration is learned from validation rows, and there are none",
            where="train.calibration",
            got=settings.calibration,
            fix='set data.valid, or train.calibration = "none"',
        )
    if num_classes > 2 and (settings.calibration == "isotonic" or settings.negative_rate < 1):
        raise ConfigError(
            "this is defined for two classes only",
            where="train.calibration" if settings.calibration == "isotonic" else "train.negative_rate",
            got=f"{num_classes} classes",
            fix="use temperature" if settings.calibration == "isotonic" else "train on all rows",
        )


def _disk_bytes(model: ClickModel, encoder: Encoder) -> int:
    """Return the least that a run folder needs: a bundle, a checkpoint, and the next one while it is written.

    Dense weights count three times in a checkpoint, with the two moments of Adam.
    """
    of_encoder = sum(array.nbytes for array in encoder.arrays().values())
    dense = sum(int(tensor.nbytes) for tensor in model.state_dict().values())
    table = model.table
    return of_encoder + int(table.weights.nbytes) + dense + 2 * (int(table.rows.nbytes) + 3 * dense)
