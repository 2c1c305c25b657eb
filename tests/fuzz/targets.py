"""What is fuzzed: every parser of ours, as a function of bytes.

A target returns, or raises an error of fieldwise's own tree. Anything else is a defect: another exception, a process
that ends, a hang, memory without bound.

Targets of artefacts take one file of a whole artefact: the first byte of the input says which, the rest is its content.
Checksums are made to fit what the input says, because they find damage, not malice: who means ill computes them too.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
import pyarrow as pa
import torch
from tests.logs import make_table

import fieldwise as fw
from fieldwise.bundle import BUNDLE_FORMAT
from fieldwise.config import parse_config
from fieldwise.data.cache import Cache
from fieldwise.data.cache_format import FORMAT as CACHE_FORMAT
from fieldwise.data.log import open_log
from fieldwise.errors import FieldwiseError
from fieldwise.features.encoder import Encoder
from fieldwise.io import arrays, files, manifests
from fieldwise.jobs.init.fields import complete_schema
from fieldwise.jobs.prepare.prepared import read_prepared
from fieldwise.jobs.verify import verify
from fieldwise.models.click import build_model
from fieldwise.models.config import ModelConfig
from fieldwise.schema import Field, Schema
from fieldwise.training.checkpoint import CHECKPOINT_FORMAT, Checkpoints, Sharding
from fieldwise.training.config import TrainConfig
from fieldwise.training.loop import resume
from fieldwise.training.make import make_stepper
from fieldwise.training.state import TrainingState

FIXTURE = max((Path(__file__).parents[1] / "fixtures").glob("[0-9]*"), key=lambda path: int(path.name))
ROWS = make_table(5, seed=1)
MAX_BYTES = 1 << 14

Plain = dict[str, Any]


class Target:
    """A parser under test; made once, called with many inputs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, data: bytes) -> bool:
        """Return whether the input was read, and not refused."""
        try:
            self.read(data[:MAX_BYTES])
        except FieldwiseError:
            return False
        return True

    def read(self, data: bytes) -> None:
        """Parse an input, and use what came out."""
        raise NotImplementedError

    def seeds(self) -> list[bytes]:
        """Return inputs that are read."""
        raise NotImplementedError


# --- text ---


class Text(Target):
    """The reader of one text format: every row that it tells of is in a chunk, read or rejected."""

    ending = ""
    examples: tuple[bytes, ...] = ()

    def read(self, data: bytes) -> None:
        path = self.folder / f"log.{self.ending}"
        path.write_bytes(data)
        log = open_log(path)
        last = 0
        for piece in log.pieces():
            found = 0
            for chunk in piece.parse():
                assert chunk.table.num_rows == len(chunk.rows)
                chunk.table.validate(full=True)
                numbers = sorted([*chunk.rows.tolist(), *(reject.row for reject in chunk.rejects)])
                assert numbers == list(range(last + 1, last + 1 + len(numbers))), "each row once, in order"
                last += len(numbers)
                found += len(numbers)
            assert found == piece.num_rows

    def seeds(self) -> list[bytes]:
        return list(self.examples)


class Csv(Text):
    ending = "csv"
    examples = (
        b"a,b\n1,2\n3,4\n",
        b'\xef\xbb\xbfx,"y"\r\n"a ""b"", c",2\r\n\r\n3\r\n',
        b"x,y,z\n,,\n1,2,3,4\n\xff,2,3\n\xc3\xa4,b,c",
    )


class Tsv(Text):
    ending = "tsv"
    examples = (b"a\tb\n1\t2\n", b'a\t"b\nc"\td\n1\t2\t"3\n4"\n')


class Libsvm(Text):
    ending = "libsvm"
    examples = (b"1 1:0.5 7:1\n-1 2:1e3\n+1 # nothing\n", b"0\n1 3:.5\n2 x:1\n\xff 1:1\n")


class Libffm(Text):
    ending = "libffm"
    examples = (b"1 0:1:0.5 1:7:1\n0 1:2:1\n", b"1 3:4:.5 3:5:1e-3\n\n0\n1 1:1\n")


