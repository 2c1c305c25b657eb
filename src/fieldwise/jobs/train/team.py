"""What one process does by itself and several workers do together: prepare, hold the run folder, save, finish."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TypeVar, cast

import msgspec

from fieldwise.config import Config
from fieldwise.distributed.device_table import DeviceShardedTable
from fieldwise.distributed.group import Workers
from fieldwise.distributed.table import ShardedTable
from fieldwise.distributed.traffic import Traffic
from fieldwise.events import Listener, Warned
from fieldwise.jobs.prepare.prepare import Prepared, prepare
from fieldwise.jobs.prepare.together import prepare_together
from fieldwise.jobs.run import Result, RunFolder
from fieldwise.kernels.threads import available_cores, num_threads, set_num_threads
from fieldwise.models.click import ClickModel
from fieldwise.nn.cuda.table import DeviceTable
from fieldwise.optim.dense import build_dense_optimizer
from fieldwise.optim.device import DeviceTableOptimizer
from fieldwise.optim.table import TableOptimizer
from fieldwise.training.checkpoint import Checkpoints
from fieldwise.training.config import TrainConfig
from fieldwise.training.device import choose_device, missing_for_cuda, own_gpu, place_model
from fieldwise.training.device_step import DeviceStepper
from fieldwise.training.interrupt import Interrupt
from fieldwise.training.linear import make_stepper
from fieldwise.training.precision import takes_bfloat16
from fieldwise.training.sharded import ShardedStepper, share_statistics
from fieldwise.training.sharded_checkpoint import ShardedCheckpoints
from fieldwise.training.step import Stepper

__all__ = ["Team"]

Made = TypeVar("Made")

_SECONDS_FOR_OTHERS = 60.0


class Team:
    """The workers of a training; one worker alone, or none, is an ordinary process without communication.

    Attributes
    ----------
    share
        Which part of every batch is this worker's, of how many.
    patience
        Seconds to wait for a run folder: workers of a start before this one, on a host that was cut off, hold it until
        they see that the training goes on without them.
    """

    def __init__(self, workers: Workers | None) -> None:
        self.workers = workers if workers is not None and workers.size > 1 else None
        self.patience = _SECONDS_FOR_OTHERS if workers is not None else 0.0
        self.share = (0, 1) if self.workers is None else (self.workers.rank, self.workers.size)

    def first(self, make: Callable[[], Made], type: type[Made]) -> Made:
        """Return what `make` returns on the first worker (`Workers.first`)."""
        return make() if self.workers is None else self.workers.first(make, type)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Raise on all workers what the block raises on one (`Workers.together`)."""
        with nullcontext() if self.workers is None else self.workers.together():
            yield

    @contextmanager
    def all_threads(self) -> Iterator[None]:
        """Let the kernels use the threads of all workers of this host, which wait meanwhile."""
        own, num_local = num_threads(), 1 if self.workers is None else self.workers.num_local
        if num_local > 1:
            set_num_threads(max(min(own * num_local, available_cores()), own))
        try:
            yield
        finally:
            set_num_threads(own)

    def with_device(self, config: Config, listen: Listener) -> Config:
        """Return the configuration with the device chosen, before any work is done: the same one on all workers.

        Raises
        ------
        ConfigError
            What it asks for cannot be had here, or on another worker.
        """

        def chosen() -> str:
            name = config.train.device
            if choose_device(name) is None and name == "auto":
                missing = missing_for_cuda()
                listen(Warned(f"no GPU is used: {missing.what if missing else 'none'}"))
                return "cpu"
            return "cuda" if name == "auto" else name

        name = self.first(chosen, str)
        with self.together():
            device = choose_device(name)
            if device is not None and device.type == "cuda" and self.workers is not None:
                own_gpu(self.workers.local_rank, self.workers.num_local)
        return msgspec.structs.replace(config, train=msgspec.structs.replace(config.train, device=name))

    def name_of(self, name: str) -> str:
        """Return a file's name with the number of the worker in it, where there are several."""
        path, (rank, size) = Path(name), self.share
        return name if size == 1 else f"{path.stem}-{rank}-of-{size}{path.suffix}"

    def prepare(self, config: Config, listen: Listener) -> Prepared:
        """Prepare the log, each worker a part of its files, or open what was prepared."""
        if self.workers is None:
            return prepare(config, listen=listen)
        return prepare_together(config, self.workers, listen=listen)

    @contextmanager
    def holding(self, run: RunFolder) -> Iterator[Result | None]:
        """Hold the run folder, and yield the result where the run is finished."""
        with ExitStack() as held:

            def take() -> Result | None:
                held.enter_context(run)
                if run.result is not None:
                    Checkpoints(run.checkpoints).remove()  # the process that finished may have died before it did so
                return run.result

            yield self.first(take, Result | None)  # type: ignore[arg-type]

    @contextmanager
    def giving_way(self, interrupt: Interrupt) -> Iterator[None]:
        """Let this worker end, when it was asked to stop, also while it waits for the first."""
        if self.workers is not None:
            interrupt.alone = False
            self.workers.stopping = lambda: interrupt.requested
        yield
        if self.workers is not None:
            self.workers.stopping = lambda: False

    def stepper(self, model: ClickModel, settings: TrainConfig) -> Stepper:
        """Return what moves a model whose weights are not set yet."""
        device = choose_device(settings.device)
        if device is not None:
            place_model(model, device)
        bfloat16 = takes_bfloat16(settings.precision, model)
        if device is not None and self.workers is None:
            there = DeviceTableOptimizer(
                cast(DeviceTable, model.table), settings.table, settings.batch_size, settings.seed
            )
            dense = build_dense_optimizer(model.parameters(), settings.dense)
            return DeviceStepper(model, there, dense, bfloat16)
        if self.workers is None:
            table = TableOptimizer(model.table, settings.table, settings.batch_size, settings.seed)
            return make_stepper(model, table, build_dense_optimizer(model.parameters(), settings.dense), bfloat16)
        self.workers.traffic = Traffic()
        with self.workers.together():
            sharded = (ShardedTable if device is None else DeviceShardedTable)(
                model.table,
                settings.table,
                settings.batch_size,
                self.workers,
                bfloat16=settings.wire == "bfloat16",
                num_kept=model.num_frozen,
                rounding_seed=settings.seed,
            )
        share_statistics(model, sharded)
        dense = build_dense_optimizer(model.parameters(), settings.dense)
        return ShardedStepper(model, sharded, dense, bfloat16, settings.seed)

    def checkpoints(self, run: RunFolder, stepper: Stepper, warn: Callable[[str], None]) -> Checkpoints:
        """Return where training goes on from."""
        if isinstance(stepper, ShardedStepper):
            return ShardedCheckpoints(
                run.checkpoints, stepper.sharded.workers, stepper.sharded.shards, warn=warn, run=run.name
            )
        return Checkpoints(run.checkpoints, warn=warn, run=run.name)

    def finish(self, run: RunFolder, result: Result) -> Result:
        """Record the result and remove the checkpoints."""
        if self.workers is not None:
            result = msgspec.structs.replace(result, workers=self.workers.report())

        def record() -> Result:
            run.finish(result)
            Checkpoints(run.checkpoints).remove()
            return result

        return self.first(record, Result)
