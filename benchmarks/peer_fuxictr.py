"""DCNv2 and FinalMLP of FuxiCTR, by its own classes and its own loop, on exported rows; run by `peers.py`.

The package on the Python index has layers, loaders and `BaseModel.fit`, but no models: those come from a checkout of
the authors' repository (github.com/reczoo/FuxiCTR, release 2.3), whose `model_zoo` folder is passed in. Nothing of it
is copied here. Adam at 1e-3, 4,096 examples a step, embeddings of 16, hidden layers (400, 400), a tenth of the rate
after an epoch that brings nothing on valid, the end after two: the library's own way. Batches are cut from whole
columns, for its loader collates row by row and takes most of an epoch; so the seconds here flatter it.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

MODELS = {"fuxictr-dcnv2": "DCNv2", "fuxictr-finalmlp": "FinalMLP"}
BATCH, MAX_EPOCHS, WIDTH, HIDDEN = 4096, 30, 16, [400, 400]


def main() -> None:
    """Read the rows, train, write probabilities of valid and test, print the figures."""
    name, log, out, seed, settings, zoo = sys.argv[1:]
    chosen = json.loads(settings)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        from fuxictr.pytorch.torch_utils import seed_everything

        features, columns = describe(Path(log), Path(folder))
        loaders = {part: Loader(each, shuffle=part == "train") for part, each in columns.items()}
        seed_everything(int(seed))
        model = build(MODELS[name], Path(zoo), features, chosen, Path(folder))
        started = time.perf_counter()
        model.fit(loaders["train"], epochs=MAX_EPOCHS, validation_data=loaders["valid"])
        seconds = time.perf_counter() - started
        valid_auc = float(model.evaluate(loaders["valid"])["AUC"])
        np.savez(out, **{part: model.predict(loaders[part]) for part in ("valid", "test")})
    figures = {
        "valid_auc": valid_auc,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "seconds": seconds,
        "epochs": model._epoch_index + 1,
    }
    print(json.dumps(figures))


class Loader:
    """Batches of one part, as the library's own loaders give them: a tensor for each column."""

    def __init__(self, columns: dict[str, npt.NDArray[Any]], *, shuffle: bool) -> None:
        self.columns = {name: torch.from_numpy(np.ascontiguousarray(column)) for name, column in columns.items()}
        self.num_rows, self.shuffle = len(columns["label"]), shuffle

    def __len__(self) -> int:
        return -(-self.num_rows // BATCH)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        order = torch.randperm(self.num_rows) if self.shuffle else torch.arange(self.num_rows)
        for rows in order.split(BATCH):
            yield {name: column[rows] for name, column in self.columns.items()}


def describe(log: Path, folder: Path) -> tuple[Any, dict[str, dict[str, npt.NDArray[Any]]]]:
    """Return the library's map of features and the columns of each part."""
    from fuxictr.features import FeatureMap

    features = FeatureMap("log", str(folder))
    (folder / "log").mkdir()  # where the best epoch's weights go
    features.labels, features.default_emb_dim = ["label"], WIDTH
    parts: dict[str, dict[str, npt.NDArray[Any]]] = {}
    with np.load(log) as arrays:
        bags = {part: split(arrays, part) for part in ("train", "valid", "test")}
        longest = max((int((bag > 0).sum(axis=1).max()) for part in bags.values() for bag in part), default=0)
        for field, rows in enumerate(arrays["rows"].tolist()):
            features.features[f"f{field}"] = {"source": "", "type": "categorical", "vocab_size": rows}
        for field in range(arrays["train_values"].shape[1]):
            features.features[f"v{field}"] = {"source": "", "type": "numeric"}
        for field, width in enumerate(arrays["bag_widths"].tolist()):
            features.features[f"b{field}"] = {
                "source": "",
                "type": "sequence",
                "vocab_size": width + 1,
                "padding_idx": 0,
                "max_len": longest,
                "feature_encoder": "layers.MaskedAveragePooling()",
            }
        for part, many in bags.items():
            values = np.nan_to_num(arrays[f"{part}_values"], nan=0.0)
            parts[part] = {
                **{f"f{field}": ids for field, ids in enumerate(arrays[f"{part}_ids"].T)},
                **{f"v{field}": column for field, column in enumerate(values.T)},
                **{f"b{field}": padded(bag, longest) for field, bag in enumerate(many)},
                "label": arrays[f"{part}_labels"],
            }
    features.num_fields = features.get_num_fields()
    features.set_column_index()
    return features, parts


def split(arrays: Any, part: str) -> list[npt.NDArray[np.float32]]:
    """Return the weights of each bag's values."""
    widths = arrays["bag_widths"]
    return np.split(arrays[f"{part}_bags"], np.cumsum(widths)[:-1], axis=1) if len(widths) else []


def padded(bag: npt.NDArray[np.float32], longest: int) -> npt.NDArray[np.int64]:
    """Return the numbers of a bag's values from 1, and 0 where there is none left."""
    order = np.argsort(bag <= 0, axis=1, kind="stable")[:, :longest]
    return np.where(np.take_along_axis(bag, order, axis=1) > 0, order + 1, 0)


def build(name: str, zoo: Path, features: Any, chosen: dict[str, Any], folder: Path) -> Any:
    """Return the model of the repository's file."""
    file = zoo / name / "src" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise SystemExit(f"no model in {file}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    dropout, norm = chosen["dropout"], chosen.get("batch_norm", False)
    if name == "DCNv2":
        shape = {"parallel_dnn_hidden_units": HIDDEN, "net_dropout": dropout, "batch_norm": norm}
    else:
        shape = {
            "num_heads": 8,
            "fs1_context": chosen.get("context", [])[:1],
            "fs2_context": chosen.get("context", [])[1:],
        }
        for stream in ("mlp1", "mlp2"):
            shape |= {f"{stream}_hidden_units": HIDDEN, f"{stream}_dropout": dropout, f"{stream}_batch_norm": norm}
    return getattr(module, name)(
        features,
        embedding_dim=WIDTH,
        embedding_regularizer=chosen["embedding_l2"],
        optimizer="adam",
        loss="binary_crossentropy",
        metrics=["AUC"],
        model_root=str(folder),
        verbose=0,
        **shape,
    )


if __name__ == "__main__":
    main()
