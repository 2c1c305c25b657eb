"""Bits flipped and files cut, in every kind of artefact: always noticed, and never a crash.

Damage is put into one file at a time. `verify` must name that file, and so must whoever opens and uses the artefact.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from tests.artefacts import make_artefacts
from tests.logs import make_table

import fieldwise as fw
from fieldwise.data.cache import Cache
from fieldwise.training.checkpoint import Checkpoints
from fieldwise.training.kept_state import read_state

ROWS = make_table(5, seed=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return make_artefacts(tmp_path_factory.mktemp("damaged"))


def artefact_files(folder: Path) -> list[Path]:
    """Return the files that have a checksum."""
    names = ("*.json", "*.safetensors", "*.bin", "*.onnx")
    places = (folder / ".fieldwise", folder / "runs")
    return sorted(path for place in places for name in names for path in place.rglob(name) if path.stat().st_size)


@contextmanager
def damaged(path: Path, content: bytes) -> Iterator[None]:
    whole = path.read_bytes()
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(whole)


def flipped(path: Path, rng: np.random.Generator) -> bytes:
    content = bytearray(path.read_bytes())
    bit = int(rng.integers(8 * len(content)))
    content[bit // 8] ^= 1 << bit % 8
    return bytes(content)


def cut(path: Path, rng: np.random.Generator) -> bytes:
    content = path.read_bytes()
    # A manifest without the line's end after it is whole: its checksum is that of its content.
    length = len(content.rstrip()) if path.suffix == ".json" else len(content)
    return content[: int(rng.integers(length))]


def use(path: Path) -> None:
    """Open and use the artefact that a file belongs to, as fieldwise does at work."""
    folder = path.parent
    if path.name == "run.json":
        [root] = [parent for parent in folder.parents if (parent / "fieldwise.toml").exists()]
        fw.train(fw.load_config(root / "fieldwise.toml"), folder)
    elif (folder / "examples.bin").exists():
        Cache.open(folder).verify()
    elif folder.parent.name == ".fieldwise":
        fw.prepare(fw.load_config(folder.parents[1] / "fieldwise.toml"))
    elif folder.parent.name == "checkpoints":
        newest(folder)
    elif folder.parent.name == "state":
        read_state(folder.parents[1], int(folder.name))
    else:
        assert folder.name == "bundle"
        fw.Predictor(folder).predict(ROWS)


def newest(folder: Path) -> None:
    """Take the newest checkpoint, where the one in `folder` is the only one there is."""
    others = [other for other in folder.parent.iterdir() if other != folder]
    for other in others:
        other.rename(other.with_name(f"aside-{other.name}"))
    said: list[str] = []
    try:
        Checkpoints(folder.parent, warn=said.append).newest()
    except fw.ArtefactError as error:
        raise fw.ArtefactError(f"{error}: {said}") from None
    finally:
        for other in others:
            other.with_name(f"aside-{other.name}").rename(other)


def check(path: Path, content: bytes) -> None:
    """Damage one file, and see that it is noticed twice."""
    with damaged(path, content):
        damages = fw.verify(path.parent).damages
        assert any(str(path) in damage for damage in damages), (path, damages)
        with pytest.raises(fw.ArtefactError, match=path.name):
            use(path)


def check_some(folder: Path, num_flips: int, num_cuts: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    paths = artefact_files(folder)
    assert {path.name.split("-")[0] for path in paths} == {
        "prepared.json", "encoder.safetensors", "examples.bin", "manifest.json", "run.json", "table", "dense",
        "table.safetensors", "dense.safetensors", "network", "ranking",
    }  # fmt: skip
    for change, count in ((flipped, num_flips), (cut, num_cuts)):
        for number in range(count):
            path = paths[number % len(paths)]
            check(path, change(path, rng))
    assert fw.verify(folder).damages == []


def test_some_flipped_bits_and_cuts_are_all_noticed_by_verify_and_in_use(folder):
    check_some(folder, num_flips=240, num_cuts=120, seed=0)


@pytest.mark.long
def test_ten_thousand_flipped_bits_and_a_thousand_cuts_are_all_noticed(folder):
    check_some(folder, num_flips=10_000, num_cuts=1_000, seed=1)
