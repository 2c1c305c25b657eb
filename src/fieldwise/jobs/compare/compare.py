"""``fieldwise compare``: the paper's experiment on one's own log, several models side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from fieldwise.config import Config
from fieldwise.data.read_report import ReadReport
from fieldwise.errors import ConfigError
from fieldwise.events import Listener, Outlook, Seconds, ignore
from fieldwise.io.stores import local_path
from fieldwise.jobs.compare.differences import Contender, Difference, Spread, differences, spreads
from fieldwise.jobs.compare.outlook import measure_rates, sampling_seconds, training_seconds
from fieldwise.jobs.outputs import refuse_output_folder
from fieldwise.jobs.prepare.logs import with_tables
from fieldwise.jobs.prepare.part_rows import check_parts
from fieldwise.jobs.prepare.prepare import Prepared, prepare
from fieldwise.jobs.run import RUN_NAME, Result, read_result
from fieldwise.jobs.train.begin import with_kind
from fieldwise.jobs.train.train import lr_settings, train, use_threads
from fieldwise.models.config import ModelConfig
from fieldwise.models.registry import refuse_unknown

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
_STACKED = ("bayesian-fm", "lc-dnn+bayesian-fm")
"""Those that follow where the log lets ``model.kind = "auto"`` be a stack."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Models trained on one log: what the log is, each model's results, and how sure their differences are.

    Attributes
    ----------
    folder
        Of the comparison.
    data
        What the log is (`prepare.Prepared.summary`).
    seeds
        The training seeds.
    models
        Each model's result with the first seed.
    spreads
        Mean and standard deviation over the seeds of each model's metrics.
    part
        The rows that the differences are of: ``test``; ``valid`` where there is no test part, which flatters the models
        that were chosen on it; None where there is neither, or one model alone.
    against
        The model that all others are compared with: unless one was named, the best on valid.
    level
        What a corrected p-value must be below for ``better`` or ``worse``.
    differences
        Each other model minus `against`, by metric.
    read
        What of the log was not used, and why.
    """

    folder: str
    data: dict[str, Any]
    seeds: list[int]
    models: list[Result]
    spreads: list[Spread]
    part: Literal["test", "valid"] | None
    against: str | None
    level: float
    differences: list[Difference]
    read: ReadReport

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return {**plain, "models": [model.as_dict() for model in self.models]}


def compare(
    config: Config,
    out: str | Path,
    *,
    data: Any = None,
    models: Sequence[str] | None = None,
    seeds: int = 1,
    against: str | None = None,
    level: float = 0.05,
    overwrite: bool = False,
    listen: Listener = ignore,
    show: Callable[[Comparison, list[str]], None] | None = None,
) -> Comparison:
    """Train and evaluate several models on one log, each in a run folder of its own under `out`.

    Logistic regression is trained once per seed, for all models that begin with it, and a Bayesian FM is sampled once
    per seed, for all stacks that have it. Models without interactions come first, for they take seconds where the
    others, and the sampling before them, take minutes. A model whose run is finished is not trained again, so a
    comparison that was stopped goes on where it was, and one more model or seed costs only itself.

    Parameters
    ----------
    config
        Its ``[model]`` says what all models share: hidden layers, activation and so on.
    out
        The folder of the comparison. The runs of further seeds lie in ``seed-N`` inside it.
    data
        Rows in memory in place of the configuration's files: a table of pyarrow, pandas or polars, a dict of columns, a
        list of dicts or a numpy structured array; or ``{"train": rows, "valid": rows, "test": rows}``. They are kept in
        the folder of prepared logs (`jobs.prepare.logs`).
    models
        Kinds, each with its units after a colon where they are not those of ``[model]``: ``["lr", "lc-dnn:1",
        "lc-dnn"]``; a stack with ``+``, as in ``lc-dnn+bayesian-fm``. `DEFAULT_MODELS` unless given, and where the log
        lets ``model.kind = "auto"`` be a stack, that and its sampled member.
    seeds
        How many training seeds: ``train.seed`` and those after it.
    against
        The model, as in `models`, that the others are compared with; the best on valid unless given.
    level
        The chance, all models together, of calling one different that is not (Holm's correction), 0 to 1.
    overwrite
        Train all anew.
    listen
        Called with every event.
    show
        Called once, as soon as the models without interactions are trained, with what is known of them and the names
        of those that follow, if there are any.

    Raises
    ------
    ConfigError
        There is no such model.
    """
    config = with_tables(config, data)
    refuse_output_folder(local_path(out), config, f"lr/{RUN_NAME}")
    if seeds < 1 or not 0 < level < 1:
        raise ConfigError(
            "the comparison is not understood", expected="1 seed or more, 0 < level < 1", got=f"{seeds}, {level}"
        )
    out = Path(out)
    named = [model_name(parse_model(name, config.model)) for name in models or DEFAULT_MODELS]
    if against is not None and model_name(parse_model(against, config.model)) not in named:
        raise ConfigError(
            "the model to compare with is not among the models",
            where="--against",
            got=against,
            fix="add it to --models",
        )
    use_threads(config.train.threads)
    prepared = prepare(config, listen=listen)
    check_parts(config, prepared, listen)
    config = msgspec.structs.replace(config, model=config.model.for_schema(prepared.encoder.schema))

    def of_log(name: str) -> ModelConfig:
        return with_kind(msgspec.structs.replace(config, model=parse_model(name, config.model)), prepared).model

    if models is None:
        models = DEFAULT_MODELS + _STACKED * of_log("auto").is_sampled
    chosen = {model_name(model): model for model in map(of_log, models)}
    reference = None if against is None else model_name(of_log(against))
    numbers = [config.train.seed + number for number in range(seeds)]
    first, later = _in_two(chosen, prepared.encoder.layout.num_fields)
    to_train = {
        (name, number): chosen[name]
        for name in (*first, *later)
        for number in numbers
        if overwrite or not _is_done(_folder(out, config, number) / name)
    }
    _foretell(to_train, first, config, prepared, listen)
    results: dict[str, list[Result]] = {name: [] for name in chosen}
    for names in (first, later):
        for number in numbers:
            folder = _folder(out, config, number)
            of_seed = msgspec.structs.replace(config, train=msgspec.structs.replace(config.train, seed=number))
            for name in names:
                results[name].append(_run(name, chosen[name], of_seed, folder, prepared, overwrite, listen))
        if show is not None and names is first and first and later:
            show(_compared([Contender(name, results[name]) for name in first], out, prepared, numbers, level), later)
    contenders = [Contender(name, runs) for name, runs in results.items()]
    comparison = _compared(contenders, out, prepared, numbers, level)
    part: Literal["test", "valid"] = "test" if "test" in prepared.parts else "valid"
    if part not in prepared.parts or len(contenders) < 2:
        return comparison
    reference = reference or max(contenders, key=Contender.goodness).name
    found = differences(contenders, reference, prepared.parts[part], part, level)
    return msgspec.structs.replace(comparison, part=part, against=reference, differences=found)


def _folder(out: Path, config: Config, seed: int) -> Path:
    """Return where the runs of a training seed lie."""
    return out if seed == config.train.seed else out / f"seed-{seed}"


def _is_done(run: Path) -> bool:
    return (run / RUN_NAME).exists() and read_result(run) is not None


def _foretell(
    to_train: dict[tuple[str, int], ModelConfig],
    first: list[str],
    config: Config,
    prepared: Prepared,
    listen: Listener,
) -> None:
    """Say which models are to be trained, in order, and about how long that takes; nothing where there are none.

    `to_train` holds what each model is, by its name and training seed; those of `first` come before the others.
    """
    rates, sampled = None, set[int]()
    seconds: dict[str, Seconds] = {}
    for (name, seed), model in to_train.items():
        rates = rates or measure_rates()
        own = with_kind(msgspec.structs.replace(config, model=model), prepared)
        settings = lr_settings(own) if model.kind == "lr" else own.train
        taken = [seconds.get(name, Seconds(0.0, 0.0)), training_seconds(own, settings, prepared, rates)]
        if own.model.is_sampled and seed not in sampled:
            sampled.add(seed)
            taken.append(sampling_seconds(own, prepared, rates))
        seconds[name] = Seconds(sum(part.least for part in taken), sum(part.most for part in taken))
    if seconds:
        early = tuple(name for name in first if name in seconds)
        late = tuple(name for name in seconds if name not in first)
        listen(Outlook(early, late, _sum(seconds, early), _sum(seconds, early + late)))


def _sum(seconds: dict[str, Seconds], names: Sequence[str]) -> Seconds:
    return Seconds(sum(seconds[name].least for name in names), sum(seconds[name].most for name in names))


def _compared(
    contenders: Sequence[Contender], out: Path, prepared: Prepared, seeds: list[int], level: float
) -> Comparison:
    """Return the results of some models, without their differences."""
    return Comparison(
        folder=str(out),
        data=prepared.summary,
        seeds=seeds,
        models=[contender.runs[0] for contender in contenders],
        spreads=spreads(contenders),
        part=None,
        against=None,
        level=level,
        differences=[],
        read=prepared.read,
    )


def _in_two(chosen: dict[str, ModelConfig], num_fields: int) -> tuple[list[str], list[str]]:
    """Return the names of the models that take seconds, then of those with interactions, each in the order given."""
    slow = [name for name, model in chosen.items() if model.is_sampled or model.has_interactions(num_fields)]
    return [name for name in chosen if name not in slow], slow


def _run(
    name: str, model: ModelConfig, config: Config, folder: Path, prepared: Prepared, overwrite: bool, listen: Listener
) -> Result:
    return train(
        msgspec.structs.replace(config, model=model),
        folder / name,
        overwrite=overwrite,
        listen=listen,
        prepared=prepared,
        lr_folder=folder / "lr",
    )


def parse_model(name: str, base: ModelConfig) -> ModelConfig:
    """Read ``kind`` or ``kind:units``; in a stack one member may have units, as in ``lc-dnn:8+bayesian-fm``.

    Examples
    --------
    >>> parse_model("lc-dnn:1", ModelConfig()).units
    1
    """
    kinds, units = [], ""
    for member in name.split("+"):
        kind, colon, given = member.partition(":")
        if colon and (units or not given.isdecimal() or not 1 <= int(given) <= 64):
            raise ConfigError("the units per field are not understood", where="--models", expected="1 to 64", got=name)
        kinds.append(kind)
        units = units or given
    kind = "+".join(kinds)
    refuse_unknown(kind, where="--models, ")
    if kind == "lr":
        return ModelConfig(kind="lr")  # nothing else matters to it, and it is the initial model of others
    return msgspec.structs.replace(base, kind=kind, **({"units": int(units)} if units else {}))


def model_name(model: ModelConfig) -> str:
    """Return the folder name of a model: its kind, and its units where it has some.

    Examples
    --------
    >>> model_name(ModelConfig(kind="lc-dnn+bayesian-fm", units=8))
    'lc-dnn-8+bayesian-fm'
    """
    if model.kind == "auto":
        return model.kind
    return "+".join(f"{kind}-{model.units}" if kind.startswith("lc-") else kind for kind in model.members)
