"""The command line: one thin file per verb, and the one place where exceptions become exit codes.

===  ===================================================================
0    done
1    a fault of ours: the traceback, and a request to report it
2    the user's input is wrong: a message, never a traceback
3    stopped on request, or by a closed pipe; the same command goes on
===  ===================================================================

A verb's file imports click alone when it is loaded, and all else when it runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import atexit
import errno
import gc
import importlib
import os
import signal
import sys
import traceback
from contextlib import suppress
from typing import Any, NoReturn

import click

from fieldwise import __version__
from fieldwise.cli.options import write_examples
from fieldwise.errors import Stopped, UserError

__all__ = ["VERBS", "main"]

VERBS = (
    "init",
    "check",
    "prepare",
    "train",
    "compare",
    "tune",
    "evaluate",
    "predict",
    "verify",
    "params",
    "bench",
    "datasets",
    "doctor",
)
"""The verbs, in the order of the work; each is ``command`` in the module of its name."""

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
"""What the system refuses for reasons that lie with the machine or the path given, not with us."""


_EXAMPLES = (
    "fieldwise init clicks.parquet --label click > fieldwise.toml",
    "fieldwise check fieldwise.toml",
    "fieldwise compare fieldwise.toml --out runs/first",
    "fieldwise predict runs/first/lc-dnn-16 --data new.parquet --out predictions.csv",
)


# When it ends, Python looks for cycles among 400,000 objects of torch: 1.1 s of the processor that give nothing back.
atexit.register(gc.freeze)


class Verbs(click.Group):
    """A group that loads a verb's file when the verb is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return a verb; None where there is no such verb."""
        if name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"{__name__}.{name}").command
        return command

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the way from a raw log to probabilities, and the exit codes."""
        write_examples(formatter, _EXAMPLES)
        with formatter.section("Exit codes"):
            formatter.write_text("0 done, 1 a fault of fieldwise, 2 the input is wrong, 3 stopped and can go on")

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb, and turn what it raises into a message and an exit code; click's own exceptions pass."""
        with suppress(ValueError):  # only a process's main thread may say what a signal does
            # As Ctrl-C: training saves a checkpoint (`training.interrupt`), all else cleans up and ends.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            return super().invoke(ctx)
        except (UserError, Stopped) as error:
            _end(ctx, f"error: {error}", error.exit_code)
        except KeyboardInterrupt:
            _end(ctx, "\nstopped; to go on, run the same command again", Stopped.exit_code)
        except MemoryError as error:
            _end(ctx, f"error: there is not enough memory: {error or 'the system gave no more'}", UserError.exit_code)
        except BrokenPipeError:
            # Nobody reads any more. What Python still holds for the pipe must not be written when it exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(Stopped.exit_code)
        except OSError as error:
            if error.errno not in _OUTSIDE:
                _fault(ctx)
            place = f"\n  where: {error.filename}" if error.filename else ""
            _end(ctx, f"error: the system refuses a file: {error.strerror}{place}", UserError.exit_code)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception:
            _fault(ctx)


def _end(ctx: click.Context, message: str, exit_code: int) -> NoReturn:
    click.echo(message, err=True)
    ctx.exit(exit_code)


def _fault(ctx: click.Context) -> NoReturn:
    """Report the exception that is being handled as ours."""
    message = f"This is a fault of fieldwise {__version__}, not of your input: please report it with the lines above."
    _end(ctx, f"{traceback.format_exc()}\n{message}", 1)


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="fieldwise %(version)s")
def main() -> None:
    """Train click models on logs with millions of sparse features: logistic regression, deep networks and locally
    connected networks, from a raw log to a saved model.
    """
