"""The exceptions of fieldwise and what each one means.

The tree::

    FieldwiseError
    ├── UserError            the caller's input is wrong: exit code 2, never a traceback
    │   ├── ConfigError      the configuration: an unknown key, a value out of range
    │   ├── DataError        a log: a missing column, a bad label, a file that is not what its name says
    │   ├── ArtefactError    a cache, bundle or run folder: damaged, incomplete, of another version
    │   └── ResourceError    memory or disk cannot hold what was asked for
    ├── Stopped              stopped on request, can be continued: exit code 3
    └── WorkerLost           another worker of a training ended: exit code 4, upon which all are started again

Every message has one grammar: what is wrong, where, what was expected, what came, what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

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
    """Base of everything that fieldwise raises on purpose."""

    exit_code = 1


class UserError(FieldwiseError):
    """The input is wrong, and the message says what to do about it.

    Parameters
    ----------
    what
        One sentence: what is wrong.
    where
        The file, line, field or key it was found in.
    expected, got
        What a correct input has there, and what this one has.
    fix
        What to do, in the imperative.

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
        details = (("where", where), ("expected", expected), ("got", got), ("to do", fix))
        super().__init__("\n".join([what, *(f"  {name}: {value}" for name, value in details if value is not None)]))


class ConfigError(UserError):
    """The configuration file or an override is wrong."""


class DataError(UserError):
    """A log cannot be used as it is."""


class ArtefactError(UserError):
    """A cache, bundle or run folder is damaged, incomplete or of another version."""


class ResourceError(UserError):
    """Memory or disk cannot hold what was asked for."""


class Stopped(FieldwiseError):
    """Work was stopped on request; the message says how to go on."""

    exit_code = 3


class WorkerLost(FieldwiseError):
    """Another worker ended, or cannot be reached; whoever started the workers starts them again."""

    exit_code = 4


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the instruction that names the nearest known word, or lists them all.

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
    if nearest:  # blanks around a word are seen in quotes only
        return f"did you mean {nearest[0] if nearest[0] == nearest[0].strip() else repr(nearest[0])}?"
    return f"known: {', '.join(known)}"
