"""What holds of the probabilities of the same rows, asked for again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.logs import config_text, make_table, write

import fieldwise as fw
from fieldwise.kernels.threads import num_threads, set_num_threads

MORE = "[model]\nhidden = [64, 32]\n[train]\nepochs = 1\nbatch_size = 256\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("same")
    write(make_table(1500), folder / "log.parquet")
    fw.train(fw.parse_config(config_text("log.parquet", more=MORE), base=folder), folder / "run")
    return folder / "run"


def test_the_same_table_gives_the_same_bits_and_a_row_alone_the_same_within_rounding(run):
    table = make_table(3000, seed=4)

    def probabilities(rows):
        return fw.Predictor(run).predict(rows)

    whole = probabilities(table)
    assert (probabilities(table) == whole).all()
    for row in range(0, 3000, 150):
        np.testing.assert_allclose(probabilities(table.slice(row, 1)), whole[row : row + 1], rtol=0, atol=1e-6)
    before = num_threads(), torch.get_num_threads()
    try:
        set_num_threads(3)
        torch.set_num_threads(1)
        np.testing.assert_allclose(probabilities(table), whole, rtol=0, atol=1e-6)
    finally:
        set_num_threads(before[0])
        torch.set_num_threads(before[1])
