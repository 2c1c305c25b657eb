"""TensorBoard and MLflow are handed what a training says; read back by their own readers."""

from __future__ import annotations

import sys

import pytest

from fieldwise.callbacks import MLflow, TensorBoard
from fieldwise.errors import UserError
from fieldwise.events import EpochEnd, Noted, Progress, StageStart
from fieldwise.metrics import Metrics

VALID = Metrics.of(100, 100.0, {"auc": 0.875, "logloss": 0.5}, "no groups")
SAID = [
    StageStart("train", "lc-dnn"),
    Progress(1, 500, 1000, 0.6, 2000.0, 1.0, None, 0.75),
    EpochEnd(1, 0.4, 3.0, 1000.0, VALID),
    EpochEnd(2, float("nan"), 3.0, 1000.0, None),
    Noted("that is all"),
]
EXPECTED = {
    "lc-dnn/loss": [(500, 0.6), (1000, 0.4)],
    "lc-dnn/auc": [(500, 0.75)],
    "lc-dnn/examples_per_second": [(500, 2000.0), (1000, 1000.0), (2000, 1000.0)],
    "lc-dnn/valid/auc": [(1000, 0.875)],
    "lc-dnn/valid/logloss": [(1000, 0.5)],
}


class Client:
    """Notes what MLflow's client is asked."""

    def __init__(self) -> None:
        self.metrics, self.params, self.ended = {}, {}, None

    def get_experiment_by_name(self, name):
        return None

    def create_experiment(self, name):
        return "7"

    def create_run(self, experiment, run_name=None):
        from types import SimpleNamespace

        assert experiment == "7"
        return SimpleNamespace(info=SimpleNamespace(run_id="run"))

    def log_param(self, run, name, value):
        self.params[name] = value

    def log_metric(self, run, name, value, step):
        self.metrics.setdefault(name, []).append((step, value))

    def set_terminated(self, run, status="FINISHED"):
        self.ended = status


def say_all(listen):
    for event in SAID:
        listen(event)


@pytest.fixture
def client(monkeypatch):
    from types import ModuleType

    found = Client()
    package, module = ModuleType("mlflow"), ModuleType("mlflow.tracking")
    errors = ModuleType("mlflow.exceptions")
    module.MlflowClient, errors.MlflowException = lambda uri: found, type("MlflowException", (Exception,), {})
    monkeypatch.setitem(sys.modules, "mlflow", package)
    monkeypatch.setitem(sys.modules, "mlflow.tracking", module)
    monkeypatch.setitem(sys.modules, "mlflow.exceptions", errors)
    return found


def test_mlflow_has_every_figure_and_the_end_of_the_run(client):
    heard = []
    with MLflow("first", parameters={"units": 8}, experiment="clicks", listen=heard.append) as listen:
        say_all(listen)
    assert {name: client.metrics[name] for name in EXPECTED} == EXPECTED
    assert (client.params, client.ended, heard) == ({"units": 8}, "FINISHED", SAID)


def test_a_place_that_mlflow_refuses_is_named_with_what_to_do(client, monkeypatch):
    refusal = sys.modules["mlflow.exceptions"].MlflowException("the registry has no such scheme\nlong")
    monkeypatch.setattr(client, "create_run", lambda *args, **named: (_ for _ in ()).throw(refusal))
    with pytest.raises(UserError, match="MLflow cannot write there") as refused:
        MLflow(tracking_uri="sqlite:///runs.db", experiment="clicks")
    assert (refused.value.got, refused.value.where) == (
        "the registry has no such scheme",
        "tracking_uri sqlite:///runs.db",
    )
    assert "pip install sqlalchemy alembic" in refused.value.fix


def test_a_training_that_fails_is_a_failed_run(client):
    with pytest.raises(RuntimeError), MLflow(experiment="clicks"):
        raise RuntimeError
    assert client.ended == "FAILED"


@pytest.mark.filterwarnings("ignore")  # of the libraries of MLflow
def test_mlflow_itself_reads_them(tmp_path):
    tracking = pytest.importorskip("mlflow.tracking", reason="needs fieldwise[mlflow]")
    address = f"sqlite:///{tmp_path}/mlflow.db"
    with MLflow("first", tracking_uri=address) as listen:
        say_all(listen)
    found = tracking.MlflowClient(address)
    [run] = found.search_runs(["0"])
    assert run.data.metrics["lc-dnn/valid/auc"] == 0.875
    assert run.info.status == "FINISHED"


@pytest.mark.filterwarnings("ignore")  # of TensorBoard's
def test_tensorboard_reads_them(tmp_path):
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs fieldwise[tensorboard]"
    )
    with TensorBoard(tmp_path / "board") as listen:
        say_all(listen)
    events = reader.EventAccumulator(str(tmp_path / "board"))
    events.Reload()
    for name, expected in EXPECTED.items():
        found = [(each.step, each.value) for each in events.Scalars(name)]
        assert found == [(step, pytest.approx(value)) for step, value in expected]