class Cells(Target):
    """What stands in the cells of a column, which the first byte of the input names: each row is accepted or rejected.

    Every field has an encoder of its own beside the one of all: neighbours would cost ten times as much, and reject
    rows.
    """

    good: ClassVar[dict[str, list[str]]] = {
        "c": ["x", "y"],
        "n": ["1", "2.5"],
        "b": ["p q", "q"],
        "w": ["p:1|q:2", "q:.5"],
        "t": ["2024-01-01 10:00:00", "1700000000"],
        "f": ["24/11/2026 23:59", "01/01/2000 00:00"],
        "a": ["2024-01-02", "2024-01-03T00:00:00Z"],
        "label": ["0", "1"],
    }

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        fields = (
            Field(name="c", column="c"),
            Field(name="n", column="n", type="number", bins=4),
            Field(name="b", column="b", type="bag", separator=" "),
            Field(name="w", column="w", type="bag", weighted=True, max_length=3),
            Field(name="t", column="t", type="time", part="hour", timezone="Europe/Rome"),
            Field(name="f", column="f", type="time", part="weekday", format="%d/%m/%Y %H:%M"),
            Field(name="a", column="a", type="time", part="age", since="t"),
        )
        log = pa.table(self.good)
        self.encoders = [
            Encoder(Schema(fields=of, label="label")).fit([log]) for of in (*zip(fields, strict=True), fields)
        ]

    def read(self, data: bytes) -> None:
        number = data[0] % len(self.encoders) if data else 0
        encoder = self.encoders[number]
        texts = pa.array(data[1:].decode("utf-8", "replace").split("\n"), pa.string())
        columns = {name: pa.array(cells[1:] * len(texts)) for name, cells in self.good.items()}
        fuzzed = columns if len(encoder.rows) > 1 else encoder.rows
        encoded = encoder.transform(pa.table(columns | dict.fromkeys(fuzzed, texts)))
        rejected = {reject.row for reject in encoded.rejects}
        assert sorted([*encoded.accepted.tolist(), *rejected]) == list(range(len(texts)))
        assert all(np.isfinite(part).all() for part in (encoded.batch.values, encoded.batch.bag_weights))

    def seeds(self) -> list[bytes]:
        texts = (
            b"x\n1.5\n\n-1e308\nnan\ninf",
            b"p:1|q:0.5\np|q\n|\n:1\nx:nan\na:b:2",
            b"2024-02-29T23:59:59Z\n24/11/2026 23:59\n1700000000000\n2024-01-01 10:00:00+05:30",
            b"0\n1\n1\xc3\xa4 ",
        )
        return [bytes([number]) + text for number in range(len(self.encoders)) for text in texts]


class Configuration(Target):
    """The configuration file, as far as the schema that it and a log say."""

    def read(self, data: bytes) -> None:
        config = parse_config(data.decode("utf-8", "replace"), base=self.folder)
        complete_schema(config, ROWS)

    def seeds(self) -> list[bytes]:
        return [
            b'[data]\ntrain = ["a.csv"]\nlabel = "click"\nvalid = 0.1\n[fields.user]\nmin_count = 2\n',
            b'data = { train = "a", label = "click", exclude = ["tags"], csv = { header = false } }\n'
            b'fields.price = { type = "number", bins = 4 }\nfields.x = { cross = ["user", "price"], buckets = 9 }\n',
            b'[data]\ntrain = "a"\nlabel = "click"\nclasses = [0, 1]\nsplit = "split"\n[fields.age]\ntype = "time"\n'
            b'part = "hour"\ntimezone = "+05:30"\n[model]\nkind = "dnn"\nhidden = [4]\n[train]\nepochs = 1\n'
            b'table = { name = "adam", learning_rate = 1e-3 }\n[pretrain]\nepochs = 2\n',
        ]


# --- artefacts ---


class Arrays(Target):
    """A file of arrays."""

    def read(self, data: bytes) -> None:
        path = self.folder / "a.safetensors"
        path.write_bytes(data)
        for array in arrays.load_arrays(path).values():
            array.tobytes()
        arrays.header_checksum(path)

    def seeds(self) -> list[bytes]:
        path = self.folder / "seed.safetensors"
        saved = {"x": np.arange(6.0).reshape(2, 3), "y": np.zeros((0, 4), np.uint8), "z": np.array(1, np.int32)}
        arrays.save_arrays(path, saved)
        return [path.read_bytes()]


