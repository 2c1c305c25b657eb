"""Student's t distribution, and p-values of several tests."""

from __future__ import annotations

from collections.abc import Sequence
from math import erfc, exp, lgamma, log, log1p, sqrt

__all__ = ["holm", "student_p_value", "student_quantile"]


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for multiple testing by Holm's method, which controls the family-wise error rate.

    With n p-values in ascending order p_1 <= ... <= p_n, the adjusted ones are max over j <= i of
    min(1, (n - j + 1) p_j).

    Source: S. Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6, 1979.

    Examples
    --------
    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, number in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, p_values[number] * (len(p_values) - rank)))
        corrected[number] = largest
    return corrected


def student_p_value(t: float, degrees: float) -> float:
    """Return P(abs(T) >= abs(t)) for T of Student's t distribution.

    It is the regularised incomplete beta function ``I_x(degrees / 2, 1 / 2)`` at x = degrees / (degrees + t^2),
    computed by its continued fraction (Press et al., Numerical Recipes, section 6.4).

    Parameters
    ----------
    t
        The statistic.
    degrees
        Degrees of freedom, >= 1; infinity gives the normal distribution.

    Examples
    --------
    >>> round(student_p_value(2.0, 2), 4), round(student_p_value(1.96, float("inf")), 4)
    (0.1835, 0.05)
    """
    if degrees > 1e7:
        return erfc(abs(t) / sqrt(2))
    a, b, x = degrees / 2, 0.5, degrees / (degrees + t * t)
    if x in (0.0, 1.0):
        return x
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return min(front * _fraction(a, b, x) / a, 1.0)
    return max(1 - front * _fraction(b, a, 1 - x) / b, 0.0)


def _fraction(a: float, b: float, x: float) -> float:
    """Evaluate the continued fraction of the incomplete beta function by Lentz's method."""
    tiny = 1e-300
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or tiny)
    value = d
    for m in range(1, 1000):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / (1 + step * d or tiny)
            c = 1 + step / c or tiny
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value


def student_quantile(level: float, degrees: float) -> float:
    """Return the t >= 0 with P(abs(T) >= t) = level, by bisection of `student_p_value`.

    Parameters
    ----------
    level
        The two-sided probability, 0 < level <= 1: .05 for a 95 % confidence interval.
    degrees
        Degrees of freedom, >= 1; infinity gives the normal distribution.

    Examples
    --------
    >>> round(student_quantile(0.05, 2), 3), round(student_quantile(0.05, float("inf")), 3)
    (4.303, 1.96)
    """
    low, high = 0.0, 1.0
    while student_p_value(high, degrees) > level:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if student_p_value(middle, degrees) > level else (low, middle)
    return high
