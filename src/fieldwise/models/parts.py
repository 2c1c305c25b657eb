"""The deep parts by their names, and how to add one.

A part of your own is a module built as ``part(num_inputs, hidden, num_outputs, activation, dropout)`` that takes
(B, num_inputs), the standardised units, and returns (B, num_outputs)::

    fieldwise.models.parts.register_deep("mine", MyPart)
    config = fw.ModelConfig(deep="mine")

A bundle holds the name and the weights, never code: whoever loads it registers the part first.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from fieldwise.errors import ConfigError, did_you_mean
from fieldwise.models.config import ModelConfig
from fieldwise.nn.cross import Cross
from fieldwise.nn.deep import Perceptron, Residual

__all__ = ["DEEP_PARTS", "deep_part", "register_deep"]


DEEP_PARTS: dict[str, Callable[..., nn.Module]] = {
    "perceptron": Perceptron,
    "residual": Residual,
    "cross": Cross,
}
"""What `models.config.ModelConfig.deep` may be, beside ``none``."""


def register_deep(name: str, part: Callable[..., nn.Module]) -> None:
    """Make `part` known as ``model.deep = name``, to `build_model` and to the loading of bundles.

    Raises
    ------
    ConfigError
        The name belongs to another part.
    """
    if name == "none" or DEEP_PARTS.get(name, part) is not part:
        raise ConfigError("there is another deep part of this name", where="register_deep", got=name)
    DEEP_PARTS[name] = part


def deep_part(config: ModelConfig, num_inputs: int, num_outputs: int) -> nn.Module | None:
    """Build the deep part of a locally connected model; None where it has none.

    Raises
    ------
    ConfigError
        There is no part of this name, or it cannot be built with these layers.
    """
    name = "residual" if config.kind == "lc-resnet" else config.deep
    if name == "none":
        return None
    if name not in DEEP_PARTS:
        raise ConfigError(
            "there is no such deep part",
            where="model.deep",
            got=name,
            fix=did_you_mean(name, DEEP_PARTS) or "a part of your own is made known by models.parts.register_deep",
        )
    try:
        return DEEP_PARTS[name](num_inputs, config.hidden, num_outputs, config.activation, config.dropout)
    except ValueError as error:
        raise ConfigError("the deep part cannot be built", where="model.hidden", got=error) from None
