"""The product of a layer, ``g(a w' + b)`` with g the identity or relu, by the way that this processor has.

In float32 the products are oneDNN's: torch's own are MKL's, which uses half of the width of an AMD processor's units
(docs/log/2026-11/dense.md#which-librarys-product-is-fastest). In bfloat16, with sums in float32 inside the library,
they are oneDNN's too, where it has them: without AVX-512, say, it has none, and torch's own take 6 to 8 times as long
as those in float32. There a product is taken in float32 and then rounded, which has the same meaning (sums in float32,
one rounding at the end) and takes a tenth longer than float32 does.

What there is depends on the processor, on how torch was built and on variables such as ONEDNN_MAX_CPU_ISA, so a small
product is tried instead of asking for names.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

__all__ = ["has_product", "product"]

_onednn: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)  # None in a build of torch without oneDNN
_onednn = _onednn and _onednn.default  # a call takes 27 microseconds beside its product, not 34


@cache
def has_product(dtype: torch.dtype) -> bool:
    """Return whether oneDNN multiplies numbers of a type here, and rightly; tried once.

    Examples
    --------
    >>> has_product(torch.float64)  # a type that it does not know
    False
    """
    if _onednn is None:
        return False
    # Small whole numbers, which bfloat16 holds: every way to add their products up gives the same.
    a, w = (torch.arange(count, dtype=torch.float64).remainder(5).sub(2).view(-1, 8) for count in (32, 24))
    wanted = (a @ w.t() + 1).relu()
    try:
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            for weight in (w.to(dtype), w.to(dtype).t().contiguous().t()):  # forward's, and that of dx
                found = _onednn(a.to(dtype), weight, torch.ones(3, dtype=dtype), "relu", [], "")
                if not torch.equal(found.double(), wanted):
                    return False
    except RuntimeError:  # "could not create a primitive descriptor"
        return False
    return True


def product(a: Tensor, w: Tensor, bias: Tensor | None = None, relu: bool = False) -> Tensor:
    """Return ``a w'`` of a (M, N) and w (O, N), with the bias added and negative numbers cleared where asked for: one
    call of a library, on the threads that torch has here.
    """
    dtype = a.dtype
    if dtype == torch.bfloat16 and not has_product(dtype):
        wide = None if bias is None else bias.float()
        return product(a.float(), w.float(), wide, relu).to(dtype)
    if (dtype == torch.float32 and has_product(dtype)) or (bias is not None and dtype == torch.bfloat16):
        out: Tensor = _onednn(a, w, bias, "relu" if relu else "none", [], "")
        return out
    out = a @ w.t() if bias is None else torch.addmm(bias, a, w.t())
    return out.relu_() if relu else out
