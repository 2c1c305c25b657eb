"""Models on public logs, one line a result: each is appended to a file as it comes, so the table can be made in pieces.

    python benchmarks/public_logs.py --out data
    export OMP_NUM_THREADS=1  # scikit-learn's threads wait for each other awake
    python benchmarks/public_table.py data/credit.toml data/frisk.toml --models scikit-learn,lr,lc-dnn,auto
    python benchmarks/public_table.py --show

Ours are trained with the settings of the configuration, `auto` being the default model. ``scikit-learn`` is its
logistic regression at its optimum on the features of our cache, the penalty chosen on valid as ours is,
``scikit-learn-mlp`` its perceptron on cross-fitted target means, without bags; ``lightgbm``
and ``catboost`` are `peers.py`'s, with one setting. Seconds are the processor's, of the whole training without
preparing, of scikit-learn those of its solver; of trees they are those of a clock. Presets and crosses are tried by
`--set` and named by `--name`: ``--name best- --set train.preset=best --models auto``. Differences to LR in test AUC
have DeLong's interval on the test rows, of all seeds (`fieldwise.metrics.paired_auc`); the probabilities for it are
kept beside the results.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import peers
from scipy import sparse
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, TargetEncoder

import fieldwise as fw
from fieldwise.bundle import open_bundle
from fieldwise.data.batches import Batches
from fieldwise.data.cache import Cache, Examples
from fieldwise.jobs.presets import with_preset
from fieldwise.metrics import Metrics, evaluate_predictions, paired_auc
from fieldwise.models.load import load_model
from fieldwise.training.penalty import next_penalty
from fieldwise.training.score import predict_batches

Floats = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.integer[Any]]

SCIKIT, PERCEPTRON = "scikit-learn", "scikit-learn-mlp"


def main() -> None:
    """Train what is not in the file yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", type=Path, nargs="*")
    parser.add_argument("--models", default=f"{SCIKIT},lr,lc-dnn,auto,lightgbm")
    parser.add_argument("--seeds", type=int, default=1, help="of ours; peers have one")
    parser.add_argument("--name", default="", help="of what is tried, as in 'before': in front of the model's")
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value")
    parser.add_argument("--results", type=Path, default=Path("runs/public/results.jsonl"))
    parser.add_argument("--show", action="store_true", help="print the table of what is in the file")
    arguments = parser.parse_args()
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    arguments.results.touch()
    done = {(each["log"], each["model"], each["seed"]) for each in read(arguments.results)}
    for path in arguments.configs:
        for model in arguments.models.split(","):
            ours = model not in (SCIKIT, PERCEPTRON, *peers.TREES)
            for seed in range(arguments.seeds if ours else 1):
                name = arguments.name + model if ours else model
                if (path.stem, name, seed) not in done:
                    found, labels, answers = trained(path, model, seed, arguments)
                    keep(arguments.results.parent, path.stem, name, seed, labels, answers)
                    line = {"log": path.stem, "model": name, "seed": seed, **found}
                    with arguments.results.open("a") as file:
                        file.write(json.dumps(line) + "\n")
                    print(json.dumps(line), flush=True)
    if arguments.show:
        show(read(arguments.results), arguments.results.parent)


