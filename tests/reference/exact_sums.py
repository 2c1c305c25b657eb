"""Exact sums, number by number."""

from fractions import Fraction


def exact_sum(numbers, power=1):
    """The sum of finite floats to a power of 1 or 2, each rounded to a float; NaN is passed over."""
    return sum((Fraction(float(x) ** power) for x in numbers if x == x), Fraction(0))
