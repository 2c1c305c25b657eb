"""Artefacts that older versions wrote are read, and say what they said; those of newer versions are refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.fixtures.make import expected, expected_of_checkpoint

import fieldwise as fw
from fieldwise.data.cache import Cache
from fieldwise.training.checkpoint import Checkpoints

FIXTURES = sorted(path for path in (Path(__file__).parent / "fixtures").iterdir() if path.name.isdecimal())
TOO_OLD = FIXTURES[:1]
"""Those whose checkpoints and prepared logs are no longer read, only their bundles."""


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda path: path.name)
def test_what_an_older_version_wrote_is_read_and_says_what_it_said(fixture):
    found, recorded = expected(fixture), json.loads((fixture / "expected.json").read_text())
    if fixture not in TOO_OLD:
        found |= expected_of_checkpoint(fixture)
        assert found.keys() == recorded.keys()
    for name, value in found.items():
        tolerant = isinstance(value, float) or name == "probabilities"  # another processor rounds in another order
        assert value == (pytest.approx(recorded[name], rel=1e-5) if tolerant else recorded[name]), name
    damages = fw.verify(fixture).damages
    assert all("older version of fieldwise" in damage and "bundle" not in damage for damage in damages)
    assert bool(damages) == (fixture in TOO_OLD)


@pytest.mark.parametrize("fixture", TOO_OLD, ids=lambda path: path.name)
def test_a_checkpoint_of_an_older_version_is_refused_by_name(fixture):
    # It is for going on with a training, whose rows have another form now: what is trained is in the bundle.
    said = []
    with pytest.raises(fw.ArtefactError, match="no checkpoint is complete"):
        Checkpoints(fixture / "checkpoints", warn=said.append).newest()
    assert "older version of fieldwise" in said[0]


def test_a_bundle_of_version_1_is_verified_before_it_is_used(tmp_path):
    shutil.copytree(FIXTURES[0] / "run", tmp_path / "run")
    path = tmp_path / "run" / "bundle" / "table-0001.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(fw.ArtefactError, match=path.name):
        fw.Predictor(tmp_path / "run")


MANIFESTS = {
    "prepared/train/manifest.json": lambda folder: Cache.open(folder / "prepared" / "train"),
    "run/bundle/manifest.json": lambda folder: fw.Predictor(folder / "run"),
    "checkpoints/*/manifest.json": lambda folder: Checkpoints(folder / "checkpoints").newest(),
    "prepared/prepared.json": lambda folder: fw.verify(folder / "prepared"),
    "run/run.json": lambda folder: fw.verify(folder / "run"),
    "search/tune.json": lambda folder: fw.verify(folder / "search"),
}


@pytest.mark.parametrize("pattern", MANIFESTS)
def test_what_a_newer_version_wrote_is_refused_by_name_with_what_to_do(tmp_path, pattern):
    shutil.copytree(FIXTURES[-1], tmp_path / "newer")
    [path] = (tmp_path / "newer").glob(pattern)
    manifest = json.loads(path.read_text())
    manifest["version"] = 1_000
    path.write_text(json.dumps(manifest))
    damages = fw.verify(tmp_path / "newer").damages
    assert len(damages) == 1
    for part in (f"where: {path}", "written by a newer version of fieldwise", "install a newer version of fieldwise"):
        assert part in damages[0]
    if "verify" not in MANIFESTS[pattern].__code__.co_names:
        with pytest.raises(fw.ArtefactError):
            MANIFESTS[pattern](tmp_path / "newer")
