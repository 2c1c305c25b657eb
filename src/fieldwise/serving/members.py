"""The members of a saved model as terms of its logit, read from the arrays of its bundle, to be explained."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.bundle import Bundle, kind_of, member_names
from fieldwise.errors import ConfigError
from fieldwise.serving.gradients import DeepPart, deep_part
from fieldwise.serving.network import Network

__all__ = ["Head", "read_members"]

Floats = npt.NDArray[np.float64]


class Head(NamedTuple):
    """One member of a model: which numbers of a row it reads, and how.

    Attributes
    ----------
    linear
        The numbers of the log's fields that are added up.
    unit
        The number of all fields that is added up; None where there is none.
    pairs
        The numbers whose products are taken, and which pairs (P, P); None where there are none.
    deep
        The deep part, the numbers and fields that it reads, and mean and scale of its input.
    summed
        Whether the deep part reads the sum over the fields.
    """

    linear: slice
    unit: int | None
    pairs: tuple[slice, Floats] | None
    deep: tuple[DeepPart, slice, npt.NDArray[np.int64], Floats, Floats] | None
    summed: bool
    num_fields: int
    weight: float


def read_members(bundle: Bundle, network: Network) -> tuple[float, list[Head]]:
    """Return the constant of a model's logit, and its members."""
    arrays, config = bundle.dense, bundle.model
    names = member_names(config["kind"])
    num_log, num_all = bundle.encoder.layout.num_fields, network.layout.num_fields
    sampled_first = sorted(names, key=lambda name: name != "bayesian-fm")
    num_local = network.num_local
    local, full = 0, num_local
    heads: dict[str, list[Head]] = {}
    constants: dict[str, float] = {}
    for name in sampled_first:
        kind, prefix = kind_of(name), f"members.{name}."
        constants[name] = float(arrays[f"{prefix}bias"][0]) if f"{prefix}bias" in arrays else 0.0
        if kind == "lr":
            heads[name] = [Head(slice(full, full + 1), None, None, None, False, num_log, 1.0)]
            full += 1
        elif kind == "dnn":
            width = len(arrays[f"{prefix}hidden_bias"])
            part = deep_part(arrays, f"{prefix}network.", config["activation"], activated=True)
            assert part is not None
            bias = arrays[f"{prefix}hidden_bias"].astype(np.float64)
            deep = (part, slice(full, full + width), np.arange(num_log), bias, np.ones(width))
            heads[name] = [Head(slice(0, 0), None, None, deep, True, num_log, 1.0)]
            full += width
        elif kind == "bayesian-fm":
            width = 1 + int(config["factors"])
            pairs = slice(local + 1, local + width), _pairs(arrays[f"{prefix}interactions.mask"])
            heads[name] = [Head(slice(0, 0), local, pairs, None, False, num_log, 1.0)]
            local += width
        elif kind.startswith("lc-"):
            width, num_full = int(config["units"]), int(kind == "lc-wide-deep")
            heads[name] = _of_lc(arrays, config, name, local, full, num_all)
            local, full = local + width, full + num_full
        else:
            raise ConfigError("a model of one's own is not explained", where="model.kind", got=kind)
    return _weighed(names, heads, constants, arrays)


def _of_lc(arrays: Any, config: Any, name: str, local: int, full: int, num_all: int) -> list[Head]:
    kind, prefix, width = kind_of(name), f"members.{name}.", int(config["units"])
    wide = slice(full, full + 1) if kind == "lc-wide-deep" else slice(0, 0)
    unit = local if kind != "lc-wide-deep" and config["skip"] else None
    pairs = None
    if f"{prefix}interactions.mask" in arrays:
        own = width // 4 if config.get("deep_units") is None else int(config["deep_units"])
        pairs = slice(local + 1, local + width - own), _pairs(arrays[f"{prefix}interactions.mask"])
    plain = Head(wide, unit, pairs, None, False, num_all, 1.0)
    if not any(name.startswith(f"{prefix}network.") for name in arrays):
        return [plain]
    part = deep_part(arrays, f"{prefix}network.", config["activation"])
    if part is None:
        raise ConfigError("a deep part of one's own is not explained", where="model.deep", got=config["deep"])
    fields = np.setdiff1d(np.arange(num_all), np.asarray(config.get("linear_fields", ()), dtype=np.int64))
    num_inputs = len(fields) * width
    mean, scale = np.zeros(num_inputs), np.ones(num_inputs)
    if f"{prefix}standardise.running_mean" in arrays:
        mean = arrays[f"{prefix}standardise.running_mean"].astype(np.float64)
        scale = 1 / np.sqrt(arrays[f"{prefix}standardise.running_var"].astype(np.float64) + 1e-5)
    whole = plain._replace(deep=(part, slice(local, local + width), fields, mean, scale))
    return [plain, whole] if pairs is not None and config["auxiliary_loss"] else [whole]


def _pairs(mask: npt.NDArray[Any]) -> Floats:
    upper = np.triu(mask.astype(np.float64), 1)
    return np.asarray(upper + upper.T)


def _weighed(
    names: tuple[str, ...], heads: dict[str, list[Head]], constants: dict[str, float], arrays: Any
) -> tuple[float, list[Head]]:
    """Return the constant and the members of a model, each with what it counts."""
    of_all = [(name, head) for name in names for head in heads[name]]
    if "stacker.weight" in arrays:
        offset, *weights = arrays["stacker.weight"].astype(np.float64).tolist()
    else:
        offset, weights = 0.0, [1 / len(of_all)] * len(of_all)
    constant = offset + sum(weight * constants[name] for (name, _), weight in zip(of_all, weights, strict=True))
    return constant, [head._replace(weight=weight) for (_, head), weight in zip(of_all, weights, strict=True)]
