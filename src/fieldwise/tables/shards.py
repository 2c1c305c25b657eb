"""Which worker owns which row of the table.

The D rows are first spread by a bijection, then cut into W contiguous blocks, one for each worker::

    place(row) = (a row + b) mod D           owner = place // ceil(D / W)

with a the number next to D / golden ratio that has no factor in common with D, and b drawn from a seed. The rows of a
field are numbered by how frequent they are, so its hot rows are neighbours, and multiples of the golden ratio send
neighbours further apart than a random order does: no block gets more of them than another by more than a few. Places do
not depend on W, so a block for another W is cut from the same order.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.numbering import MAX_ROWS, Numbering

__all__ = ["Part", "Shards"]

Int64s = npt.NDArray[np.int64]

_GOLDEN = (math.sqrt(5) - 1) / 2


class Shards:
    """The rows of a table, dealt to workers.

    Parameters
    ----------
    num_rows
        D, 1 to 2^41 - 1.
    num_workers
        W >= 1.
    seed
        0 or more.

    Attributes
    ----------
    block
        ceil(D / W), the rows of a worker; the last ones may own fewer, or none.
    spread
        The place of each row, as the equation above: factor a, shift b, modulus D.

    Examples
    --------
    >>> shards = Shards(num_rows=1000, num_workers=4)
    >>> hot = np.arange(100, dtype=np.int64)
    >>> np.bincount(shards.places(hot) // shards.block).tolist()
    [24, 28, 24, 24]
    >>> bool((shards.rows(shards.places(hot)) == hot).all())
    True
    """

    def __init__(self, num_rows: int, num_workers: int, seed: int = 0) -> None:
        if not 1 <= num_rows < MAX_ROWS or num_workers < 1:
            raise ValueError(f"num_rows (={num_rows}) must be 1 to 2^41 - 1, num_workers (={num_workers}) 1 or more")
        self.num_rows, self.num_workers, self.seed = num_rows, num_workers, seed
        self.block = -(-num_rows // num_workers)
        factor = max(int(num_rows * _GOLDEN), 1)
        while math.gcd(factor, num_rows) != 1:
            factor += 1
        shift = int(np.random.Philox(np.random.SeedSequence(seed)).random_raw() % num_rows)
        self.spread = Numbering(factor % num_rows, shift, num_rows)

    def places(self, rows: Int64s) -> Int64s:
        """Return the place of each row in the spread order."""
        found: Int64s = self.spread.of(rows)
        return found

    def rows(self, places: Int64s) -> Int64s:
        """Return the row at each place."""
        found: Int64s = self._row_at(0).of(places)
        return found

    def owned(self, worker: int) -> range:
        """Return the places that a worker owns."""
        return range(min(worker * self.block, self.num_rows), min((worker + 1) * self.block, self.num_rows))

    def numbering(self, worker: int) -> Numbering:
        """Return which rows those that a worker owns are, counted from its first place."""
        return self._row_at(self.owned(worker).start)

    def _row_at(self, first: int) -> Numbering:
        """Return the rows at the places from `first` on: `places` turned round."""
        factor, shift, modulus = self.spread
        inverse = pow(factor, -1, modulus) if modulus > 1 else 0
        return Numbering(inverse, inverse * (first - shift) % modulus, modulus)


class Part(NamedTuple):
    """Some of a table's rows: those at `places` of the spread order, or of their own where `spread` is false."""

    shards: Shards
    places: range
    spread: bool = True

    @classmethod
    def whole(cls, num_rows: int) -> Part:
        """Return all rows in their order."""
        return cls(Shards(num_rows, 1), range(num_rows), spread=False)

    def rows(self, places: Int64s) -> Int64s:
        """Return the rows at some of the places."""
        return self.shards.rows(places) if self.spread else places
