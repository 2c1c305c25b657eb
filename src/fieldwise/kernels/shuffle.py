"""A shuffle that is the same on every machine and in every version of numpy.

numpy promises that the raw stream of a bit generator (Philox here) never changes, but not that
`Generator.permutation` uses it in the same way for ever; an epoch that is continued after an upgrade would then see
some examples twice and others never.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.jit import kernel

__all__ = ["name_rows", "permutation"]


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
