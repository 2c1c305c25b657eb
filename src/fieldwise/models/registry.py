"""Models and deep parts by the names that a configuration gives them, and how to add one.

A deep part of your own is a module built as ``part(num_inputs, hidden, num_outputs, activation, dropout)`` that takes
(B, num_inputs), the standardised units, and returns (B, num_outputs); a model of your own derives from
`models.member.Member`::

    register_deep("mine", MyPart)                      # model.deep = "mine"
    register_model("sum", Sum, label="Sum")            # model.kind = "sum", or in a stack: "lc-dnn+sum"

A bundle holds the name and the weights, never code: whoever loads it registers first. On the command line,
``--import MODULE`` imports the module that does so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fieldwise.errors import ConfigError, did_you_mean

if TYPE_CHECKING:  # a configuration is read, and sizes are named, without torch
    from torch import nn

__all__ = [
    "build_deep",
    "find_model",
    "model_label",
    "refuse_unknown",
    "register_deep",
    "register_model",
]

Made = Callable[..., Any] | str
"""A class, or where it is to be imported from."""

_MODELS: dict[str, Made] = {
    "lr": "fieldwise.models.lr:LogisticRegression",
    "dnn": "fieldwise.models.dnn:DNN",
    "lc-dnn": "fieldwise.models.lc:lc_dnn",
    "lc-wide-deep": "fieldwise.models.lc:lc_wide_deep",
    "lc-resnet": "fieldwise.models.lc:lc_resnet",
    "bayesian-fm": "fieldwise.models.bayesian_fm:BayesianFM",
}
_LABELS = {
    "lr": "LR",
    "dnn": "DNN",
    "lc-dnn": "LC-DNN",
    "lc-wide-deep": "LC-W&D",
    "lc-resnet": "LC-ResNet",
    "bayesian-fm": "Bayesian FM",
    "lightgbm": "LightGBM",
    "catboost": "CatBoost",
}
_DEEP: dict[str, Made] = {
    "perceptron": "fieldwise.nn.deep:Perceptron",
    "residual": "fieldwise.nn.deep:Residual",
    "cross": "fieldwise.nn.cross:Cross",
}


def register_model(name: str, model: Callable[..., Any], label: str | None = None) -> None:
    """Make a model known as ``model.kind = name``, alone and in stacks, to training and to the loading of bundles.

    Parameters
    ----------
    name
        Letters, digits, ``-`` and ``_``.
    model
        A class that derives from `models.member.Member`, or a function that returns one.
    label
        Its name in tables; by default `name`.

    Raises
    ------
    ConfigError
        The name belongs to another model, or has an invalid character.

    Examples
    --------
    ``docs/extending.md`` has a whole model.

    >>> from fieldwise.models.lc import lc_dnn
    >>> register_model("my-lc", lc_dnn, label="My LC-DNN")
    >>> model_label("my-lc+bayesian-fm")
    'My LC-DNN + Bayesian FM'
    """
    _register(_MODELS, "auto", name, model)
    _LABELS[name] = label or name


def register_deep(name: str, part: Callable[..., Any]) -> None:
    """Make `part` known as ``model.deep = name``, to training and to the loading of bundles.

    Parameters
    ----------
    name
        Letters, digits, ``-`` and ``_``.
    part
        Called as ``part(num_inputs, hidden, num_outputs, activation, dropout)``, the last four from ``[model]``;
        returns a module from the standardised units (B, num_inputs) to logits (B, num_outputs).

    Raises
    ------
    ConfigError
        The name belongs to another part, or has an invalid character.

    Examples
    --------
    >>> from torch import nn
    >>> register_deep("linear", lambda inputs, hidden, outputs, activation, dropout: nn.Linear(inputs, outputs))
    >>> build_deep("linear", 7, [64], 1, "relu", 0.0)
    Linear(in_features=7, out_features=1, bias=True)
    """
    _register(_DEEP, "none", name, part)


def model_label(kind: str, units: int | None = None) -> str:
    """Return the name of a model for people, with its units per field.

    Examples
    --------
    >>> model_label("lc-wide-deep", 8), model_label("lr"), model_label("lc-dnn+bayesian-fm")
    ('LC-W&D, K = 8', 'LR', 'LC-DNN + Bayesian FM')
    >>> model_label("lc-dnn+lc-dnn+bayesian-fm"), model_label("lc-dnn#2")
    ('2 LC-DNN + Bayesian FM', 'LC-DNN (2)')
    """
    kinds = kind.split("+")
    counts = {name: kinds.count(name) for name in kinds}
    label = " + ".join(("" if count == 1 else f"{count} ") + _label(name) for name, count in counts.items())
    return label if units is None else f"{label}, K = {units}"


def _label(name: str) -> str:
    kind, _, number = name.partition("#")
    return _LABELS.get(kind, kind) + (number and f" ({number})")


def refuse_unknown(kind: str, deep: str = "none", where: str = "") -> None:
    """Refuse a ``model.kind`` or ``model.deep`` that nobody has registered.

    Raises
    ------
    ConfigError
        With the nearest one that there is; `where` names the file.

    Examples
    --------
    >>> refuse_unknown("lc-dnn+bayesian-fm", "cross")
    """
    members = kind.split("+")
    plain = "+".join(name.strip() for name in members)
    if plain != kind:
        raise ConfigError(
            "the name of a model has no spaces", where=f"{where}[model.kind]", got=repr(kind), fix=f'write "{plain}"'
        )
    for name in members if kind != "auto" else ():
        _find(_MODELS, name, "model", f"{where}[model.kind]")
    for name in ("lr", "bayesian-fm"):
        if members.count(name) > 1:
            raise ConfigError(
                f"{model_label(name)} does not depend on its seed: a stack can have it only once",
                where=f"{where}[model.kind]",
                got=kind,
            )
    if deep != "none":
        _find(_DEEP, deep, "deep part", f"{where}[model.deep]")


def find_model(name: str) -> Callable[..., Any]:
    """Return what builds a model, as ``(config, layout, num_outputs, num_bags)``.

    Raises
    ------
    ConfigError
        There is none of this name.
    """
    return _imported(_MODELS, name, "model", "model.kind")


def build_deep(
    name: str, num_inputs: int, hidden: Sequence[int], num_outputs: int, activation: str, dropout: float
) -> nn.Module | None:
    """Build a deep part; None for ``none``.

    Raises
    ------
    ConfigError
        There is none of this name, or it cannot be built with these layers.
    """
    if name == "none":
        return None
    make = _imported(_DEEP, name, "deep part", "model.deep")
    try:
        part: nn.Module = make(num_inputs, hidden, num_outputs, activation, dropout)
    except ValueError as error:
        raise ConfigError("the deep part cannot be built", where="model.hidden", got=error) from None
    return part


def _register(known: dict[str, Made], reserved: str, name: str, made: Callable[..., Any]) -> None:
    if not name.replace("-", "").replace("_", "").isalnum():
        raise ConfigError("invalid name", where="register", expected="letters, digits, - and _", got=name)
    if name == reserved or known.get(name, made) is not made:
        raise ConfigError(
            "the name is taken",
            where="register",
            got=name,
            fix="choose another; after a change of the class, restart Python",
        )
    known[name] = made


def _find(known: Mapping[str, Made], name: str, what: str, where: str) -> Made:
    if name not in known:
        raise ConfigError(
            f"unknown {what}",
            where=where,
            got=name,
            fix=f"{did_you_mean(name, known)} (one of your own is made known by --import MODULE)",
        )
    return known[name]


def _imported(known: dict[str, Made], name: str, what: str, where: str) -> Callable[..., Any]:
    made = _find(known, name, what, where)
    if isinstance(made, str):
        module, _, attribute = made.partition(":")
        made = getattr(import_module(module), attribute)
    return made
