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

import numpy as np
import numpy.typing as npt

__all__ = ["Shards"]

Int64s = npt.NDArray[np.int64]

_MAX_ROWS = 1 << 41
_HALF = 21  # bits: with D < 2^41 a product of a row and half of another stays below 2^62
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
        if not 1 <= num_rows < _MAX_ROWS or num_workers < 1:
            raise ValueError(f"num_rows (={num_rows}) must be 1 to 2^41 - 1, num_workers (={num_workers}) 1 or more")
        self.num_rows, self.num_workers, self.seed = num_rows, num_workers, seed
        self.block = -(-num_rows // num_workers)
        self._factor = max(int(num_rows * _GOLDEN), 1)
        while math.gcd(self._factor, num_rows) != 1:
            self._factor += 1
        self._factor %= num_rows
        self._shift = int(np.random.Philox(np.random.SeedSequence(seed)).random_raw() % num_rows)
        self._inverse = pow(self._factor, -1, num_rows) if num_rows > 1 else 0

    def places(self, rows: Int64s) -> Int64s:
        """Return the place of each row in the spread order."""
        return (_times(rows, self._factor, self.num_rows) + self._shift) % self.num_rows

    def rows(self, places: Int64s) -> Int64s:
        """Return the row at each place: `places` turned round."""
        return _times((places - self._shift) % self.num_rows, self._inverse, self.num_rows)

    def owned(self, worker: int) -> range:
        """Return the places that a worker owns."""
        return range(min(worker * self.block, self.num_rows), min((worker + 1) * self.block, self.num_rows))


def _times(numbers: Int64s, factor: int, modulus: int) -> Int64s:
    """Return ``numbers factor mod modulus`` without overflow: the factor in two halves."""
    high, low = factor >> _HALF, factor & ((1 << _HALF) - 1)
    product = numbers * high % modulus
    shifted: Int64s = (product << _HALF) % modulus
    return (shifted + numbers * low % modulus) % modulus
