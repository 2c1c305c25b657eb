"""What training saves for those who answer without torch."""

from __future__ import annotations

import pytest

import fieldwise as fw
from fieldwise.bundle import open_bundle


def saved(folder, log, **model):
    config = fw.Config(
        data=fw.DataConfig(train="in memory", label="click"),
        model=fw.ModelConfig(**{"hidden": (4,), "units": 2, **model}),
        train=fw.TrainConfig(epochs=1, threads=1),
        base=str(folder),
    )
    said = []
    fw.train(config, folder / "run", data=log, listen=said.append)
    return folder / "run" / "bundle", [event.text for event in said if hasattr(event, "text")]


@pytest.fixture(scope="module")
def log():
    return {"click": [0, 1, 1, 0] * 30, "user": [f"u{number % 7}" for number in range(120)], "item": list(range(120))}


def test_a_run_has_a_network_with_a_checksum(tmp_path, log):
    bundle, said = saved(tmp_path, log, kind="lc-dnn")
    assert not any("torch" in text for text in said)
    opened = open_bundle(bundle)
    assert opened.network is not None
    assert opened.no_network is None
    [path] = bundle.glob("network-*.onnx")
    assert path.name in opened.files
    assert not fw.verify(bundle).damages
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(fw.ArtefactError, match=r"network-.*\.onnx"):
        open_bundle(bundle)
    assert path.name in fw.verify(bundle).damages[0]
    path.unlink()
    with pytest.raises(fw.ArtefactError, match=r"network-.*\.onnx"):
        open_bundle(bundle)
