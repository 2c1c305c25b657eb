"""A bundle is opened whole while a newer one is saved into the same folder, and damage is still damage."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pyarrow as pa
import pytest

from fieldwise.bundle import BundleWriter, open_bundle, reading
from fieldwise.bundle.manifest import read_bundle_manifest, write_bundle_manifest
from fieldwise.errors import ArtefactError
from fieldwise.features.encoder import Encoder
from fieldwise.io import manifests
from fieldwise.schema import Field, Schema


@pytest.fixture
def writer(tmp_path) -> BundleWriter:
    schema = Schema(fields=(Field(name="city", column="city"),), label="click")
    encoder = Encoder(schema).fit([pa.table({"city": ["Rome", "Oslo"], "click": [1, 0]})])
    writer = BundleWriter(tmp_path / "bundle", encoder, {"kind": "lr"}, "float32", {})
    save(writer, 1)
    return writer


def save(writer: BundleWriter, number: int) -> None:
    weights = np.full((4, 1), number, dtype=np.float32)
    writer.save(number, weights, {"bias": weights[0]})


def test_a_bundle_that_is_replaced_while_it_is_opened_is_the_new_one(writer, monkeypatch):
    load, saved = reading.load_headed, [1]

    def load_late(path: Path, expected: str | None):
        if saved[-1] < 4:  # three saves overtake the reader
            saved.append(saved[-1] + 1)
            save(writer, saved[-1])
        return load(path, expected)

    monkeypatch.setattr(reading, "load_headed", load_late)
    opened = open_bundle(writer.folder)
    assert opened.table[0, 0] == opened.dense["bias"][0] == 4


def test_bundles_opened_again_and_again_while_others_are_saved_are_always_whole(writer):
    stop = Event()

    def save_on() -> None:
        number = 1
        while not stop.is_set():
            number += 1
            save(writer, number)

    saver = Thread(target=save_on)
    saver.start()
    try:
        for _ in range(200):
            opened = open_bundle(writer.folder)
            assert (opened.table == opened.dense["bias"]).all()
    finally:
        stop.set()
        saver.join()


def test_a_file_that_is_missing_for_good_is_an_error(writer):
    (writer.folder / "table-0001.safetensors").unlink()
    with pytest.raises(ArtefactError, match=r"a file is missing\n  where: .*table-0001"):
        open_bundle(writer.folder)
    manifest = writer.folder / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"table-0001", b"/etc/hosts"))
    with pytest.raises(ArtefactError, match="the manifest is damaged"):
        open_bundle(writer.folder)
    assert manifests.manifest_format(manifest) == "fieldwise-bundle"


def test_a_file_that_a_link_takes_out_of_the_bundle_is_refused_and_one_inside_is_not(writer, tmp_path):
    for name in ("manifest.json", "encoder.safetensors", "table-0001.safetensors", "dense-0001.safetensors"):
        path = writer.folder / name
        for place in (tmp_path / name, writer.folder / f"moved-{name}"):
            path.rename(place)
            path.symlink_to(place)
            if place.parent == writer.folder:
                open_bundle(writer.folder).verify()
            else:
                with pytest.raises(ArtefactError, match=rf"outside its folder[^$]*{name}[^$]*cp -rL"):
                    open_bundle(writer.folder)
            path.unlink()
            place.rename(path)
    (tmp_path / "link").symlink_to(writer.folder)
    open_bundle(tmp_path / "link")  # where the bundle itself lies is its owner's affair


@pytest.mark.parametrize("name", ["..", ".", "../bundle/dense-0001.safetensors", "/etc/passwd", "", "x\0y", "x" * 300])
def test_a_name_that_leaves_the_bundle_is_refused(writer, name):
    manifest, _ = read_bundle_manifest(writer.folder)
    manifest.files["dense"] = name
    write_bundle_manifest(writer.folder, manifest)
    with pytest.raises(ArtefactError, match="File name too long" if len(name) > 255 else "outside its folder"):
        open_bundle(writer.folder)


@pytest.mark.parametrize("name", ["manifest.json", "encoder.safetensors", "table-0001.safetensors"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(writer, name):
    (writer.folder / name).unlink()
    os.mkfifo(writer.folder / name)
    with pytest.raises(ArtefactError, match="not a regular file"):
        open_bundle(writer.folder)


def test_where_there_is_no_model_those_near_it_are_named(writer, tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    (tmp_path / "bundle").rename(models / "first")
    for folder, hint in ((models, "name a model in it: first"), (models / "frist", "did you mean first?")):
        with pytest.raises(ArtefactError, match="no saved model found") as refused:
            open_bundle(folder)
        assert refused.value.fix == hint
    (models / "first" / "empty").mkdir()
    with pytest.raises(ArtefactError) as refused:
        open_bundle(models / "first" / "empty")
    assert refused.value.fix == "train a model first"
