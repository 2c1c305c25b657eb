"""Which precision `auto` is."""

from __future__ import annotations

import pytest
from torch import nn

from fieldwise.training import precision


@pytest.mark.parametrize("supported", [False, True])
def test_auto_is_bfloat16_where_the_processor_has_it_and_the_matrices_are_large(monkeypatch, supported):
    monkeypatch.setattr(precision, "has_bfloat16", lambda: supported)
    small, large = nn.Linear(511, 512), nn.Sequential(nn.Linear(512, 256), nn.Linear(256, 512))
    assert [precision.takes_bfloat16("auto", model) for model in (small, large)] == [False, supported]
    assert [precision.takes_bfloat16("float32", model) for model in (small, large)] == [False, False]
    assert [precision.takes_bfloat16("bfloat16", model) for model in (small, large)] == [True, True]


@pytest.mark.parametrize("can", [False, True])
@pytest.mark.parametrize("older", [False, True])
def test_a_processor_with_instructions_for_bfloat16_has_it_where_a_product_can_be_had(monkeypatch, can, older):
    monkeypatch.setattr(precision, "has_product", lambda dtype: can)
    if older:
        monkeypatch.delattr("torch.cpu.get_capabilities", raising=False)
        monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: True, raising=False)
    else:
        monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert precision.has_bfloat16() is can


def test_what_torch_does_not_know_of_a_processor_is_not_taken_for_granted(monkeypatch):
    monkeypatch.setattr(precision, "has_product", lambda dtype: True)
    for name in ("get_capabilities", "_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(f"torch.cpu.{name}", raising=False)
    assert not precision.has_bfloat16()
