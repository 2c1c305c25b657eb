"""What a training does around its steps, alone or as one of several workers: prepare, hold the run folder, finish."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from fieldwise.config import Config
from fieldwise.distributed.group import Workers
from fieldwise.distributed.traffic import Traffic
from fieldwise.distributed.world import ALONE, World
from fieldwise.events import Listener, Warned
from fieldwise.jobs.prepare.prepare import prepare
from fieldwise.jobs.prepare.prepared import Prepared
from fieldwise.jobs.prepare.together import prepare_together
from fieldwise.jobs.result import Result
from fieldwise.jobs.run import RunFolder
from fieldwise.jobs.train.record import RECORD_NAME, Recorder
from fieldwise.kernels.threads import available_cores, num_threads, set_num_threads
from fieldwise.models.click import ClickModel
from fieldwise.training.checkpoint import Checkpoints
from fieldwise.training.config import TrainConfig
from fieldwise.training.device import choose_device, missing_for_cuda, own_gpu
from fieldwise.training.interrupt import Interrupt
from fieldwise.training.make import make_stepper
from fieldwise.training.step import Stepper

__all__ = [
    "all_threads",
    "checkpoints_of",
    "finish",
    "giving_way",
    "holding",
    "name_of",
    "prepare_log",
    "recorded",
    "stepper_of",
    "with_device",
    "world_of",
]


def world_of(workers: Workers | None) -> World:
    """Return the workers of a training; one alone needs no communication."""
    return workers if workers is not None and workers.size > 1 else ALONE


@contextmanager
def all_threads(world: World) -> Iterator[None]:
    """Let the kernels use the threads of all workers of this host, which wait meanwhile."""
    own = num_threads()
    if world.num_local > 1:
        set_num_threads(max(min(own * world.num_local, available_cores()), own))
    try:
        yield
    finally:
        set_num_threads(own)


def with_device(config: Config, world: World, listen: Listener) -> Config:
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

    name = world.first(chosen, str)
    with world.together():
        device = choose_device(name)
        if device is not None and device.type == "cuda" and world.size > 1:
            own_gpu(world.local_rank, world.num_local)
    return config.changed("train", device=name)


def prepare_log(config: Config, workers: Workers | None, listen: Listener) -> Prepared:
    """Prepare the log, each worker a part of its files, or open what was prepared."""
    if workers is None or workers.size == 1:
        return prepare(config, listen=listen)
    return prepare_together(config, workers, listen=listen)


@contextmanager
def holding(run: RunFolder, world: World) -> Iterator[Result | None]:
    """Hold the run folder, and yield the result where the run is finished."""
    with ExitStack() as held:

        def take() -> Result | None:
            held.enter_context(run)
            if run.result is not None:
                Checkpoints(run.checkpoints).remove()  # the process that finished may have died before it did so
            return run.result

        yield world.first(take, Result | None)  # type: ignore[arg-type]


@contextmanager
def giving_way(interrupt: Interrupt, world: World) -> Iterator[None]:
    """Let this worker end, when it was asked to stop, also while it waits for the first."""
    if world.size > 1:
        interrupt.alone = False
        world.stopping = lambda: interrupt.requested
    yield
    world.stopping = lambda: False


def stepper_of(model: ClickModel, settings: TrainConfig, world: World) -> Stepper:
    """Return what moves a model, after its table was placed; weights of the table are zero."""
    world.traffic = Traffic()
    return make_stepper(
        model,
        settings.table,
        settings.dense,
        settings.batch_size,
        world=world,
        device=choose_device(settings.device),
        precision=settings.precision,
        seed=settings.seed,
        comm_bfloat16=settings.comm_dtype == "bfloat16",
    )


def checkpoints_of(run: RunFolder, stepper: Stepper, warn: Callable[[str], None]) -> Checkpoints:
    """Return where training goes on from."""
    return Checkpoints(run.checkpoints, warn=warn, run=run.name, world=stepper.world, part=stepper.table.part)


def recorded(run: RunFolder, world: World, listen: Listener) -> Listener:
    """Return a listener that also writes what happens into the run folder, on the first worker."""
    return Recorder(run.folder / RECORD_NAME, listen) if world.rank == 0 else listen


def name_of(name: str, world: World) -> str:
    """Return a file's name with the number of the worker in it, where there are several."""
    path = Path(name)
    return name if world.size == 1 else f"{path.stem}-{world.rank}-of-{world.size}{path.suffix}"


def finish(run: RunFolder, result: Result, world: World) -> Result:
    """Record the result and remove the checkpoints."""
    if world.size > 1:
        result = msgspec.structs.replace(result, workers=world.report())

    def record() -> Result:
        run.finish(result)
        Checkpoints(run.checkpoints).remove()
        return result

    return world.first(record, Result)
