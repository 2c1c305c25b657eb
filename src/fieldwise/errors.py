"""The exceptions of fieldwise.

::

    FieldwiseError
    ├── UserError            invalid input: exit code 2, no traceback
    │   ├── ConfigError      the configuration: an unknown key, a value out of range
    │   ├── DataError        a log: a missing column, an invalid label, a file in another format
    │   ├── ArtefactError    a cache, bundle or run folder: damaged, incomplete, of another version
    │   └── ResourceError    not enough memory or disk space
    ├── Stopped              interrupted, can be resumed: exit code 3
    └── WorkerLost           another worker ended: exit code 4, after which all workers are restarted

Every message follows one pattern: what is wrong, where, what was expected, what was found, and a hint.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Self

__all__ = [
    "ArtefactError",
    "ConfigError",
    "DataError",
    "FieldwiseError",
    "ResourceError",
    "Stopped",
    "UserError",
    "WorkerLost",
    "did_you_mean",
]


class FieldwiseError(Exception):
    """Base class of all exceptions of fieldwise."""

    exit_code = 1


class UserError(FieldwiseError):
    """Invalid input; the message says where and and a hint.

    Parameters
    ----------
    what
        What is wrong, in one sentence.
    where
        The file, line, field or key in which it was found.
    expected, got
        What valid input has there, and what was found instead.
    fix
        What the user can do, in the imperative.

    Examples
    --------
    >>> print(DataError("the label is not a class", where="a.csv, row 7", expected="0 or 1", got="yes"))
    the label is not a class
      where: a.csv, row 7
      expected: 0 or 1
      got: yes
    """

    exit_code = 2

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        expected: object = None,
        got: object = None,
        fix: str | None = None,
    ) -> None:
        self.what, self.where, self.expected, self.got, self.fix = what, where, expected, got, fix
        details = (("where", where), ("expected", expected), ("got", got), ("hint", fix))
        super().__init__("\n".join([what, *(f"  {name}: {value}" for name, value in details if value is not None)]))

    def at(self, where: object) -> Self:
        """Return the same error, found in another place."""
        return type(self)(self.what, where=where, expected=self.expected, got=self.got, fix=self.fix)


class ConfigError(UserError):
    """The configuration file, an option or an argument is invalid."""


class DataError(UserError):
    """A log cannot be used as it is."""


class ArtefactError(UserError):
    """A cache, bundle or run folder is damaged, incomplete or of another version."""


class ResourceError(UserError):
    """There is not enough memory or disk space."""


class Stopped(FieldwiseError):
    """Work was interrupted on request; the message says how to resume it."""

    exit_code = 3


class WorkerLost(FieldwiseError):
    """Another worker ended or cannot be reached; the launching process restarts all workers."""

    exit_code = 4


_MAX_KNOWN = 30
"""Words of a list of what is known: a folder or a log may have thousands."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint that suggests the known word closest to `name`, or lists all of them if none is close.

    Examples
    --------
    >>> did_you_mean("epoch", ["epochs", "seed"])
    'did you mean epochs?'
    >>> did_you_mean("zzz", ["epochs", "seed"])
    'known: epochs, seed'
    >>> did_you_mean("user", ["item", " User"])
    "did you mean ' User'?"
    """
    known = list(known)
    folded = name.strip().casefold()
    nearest = [word for word in known if word.strip().casefold() == folded] or difflib.get_close_matches(
        name, known, n=1
    )
    if nearest:  # quotes make surrounding blanks visible
        return f"did you mean {nearest[0] if nearest[0] == nearest[0].strip() else repr(nearest[0])}?"
    more = f", and {len(known) - _MAX_KNOWN:,} more" if len(known) > _MAX_KNOWN else ""
    return f"known: {', '.join(known[:_MAX_KNOWN])}{more}"


EXTRAS = {"torch": "train", "onnx": "train", "matplotlib": "train", "onnxruntime": "serve", "uvicorn": "serve",
          "httptools": "serve", "uvloop": "serve", "tensorboard": "tensorboard", "mlflow": "mlflow"}  # fmt: skip
"""Which extra brings a library that may be absent: ``pip install 'fieldwise[train]'``."""