class Manifest(Target):
    """A manifest as it stands on the disk, its own checksum included, through `verify`."""

    def read(self, data: bytes) -> None:
        (self.folder / "manifest.json").write_bytes(data)
        (self.folder / "run.json").write_bytes(data)
        verify(self.folder)
        manifests.manifest_format(self.folder / "manifest.json")

    def seeds(self) -> list[bytes]:
        names = ("run/run.json", "prepared/train/manifest.json")
        return [(FIXTURE / name).read_bytes() for name in names]


class Artefact(Target):
    """A whole artefact of which one file is what the input says."""

    format, version, manifest = "", 0, "manifest.json"
    inner: tuple[str, ...] = ()

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / self.format)
        self.make()
        sealed = msgspec.json.decode((self.folder / self.manifest).read_bytes())
        self.version = sealed["version"]
        self.content: Plain = sealed["content"]
        self.whole = {name: (self.folder / name).read_bytes() for name in self.inner}

    def make(self) -> None:
        """Put a whole artefact into the folder."""
        raise NotImplementedError

    def use(self) -> None:
        """Open it and use it."""
        raise NotImplementedError

    def fitting(self, content: Plain, name: str, data: bytes) -> Plain:
        """Return the content of the manifest with the checksums of a file that holds `data`."""
        raise NotImplementedError

    def read(self, data: bytes) -> None:
        which, data = data[:1], data[1:]
        number = which[0] % (1 + len(self.inner)) if which else 0
        if number:
            name = self.inner[number - 1]
            (self.folder / name).write_bytes(data)
            content = msgspec.json.encode(
                self.fitting(msgspec.json.decode(msgspec.json.encode(self.content)), name, data)
            )
        else:
            content = data
        (self.folder / self.manifest).write_bytes(self.sealed(content))
        try:
            self.use()
        finally:
            if number:
                (self.folder / name).write_bytes(self.whole[name])

    def sealed(self, content: bytes) -> bytes:
        try:
            body = msgspec.json.format(content, indent=-1)
        except msgspec.DecodeError:
            body = content
        head = {"format": self.format, "version": self.version, "checksum": files.checksum(body)}
        return msgspec.json.encode(head)[:-1] + b',"content":' + body + b"}"

    def seeds(self) -> list[bytes]:
        whole = [msgspec.json.encode(self.content), *self.whole.values()]
        return [bytes([number]) + data for number, data in enumerate(whole)]


class Bundle(Artefact):
    """A saved model: opened, verified, and asked for the probabilities of a few rows."""

    format = BUNDLE_FORMAT
    saved = sorted((path.name for path in (FIXTURE / "run" / "bundle").glob("*-*.safetensors")), reverse=True)
    inner = ("encoder.safetensors", *saved)

    def make(self) -> None:
        shutil.copytree(FIXTURE / "run" / "bundle", self.folder)

    def fitting(self, content: Plain, name: str, data: bytes) -> Plain:
        part = name.split("-")[0].removesuffix(".safetensors")
        content["checksums"][part] = files.checksum(data)
        if part == "table":
            length = 8 + int.from_bytes(data[:8], "little")
            content["checksums"][part] = files.checksum(data[:length])
            content["table_blocks"] = [files.checksum(data[length:])]
        return content

    def use(self) -> None:
        predictor = fw.Predictor(self.folder)
        predictor.bundle.verify()
        found = predictor.predict(ROWS)
        assert len(found) == len(ROWS)
        encoder = predictor.bundle.encoder
        for name in encoder.rows:
            encoder.feature_texts(name, range(5))


