"""The command line: one thin file per verb, and the one place where exceptions become exit codes.

===  =======================================================================
0    success
1    internal error: the traceback, and a request to report it
2    invalid input: a message, never a traceback
3    interrupted, or the output pipe was closed; rerun the command to resume
===  =======================================================================

A verb's module imports only click when it is loaded and everything else when it runs, so that ``--help`` is fast.
"""

from __future__ import annotations

import atexit
import errno
import gc
import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from fieldwise import __version__
from fieldwise.cli.options import write_examples
from fieldwise.errors import EXTRAS, Stopped, UserError, did_you_mean

__all__ = ["VERBS", "main"]

VERBS = (
    "init",
    "config",
    "check",
    "prepare",
    "train",
    "compare",
    "tune",
    "report",
    "evaluate",
    "predict",
    "explain",
    "export",
    "serve",
    "update",
    "history",
    "rollback",
    "forget",
    "verify",
    "params",
    "bench",
    "datasets",
    "doctor",
    "completion",
)
"""The verbs in the order of a typical project; each is the object ``command`` of the module of the same name."""

_OUTSIDE = (
    errno.EACCES,
    errno.EDQUOT,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
)
"""Errors whose cause is the machine or the given path, not fieldwise."""


_EXAMPLES = (
    "fieldwise init clicks.parquet --label click > fieldwise.toml",
    "fieldwise check fieldwise.toml",
    "fieldwise compare fieldwise.toml --out runs/first",
    "fieldwise predict runs/first/lc-dnn-16 --data new.parquet --out predictions.csv",
)


# When it ends, Python looks for cycles among 400,000 objects of torch: 1.1 s of the processor that give nothing back.
atexit.register(gc.freeze)


class Verbs(click.Group):
    """A click group that imports a verb's module on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all verbs."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return the command of a verb, or None if there is no such verb."""
        if name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"{__name__}.{name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb of a command line; refuse one that there is not with the nearest."""
        known = args[0].startswith("-") or ctx.resilient_parsing or self.get_command(ctx, args[0]) is not None
        if not known:
            ctx.fail(f"No such command {args[0]!r}: {did_you_mean(args[0], VERBS)}")
        return super().resolve_command(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a typical session, from a raw log to probabilities, and the exit codes."""
        write_examples(formatter, _EXAMPLES)
        with formatter.section("Exit codes"):
            formatter.write_text(
                "0 success, 1 internal error, 2 invalid input, 3 interrupted (rerun the command to resume)"
            )

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb and turn its exceptions into a message and an exit code; click's own exceptions pass through."""
        try:
            with _interrupted_by_sigterm():
                return super().invoke(ctx)
        except (UserError, Stopped) as error:
            _end(ctx, f"error: {error}", error.exit_code)
        except KeyboardInterrupt:
            _end(ctx, "\ninterrupted; run the same command again to resume", Stopped.exit_code)
        except MemoryError as error:
            _end(ctx, f"error: out of memory: {error or 'allocation failed'}", UserError.exit_code)
        except BrokenPipeError:
            # The reader has closed the pipe; what Python still buffers for it must not be written at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(Stopped.exit_code)
        except OSError as error:
            if error.errno not in _OUTSIDE:
                _fault(ctx)
            place = f"\n  where: {error.filename}" if error.filename else ""
            _end(ctx, f"error: cannot access a file: {error.strerror}{place}", UserError.exit_code)
        except ModuleNotFoundError as error:
            name = (error.name or "").partition(".")[0]
            if name not in EXTRAS:
                _fault(ctx)
            message = f"error: {name} is not installed: pip install 'fieldwise[{EXTRAS[name]}]'"
            _end(ctx, message, UserError.exit_code)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception:
            _fault(ctx)


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Let SIGTERM act like Ctrl-C: training saves a checkpoint (`training.interrupt`), other verbs clean up and end."""
    if threading.current_thread() is not threading.main_thread():  # no other may install signal handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def _end(ctx: click.Context, message: str, exit_code: int) -> NoReturn:
    click.echo(message, err=True)
    ctx.exit(exit_code)


def _fault(ctx: click.Context) -> NoReturn:
    """Report the exception that is being handled as a bug."""
    message = f"This is a bug in fieldwise {__version__}. Please report it with the traceback above."
    _end(ctx, f"{traceback.format_exc()}\n{message}", 1)


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="fieldwise %(version)s")
def main() -> None:
    """Train click models on logs with millions of sparse features: logistic regression, deep networks and locally
    connected networks, from a raw log to a saved model.
    """
