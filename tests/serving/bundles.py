"""Bundles of every kind of model, with random weights: nothing is trained for them."""

from __future__ import annotations

import msgspec
import numpy as np
import pyarrow as pa
import torch

import fieldwise as fw
from fieldwise.bundle import BundleWriter
from fieldwise.features.encoder import Encoder
from fieldwise.kernels.cooccurrence import Cooccurrence, collect
from fieldwise.models.click import build_model
from fieldwise.models.load import DTYPES, dense_arrays
from fieldwise.models.network import export_network
from fieldwise.models.ranking import export_ranking
from fieldwise.schema import Field, Schema
from fieldwise.tables.config import TableOptimizerConfig

SCHEMA = Schema(
    label="click",
    fields=(
        Field(name="user", column="user"),
        Field(name="item", column="item"),
        Field(name="price", type="number", column="price"),
        Field(name="age", type="number", column="age", bins=3),
        Field(name="tags", type="bag", column="tags", norm="sqrt"),
        Field(name="both", type="cross", parts=("user", "item"), buckets=50),
    ),
)


def rows_of(num_rows, num_classes=2):
    rng = np.random.default_rng(num_rows)
    return {
        "click": [f"c{number}" for number in rng.permutation(np.arange(num_rows) % num_classes)],
        "user": [f"u{number}" for number in rng.integers(0, 20, num_rows)],
        "item": rng.integers(0, 30, num_rows).tolist(),
        "price": rng.normal(size=num_rows).tolist(),
        "age": rng.integers(10, 70, num_rows).tolist(),
        "tags": ["|".join(rng.choice(list("abcde"), size)) for size in rng.integers(0, 4, num_rows)],
    }


def _bfloat16(weights):
    return torch.from_numpy(np.array(weights)).bfloat16().view(torch.int16).numpy().view(np.uint16)


def save(folder, kind="lc-dnn", *, num_classes=2, dtype="float32", with_bags=False, calibration=None, narrow=False,
         **settings):  # fmt: skip
    """Save a model with random weights; return the bundle's folder."""
    schema = msgspec.structs.replace(SCHEMA, positive="c1" if num_classes == 2 else None)
    encoder = Encoder(schema).fit([pa.table(rows_of(500, num_classes))])
    config = fw.ModelConfig(kind=kind, **{"units": 4, "hidden": (16, 8), **settings}).for_schema(schema)
    bags = []
    if with_bags:
        batch = encoder.transform(pa.table(rows_of(200)), labelled=False).batch
        sizes = np.diff(encoder.layout.base)
        for key, value in ((0, 1), (1, 0)):
            met = collect([(batch.ids[key], batch.ids[value])], int(sizes[key]), 10)
            bags.append(Cooccurrence(key, value, *met))
    model = build_model(config, encoder.layout, num_classes, 0, DTYPES[dtype], bags)
    model.table.train_by(TableOptimizerConfig(name="adagrad", learning_rate=0.1))
    model.table.weights[:] = np.random.default_rng(1).normal(size=model.table.weights.shape) * 0.3
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith("running_var"):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            elif tensor.is_floating_point() and not name.endswith("mask"):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
    weights = model.table.weights
    writer = BundleWriter(folder, encoder, msgspec.to_builtins(config), dtype, {}, calibration)
    network = export_network(model.eval())
    ranking = export_ranking(model, network)
    writer.save(1, _bfloat16(weights) if narrow else weights, dense_arrays(model), network, ranking=ranking)
    return folder
