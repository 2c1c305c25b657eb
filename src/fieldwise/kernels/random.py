"""Random numbers that depend only on a key and on what is drawn, not on the thread, the order or the machine.

torch draws the numbers of dropout one after the other from one generator: 4.5 ns each, on one thread, a sixth of the
step of a small network (docs/log/2026-11/dense.md#what-does-it-bring-to-run-all-layers-as-one-function). Here each is a
hash of where it stands.

numpy promises that the raw stream of a bit generator (Philox here) never changes, but not that
`Generator.permutation` uses it in the same way for ever; an epoch that is continued after an upgrade would then see
some examples twice and others never. So the shuffle is our own.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from fieldwise.kernels.jit import kernel, merged

__all__ = ["STEP", "draw_latents", "draw_mask", "fisher_yates", "mixed", "name_rows", "normal", "permutation"]

Floats = npt.NDArray[np.floating[Any]]

_U, _U32 = np.uint64, np.uint32
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


@njit(inline="always")
def _mixed32(bits: Any) -> Any:
    """Return 32 bits, each of which depends on all bits given: "lowbias32", Wellons 2018."""
    bits = _U32(bits ^ (bits >> _U32(16)))
    bits = _U32(bits * _U32(0x7FEB352D))
    bits = _U32(bits ^ (bits >> _U32(15)))
    bits = _U32(bits * _U32(0x846CA68B))
    return _U32(bits ^ (bits >> _U32(16)))


@kernel
def draw_mask(out: npt.NDArray[Any], first: int, key: int, below: int, kept: Any) -> None:
    """Set ``out[i] = 0 if hash(key, first + i) < below else kept``.

    Parameters
    ----------
    out
        (any,), of any type.
    first
        The place of its first number in the whole, below 2^32.
    key
        0 to 2^64 - 1: another one gives independent numbers.
    below
        0 to 2^32 - 1: the share that becomes 0, times 2^32.
    kept
        What the others become.
    """
    # Alone, a low word that differs would give the same numbers in other places.
    low, limit = _U32(np.uint64(key)), _U32(below)
    high = _mixed32(_U32(_mixed32(low) ^ _U32(np.uint64(key) >> np.uint64(32))))
    start, zero = _U32(first), out.dtype.type(0)
    number = out.dtype.type(kept)
    for i in range(np.uint32(len(out))):
        drawn = _mixed32(_U32(_mixed32(_U32(start + _U32(i)) ^ low) ^ high))
        out[i] = zero if drawn < limit else number


def permutation(size: int, seed: int, *key: int) -> npt.NDArray[np.int64]:
    """Return the numbers 0 .. size - 1 in an order that depends on nothing but seed and key.

    Parameters
    ----------
    size
        0 to 2^32 - 1.
    seed, key
        Non-negative integers; any other seed or key gives an independent order.

    Examples
    --------
    >>> sorted(permutation(5, 1, 2).tolist())
    [0, 1, 2, 3, 4]
    """
    draws = np.random.Philox(np.random.SeedSequence(seed, spawn_key=key)).random_raw(size)
    order = np.arange(size, dtype=np.int64)
    fisher_yates(draws, order)
    return order


@kernel
def fisher_yates(draws: npt.NDArray[np.uint64], order: npt.NDArray[np.int64]) -> None:
    """Shuffle in place: for i from the last down, swap ``order[i]`` with ``order[floor(u * (i + 1))]``, u uniform in
    [0, 1).

    u is the upper half of ``draws[i]`` over 2^32, so the probabilities of a place differ by less than (i + 1) / 2^32 of
    themselves: one part in 16,000 for a window of 262,144 examples.
    """
    for i in range(len(order) - 1, 0, -1):
        j = np.int64(((draws[i] >> np.uint64(32)) * np.uint64(i + 1)) >> np.uint64(32))
        order[i], order[j] = order[j], order[i]


@kernel
def name_rows(places: npt.NDArray[np.int64], runs: npt.NDArray[np.int64], length: int, num_rows: int) -> None:
    """Replace places in some runs of rows, one after the other, by the rows that stand there.

    Parameters
    ----------
    places
        (any,) overwritten.
    runs
        (R,): run r holds the rows ``length r .. length r + length - 1``, each once; one may reach beyond the last row.
    length, num_rows
        Of a run; in all.
    """
    whole, size, short_end, lacking = np.uint64(len(places)), np.uint64(length), np.uint64(0), np.uint64(0)
    for position in range(np.uint64(len(runs))):
        begin = np.uint64(runs[position]) * size
        if begin + size > np.uint64(num_rows):
            lacking = begin + size - np.uint64(num_rows)
            short_end = (position + np.uint64(1)) * size - lacking
    for i in range(whole):
        place = np.uint64(places[i])
        if lacking and place >= short_end:
            place += lacking
        run = place // size
        places[i] = np.uint64(runs[run]) * size + (place - run * size)
