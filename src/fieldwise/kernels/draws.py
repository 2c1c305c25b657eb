"""Counter-based random numbers: they depend only on a key and on what is drawn, not on the thread or the order."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.jit import kernel, merged

__all__ = ["STEP", "draw_latents", "mixed", "normal"]

Floats = npt.NDArray[np.floating[Any]]

_U = np.uint64
STEP = np.uint64(0x9E3779B97F4A7C15)
"""What a state moves on by."""
_ONE, _TWO = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@merged
def mixed(state: np.uint64) -> np.uint64:
    """Return splitmix64's output for a state (Steele, Lea and Flood 2014)."""
    z = (state ^ (state >> _U(30))) * _ONE
    z = (z ^ (z >> _U(27))) * _TWO
    return z ^ (z >> _U(31))


@merged
def _unit(bits: np.uint64) -> float:
    """Return a number strictly between 0 and 1."""
    return (float(bits >> _U(11)) + 0.5) * 1.1102230246251565e-16  # 2^-53


@merged
def normal(state: np.uint64) -> float:
    """Return a number from N(0, 1) for a state, of which the next one is used, too (Box and Muller 1958)."""
    radius = math.sqrt(-2.0 * math.log(_unit(mixed(state))))
    return radius * math.cos(2.0 * math.pi * _unit(mixed(state + STEP)))


@kernel
def draw_latents(
    predicted: Floats, labels: npt.NDArray[np.integer[Any]], key: np.uint64, latent: Floats, begin: int, end: int
) -> None:
    """Draw the latent number of each example: from N(predicted, 1), above zero where its label is 1, below where 0.

    By rejection: from the whole normal where the half line holds much of it, from an exponential in its tail (Robert
    1995).

    Parameters
    ----------
    predicted
        (n,) means.
    labels
        (n,) 0 or 1.
    key
        Of these draws.
    latent
        (n,), written from `begin` to `end`.
    """
    for e in range(begin, end):
        sign = 1.0 if labels[e] else -1.0
        least = -sign * predicted[e]  # what a draw from N(0, 1) has to exceed
        state = mixed(key + _U(e) * STEP)
        x = 0.0
        while True:
            if least < 0.5:
                x = normal(state)
                state += STEP + STEP
                if x > least:
                    break
            else:
                x = least - math.log(_unit(mixed(state))) / least
                accepted = _unit(mixed(state + STEP)) < math.exp(-0.5 * (x - least) ** 2)
                state += STEP + STEP
                if accepted:
                    break
        latent[e] = predicted[e] + sign * x
