"""fieldwise: click and recommendation models on logs with millions of sparse features.

From a raw log to a model in production, in Python::

    import fieldwise as fw

    data = fw.DataConfig(train="clicks.parquet", label="click", valid=0.1, test=0.1)
    config = fw.Config(data=data, model=fw.ModelConfig(kind="lc-dnn", units=8))
    print(fw.check(config).warnings)          # leaks, row numbers, drift
    fw.prepare(config)                        # fit the encoder and cache the log, once
    result = fw.train(config, "runs/first")   # train, evaluate and save
    print(result.model, result.test.auc)
    print(fw.evaluate("runs/first", "tomorrow.parquet").metrics.logloss)
    predictor = fw.Predictor("runs/first")    # load the saved model
    print(predictor.predict(table))           # table: raw rows, e.g. a pyarrow.Table
    predictor.save("models/first")            # everything that a server needs

The same functions are available on the command line: ``fieldwise --help``.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fieldwise import forks
from fieldwise.errors import EXTRAS

if TYPE_CHECKING:
    from fieldwise.bundle import open_bundle
    from fieldwise.config import Config, DataConfig, FieldConfig, load_config, parse_config
    from fieldwise.data.csv_dialect import CsvOptions
    from fieldwise.errors import (
        ArtefactError,
        ConfigError,
        DataError,
        FieldwiseError,
        ResourceError,
        Stopped,
        UserError,
    )
    from fieldwise.events import register_callback
    from fieldwise.features.encoder import Encoder
    from fieldwise.features.field_types import register_field_type
    from fieldwise.jobs.check.check import check
    from fieldwise.jobs.compare.compare import compare
    from fieldwise.jobs.compare.comparison import Comparison
    from fieldwise.jobs.evaluate import Evaluation, evaluate
    from fieldwise.jobs.forget.forget import Forgetting, forget
    from fieldwise.jobs.predict.predict import Prediction, predict
    from fieldwise.jobs.prepare.prepare import prepare
    from fieldwise.jobs.prepare.prepared import Prepared
    from fieldwise.jobs.report.report import write_report
    from fieldwise.jobs.result import Result
    from fieldwise.jobs.train.train import train
    from fieldwise.jobs.tune.trial import Tuning
    from fieldwise.jobs.tune.tune import tune
    from fieldwise.jobs.verify import Verification, verify
    from fieldwise.metrics import Metrics, evaluate_predictions
    from fieldwise.metrics.own import register_metric
    from fieldwise.models.config import ModelConfig
    from fieldwise.models.member import Member
    from fieldwise.models.registry import register_deep, register_model
    from fieldwise.profile.survey.result import Survey
    from fieldwise.schema import Field, Schema
    from fieldwise.serving.predictor import Predictor
    from fieldwise.training.config import PretrainConfig, TrainConfig

__version__ = "0.1.0"

# torch's OpenMP threads spin while they wait for each other. If another process or the kernels' own threads need the
# core, a step then takes ten times as long (docs/log/2026-11/table.md#which-habits-do-the-kernels-need); sleeping
# costs some microseconds. The variable is read when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if os.name == "nt":
    raise ImportError("fieldwise supports Linux and macOS; on Windows, use WSL (docs/platforms.md)")

forks.register()

# The module of each public name. Modules are imported on first access, since importing torch alone takes two seconds.
_HOMES = {
    "bundle": ("open_bundle",),
    "events": ("register_callback",),
    "metrics.own": ("register_metric",),
    "models.member": ("Member",),
    "models.registry": ("register_deep", "register_model"),
    "jobs.check.check": ("check",),
    "jobs.compare.compare": ("Comparison", "compare"),
    "config": ("Config", "DataConfig", "FieldConfig", "load_config", "parse_config"),
    "errors": (
        "ArtefactError",
        "ConfigError",
        "DataError",
        "FieldwiseError",
        "ResourceError",
        "Stopped",
        "UserError",
    ),
    "jobs.evaluate": ("Evaluation", "evaluate"),
    "data.csv_dialect": ("CsvOptions",),
    "features.encoder": ("Encoder",),
    "features.field_types": ("register_field_type",),
    "metrics": ("Metrics", "evaluate_predictions"),
    "models.config": ("ModelConfig",),
    "jobs.predict.predict": ("Prediction", "predict"),
    "serving.predictor": ("Predictor",),
    "jobs.prepare.prepare": ("Prepared", "prepare"),
    "jobs.report.report": ("write_report",),
    "jobs.result": ("Result",),
    "schema": ("Field", "Schema"),
    "profile.survey.result": ("Survey",),
    "jobs.train.train": ("train",),
    "jobs.tune.trial": ("Tuning",),
    "jobs.tune.tune": ("tune",),
    "jobs.forget.forget": ("Forgetting", "forget"),
    "jobs.update.history": ("read_history",),
    "jobs.update.result": ("UpdateResult",),
    "jobs.update.update": ("rollback", "update"),
    "jobs.verify": ("Verification", "verify"),
    "training.config": ("PretrainConfig", "TrainConfig"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "ArtefactError",
    "Comparison",
    "Config",
    "ConfigError",
    "CsvOptions",
    "DataConfig",
    "DataError",
    "Encoder",
    "Evaluation",
    "Field",
    "FieldConfig",
    "FieldwiseError",
    "Forgetting",
    "Member",
    "Metrics",
    "ModelConfig",
    "Prediction",
    "Predictor",
    "Prepared",
    "PretrainConfig",
    "ResourceError",
    "Result",
    "Schema",
    "Stopped",
    "Survey",
    "TrainConfig",
    "Tuning",
    "UpdateResult",
    "UserError",
    "Verification",
    "check",
    "compare",
    "evaluate",
    "evaluate_predictions",
    "forget",
    "load_config",
    "open_bundle",
    "parse_config",
    "predict",
    "prepare",
    "read_history",
    "register_callback",
    "register_deep",
    "register_field_type",
    "register_metric",
    "register_model",
    "rollback",
    "train",
    "tune",
    "update",
    "verify",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'fieldwise' has no attribute {name!r}")
    try:
        value = getattr(import_module(f"fieldwise.{_HOME_OF[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        fix = f"pip install 'fieldwise[{EXTRAS[error.name]}]'"
        raise ImportError(f"fieldwise.{name} needs {error.name}, which is not installed: {fix}") from None
    globals()[name] = value
    return value
