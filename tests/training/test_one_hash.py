"""One seed is one model: the same bytes from run to run, whatever the number of threads."""

from __future__ import annotations

import hashlib

import pytest
import torch
from tests.logs import config_text, make_table, write

import fieldwise as fw
from fieldwise.kernels.threads import num_threads, set_num_threads

MORE = """
[model]
units = 4
hidden = [32, 16]
dropout = 0.1
[train]
epochs = 2
batch_size = 1024
[pretrain]
epochs = 1
"""
THREADS = (1, 2, 1, 2, 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hash")
    write(make_table(8_000), folder / "log.parquet")
    return folder


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = num_threads(), torch.get_num_threads()
    yield
    set_num_threads(before[0])
    torch.set_num_threads(before[1])


def hash_of(run):
    """Return one hash of all bytes of a run's model."""
    digest = hashlib.sha256()
    for path in sorted((run / "bundle").iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


DEEP = pytest.mark.xfail(reason="the last bits of matrix products may depend on the number of threads", strict=False)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(
    "kind", ["lr", *(pytest.param(kind, marks=DEEP) for kind in ("dnn", "lc-dnn", "lc-wide-deep", "lc-resnet"))]
)
def test_five_runs_with_one_seed_and_one_or_two_threads_have_one_hash(folder, kind, precision):
    hashes = set()
    for number, threads in enumerate(THREADS):
        overrides = [f"model.kind={kind}", f"train.precision={precision}", f"train.threads={threads}"]
        config = fw.parse_config(config_text("log.parquet", more=MORE), base=folder, overrides=overrides)
        run = folder / f"{kind}-{precision}-{number}"
        fw.train(config, run)
        hashes.add(hash_of(run))
    assert len(hashes) == 1, f"{len(hashes)} models from one seed"
