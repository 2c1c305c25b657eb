"""``fieldwise doctor``: describe the machine, and compile the kernels ahead of time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from fieldwise.cli.options import Verb, json_option, quiet_option
from fieldwise.cli.output import print_json

if TYPE_CHECKING:
    from fieldwise.jobs.doctor.doctor import Diagnosis


@click.command(
    name="doctor",
    cls=Verb,
    short_help="Describe this machine; compile all kernels ahead of time.",
    examples=(
        "fieldwise doctor",
        "fieldwise doctor --compile",
        "NUMBA_CPU_NAME=generic fieldwise doctor --compile",
    ),
)
@click.option("--compile", "compile_", is_flag=True, help="Compile all kernels now.")
@quiet_option
@json_option
def command(compile_: bool, quiet: bool, as_json: bool) -> None:
    """Print what this machine has and what that means for speed: processor, GPU, memory, disk, versions, caches, and
    what each extra would add.

    Kernels are compiled for the current processor when they are first used, and cached on disk. --compile compiles all
    of them now that what is installed needs (with fieldwise[serve] alone, those that answer), for instance when a
    container image is built, so that no later command has to on the same type of processor. With NUMBA_CPU_NAME=generic
    in the environment, both now and later, the kernels run on every processor of this architecture; the resulting loss
    of speed is printed.

    The exit code is 2 if a problem was found; the message says how to fix it.
    """
    from fieldwise.errors import UserError
    from fieldwise.jobs.doctor.doctor import compile_kernels, diagnose

    def listen(text: str) -> None:
        if not quiet:
            click.echo(f"compiling kernels: {text}", err=True)

    diagnosis = diagnose(compile_kernels(listen) if compile_ else None)
    if as_json:
        import msgspec

        print_json(msgspec.to_builtins(diagnosis))
    else:
        click.echo("\n".join(_lines(diagnosis)))
    for problem in diagnosis.problems:
        click.echo(f"error: {problem}", err=True)
    if diagnosis.problems:
        click.get_current_context().exit(UserError.exit_code)


def _lines(diagnosis: Diagnosis) -> Iterator[str]:
    from fieldwise.io.memory import readable_bytes

    machine, hardware, compilation = diagnosis.machine, diagnosis.hardware, diagnosis.compilation
    free = "" if hardware.available_bytes is None else f", {hardware.available_bytes / 2**30:.1f} GiB available"
    yield f"processor  {machine.processor}; kernels are compiled for {diagnosis.compiled_for}"
    yield f"cores      {machine.cores}, of which {machine.threads} are used; load {machine.load:.1f}"
    yield f"memory     {machine.memory_bytes / 2**30:.1f} GiB{free}"
    for gpu in hardware.gpus:
        yield f"GPU        {gpu.name}, {gpu.memory_bytes / 2**30:.1f} GiB"
    yield f"system     {machine.system}"
    yield "versions   " + ", ".join(f"{name} {number}" for name, number in machine.versions.items())
    yield "speed:"
    yield from (f"  {sentence}" for sentence in hardware.meaning)
    yield "free disk space:"
    for disk in hardware.disks:
        room = "unknown" if disk.free_bytes is None else readable_bytes(disk.free_bytes)
        yield f"  {disk.path} ({disk.what}): {room}"
    yield "kernel caches, in the order in which they are searched:"
    for folder in diagnosis.folders:
        state = "writable" if folder.can_be_written else "not writable"
        yield f"  {folder.path}: {folder.num_kernels} kernels, {state}"
    yield "extras (pip install 'fieldwise[NAME]'):"
    for extra in filter(lambda extra: extra.name, diagnosis.extras):
        lacking = [library.name for library in extra.libraries if not library.recent]
        yield f"  {extra.name}: {extra.adds}; {'lacks ' + ', '.join(lacking) if lacking else 'installed'}"
    if compilation is not None:
        yield (
            f"compiled: {compilation.num_kernels} kernels for {compilation.processor}, in "
            f"{compilation.seconds:.0f} s of CPU time, including trial runs of the jobs"
        )
        if compilation.left_out is not None:
            lacking_extras = "train" if compilation.left_out == "training" else "train,serve"
            yield f"  without those of {compilation.left_out}, which need pip install 'fieldwise[{lacking_extras}]'"
        for name, ratio in compilation.generic_ratio.items():
            yield f"  {name}: {ratio:.2f} times as slow with NUMBA_CPU_NAME=generic"
