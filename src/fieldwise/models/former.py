"""Keys and values of earlier versions: what stands in their place now.

A configuration that has one is refused, for whoever wrote it should know. A saved model cannot be rewritten by hand: it
is read where what it says can still be said, and refused by name where it cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy.typing as npt

from fieldwise.errors import ConfigError

__all__ = ["former_keys", "read_former", "read_former_arrays", "refuse_former"]

_GONE = "it is gone: on no log was it worth .001 AUC or a tenth of the time"
_STACK = 'kind = "lc-dnn+bayesian-fm" is a stack of both, "lc-dnn" the network alone, "auto" chooses by the log'


class _Key(NamedTuple):
    """A key that went: what to do; the values that said nothing, with which a saved model is read; its new name."""

    instead: str
    harmless: tuple[object, ...] = ()
    now: str | None = None


_KEYS = {
    "model.gate": _Key(_GONE, (False,)),
    "model.widths": _Key(f"{_GONE}; the deep part reads all units", ("uniform",)),
    "model.pairs": _Key("model.fm_interactions = true, false or auto", now="fm_interactions"),
    "model.histories": _Key("model.cooccurrence, with the same values", now="cooccurrence"),
    "model.history_limit": _Key("model.cooccurrence_limit, with the same values", now="cooccurrence_limit"),
    "model.losses": _Key("model.auxiliary_loss = true (apart) or false (joint)", now="auxiliary_loss"),
    "model.start": _Key(f'model.initial_model = "lr" or "random"; {_STACK}', now="initial_model"),
    "model.posterior_units": _Key("model.factors, one less", now="factors"),
    "pretrain.sweeps": _Key("train.sampler.sweeps"),
    "pretrain.burn_in": _Key("train.sampler.burn_in"),
    "train.wire": _Key("train.comm_dtype, with the same values"),
}
_VALUES: dict[str, dict[object, str]] = {
    "model.kind": {"lr-network": 'kind = "lr" is the same function'},
    "model.deep": dict.fromkeys(
        ("cross-low-rank", "bilinear", "ensemble"), f"{_GONE}; perceptron, residual and cross are left"
    ),
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
      hint: it is gone: on no log was it worth .001 AUC or a tenth of the time
    """
    for _, _, problem in former_keys(tree, lambda table, name: f"{where}, "):
        raise problem


def former_keys(tree: Mapping[str, Any], before: Callable[[str, str], str]) -> Iterator[tuple[str, str, ConfigError]]:
    """Yield the table and the name of every key that `refuse_former` refuses, and why.

    `before` returns what comes before the table in a message: the file and the line.
    """
    for table, content in tree.items():
        for name, value in content.items() if isinstance(content, Mapping) else ():
            key = f"{table}.{name}"
            of_value = _VALUES.get(key, {}).get(value) if isinstance(value, str) else None
            if key in _KEYS or of_value is not None:
                problem = ConfigError(
                    f"this {'key' if key in _KEYS else 'value'} is of an earlier version",
                    where=f"{before(table, name)}[{table}]",
                    got=f"{name} = {value!r}",
                    fix=_KEYS[key].instead if key in _KEYS else of_value,
                )
                yield table, name, problem


def read_former(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``[model]`` of a saved model in today's keys.

    Raises
    ------
    ConfigError
        It has something that is gone.

    Examples
    --------
    >>> read_former({"kind": "lc-dnn", "pairs": "plain", "start": "posterior", "posterior_units": 13})
    {'kind': 'lc-dnn+bayesian-fm', 'fm_interactions': True, 'initial_model': 'lr', 'factors': 12}
    """
    found: dict[str, Any] = {}
    for name, value in model.items():
        former = _KEYS.get(f"model.{name}")
        if former is not None and former.now is not None:
            found[former.now] = value
        elif former is None or value not in former.harmless:
            found[name] = value
    refuse_former({"model": found}, "the saved model")
    if "pairs" in model:
        if model["pairs"] == "weighted":
            raise ConfigError(
                "this value is of an earlier version",
                where="the saved model, [model]",
                got="pairs = 'weighted'",
                fix=f"{_GONE}; fm_interactions = true",
            )
        found["fm_interactions"] = {"plain": True, "none": False}.get(model["pairs"], model["pairs"])
    if "losses" in model:
        found["auxiliary_loss"] = model["losses"] == "apart"
    if "posterior_units" in model:
        found["factors"] = model["posterior_units"] - 1
    if model.get("start") == "posterior":
        found |= {"kind": f"{model['kind']}+bayesian-fm", "initial_model": "lr"}
    return found


def read_former_arrays(kind: str, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Return the dense arrays of a saved model by today's names; those of today's version as they are."""
    if any(name.startswith("members.") for name in arrays):
        return dict(arrays)
    own = f"members.{kind.split('+')[0]}."
    found = {}
    for name, array in arrays.items():
        if name.startswith("histories."):
            found["cooccurrence." + name.removeprefix("histories.")] = array
        elif name.startswith("posterior."):
            found["members.bayesian-fm." + name.removeprefix("posterior.").replace("pairs.", "interactions.")] = array
        elif name == "blend.weight":  # an offset, the sampled member, the heads of the other
            found["stacker.weight"] = array[[0, *range(2, len(array)), 1]]
        else:
            found[own + name.replace("pairs.", "interactions.")] = array
    return found