def read(path: Path) -> list[dict[str, Any]]:
    """Return the results of a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def keep(folder: Path, log: str, name: str, seed: int, labels: Labels, answers: Floats) -> None:
    """Keep the labels and the probabilities of the test rows."""
    (folder / log).mkdir(parents=True, exist_ok=True)
    np.savez(folder / log / f"{name}-{seed}.npz", labels=labels, answers=answers)


def trained(path: Path, model: str, seed: int, arguments: argparse.Namespace) -> tuple[dict[str, Any], Labels, Floats]:
    """Train one model with one seed, and return what is shown, and labels and probabilities of the test rows."""
    folder = arguments.results.parent / path.stem
    if model in peers.TREES:
        folder.mkdir(parents=True, exist_ok=True)
        runner = peers.Runner(folder, peers.export(path, folder), arguments.results.parent / "env", None)
        best = runner.best(model, 1)
        with np.load(runner.log) as arrays:
            labels = {part: arrays[f"{part}_labels"] for part in ("valid", "test")}
        answers = peers.probabilities(best)
        test = figures("test", evaluate_predictions(answers, labels["test"]))
        return {"seconds": best["seconds"], "valid_auc": float(best["valid_auc"]), **test}, labels["test"], answers
    if model in (SCIKIT, PERCEPTRON):
        parts = fw.prepare(fw.load_config(path, arguments.set)).parts
        return scikit_learn(parts) if model == SCIKIT else perceptron(parts)
    # What a preset looks for, crosses, is looked for in preparing.
    config = with_preset(fw.load_config(path, [*arguments.set, f"train.seed={seed}", f'model.kind="{model}"']))
    prepared = fw.prepare(config)
    run = folder / f"{arguments.name}{model}-{seed}"
    shutil.rmtree(run, ignore_errors=True)
    started = time.process_time()
    result = fw.train(config, run, prepared=prepared)
    seconds = time.process_time() - started
    shown = {"seconds": seconds, "kind": result.model, "epochs": result.epochs, "best_epoch": result.best_epoch}
    asked = load_model(open_bundle(run).verify())
    answers = np.concatenate([*predict_batches(asked, (each.batch for each in in_order(prepared.parts["test"])))])
    shown |= figures("valid", result.valid) | figures("test", result.test)
    return shown, prepared.parts["test"].labels(), answers


def in_order(cache: Cache) -> Iterator[Examples]:
    """Yield the examples of a part in their order."""
    return Batches(cache, 8192, shuffle=False).epoch(0)


def figures(part: str, metrics: Metrics | None) -> dict[str, Any]:
    """Return what is shown of some metrics."""
    assert metrics is not None, "the log has a part of that name"
    return {f"{part}_auc": metrics.auc, f"{part}_logloss": metrics.logloss}


def scikit_learn(parts: dict[str, Cache]) -> tuple[dict[str, Any], Labels, Floats]:
    """Solve for the penalties that ours tries, each from the solution before; keep the best by logloss on valid."""
    rows = {name: matrix(cache) for name, cache in parts.items()}
    solver = LogisticRegression(solver="lbfgs", tol=1e-6, max_iter=2000, warm_start=True)
    best: tuple[float, dict[str, Any], Floats] = (np.inf, {}, np.empty(0))
    seconds = 0.0
    tried: list[tuple[float, float | None]] = []
    while (l2 := next_penalty(tried)) is not None:
        started = time.process_time()
        solver.set_params(C=1.0 / l2).fit(*rows["train"])
        seconds += time.process_time() - started
        found: dict[str, Any] = {"l2": l2}
        for name in ("valid", "test"):
            features, labels = rows[name]
            answers = solver.predict_proba(features)[:, 1]
            found |= figures(name, evaluate_predictions(answers, labels))
        tried.append((l2, -found["valid_logloss"]))
        best = min(best, (found["valid_logloss"], found, answers), key=lambda each: each[0])
    return {"seconds": seconds, **best[1]}, labels, best[2]


def perceptron(parts: dict[str, Cache]) -> tuple[dict[str, Any], Labels, Floats]:
    """Train scikit-learn's perceptron on target means, each row's fitted on other rows (`TargetEncoder`)."""
    rows = {}
    for name, cache in parts.items():
        examples = cache.gather(np.arange(cache.num_examples))
        assert examples.labels is not None, "examples have labels"
        rows[name] = np.concatenate([examples.batch.ids.T, examples.batch.values.T], axis=1), examples.labels
    of_ids = slice(len(examples.batch.ids))  # numbers without bins follow, as they are
    means = make_column_transformer(
        (TargetEncoder(random_state=0, target_type="binary"), of_ids), remainder="passthrough"
    )
    network = MLPClassifier((256, 128), early_stopping=True, random_state=0)
    started = time.process_time()
    model = make_pipeline(means, StandardScaler(), network).fit(*rows["train"])
    found: dict[str, Any] = {"seconds": time.process_time() - started}
    for name in ("valid", "test"):
        features, labels = rows[name]
        answers = model.predict_proba(features)[:, 1]
        found |= figures(name, evaluate_predictions(answers, labels))
    return found, labels, answers


def matrix(cache: Cache) -> tuple[sparse.csr_matrix, npt.NDArray[np.int32]]:
    """Return the features of all examples as a sparse matrix, and their labels."""
    examples, layout = cache.gather(np.arange(cache.num_examples)), cache.layout
    assert examples.labels is not None, "examples have labels"
    batch, everyone = examples.batch, np.arange(cache.num_examples)
    rows, columns, values = [], [], []
    for field, base in enumerate(layout.base[:-1].tolist()):
        if layout.bag[field] >= 0:
            offsets = batch.offsets[layout.bag[field]]
            inside = slice(int(offsets[0]), int(offsets[-1]))
            rows.append(np.repeat(everyone, np.diff(offsets)))
            columns.append(base + batch.bag_ids[inside].astype(np.int64))
            values.append(batch.bag_weights[inside])
            continue
        rows.append(everyone)
        columns.append(base + batch.ids[layout.single[field]].astype(np.int64))
        line = layout.value[field]
        values.append(batch.values[line] if line >= 0 else np.ones(len(everyone), np.float32))
    places = np.concatenate(rows), np.concatenate(columns)
    shape = (cache.num_examples, layout.num_features)
    return sparse.csr_matrix((np.concatenate(values).astype(np.float64), places), shape=shape), examples.labels


def show(lines: list[dict[str, Any]], folder: Path) -> None:
    """Print the mean over the seeds of each model on each log, as Markdown."""
    print("| log | model | test AUC | logloss | AUC minus LR (95 %) | seconds | seeds |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for log, model in dict.fromkeys((each["log"], each["model"]) for each in lines):
        runs = [each for each in lines if (each["log"], each["model"]) == (log, model)]
        auc, loss, seconds = (
            float(np.mean([run[key] for run in runs])) for key in ("test_auc", "test_logloss", "seconds")
        )
        spread = f" ± {np.std([run['test_auc'] for run in runs], ddof=1):.4f}" if len(runs) > 1 else ""
        above = "" if model == "lr" else above_lr(folder / log, model, [run["seed"] for run in runs])
        print(f"| {log} | {model} | {auc:.4f}{spread} | {loss:.4f} | {above} | {seconds:.1f} | {len(runs)} |")


def above_lr(folder: Path, model: str, seeds: list[int]) -> str:
    """Return a model's AUC minus that of LR with seed 0, with its interval, where what both answer was kept."""
    paths = [folder / f"{model}-{seed}.npz" for seed in seeds]
    if not all(path.exists() for path in (folder / "lr-0.npz", *paths)):
        return ""
    with np.load(folder / "lr-0.npz") as of_lr:
        labels, lr = of_lr["labels"], of_lr["answers"]
    answers = []
    for path in paths:
        with np.load(path) as kept:
            if not np.array_equal(kept["labels"], labels):
                return "other test rows"
            answers.append(kept["answers"].astype(np.float64))
    found = paired_auc(labels, answers, [lr.astype(np.float64)] * len(answers))
    return f"{found.difference:+.4f} ({found.low:+.4f} to {found.high:+.4f})"


if __name__ == "__main__":
    main()
