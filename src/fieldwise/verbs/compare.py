"""``fieldwise compare``: the paper's experiment on one's own log, several models side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec

from fieldwise.config import Config
from fieldwise.errors import ConfigError, did_you_mean
from fieldwise.models.config import Kind, ModelConfig
from fieldwise.training.events import Listener, ignore
from fieldwise.verbs.prepare import prepare
from fieldwise.verbs.run import Result
from fieldwise.verbs.train import train, use_threads

__all__ = ["DEFAULT_MODELS", "Comparison", "compare"]

DEFAULT_MODELS = (
    "lr",
    "dnn",
    "lc-dnn:1",
    "lc-wide-deep:1",
    "lc-dnn",
    "lc-wide-deep",
    "lc-resnet",
)
"""The paper's models with one unit per field, then with the width of ``[model]``."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Models trained on one log: what the log is, and each model's result."""

    folder: str
    data: dict[str, Any]
    models: list[Result]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def compare(
    config: Config,
    out: str | Path,
    *,
    models: Sequence[str] | None = None,
    overwrite: bool = False,
    listen: Listener = ignore,
) -> Comparison:
    """Train and evaluate several models on one log, each in a run folder of its own under `out`.

    Logistic regression is trained once, for all models that start from it. A model whose run is finished is not
    trained again, so a comparison that was stopped goes on where it was, and one more model costs only itself.

    Parameters
    ----------
    config
        Its ``[model]`` says what all models share: hidden layers, activation and so on.
    out
        The folder of the comparison.
    models
        Kinds, each with its units after a colon where they are not those of ``[model]``: ``["lr", "lc-dnn:1",
        "lc-dnn"]``; `DEFAULT_MODELS` unless given.
    overwrite
        Train all anew.
    listen
        Called with every event.
    """
    out = Path(out)
    chosen = [parse_model(name, config.model) for name in models or DEFAULT_MODELS]
    # The same model may be asked for twice, as lc-dnn:8 and lc-dnn.
    names = {model_name(model): model for model in chosen}
    use_threads(config.train.threads)
    prepared = prepare(config, listen=listen)
    results = [
        train(
            msgspec.structs.replace(config, model=model),
            out / name,
            overwrite=overwrite,
            listen=listen,
            prepared=prepared,
            lr_folder=out / "lr",
        )
        for name, model in names.items()
    ]
    return Comparison(folder=str(out), data=prepared.summary, models=results)


def parse_model(name: str, base: ModelConfig) -> ModelConfig:
    """Read ``kind`` or ``kind:units``.

    Examples
    --------
    >>> parse_model("lc-dnn:1", ModelConfig()).units
    1
    """
    kind, colon, units = name.partition(":")
    known = get_args(Kind)
    if kind not in known:
        raise ConfigError("there is no such model", where="--models", got=kind, fix=did_you_mean(kind, known))
    if kind == "lr":
        return ModelConfig(kind="lr")  # nothing else matters to it, and it is the start of the others
    tree = {**msgspec.to_builtins(base), "kind": kind}
    if colon:
        if not units.isdecimal() or not 1 <= int(units) <= 64:
            raise ConfigError("the units per field are not understood", where="--models", expected="1 to 64", got=name)
        tree["units"] = int(units)
    return msgspec.convert(tree, ModelConfig)


def model_name(model: ModelConfig) -> str:
    """Return the folder name of a model: its kind, and its units where it has some."""
    return f"{model.kind}-{model.units}" if model.locally_connected else model.kind
