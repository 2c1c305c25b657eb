"""Deep parts in numpy, in double precision: their values and gradients, to say what moved a logit.

The layers are those of `nn.deep` and `nn.cross`, read from the arrays that a bundle holds of them, by torch's names.

Letters: S points, I inputs, H numbers behind the first matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.calibration import sigmoid

__all__ = ["DeepPart", "deep_part"]

Floats = npt.NDArray[np.float64]
Arrays = Mapping[str, npt.NDArray[Any]]
_Layer = Callable[[Floats], tuple[Floats, Callable[[Floats], Floats]]]
"""From x to y, and what makes the gradient of x of that of y."""


class DeepPart(NamedTuple):
    """A deep part, ``rest(W x + b)``.

    On a line in x, ``W x + b`` is on a line, too: W is applied to its two ends, and not to each of its points.

    Attributes
    ----------
    weight, bias
        W (H, I) and b (H,); None where the part begins with something else, and H = I.
    rest
        From h (S, H) to the output (S,), and what returns its gradient (S, H).
    """

    weight: Floats | None
    bias: Floats | None
    rest: Callable[[Floats], tuple[Floats, Callable[[], Floats]]]

    def line(self, start: Floats, moves: Floats) -> tuple[Floats, Floats]:
        """Return what becomes of a start (I,) and of moves (S, I) from it: (H,) and (S, H)."""
        if self.weight is None:
            return start, moves
        assert self.bias is not None
        return self.weight @ start + self.bias, moves @ self.weight.T

    def back(self, gradients: Floats) -> Floats:
        """Return the gradients of x (S, I) of those of h (S, H)."""
        return gradients if self.weight is None else gradients @ self.weight


_ROOT = math.sqrt(0.5)
_erf = np.vectorize(math.erf, otypes=[np.float64])


def _silu_slope(x: Floats) -> Floats:
    s = sigmoid(x)
    return np.asarray(s * (1 + x * (1 - s)))


_ACTIVATIONS: dict[str, tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]]] = {
    "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(np.float64)),
    "tanh": (np.tanh, lambda x: np.asarray(1 - np.tanh(x) ** 2)),
    "sigmoid": (sigmoid, lambda x: np.asarray(sigmoid(x) * (1 - sigmoid(x)))),
    "silu": (lambda x: np.asarray(x * sigmoid(x)), _silu_slope),
    "gelu": (
        lambda x: np.asarray(0.5 * x * (1 + _erf(x * _ROOT))),
        lambda x: np.asarray(0.5 * (1 + _erf(x * _ROOT)) + x * np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)),
    ),
}


def deep_part(arrays: Arrays, prefix: str, activation: str, *, activated: bool = False) -> DeepPart | None:
    """Return the deep part whose arrays have names that begin with `prefix`; None where it is of no kind known here.

    Parameters
    ----------
    activation
        As the model's configuration has it.
    activated
        Whether its input goes through the activation first.

    Examples
    --------
    >>> arrays = {"net.0.weight": np.array([[1.0, -2.0]]), "net.0.bias": np.array([3.0])}
    >>> part = deep_part(arrays, "net.", "relu")
    >>> h, along = part.line(np.array([1.0, 1.0]), np.array([[0.0, 1.0]]))
    >>> value, gradient = part.rest(h + along)
    >>> value.tolist(), part.back(gradient()).tolist()
    ([0.0], [[1.0, -2.0]])
    """
    names = [name[len(prefix) :] for name in arrays if name.startswith(prefix)]
    nonlinear = _activation(activation)
    layers: list[_Layer]
    first = None
    if any(name.startswith("trunk.") for name in names):
        first = f"{prefix}trunk."
        layers = [_linear(arrays, first)]
        for number in range(_count(names, "blocks.")):
            of_block = f"{prefix}blocks.{number}."
            inner = [
                nonlinear,
                _linear(arrays, f"{of_block}expand."),
                nonlinear,
                _linear(arrays, f"{of_block}contract."),
            ]
            layers.append(_added(_chained(inner)))
        layers += [nonlinear, _linear(arrays, f"{prefix}output.")]
    elif any(name.startswith("0.layers.") for name in names):
        crossed = [_linear(arrays, f"{prefix}0.layers.{number}.") for number in range(_count(names, "0.layers."))]
        layers = [_crossed(crossed), *_perceptron(arrays, f"{prefix}1.", nonlinear)]
    elif names and all(name.split(".")[0].isdigit() and name.count(".") == 1 for name in names):
        first = f"{prefix}0."
        layers = _perceptron(arrays, prefix, nonlinear)
    else:
        return None
    if activated:
        layers, first = [nonlinear, *layers], None
    rest = _chained(layers if first is None else layers[1:])

    def answer(h: Floats) -> tuple[Floats, Callable[[], Floats]]:
        y, back = rest(h)
        return y[:, 0], lambda: back(np.ones_like(y))

    weight, bias = (None, None) if first is None else _matrix(arrays, first)
    return DeepPart(weight, bias, answer)


def _count(names: list[str], before: str) -> int:
    return 1 + max(int(name[len(before) :].split(".")[0]) for name in names if name.startswith(before))


def _perceptron(arrays: Arrays, prefix: str, nonlinear: _Layer) -> list[_Layer]:
    numbers = sorted(
        int(name[len(prefix) :].split(".")[0])
        for name in arrays
        if name.startswith(prefix) and name.endswith(".weight")
    )
    layers: list[_Layer] = []
    for number in numbers:
        layers += [_linear(arrays, f"{prefix}{number}."), nonlinear]
    return layers[:-1]


def _matrix(arrays: Arrays, prefix: str) -> tuple[Floats, Floats]:
    weight = arrays[f"{prefix}weight"].astype(np.float64)
    return weight, arrays[f"{prefix}bias"].astype(np.float64) if f"{prefix}bias" in arrays else np.zeros(len(weight))


def _linear(arrays: Arrays, prefix: str) -> _Layer:
    weight, bias = _matrix(arrays, prefix)
    return lambda x: (x @ weight.T + bias, lambda dy: dy @ weight)


def _activation(name: str) -> _Layer:
    value, slope = _ACTIVATIONS[name]
    return lambda x: (value(x), lambda dy: dy * slope(x))


def _chained(layers: list[_Layer]) -> _Layer:
    def apply(x: Floats) -> tuple[Floats, Callable[[Floats], Floats]]:
        backs = []
        for layer in layers:
            x, back = layer(x)
            backs.append(back)

        def all_back(dy: Floats) -> Floats:
            for back in reversed(backs):
                dy = back(dy)
            return dy

        return x, all_back

    return apply


def _added(layer: _Layer) -> _Layer:
    def apply(x: Floats) -> tuple[Floats, Callable[[Floats], Floats]]:
        y, back = layer(x)
        return x + y, lambda dy: dy + back(dy)

    return apply


def _crossed(layers: list[_Layer]) -> _Layer:
    """``x_(l+1) = x_0 * (W_l x_l + b_l) + x_l``."""

    def apply(x: Floats) -> tuple[Floats, Callable[[Floats], Floats]]:
        crossed, steps = x, []
        for layer in layers:
            inner, back = layer(crossed)
            steps.append((inner, back))
            crossed = x * inner + crossed

        def all_back(dy: Floats) -> Floats:
            of_first = np.zeros_like(x)
            for inner, back in reversed(steps):
                of_first += dy * inner
                dy = dy + back(dy * x)
            return of_first + dy

        return crossed, all_back

    return apply
