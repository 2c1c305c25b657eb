"""``fieldwise doctor``: look at the machine, and compile the kernels beforehand."""

from __future__ import annotations

import click

from fieldwise.cli.options import Verb, json_option, quiet_option


@click.command(
    name="doctor",
    cls=Verb,
    short_help="Look at this machine; compile all kernels beforehand.",
    examples=(
        "fieldwise doctor",
        "fieldwise doctor --compile",
        "NUMBA_CPU_NAME=generic fieldwise doctor --compile",
    ),
)
@click.option("--compile", "compile_", is_flag=True, help="Compile all kernels, so that no verb has to.")
@quiet_option
@json_option
def command(compile_: bool, quiet: bool, as_json: bool) -> None:
    """Print what fieldwise finds on this machine: cores, versions, and where compiled kernels are kept.

    Kernels are compiled when they are first used, for the processor that they run on, and kept. With --compile all of
    them are compiled now: run it as the user who installs, when an image is built, say, and nobody waits for them on
    the same kind of processor. With NUMBA_CPU_NAME=generic in the environment, then and later, they serve all
    processors of this architecture; what that costs in speed is printed.

    The exit code is 2 where something is wrong; the message says what to do.
    """
    from fieldwise.errors import UserError
    from fieldwise.jobs.doctor.doctor import compile_kernels, diagnose

    def listen(text: str) -> None:
        if not quiet:
            click.echo(f"compiling for {text}", err=True)

    diagnosis = diagnose(compile_kernels(listen) if compile_ else None)
    if as_json:
        import msgspec

        from fieldwise.cli.output import print_json

        print_json(msgspec.to_builtins(diagnosis))
    else:
        machine, compilation = diagnosis.machine, diagnosis.compilation
        click.echo(f"processor  {machine.processor}; kernels are compiled for {diagnosis.compiled_for}")
        click.echo(f"cores      {machine.cores}")
        click.echo(f"memory     {machine.memory_bytes / 2**30:.1f} GiB")
        click.echo(f"system     {machine.system}")
        click.echo("versions   " + ", ".join(f"{name} {number}" for name, number in machine.versions.items()))
        click.echo("compiled kernels, in the order in which folders are tried:")
        for folder in diagnosis.folders:
            state = "can be written" if folder.can_be_written else "cannot be written"
            click.echo(f"  {folder.path}: {folder.num_kernels} kernels, {state}")
        if compilation is not None:
            click.echo(
                f"compiled: {compilation.num_kernels} kernels for {compilation.processor}, in "
                f"{compilation.seconds:.0f} s of processor time, trial runs of the verbs included"
            )
            for name, ratio in compilation.generic_ratio.items():
                click.echo(f"  {name}: with NUMBA_CPU_NAME=generic {ratio:.2f} times the time")
    for problem in diagnosis.problems:
        click.echo(f"error: {problem}", err=True)
    if diagnosis.problems:
        click.get_current_context().exit(UserError.exit_code)