class Prepared(Artefact):
    """The encoder of a prepared log: opened, and given rows to encode."""

    format, manifest = "fieldwise-prepared", "prepared.json"
    inner = ("encoder.safetensors",)

    def make(self) -> None:
        shutil.copytree(FIXTURE / "prepared", self.folder)

    def fitting(self, content: Plain, name: str, data: bytes) -> Plain:
        content["encoder_checksum"] = files.checksum(data)
        return content

    def use(self) -> None:
        encoder, _ = read_prepared(self.folder)
        batch = encoder.transform(ROWS, labelled=False).batch
        num_rows = np.diff(encoder.layout.base)
        for field, line in enumerate(encoder.layout.single.tolist()):
            assert line < 0 or (batch.ids[line] < num_rows[field]).all(), "an id that its field does not have"
        assert len(encoder.counts) == encoder.num_features
        for name in encoder.rows:
            encoder.feature_texts(name, range(5))
        assert encoder.constant_fields is not None


class Examples(Artefact):
    """A cache: opened, verified, and every example of it taken."""

    format = CACHE_FORMAT
    inner = ("examples.bin",)

    def make(self) -> None:
        shutil.copytree(FIXTURE / "prepared" / "train", self.folder)

    def fitting(self, content: Plain, name: str, data: bytes) -> Plain:
        content["blocks"][0] |= {"num_bytes": len(data), "checksum": files.checksum(data)}
        return content

    def use(self) -> None:
        cache = Cache.open(self.folder)
        cache.verify()
        examples = cache.gather(np.arange(min(cache.num_examples, 1000)))
        batch, num_rows = examples.batch, np.diff(cache.layout.base)
        for field, (line, bag) in enumerate(zip(cache.layout.single, cache.layout.bag, strict=True)):
            ids = batch.ids[line] if line >= 0 else batch.bag_ids[batch.offsets[bag, 0] : batch.offsets[bag, -1]]
            assert (ids < num_rows[field]).all(), "an id that its field does not have"
        assert examples.labels is None or (examples.labels < max(cache.num_classes, 1)).all()
        cache.labels() if cache.num_classes else None


class Resumed(Artefact):
    """A checkpoint: opened, and a training taken up from it."""

    format = CHECKPOINT_FORMAT
    inner = ("table.safetensors", "dense.safetensors", *(f"table-0000{part}-of-00002.safetensors" for part in (0, 1)))

    def make(self) -> None:
        encoder, _ = read_prepared(FIXTURE / "prepared")
        config = ModelConfig(kind="lc-wide-deep", units=2, hidden=(4,))
        model = build_model(config, encoder.layout, 2)
        settings = TrainConfig()
        self.stepper = make_stepper(model, settings.table, settings.dense, 100)
        state = msgspec.to_builtins(TrainingState(position=2, loss_sum=1.0, seconds=2.0))
        self.checkpoints = Checkpoints(self.folder)
        self.checkpoints.save(2, model.table.rows, self.stepper.arrays(), state)
        self.folder = self.folder / "00000002"
        # The same table as two workers write it: which of the two a manifest means, it says.
        self.spread = Sharding(len(model.table.rows), 2, 7)
        self.checksums = {
            self.spread.name(part): arrays.save_arrays(
                self.folder / f"{self.spread.name(part)}.safetensors",
                {"rows": model.table.rows[self.spread.shards.rows(np.array(self.spread.shards.owned(part)))]},
            )
            for part in (0, 1)
        }

    def fitting(self, content: Plain, name: str, data: bytes) -> Plain:
        if name.startswith("table-"):
            content = self.of_two_workers()
        content["checksums"][name.removesuffix(".safetensors")] = files.checksum(data)
        return content

    def of_two_workers(self) -> Plain:
        checksums = {"dense": self.content["checksums"]["dense"], **self.checksums}
        return {**self.content, "checksums": checksums, "spread": msgspec.to_builtins(self.spread)}

    def seeds(self) -> list[bytes]:
        return [*super().seeds(), b"\0" + msgspec.json.encode(self.of_two_workers())]

    def use(self) -> None:
        before = torch.get_rng_state()
        try:
            resume(self.stepper, None, self.checkpoints)
        finally:
            torch.set_rng_state(before)


TARGETS: dict[str, Callable[[Path], Target]] = {
    "csv": Csv,
    "tsv": Tsv,
    "libsvm": Libsvm,
    "libffm": Libffm,
    "cells": Cells,
    "configuration": Configuration,
    "arrays": Arrays,
    "manifest": Manifest,
    "bundle": Bundle,
    "encoder": Prepared,
    "cache": Examples,
    "checkpoint": Resumed,
}
