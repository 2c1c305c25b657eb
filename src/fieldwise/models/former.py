"""Keys and values of earlier versions: what stands in their place now.

A configuration that has one is refused, for whoever wrote it should know. A saved model cannot be rewritten by hand: it
is read where what it says can still be said, and refused by name where it cannot.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fieldwise.errors import ConfigError

__all__ = ["read_former", "refuse_former"]

_GONE = "it is gone: on no log was it worth .001 AUC or a tenth of the time"


class _Key(NamedTuple):
    """A key that went: what to do, and the values that said nothing, with which a saved model is read."""

    instead: str
    harmless: tuple[object, ...]


_KEYS = {
    "model.gate": _Key(_GONE, (False,)),
    "model.widths": _Key(f"{_GONE}; the deep part reads all units", ("uniform",)),
}
_VALUES: dict[str, dict[object, str]] = {
    "model.kind": {"lr-network": 'kind = "lr" is the same function'},
    "model.deep": dict.fromkeys(
        ("cross-low-rank", "bilinear", "ensemble"), f"{_GONE}; perceptron, residual and cross are left"
    ),
    "model.pairs": {"weighted": f'{_GONE}; pairs = "plain"'},
    "model.deep_units": {"all": "leave it out: a deep part that moves all units cost .0025 AUC on MovieLens-1M"},
}


def refuse_former(tree: Mapping[str, Any], where: str) -> None:
    """Refuse a configuration, as it stands in its file, that has a key or a value of an earlier version.

    Raises
    ------
    ConfigError
        With the key and what stands in its place.

    Examples
    --------
    >>> refuse_former({"model": {"gate": True}}, "fieldwise.toml")
    Traceback (most recent call last):
    ...
    fieldwise.errors.ConfigError: this key is of an earlier version
      where: fieldwise.toml, [model]
      got: gate = True
      to do: it is gone: on no log was it worth .001 AUC or a tenth of the time
    """
    for table, content in tree.items():
        for name, value in content.items() if isinstance(content, Mapping) else ():
            key = f"{table}.{name}"
            of_value = _VALUES.get(key, {}).get(value) if isinstance(value, str) else None
            if key in _KEYS or of_value is not None:
                raise ConfigError(
                    f"this {'key' if key in _KEYS else 'value'} is of an earlier version",
                    where=f"{where}, [{table}]",
                    got=f"{name} = {value!r}",
                    fix=_KEYS[key].instead if key in _KEYS else of_value,
                )


def read_former(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``[model]`` of a saved model in today's keys.

    Raises
    ------
    ConfigError
        It has something that is gone.
    """
    found = dict(model)
    for name in model:
        former = _KEYS.get(f"model.{name}")
        if former is not None and found[name] in former.harmless:
            del found[name]
    refuse_former({"model": found}, "the saved model")
    return found
