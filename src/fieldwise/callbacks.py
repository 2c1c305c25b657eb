"""Listeners that hand what a training says to TensorBoard or MLflow.

Both take the events of `fieldwise.events` and pass on the same figures under the same names: ``MODEL/loss``,
``MODEL/auc`` (of examples before they are learned from, `events.Progress`), ``MODEL/examples_per_second`` and
``MODEL/memory_bytes`` while training, and ``MODEL/valid/METRIC`` after each epoch. A step is a thousandth of an epoch,
so that the epochs of all models lie above each other. As context managers they close what they write::

    with TensorBoard("runs/first/tensorboard") as listen:
        fieldwise.train(config, "runs/first", listen=listen)
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from fieldwise.errors import UserError
from fieldwise.events import EpochEnd, Event, Listener, Progress, StageStart, ignore
from fieldwise.io.memory import resident_bytes

__all__ = ["MLflow", "TensorBoard"]

_STEPS = 1000
"""Of an epoch."""
_METRICS = ("auc", "gauc", "logloss", "normalized_entropy", "pr_auc", "calibration_ratio", "calibration_error", "ndcg")


class _Figures(ABC):
    """What both have in common: which model is trained, and the figures of an event."""

    def __init__(self, listen: Listener) -> None:
        self.listen = listen
        self._model = "model"

    def __call__(self, event: Event) -> None:
        """Hand on the figures of an event, then the event."""
        if isinstance(event, StageStart):
            self._model = event.model
        for name, value, step in self._figures(event):
            if math.isfinite(value):
                self._log(f"{self._model}/{name}", value, step)
        self.listen(event)

    def _figures(self, event: Event) -> Iterator[tuple[str, float, int]]:
        if not isinstance(event, (Progress, EpochEnd)):
            return
        done = event.position / max(event.total, 1) if isinstance(event, Progress) else 1.0
        step = round((event.epoch - 1 + done) * _STEPS)
        yield "loss", event.loss, step
        yield "examples_per_second", event.examples_per_second, step
        if isinstance(event, Progress) and event.auc is not None:
            yield "auc", event.auc, step
        if (memory := resident_bytes()) is not None:
            yield "memory_bytes", float(memory), step
        if isinstance(event, EpochEnd) and event.valid is not None:
            of_valid = {name: getattr(event.valid, name) for name in _METRICS} | event.valid.own
            yield from ((f"valid/{name}", value, step) for name, value in of_valid.items() if value is not None)

    @abstractmethod
    def _log(self, name: str, value: float, step: int) -> None: ...

    @abstractmethod
    def close(self) -> None:
        """Write what is left."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.close()


class TensorBoard(_Figures):
    """Writes event files for TensorBoard (`torch.utils.tensorboard`).

    Parameters
    ----------
    folder
        Where they are written; ``tensorboard --logdir`` reads it.
    listen
        Called with every event, too.

    Raises
    ------
    ModuleNotFoundError
        TensorBoard is not installed: ``pip install 'fieldwise[tensorboard]'``.
    """

    def __init__(self, folder: str | Path, listen: Listener = ignore) -> None:
        super().__init__(listen)
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder))

    def _log(self, name: str, value: float, step: int) -> None:
        self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left, and close the files."""
        self._writer.close()


class MLflow(_Figures):
    """Logs figures, and parameters if given, to a run of MLflow.

    Parameters
    ----------
    run_name
        Of the run that is begun.
    parameters
        What MLflow shall show beside the figures, such as ``{"units": 8}``.
    tracking_uri, experiment
        Where: a server, or ``sqlite:///mlflow.db`` and its like; what MLflow itself is set to unless given. A database
        on this machine needs SQLAlchemy and Alembic, which the extra does not bring; folders (``file:``) are refused by
        MLflow 3.17 unless ``MLFLOW_ALLOW_FILE_STORE=true``.
    listen
        Called with every event, too.

    Raises
    ------
    ModuleNotFoundError
        MLflow is not installed: ``pip install 'fieldwise[mlflow]'``.
    UserError
        MLflow cannot write there.
    """

    def __init__(
        self,
        run_name: str | None = None,
        *,
        parameters: dict[str, Any] | None = None,
        tracking_uri: str | None = None,
        experiment: str | None = None,
        listen: Listener = ignore,
    ) -> None:
        super().__init__(listen)
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        try:
            self._client: Any = MlflowClient(tracking_uri)
            identifier = "0"  # MLflow's experiment for runs that name none
            if experiment is not None:
                known = self._client.get_experiment_by_name(experiment)
                identifier = known.experiment_id if known else self._client.create_experiment(experiment)
            self._run = self._client.create_run(identifier, run_name=run_name).info.run_id
        except MlflowException as error:
            raise UserError(
                "MLflow cannot write there",
                where=f"tracking_uri {tracking_uri}",
                got=str(error).partition("\n")[0][:300],
                fix="name a server, or sqlite:///mlflow.db, which needs: pip install sqlalchemy alembic",
            ) from error
        for name, value in (parameters or {}).items():
            self._client.log_param(self._run, name, value)

    def _log(self, name: str, value: float, step: int) -> None:
        self._client.log_metric(self._run, name, value, step=step)

    def close(self) -> None:
        """End the run."""
        self._client.set_terminated(self._run)

    def __exit__(self, kind: object, *_: object) -> None:
        """End the run, as failed where training was."""
        self._client.set_terminated(self._run, status="FINISHED" if kind is None else "FAILED")
