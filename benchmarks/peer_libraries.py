"""One peer on exported rows, through its own API; run by `peer_speed.py` in an environment that has no fieldwise.

    python benchmarks/peer_libraries.py NAME LOG.npz OPTIONS

LOG holds `rows` (F,), `train_ids` (N, F), `train_labels`, `test_ids`, `test_labels`. Prints a line of JSON: seconds of
training after each pass, the test AUC after each, and examples a second of the fastest pass.

FuxiCTR's wheel has no models: its LR and DNN are put together here from the blocks that it has, as its repository does,
and trained by its own loader and step.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Rows = dict[str, Any]
Trainer = tuple[Callable[[], object], Callable[[], Any]]


def main() -> None:
    """Read the rows, train pass by pass, print the figures."""
    name, log, text = sys.argv[1:]
    options = json.loads(text)
    with np.load(log) as arrays:
        rows = dict(arrays)
    if options["examples"]:
        rows["train_ids"], rows["train_labels"] = (
            rows[key][: options["examples"]] for key in ("train_ids", "train_labels")
        )
    if name != "lightgbm":
        import torch

        torch.set_num_threads(options["threads"])
        torch.manual_seed(0)
    one_pass, predict = PEERS[name](rows, options)
    seconds, aucs = [], []
    for _ in range(options["passes"]):
        started = time.perf_counter()
        one_pass()
        seconds.append(time.perf_counter() - started)
        if options["aucs"]:
            aucs.append(auc(rows["test_labels"], np.asarray(predict()).reshape(-1)))
    rate = len(rows["train_labels"]) / min(seconds)
    print(json.dumps({"seconds": np.cumsum(seconds).tolist(), "aucs": aucs, "examples_per_second": rate}))


def deepctr(rows: Rows, options: dict[str, Any]) -> Trainer:
    """DeepCTR-Torch: WDL, whose wide part is logistic regression; without the penalties that are its defaults."""
    from deepctr_torch.inputs import SparseFeat
    from deepctr_torch.models import WDL

    columns = [SparseFeat(f"f{i}", int(size), embedding_dim=options["width"]) for i, size in enumerate(rows["rows"])]
    none = {"l2_reg_linear": 0, "l2_reg_embedding": 0, "l2_reg_dnn": 0}
    model = WDL(columns, columns, dnn_hidden_units=tuple(options["hidden"]), **none)
    model.compile("adam", "binary_crossentropy")
    batch, labels = options["batch"], rows["train_labels"].astype(np.float32)

    def named(part: str) -> dict[str, Any]:
        return {f"f{i}": column for i, column in enumerate(rows[f"{part}_ids"].T)}

    return (
        lambda: model.fit(named("train"), labels, batch_size=batch, epochs=1, verbose=0),
        lambda: model.predict(named("test"), batch_size=batch),
    )


def rechub(rows: Rows, options: dict[str, Any]) -> Trainer:
    """torch-rechub: WideDeep."""
    from torch_rechub.basic.features import SparseFeature
    from torch_rechub.models.ranking import WideDeep
    from torch_rechub.trainers import CTRTrainer
    from torch_rechub.utils.data import DataGenerator

    features = [
        SparseFeature(f"f{i}", vocab_size=int(size), embed_dim=options["width"]) for i, size in enumerate(rows["rows"])
    ]
    model = WideDeep(features, features, {"dims": options["hidden"], "activation": "relu", "dropout": 0.0})
    trainer = CTRTrainer(model, optimizer_params={"lr": 1e-3}, model_path=tempfile.mkdtemp())

    def named(part: str) -> dict[str, Any]:
        return {f"f{i}": column for i, column in enumerate(rows[f"{part}_ids"].T)}

    generator = DataGenerator(named("train"), rows["train_labels"])
    train, test, _ = generator.generate_dataloader(
        x_val=named("test"),
        y_val=rows["test_labels"],
        x_test=named("test"),
        y_test=rows["test_labels"],
        batch_size=options["batch"],
    )
    return lambda: trainer.train_one_epoch(train), lambda: trainer.predict(model, test)


def fuxictr(rows: Rows, options: dict[str, Any], linear: bool = False) -> Trainer:
    """FuxiCTR: a DNN of its embedding and its MLP block."""
    import torch
    from fuxictr.features import FeatureMap
    from fuxictr.pytorch.dataloaders.npz_dataloader import NpzDataLoader
    from fuxictr.pytorch.layers import FeatureEmbedding, LogisticRegression, MLP_Block
    from fuxictr.pytorch.models import BaseModel

    folder = Path(tempfile.mkdtemp())
    features = FeatureMap("log", str(folder))
    for i, size in enumerate(rows["rows"]):
        features.features[f"f{i}"] = {"source": "", "type": "categorical", "vocab_size": int(size)}
    features.labels, features.default_emb_dim = ["label"], options["width"]
    features.num_fields = features.get_num_fields()
    features.set_column_index()
    for part in ("train", "test"):
        columns = {f"f{i}": column for i, column in enumerate(rows[f"{part}_ids"].T)}
        np.savez(folder / f"{part}.npz", label=rows[f"{part}_labels"], **columns)

    class Model(BaseModel):
        def __init__(self) -> None:
            super().__init__(features, gpu=-1, verbose=0, metrics=["AUC"], model_root=str(folder))
            if linear:
                self.linear = LogisticRegression(features, use_bias=True)
            else:
                self.embedding = FeatureEmbedding(features, options["width"])
                self.mlp = MLP_Block(
                    options["width"] * len(rows["rows"]), options["hidden"], "ReLU", 1, self.output_activation
                )
            self.compile("adam", "binary_crossentropy", 1e-3)
            self.reset_parameters()
            self.model_to_device()

        def forward(self, inputs: Any) -> dict[str, Any]:
            x = self.get_inputs(inputs)
            if linear:
                return {"y_pred": self.output_activation(self.linear(x))}
            return {"y_pred": self.mlp(self.embedding(x, flatten_emb=True))}

    model = Model()
    model._max_gradient_norm = 10.0
    train, test = (
        NpzDataLoader(features, str(folder / f"{part}.npz"), options["batch"], shuffle=part == "train", num_workers=0)
        for part in ("train", "test")
    )

    def one_pass() -> None:
        model.train()
        for batch in train:
            model.train_step(batch)

    def predict() -> Any:
        model.eval()
        with torch.no_grad():
            return np.concatenate([model(batch)["y_pred"].numpy() for batch in test])

    return one_pass, predict


def lightgbm(rows: Rows, options: dict[str, Any]) -> Trainer:
    """LightGBM: ten trees a pass; fields of up to 10,000 features as categories, for with more it takes minutes a tree;
    the others as numbers, for ids are in the order of their frequency.
    """
    import lightgbm as lgb

    settings = {"objective": "binary", "verbose": -1, "num_threads": options["threads"], "max_bin": 255}
    fields = [field for field, size in enumerate(rows["rows"]) if size <= 10_000]
    data = lgb.Dataset(rows["train_ids"], rows["train_labels"], categorical_feature=fields)
    booster = lgb.Booster(settings, data)

    def one_pass() -> None:
        for _ in range(10):
            booster.update()

    return one_pass, lambda: booster.predict(rows["test_ids"])


PEERS: dict[str, Callable[..., Trainer]] = {
    "deepctr-torch": deepctr,
    "torch-rechub": rechub,
    "fuxictr-dnn": fuxictr,
    "fuxictr-lr": lambda rows, options: fuxictr(rows, options, linear=True),
    "lightgbm": lightgbm,
}


def auc(labels: Any, predicted: Any) -> float:
    """Return the AUC by ranks."""
    from scipy.stats import rankdata

    ranks, positive = rankdata(predicted), labels == 1
    num_positive = int(positive.sum())
    above = ranks[positive].sum() - num_positive * (num_positive + 1) / 2
    return float(above / (num_positive * (len(labels) - num_positive)))


if __name__ == "__main__":
    main()
