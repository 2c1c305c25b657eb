"""``fieldwise bench``: it measures what it says, as text and as JSON."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from fieldwise.cli import main

SMALL = ["--quick", "--features", "20000", "--fields", "5"]


@pytest.mark.long
def test_it_prints_limits_and_how_close_training_comes():
    done = CliRunner().invoke(main, ["bench", *SMALL])
    assert done.exit_code == 0, done.output
    for words in ("random reads", "matrix products, float32", "LR, whole epoch", "LC-DNN [5, 2048, 1024, 1]"):
        assert words in done.stdout


@pytest.mark.long
def test_json_has_the_machine_and_every_ratio():
    done = CliRunner().invoke(main, ["bench", *SMALL, "--json"])
    found = json.loads(done.stdout)
    assert {"processor", "cores", "memory_bytes", "versions", "load", "date"} <= found["machine"].keys()
    for figure in found["figures"]:
        assert figure["ratio"] == pytest.approx(figure["ours"] / figure["limit"])
        assert 0 < figure["ratio"] < 20
    assert found["figures"][0]["name"] == "LR, whole epoch"
    assert all(rate > 0 for rate in (*found["reads"].values(), *found["products"].values()))
    assert sum(found["stages"].values()) == pytest.approx(found["seconds"], abs=0.5)


def test_too_few_features_are_refused_with_the_number():
    done = CliRunner().invoke(main, ["bench", "--features", "1000", "--fields", "500"])
    assert done.exit_code == 2
    assert "2000" in done.stderr
