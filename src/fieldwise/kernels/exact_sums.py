"""Exact sums of floats, and of their squares, in whole numbers: the same whatever the order and the pieces.

A float is a whole number of up to 53 bits times 2^(e - 1075). Shifted to the 32-bit digit in which it begins, it is
three digits at most, and digits are added up by themselves: no rounding, no carry, so pieces merge by addition. 2^31
floats fit. Squares of float32 numbers are exact in float64.

Source: U. Kulisch, Computer Arithmetic and Validity, 2013 (the long accumulator), with carries left for the end.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.jit import kernel

__all__ = ["NUM_DIGITS", "add_exactly", "exact_sum"]

NUM_DIGITS = 68
_BITS, _MASK = 32, (1 << 32) - 1
_LEAST_EXPONENT = 1075
_MANTISSA, _HIDDEN, _EXPONENT = (1 << 52) - 1, 1 << 52, 0x7FF


@kernel
def add_exactly(numbers, words, power, digits):  # type: ignore[no-untyped-def]
    """Add finite numbers, column by column; NaN is passed over.

    Parameters
    ----------
    numbers, words
        (B, N) float64, contiguous, and the same memory as int64; written where `power` is 2: squares take their place.
    power
        1, or 2 for the squares.
    digits
        (N, `NUM_DIGITS`) int64, added to.
    """
    for b in range(numbers.shape[0]):
        for n in range(numbers.shape[1]):
            if power == 2:
                numbers[b, n] *= numbers[b, n]
            word = words[b, n]
            exponent = (word >> 52) & _EXPONENT
            if exponent == _EXPONENT:
                continue
            whole = word & _MANTISSA
            if exponent:
                whole |= _HIDDEN
            else:
                exponent = 1
            first, shift = exponent >> 5, exponent & 31
            low, high = whole & _MASK, whole >> _BITS  # 32 and 21 bits
            low, high = low << shift, high << shift
            sign = -1 if word < 0 else 1
            digits[n, first] += sign * (low & _MASK)
            digits[n, first + 1] += sign * ((low >> _BITS) + (high & _MASK))
            digits[n, first + 2] += sign * (high >> _BITS)


def exact_sum(digits: npt.NDArray[np.int64]) -> Fraction:
    """Return the sum that digits, (`NUM_DIGITS`,), stand for.

    Examples
    --------
    >>> numbers, digits = np.array([[1e300], [0.5], [-1e300]]), np.zeros((1, NUM_DIGITS), np.int64)
    >>> add_exactly(numbers, numbers.view(np.int64), 1, digits)
    >>> exact_sum(digits[0])
    Fraction(1, 2)
    """
    whole: Any = sum(int(digit) << (_BITS * place) for place, digit in enumerate(digits.tolist()) if digit)
    return Fraction(whole, 1 << _LEAST_EXPONENT)
