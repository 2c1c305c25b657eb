"""Which rows of a whole table the rows of a part of it are, where a table is spread over several owners.

::

    row of the whole = (factor row of the part + shift) mod modulus

So what depends on the number of a row, such as the bits that round its weights, can go by the number that it has in the
whole table, wherever it is kept, without a list of all numbers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["MAX_ROWS", "WHOLE", "Numbering"]

MAX_ROWS = 1 << 41
_HALF = 21  # bits: with numbers below 2^41, a product of one and half of another stays below 2^62


class Numbering(NamedTuple):
    """An affine map between rows.

    Attributes
    ----------
    factor, shift
        0 to modulus - 1.
    modulus
        1 to 2^41; more than the number of any row.

    Examples
    --------
    >>> [Numbering(factor=3, shift=5, modulus=7).of(row) for row in range(7)]
    [5, 1, 4, 0, 3, 6, 2]
    >>> WHOLE.of(6)
    6
    """

    factor: int
    shift: int
    modulus: int

    def of(self, rows: Any) -> Any:
        """Return the rows of the whole: of a number, or of an array or tensor of int64, below `modulus`."""
        if self.factor == 1 and self.shift == 0:  # of a table in one piece, whose step then costs no division
            return rows
        # Without overflow: the factor in two halves.
        high, low = self.factor >> _HALF, self.factor & ((1 << _HALF) - 1)
        shifted = (rows * high % self.modulus << _HALF) % self.modulus
        return ((shifted + rows * low % self.modulus) % self.modulus + self.shift) % self.modulus


WHOLE = Numbering(1, 0, MAX_ROWS)
"""Of a table that is kept in one piece: every row is itself."""
