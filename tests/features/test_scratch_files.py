"""Room on the disk is taken where the system has no call for it, too."""

from __future__ import annotations

import os

import numpy as np

from fieldwise.features.scratch import Scratch


def test_a_large_array_of_zeros_lies_in_a_file_without_posix_fallocate(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    array = Scratch(tmp_path, memory=0).zeros((3, 100_001), np.int64)
    assert not array.any()
    array[2, -1] = 7
    assert array[2, -1] == 7
