"""How many weights a model has, from its sizes alone: nothing is built (but for parts that users registered).

With D features, F fields, K units per field, hidden widths H1, H2, ... and O outputs, weights only (Chen et al. 2017,
Tables 2 and 3)::

    lr              D O
    dnn             D H1 + H1 H2 + ... + O
    lc-dnn          D K + F K H1 + H1 H2 + ... + O
    lc-wide-deep    lc-dnn + D O
    lc-resnet       D K + F K H1 + sum over blocks i of 2 H1 Hi + H1 O

With n = F K inputs, ``model.deep = "cross"`` has 2 n^2 more, and ``none`` nothing beside D K; a posterior that is kept
has D P. Histories are fields, too, among F and D where a model has pairs. ``... + O`` is the last hidden width times O.
Biases are counted apart: one for each hidden unit and each output of the deep part, and one for each output of the
model. The standardisation of the units has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

from fieldwise.errors import ConfigError
from fieldwise.models.config import Kind, ModelConfig

__all__ = ["Size", "count_parameters", "num_outputs"]


def num_outputs(num_classes: int) -> int:
    """Return O: one logit for two classes, one for each of more."""
    return 1 if num_classes == 2 else num_classes


class Size(NamedTuple):
    """The weights of a model, and its biases apart; `units` is None where no unit is locally connected."""

    model: Kind
    units: int | None
    parameters: int
    biases: int


def count_parameters(
    kind: Kind,
    num_features: int,
    num_fields: int,
    units: int,
    hidden: Sequence[int],
    num_outputs: int = 1,
    config: ModelConfig | None = None,
    histories: Sequence[int] = (),
) -> Size:
    """Count the weights of one model.

    Parameters
    ----------
    kind
        One of `models.config.KINDS`.
    num_features, num_fields
        D and F of the log, the ids for missing and unseen values among D.
    units
        K; only locally connected models have it.
    hidden
        H1, H2, ...
    num_outputs
        O: 1 for two classes, the number of classes for more.
    config
        Says which deep part and pairs there are; unless given, a perceptron, and pairs as by default.
    histories
        The rows of each field that a model with pairs adds to those of the log.

    Raises
    ------
    ConfigError
        `hidden` is empty, and the model needs a hidden layer; or there is no such deep part.

    Examples
    --------
    The first row of the paper's Table 3:

    >>> count_parameters("lc-dnn", 8_672_633, 158, 1, [2048, 1024])
    Size(model='lc-dnn', units=1, parameters=11094393, biases=3074)
    """
    if kind in ("dnn", "lc-resnet") and not hidden:
        raise ConfigError(f"a {kind} has one hidden layer or more", where="model.hidden", expected="[widths]", got="[]")
    config = msgspec.structs.replace(config or ModelConfig(), kind=kind, units=units, hidden=tuple(hidden))
    config = config.for_fields(num_fields)
    if not config.has_pairs(num_fields):
        histories = ()
    posterior, units = config.num_posterior(num_fields), config.units
    num_features, num_fields = num_features + sum(histories), num_fields + len(histories)
    table, weights, biases = 0, 0, 0
    if kind in ("lr", "lc-wide-deep"):
        table += num_features * num_outputs
    if kind == "dnn":
        table += num_features * hidden[0]
        weights, biases = _perceptron([*hidden, num_outputs])
        biases += hidden[0]
    if config.locally_connected:
        table += num_features * (posterior + units)
        deep = "residual" if kind == "lc-resnet" else config.deep
        weights, biases = _deep(deep, [num_fields * units, *hidden, num_outputs], config)
    return Size(kind, units if config.locally_connected else None, table + weights, num_outputs + biases)


def _deep(name: str, widths: Sequence[int], config: ModelConfig) -> tuple[int, int]:
    """Return the weights and biases of a deep part, which goes from widths[0] inputs to widths[-1] outputs."""
    num_inputs, hidden, num_outputs = widths[0], widths[1:-1], widths[-1]
    weights, biases = _perceptron(widths)
    match name:
        case "none":
            return 0, 0
        case "perceptron":
            return weights, biases
        case "residual":
            return _residual(widths)
        case "cross":
            return weights + 2 * num_inputs**2, biases + 2 * num_inputs
        case _:
            return _built(config, num_inputs, hidden, num_outputs)


def _built(config: ModelConfig, num_inputs: int, hidden: Sequence[int], num_outputs: int) -> tuple[int, int]:
    """Return the weights and biases of a part that somebody registered: built, but without memory."""
    import torch

    from fieldwise.models.parts import deep_part
    from fieldwise.nn.deep import count_weights

    with torch.device("meta"):
        part = deep_part(msgspec.structs.replace(config, kind="lc-dnn", hidden=tuple(hidden)), num_inputs, num_outputs)
    assert part is not None
    return count_weights(part)


def _perceptron(widths: Sequence[int]) -> tuple[int, int]:
    """Return the weights and biases of one matrix between each two neighbours."""
    return sum(a * b for a, b in pairwise(widths)), sum(widths[1:])


def _residual(widths: Sequence[int]) -> tuple[int, int]:
    """Return the weights and biases of `nn.deep.Residual`: a trunk as wide as the first block, two matrices a block."""
    num_inputs, *hidden, num_outputs = widths
    trunk = hidden[0]
    weights = num_inputs * trunk + 2 * trunk * sum(hidden) + trunk * num_outputs
    return weights, trunk + sum(inner + trunk for inner in hidden) + num_outputs
