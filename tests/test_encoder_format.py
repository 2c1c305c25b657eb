"""docs/encoder-format.md: golden rows, which this library and a reader that is not Python encode alike."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.golden.make import FOLDER, NUM_ROWS, features_of

from fieldwise.features.encoder import Encoder
from fieldwise.io.arrays import load_arrays
from fieldwise.kernels.layout import BAG, VALUE
from fieldwise.serving.encode import RowEncoder

READER = Path(__file__).parent.parent / "contrib" / "encoder-node" / "encode.js"


@pytest.fixture(scope="module")
def golden():
    with gzip.open(FOLDER / "rows.jsonl.gz", "rt") as file:
        pairs = [json.loads(line) for line in file]
    assert len(pairs) == NUM_ROWS
    return [row for row, _ in pairs], [features for _, features in pairs]


@pytest.fixture(scope="module")
def encoder():
    described = json.loads((FOLDER / "bundle" / "manifest.json").read_text())["content"]["encoder"]
    return Encoder.from_arrays(described, load_arrays(FOLDER / "bundle" / "encoder.safetensors"))


def test_preparing_gives_the_golden_features(golden, encoder):
    rows, expected = golden
    assert features_of(encoder, rows) == expected


def test_answering_gives_the_golden_features(golden, encoder):
    rows, expected = golden
    layout, fast = encoder.layout, RowEncoder(encoder)
    for begin in range(0, NUM_ROWS, 500):
        batch = fast.encode(rows[begin : begin + 500])
        for number, features in enumerate(expected[begin : begin + 500]):
            for place, (ids, weights) in enumerate(features):
                if layout.form[place] == BAG:
                    first, last = batch.offsets[layout.bag[place], number : number + 2]
                    assert batch.bag_ids[first:last].tolist() == ids
                    np.testing.assert_allclose(batch.bag_weights[first:last], weights, rtol=1e-5)
                else:
                    assert batch.ids[layout.single[place], number] == ids[0]
                    if layout.form[place] == VALUE:
                        assert batch.values[layout.value[place], number] == pytest.approx(
                            weights[0], rel=1e-5, abs=1e-6
                        )


@pytest.mark.skipif(shutil.which("node") is None, reason="the reader is for Node")
def test_a_reader_in_another_language_gives_the_golden_features(golden, encoder):
    rows, expected = golden
    given = b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
    done = subprocess.run(["node", READER, FOLDER / "bundle"], input=given, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == NUM_ROWS
    for row, of_row, features in zip(rows, found, expected, strict=True):
        for field, (ids, weights) in zip(encoder.schema.fields, features, strict=True):
            got = of_row[field.name]
            assert got["ids"] == ids, (field.name, row)
            np.testing.assert_allclose(got["weights"], weights, rtol=1e-5, atol=1e-6, err_msg=str((field.name, row)))
