"""``fieldwise compare``: the experiment of the paper on any log, several models side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from fieldwise.config import Config
from fieldwise.data.read_report import ReadReport
from fieldwise.errors import ConfigError
from fieldwise.events import Listener, Noted, Outlook, SecondsRange, ignore
from fieldwise.io.stores import local_path
from fieldwise.jobs.compare.differences import (
    Contender,
    Difference,
    SeedSummary,
    differences,
    spreads,
)
from fieldwise.jobs.compare.over_folds import compared_over_folds
from fieldwise.jobs.outlook import measure_rates, sampling_seconds, solving_seconds, training_seconds
from fieldwise.jobs.outputs import refuse_output_folder
from fieldwise.jobs.prepare.logs import with_tables
from fieldwise.jobs.prepare.part_rows import check_parts
from fieldwise.jobs.prepare.prepare import Prepared, prepare
from fieldwise.jobs.presets import middle, over_budget, with_preset, without_budget
from fieldwise.jobs.result import Result
from fieldwise.jobs.run import RUN_NAME, read_result
from fieldwise.jobs.threads import use_threads
from fieldwise.jobs.train.begin import by_steps, with_kind
from fieldwise.jobs.train.train import lr_settings, train
from fieldwise.metrics.own import goodness
from fieldwise.models.config import ModelConfig
from fieldwise.models.registry import refuse_unknown

__all__ = ["DEFAULT_MODELS", "FAST_MODELS", "Comparison", "compare"]

DEFAULT_MODELS = (
    "lr",
    "dnn",
    "lc-dnn:1",
    "lc-wide-deep:1",
    "lc-dnn",
    "lc-wide-deep",
    "lc-resnet",
)
"""The models of the paper with one unit per field, then with the number of units of ``[model]``."""
FAST_MODELS = ("lr", "lc-dnn")
"""With ``train.preset = "fast"``."""
_STACKED = ("bayesian-fm", "lc-dnn+bayesian-fm")
"""Added by default if ``model.kind = "auto"`` selects a stack for the log."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Several models trained on one log: their results, and the significance of their differences.

    Attributes
    ----------
    folder
        The folder of the comparison.
    data
        A summary of the log (`prepare.Prepared.summary`).
    seeds
        The training seeds.
    models
        The result of each model with the first seed.
    spreads
        Mean and standard deviation of the metrics of each model over the seeds.
    part
        The part on which differences are tested: ``test``, or ``valid`` if there is no test part (which is optimistic
        for models selected on it); None if there is neither, or only one model.
    against
        The reference model of the differences: the given one, or the best on valid.
    level
        Significance level: corrected p-values below it are called ``better`` or ``worse``.
    differences
        Each other model minus `against`, by metric.
    read
        Which rows, files and columns of the log were not used, and why.
    folds
        The folds, with ``data.folds``: `models` are then those of the first fold, and `spreads` and `differences` are
        over the folds, each in its subfolder ``fold-N``; else None.
    """

    folder: str
    data: dict[str, Any]
    seeds: list[int]
    models: list[Result]
    spreads: list[SeedSummary]
    part: Literal["test", "valid"] | None
    against: str | None
    level: float
    differences: list[Difference]
    read: ReadReport
    folds: int | None = None

    def _repr_html_(self) -> str:
        from fieldwise.jobs.report.lines import comparison_html

        return comparison_html(self)

    @property
    def best(self) -> int:
        """Which of `models` has the highest validation AUC: the test rows choose nothing."""
        return max(range(len(self.models)), key=lambda place: goodness(self.models[place].valid, "auc") or -1.0)

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
    """Train and evaluate several models on one log, and test their differences.

    The logistic regression from which other models are initialized is trained once per seed, and the Bayesian FM of all
    stacks is sampled once per seed; a stack takes its trained member from the run of that model, where that is compared
    before it. Models without interactions are trained first: they take seconds, the others and
    the sampling take minutes. Finished models are not trained again, so an interrupted comparison resumes where it
    stopped, and adding a model or a seed trains only that one.

    Parameters
    ----------
    config
        Its ``[model]`` has the settings that all models share, such as the hidden layers.
    out
        The folder of the comparison, with a run folder for each model; further seeds are in its subfolders ``seed-N``.
    data
        Rows in memory to use instead of the configured files: a pyarrow, pandas or polars table, a dict of columns, a
        list of dicts, or a numpy structured array; or ``{"train": rows, "valid": rows, "test": rows}``. They are stored
        in the folder of prepared logs (`jobs.prepare.logs`).
    models
        Kinds of models, ``KIND`` or ``KIND:UNITS``, e.g. ``["lr", "lc-dnn:1", "lc-dnn"]``; a stack with ``+``, e.g.
        ``lc-dnn+bayesian-fm``. By default `DEFAULT_MODELS` and, if ``model.kind = "auto"`` selects a stack for the log,
        that stack and its sampled member.
    seeds
        Number of training seeds, >= 1: ``train.seed`` and the following integers.
    against
        The reference model, as in `models`; by default the best on valid.
    level
        Family-wise significance level of the tests (Holm's correction), in (0, 1).
    overwrite
        Replace existing runs.
    listen
        Called with every event.
    show
        Called at most once, when the models without interactions have been trained, with their results and the names of
        the remaining models.

    Returns
    -------
    Comparison
        The results of all models and their differences.

    Raises
    ------
    ConfigError
        The configuration, a model, `seeds`, `against` or `level` is invalid.
    DataError
        The log is missing or invalid.
    Stopped
        SIGTERM or Ctrl-C interrupted training; the same call resumes it.

    Examples
    --------
    >>> import fieldwise as fw
    >>> config = fw.load_config("fieldwise.toml")  # doctest: +SKIP
    >>> comparison = fw.compare(config, "runs/first", models=["lr", "lc-dnn"], seeds=3)  # doctest: +SKIP
    >>> [(each.model, each.metric, each.verdict) for each in comparison.differences]  # doctest: +SKIP
    [('lr', 'auc', 'worse'), ('lr', 'logloss', 'worse')]
    """
    config = with_preset(with_tables(config, data))
    if config.data.folds is not None and config.data.fold is None:
        if seeds > 1:
            raise ConfigError("folds take the place of seeds", where="--seeds", expected="1", got=seeds)

        def on_fold(own: Config, folder: Path) -> Comparison:
            return compare(own, folder, models=models, against=against, level=level, overwrite=overwrite, listen=listen)

        return compared_over_folds(config, Path(out), against is not None, level, on_fold)
    usual = FAST_MODELS if config.train.preset == "fast" else DEFAULT_MODELS
    refuse_output_folder(local_path(out), config, f"lr/{RUN_NAME}")
    if seeds < 1 or not 0 < level < 1:
        raise ConfigError("invalid comparison", expected="1 seed or more, 0 < level < 1", got=f"{seeds}, {level}")
    out = Path(out)
    named = [model_name(parse_model(name, config.model)) for name in models or usual]
    if against is not None and model_name(parse_model(against, config.model)) not in named:
        raise ConfigError(
            "the reference model is not among the models",
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
        models = usual + _STACKED * (config.train.preset != "fast" and of_log("auto").is_sampled)
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
    seconds = _foretold(to_train, config, prepared)
    left_out = _left_out(seconds, config.train.minutes, reference)
    if left_out:
        first, later = ([name for name in names if name not in left_out] for names in (first, later))
        chosen = {name: model for name, model in chosen.items() if name not in left_out}
        shown = ", ".join(f"{name} (about {middle(seconds[name]):,.0f} s)" for name in left_out)
        listen(Noted(f"left out, for train.minutes = {config.train.minutes:g}: {shown}"))
        seconds = {name: taken for name, taken in seconds.items() if name not in left_out}
    config = without_budget(config)
    _foretell(seconds, first, listen)
    results: dict[str, list[Result]] = {name: [] for name in chosen}
    for names in (first, later):
        for number in numbers:
            folder = _folder(out, config, number)
            of_seed = msgspec.structs.replace(config, train=msgspec.structs.replace(config.train, seed=number))
            for name in names:
                member = _trained_alone(name, chosen)
                results[name].append(
                    _run(
                        name,
                        chosen[name],
                        of_seed,
                        folder,
                        prepared,
                        overwrite,
                        listen,
                        folder / member if member else None,
                    )
                )
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


def _foretold(
    to_train: dict[tuple[str, int], ModelConfig], config: Config, prepared: Prepared
) -> dict[str, SecondsRange]:
    """Return about how long the training of each model takes, over all seeds; the first that needs a sample samples it.

    `to_train` holds what each model is, by its name and training seed.
    """
    rates, sampled = None, set[int]()
    seconds: dict[str, SecondsRange] = {}
    for (name, seed), model in to_train.items():
        rates = rates or measure_rates()
        own = with_kind(msgspec.structs.replace(config, model=model), prepared)
        settings = lr_settings(own) if model.kind == "lr" else own.train
        solved = model.kind == "lr" and by_steps(own, prepared) is None
        training = solving_seconds(prepared, rates) if solved else training_seconds(own, settings, prepared, rates)
        taken = [seconds.get(name, SecondsRange(0.0, 0.0)), training]
        if own.model.is_sampled and seed not in sampled:
            sampled.add(seed)
            taken.append(sampling_seconds(own, prepared, rates))
        seconds[name] = SecondsRange(sum(part.least for part in taken), sum(part.most for part in taken))
    return seconds


def _left_out(seconds: dict[str, SecondsRange], minutes: float | None, reference: str | None) -> list[str]:
    """Return the models that a budget leaves out; never logistic regression, nor the one that is compared with."""
    if minutes is None:
        return []
    costs = {name: middle(taken) for name, taken in seconds.items() if name not in ("lr", reference)}
    return over_budget(costs, minutes)


def _foretell(seconds: dict[str, SecondsRange], first: list[str], listen: Listener) -> None:
    """Say which models are to be trained, in order, and about how long that takes; nothing where there are none.

    Those of `first` come before the others.
    """
    if seconds:
        early = tuple(name for name in first if name in seconds)
        late = tuple(name for name in seconds if name not in first)
        listen(Outlook(early, late, _sum(seconds, early), _sum(seconds, early + late)))


def _sum(seconds: dict[str, SecondsRange], names: Sequence[str]) -> SecondsRange:
    return SecondsRange(sum(seconds[name].least for name in names), sum(seconds[name].most for name in names))


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


def _trained_alone(name: str, chosen: dict[str, ModelConfig]) -> str | None:
    """Return the name of the model that is the only trained member of a stack, with the same settings, and was trained
    before it.
    """
    stack, before = chosen[name], list(chosen)[: list(chosen).index(name)]
    kinds = [kind for kind in stack.members if kind != "bayesian-fm"]
    if len(stack.members) < 2 or len(kinds) != 1:
        return None
    alone = msgspec.structs.replace(stack, kind=kinds[0])
    return next((other for other in before if chosen[other] == alone), None)


def _run(
    name: str,
    model: ModelConfig,
    config: Config,
    folder: Path,
    prepared: Prepared,
    overwrite: bool,
    listen: Listener,
    member_folder: Path | None,
) -> Result:
    return train(
        msgspec.structs.replace(config, model=model),
        folder / name,
        overwrite=overwrite,
        listen=listen,
        prepared=prepared,
        lr_folder=folder / "lr",
        member_folder=member_folder,
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
            raise ConfigError("invalid number of units per field", where="--models", expected="1 to 64", got=name)
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
