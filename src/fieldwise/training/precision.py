"""In which precision the products of a deep part are taken."""

from __future__ import annotations

import torch
from torch import nn

from fieldwise.nn.deep import count_weights
from fieldwise.nn.product import has_product

__all__ = ["has_bfloat16", "takes_bfloat16"]

_WORTH_WEIGHTS = 1 << 18
"""Weights of the matrices from which on bfloat16 is chosen: below, the products are the smaller part of a step."""


def takes_bfloat16(precision: str, model: nn.Module) -> bool:
    """Return whether products are taken in bfloat16: ``bfloat16`` says so, whatever it costs here (`nn.product`);
    ``auto`` does where the processor, or GPU, is faster in bfloat16 and the matrices have 262,144 weights or more.

    Examples
    --------
    >>> takes_bfloat16("bfloat16", nn.Linear(2, 1)), takes_bfloat16("auto", nn.Linear(2, 1))
    (True, False)
    """
    if precision != "auto":
        return precision == "bfloat16"
    on_gpu = any(parameter.is_cuda for parameter in model.parameters())
    has = torch.cuda.is_bf16_supported(including_emulation=False) if on_gpu else has_bfloat16()
    return has and count_weights(model)[0] >= _WORTH_WEIGHTS


def has_bfloat16() -> bool:
    """Return whether matrices are multiplied in bfloat16 faster than in float32: the product can be had, and the
    processor has instructions for it, without which a library imitates it.
    """
    if not has_product(torch.bfloat16):
        return False
    if hasattr(torch.cpu, "get_capabilities"):  # public, but newer than the oldest torch that we take
        known = torch.cpu.get_capabilities()
        return any(bool(known.get(name)) for name in ("avx512_bf16", "amx_tile"))
    asked = [getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    return any(bool(supported()) for supported in asked if supported is not None)
