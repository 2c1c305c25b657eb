"""The product of a layer is right by every way to take it, whatever the processor and torch's build have."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fieldwise.nn import product as module
from fieldwise.nn.product import has_product, product

SHAPES = [(1, 5, 1), (2, 1, 3), (513, 300, 65), (64, 7, 256)]


@pytest.fixture(params=["as it is", "no primitive for bfloat16", "no primitive", "no oneDNN", "a wrong primitive"])
def machine(request, monkeypatch):
    """Be a machine that lacks something."""
    real = module._onednn

    def refuse(a, *others):
        if request.param == "no primitive" or a.dtype == torch.bfloat16:
            raise RuntimeError("could not create a primitive descriptor for the inner product forward propagation")
        return real(a, *others)

    def wrong(a, *others):
        return real(a.float(), *(x.float() if isinstance(x, torch.Tensor) else x for x in others)).to(a.dtype) + 1

    fakes = {"no oneDNN": None, "a wrong primitive": wrong, "as it is": real}
    monkeypatch.setattr(module, "_onednn", fakes.get(request.param, refuse))
    has_product.cache_clear()
    yield request.param
    has_product.cache_clear()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("bias", "relu"), [(False, False), (True, False), (True, True)])
def test_products_are_those_of_numpy(machine, dtype, turned, bias, relu):
    rng = np.random.default_rng(0)
    for num_rows, num_inputs, num_outputs in SHAPES:
        # Quarters: what bfloat16 holds exactly, so that one rounding, at the end, is all that may be lost.
        a, w, b = (
            torch.from_numpy(rng.integers(-8, 9, shape) / 4).to(dtype)
            for shape in ((num_rows, num_inputs), (num_outputs, num_inputs), (num_outputs,))
        )
        wanted = a.double().numpy() @ w.double().numpy().T + (b.double().numpy() if bias else 0)
        wanted = np.maximum(wanted, 0) if relu else wanted
        found = product(a, w.t().contiguous().t() if turned else w, b if bias else None, relu)
        assert found.dtype == dtype
        np.testing.assert_allclose(found.double().numpy(), wanted, rtol=2**-8 if dtype == torch.bfloat16 else 1e-6)


def test_what_there_is_is_found_by_trying(machine):
    assert not has_product(torch.float64)
    if machine != "as it is":
        assert not has_product(torch.bfloat16)
        assert has_product(torch.float32) == (machine == "no primitive for bfloat16")
