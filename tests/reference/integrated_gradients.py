"""The mean gradient on a line by the midpoint rule, point by point: intervals are halved until both ends are told."""

from __future__ import annotations

from itertools import pairwise

import torch


def mean_gradient(function, start, whole, intervals=16, rounds=14, close=1e-5):
    """Return the mean (I,) of the gradient of ``function((S, I)) -> (S,)`` on the line from start to start + whole."""

    def at(place):
        x = (start + place * whole).requires_grad_()
        value = function(x[None])[0]
        value.backward()
        return value.item(), x.grad

    def mean(begin, end, left):
        _, gradient = at((begin + end) / 2)
        change = at(end)[0] - at(begin)[0]
        width = end - begin
        if left == 0 or abs(change - width * float(gradient @ whole)) <= close / intervals:
            return width * gradient
        middle = (begin + end) / 2
        return mean(begin, middle, left - 1) + mean(middle, end, left - 1)

    edges = torch.linspace(0, 1, intervals + 1, dtype=start.dtype).tolist()
    return sum(mean(begin, end, rounds - 1) for begin, end in pairwise(edges))
