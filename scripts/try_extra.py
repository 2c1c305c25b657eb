"""Use what an extra brings, in an environment that has nothing else: ``python scripts/try_extra.py sklearn``.

Called by scripts/release.sh, in a folder with ``log.csv`` (user, ad, click) and ``fieldwise.toml``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import fieldwise as fw


def sklearn() -> None:
    """Fit an estimator."""
    from fieldwise.sklearn import LRClassifier

    model = LRClassifier().fit("log.csv", "click")
    assert model.predict_proba("log.csv").shape == (200, 2)


def tensorboard() -> None:
    """Train, and read the learning curve back from the file of events."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from fieldwise.callbacks import TensorBoard

    with TensorBoard("board") as listen:
        result = _train(listen)
    events = EventAccumulator("board")
    events.Reload()
    curve = [each.value for each in events.Scalars("dnn/valid/auc")]
    assert len(curve) == len(result.history)


def mlflow() -> None:
    """Train, and ask a database on this machine for the metrics; without SQLAlchemy MLflow writes to servers alone."""
    from importlib.util import find_spec

    from mlflow.tracking import MlflowClient

    from fieldwise.callbacks import MLflow

    address = f"sqlite:///{Path('mlflow.db').absolute()}"
    if find_spec("sqlalchemy") is None:
        try:
            MLflow("first", tracking_uri=address)
        except fw.UserError as error:
            assert "pip install sqlalchemy alembic" in str(error)  # noqa: PT017
        else:
            raise AssertionError("MLflow writes without SQLAlchemy: say so in docs/extending.md")
        return
    with MLflow("first", parameters={"epochs": 2}, tracking_uri=address) as listen:
        result = _train(listen)
    [run] = MlflowClient(address).search_runs(["0"])
    assert (run.info.status, run.data.params) == ("FINISHED", {"epochs": "2"})
    curve = MlflowClient(address).get_metric_history(run.info.run_id, "dnn/valid/auc")
    assert len(curve) == len(result.history)


def _train(listen: fw.events.Listener) -> fw.Result:
    config = fw.load_config(
        "fieldwise.toml", ["model.kind=dnn", "model.hidden=[4]", "train.epochs=2", "data.valid=0.3"]
    )
    return fw.train(config, f"with-{sys.argv[1]}", listen=listen)


if __name__ == "__main__":
    {each.__name__: each for each in (sklearn, tensorboard, mlflow)}[sys.argv[1]]()
