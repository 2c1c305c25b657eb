"""The models of a comparison: their names, the order of their training, and which serves as a member of another."""

from __future__ import annotations

import msgspec

from fieldwise.errors import ConfigError
from fieldwise.models.config import ModelConfig
from fieldwise.models.registry import refuse_unknown

__all__ = ["DEFAULT_MODELS", "FAST_MODELS", "in_two", "model_name", "parse_model", "trained_alone"]

DEFAULT_MODELS = (
    "lr",
    "dnn",
    "lc-dnn:1",
    "lc-wide-deep:1",
    "lc-dnn",
    "lc-wide-deep",
    "lc-resnet",
)
"""The models of the paper with one unit per field, then with the number of units of ``[model]``."""
FAST_MODELS = ("lr", "lc-dnn")
"""With ``train.preset = "fast"``."""


def in_two(chosen: dict[str, ModelConfig], num_fields: int) -> tuple[list[str], list[str]]:
    """Return the names of the models that take seconds, then of those with interactions, each in the order given."""
    slow = [name for name, model in chosen.items() if model.is_sampled or model.has_interactions(num_fields)]
    return [name for name in chosen if name not in slow], slow


def trained_alone(name: str, chosen: dict[str, ModelConfig]) -> str | None:
    """Return the name of the model that is the only trained member of a stack, with the same settings, and was trained
    before it.
    """
    stack, before = chosen[name], list(chosen)[: list(chosen).index(name)]
    kinds = [kind for kind in stack.members if kind != "bayesian-fm"]
    if len(stack.members) < 2 or len(kinds) != 1:
        return None
    alone = msgspec.structs.replace(stack, kind=kinds[0])
    return next((other for other in before if chosen[other] == alone), None)


def parse_model(name: str, base: ModelConfig) -> ModelConfig:
    """Read ``kind`` or ``kind:units``; in a stack one member may have units, as in ``lc-dnn:8+bayesian-fm``.

    Examples
    --------
    >>> parse_model("lc-dnn:1", ModelConfig()).units
    1
    """
    kinds, units = [], ""
    for member in name.split("+"):
        kind, colon, given = member.partition(":")
        if colon and (units or not given.isdecimal() or not 1 <= int(given) <= 64):
            raise ConfigError("invalid number of units per field", where="--models", expected="1 to 64", got=name)
        kinds.append(kind)
        units = units or given
    kind = "+".join(kinds)
    refuse_unknown(kind, where="--models, ")
    if kind == "lr":
        return ModelConfig(kind="lr")  # nothing else matters to it, and it is the initial model of others
    return msgspec.structs.replace(base, kind=kind, **({"units": int(units)} if units else {}))


def model_name(model: ModelConfig) -> str:
    """Return the folder name of a model: its kind, and its units where it has some.

    Examples
    --------
    >>> model_name(ModelConfig(kind="lc-dnn+bayesian-fm", units=8))
    'lc-dnn-8+bayesian-fm'
    """
    if model.kind == "auto":
        return model.kind
    return "+".join(f"{kind}-{model.units}" if kind.startswith("lc-") else kind for kind in model.kind.split("+"))
