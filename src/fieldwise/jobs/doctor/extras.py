"""The libraries that fieldwise needs, and those of its extras: which are there, and which are too old."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires, version

import msgspec

__all__ = ["Extra", "Library", "describe_extras", "library_problems"]

_REQUIREMENT = re.compile(r"""(?P<name>[\w.-]+)(?:\[[\w,]+\])?(?P<bounds>[^;]*)(?:;.*extra == ['"](?P<extra>\w+))?""")
_ADDS = {
    "": "prepare, check, config",
    "train": "train, compare, report, params, bench",
    "serve": "serve; predict, evaluate, explain without PyTorch",
    "ray": "train --ray",
    "tune": "tune",
    "sklearn": "fieldwise.sklearn",
    "trees": "train.trees",
    "tensorboard": "callbacks.TensorBoard",
    "mlflow": "callbacks.MLflow",
    "dev": "tests and documentation",
}
"""What a user gains by each extra."""


class Library(msgspec.Struct, frozen=True, kw_only=True):
    """A library: the versions that will do, the one that is there (None: none), and whether it is recent enough."""

    name: str
    wanted: str
    version: str | None
    recent: bool


class Extra(msgspec.Struct, frozen=True, kw_only=True):
    """An extra of the package, as in ``pip install 'fieldwise[train]'``; of no name, what is always needed."""

    name: str
    adds: str
    libraries: tuple[Library, ...]

    @property
    def installed(self) -> bool:
        """Whether all of its libraries are there."""
        return all(library.recent for library in self.libraries)


def describe_extras() -> tuple[Extra, ...]:
    """Return what the package declares, the libraries that it always needs first."""
    found: dict[str, list[Library]] = {"": []}
    for requirement in requires("fieldwise") or ():
        parsed = _REQUIREMENT.match(requirement)
        if parsed is not None:
            found.setdefault(parsed["extra"] or "", []).append(_library(parsed["name"], parsed["bounds"].strip()))
    return tuple(Extra(name=name, adds=_ADDS.get(name, ""), libraries=tuple(at)) for name, at in found.items())


def library_problems(extras: tuple[Extra, ...]) -> list[str]:
    """Return what is wrong with the libraries, with the cure: what is always needed, and what is there but too old."""
    return [
        f"{library.name} {library.version or 'is not installed'}{' is installed' if library.version else ''}, and "
        f"fieldwise needs {library.wanted}: pip install '{library.name}{library.wanted}'"
        for extra in extras
        for library in extra.libraries
        if not library.recent and (library.version is not None or not extra.name)
    ]


def _library(name: str, wanted: str) -> Library:
    try:
        there = version(name)
    except PackageNotFoundError:
        return Library(name=name, wanted=wanted, version=None, recent=False)
    least = re.search(r">=\s*([\d.]+)", wanted)
    return Library(
        name=name, wanted=wanted, version=there, recent=least is None or _numbers(there) >= _numbers(least[1])
    )


def _numbers(text: str) -> list[int]:
    """Return the numbers of a release.

    Examples
    --------
    >>> _numbers("2.13.0+cpu"), _numbers("1.26") <= _numbers("1.26.0rc1")
    ([2, 13, 0], True)
    """
    found = re.match(r"[\d.]+", text)
    return [int(part) for part in found[0].split(".") if part] if found else []
