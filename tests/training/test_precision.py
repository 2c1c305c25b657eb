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


def test_a_processor_is_asked_by_torch(monkeypatch):
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: True, raising=False)
    assert precision.has_bfloat16()
