"""``fieldwise doctor``: describe the machine, and compile the kernels ahead of time."""

from __future__ import annotations

import click

from fieldwise.cli.options import Verb, json_option, quiet_option
from fieldwise.cli.output import print_json


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
    """Print the processor, the memory, the versions of the dependencies, and where compiled kernels are cached.

    Kernels are compiled for the current processor when they are first used, and cached on disk. --compile compiles all
    of them now, for instance when a container image is built, so that no later command has to on the same type of
    processor. With NUMBA_CPU_NAME=generic in the environment, both now and later, the kernels run on every processor of
    this architecture; the resulting loss of speed is printed.

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
        machine, compilation = diagnosis.machine, diagnosis.compilation
        click.echo(f"processor  {machine.processor}; kernels are compiled for {diagnosis.compiled_for}")
        click.echo(f"cores      {machine.cores}")
        click.echo(f"memory     {machine.memory_bytes / 2**30:.1f} GiB")
        click.echo(f"system     {machine.system}")
        click.echo("versions   " + ", ".join(f"{name} {number}" for name, number in machine.versions.items()))
        click.echo("kernel caches, in the order in which they are searched:")
        for folder in diagnosis.folders:
            state = "writable" if folder.can_be_written else "not writable"
            click.echo(f"  {folder.path}: {folder.num_kernels} kernels, {state}")
        if compilation is not None:
            click.echo(
                f"compiled: {compilation.num_kernels} kernels for {compilation.processor}, in "
                f"{compilation.seconds:.0f} s of CPU time, including trial runs of the jobs"
            )
            for name, ratio in compilation.generic_ratio.items():
                click.echo(f"  {name}: {ratio:.2f} times as slow with NUMBA_CPU_NAME=generic")
    for problem in diagnosis.problems:
        click.echo(f"error: {problem}", err=True)
    if diagnosis.problems:
        click.get_current_context().exit(UserError.exit_code)
