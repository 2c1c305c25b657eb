"""``fieldwise compare``: the experiment of the paper on any log, several models side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from fieldwise.config import Config
from fieldwise.errors import ConfigError
from fieldwise.events import Listener, Noted, ignore
from fieldwise.io.stores import local_path
from fieldwise.jobs.compare.comparison import Comparison
from fieldwise.jobs.compare.differences import Contender, differences, differences_over_folds, spreads
from fieldwise.jobs.compare.forecast import foretell, foretold, left_out
from fieldwise.jobs.compare.models import (
    DEFAULT_MODELS,
    FAST_MODELS,
    in_two,
    model_name,
    parse_model,
    trained_alone,
)
from fieldwise.jobs.outputs import refuse_output_folder
from fieldwise.jobs.prepare.logs import with_tables
from fieldwise.jobs.prepare.part_rows import check_parts
from fieldwise.jobs.prepare.prepare import prepare
from fieldwise.jobs.prepare.prepared import Prepared
from fieldwise.jobs.presets import middle, with_preset
from fieldwise.jobs.result import Result
from fieldwise.jobs.run import RUN_NAME, read_result
from fieldwise.jobs.threads import use_threads
from fieldwise.jobs.train.begin import with_kind
from fieldwise.jobs.train.train import train
from fieldwise.jobs.train.trees import refuse_trees_of
from fieldwise.models.config import ModelConfig

__all__ = ["compare"]


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
    refuse_trees_of(config, "compare")
    if config.data.folds is not None and config.data.fold is None:
        if seeds > 1:
            raise ConfigError("folds take the place of seeds", where="--seeds", expected="1", got=seeds)

        def compare_fold(own: Config, folder: Path) -> Comparison:
            return compare(own, folder, models=models, against=against, level=level, overwrite=overwrite, listen=listen)

        return _over_folds(config, Path(out), against is not None, level, compare_fold)
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
        auto = of_log("auto") if config.train.preset != "fast" else ModelConfig(kind="lc-dnn")
        models = usual + ("bayesian-fm",) * auto.is_sampled + (auto.kind,) * ("+" in auto.kind)
    chosen = {model_name(model): model for model in map(of_log, models)}
    reference = None if against is None else model_name(of_log(against))
    numbers = [config.train.seed + number for number in range(seeds)]
    first, later = in_two(chosen, prepared.encoder.layout.num_fields)
    to_train = {
        (name, number): chosen[name]
        for name in (*first, *later)
        for number in numbers
        if overwrite or not _is_done(_folder(out, config, number) / name)
    }
    seconds = foretold(to_train, config, prepared)
    dropped = left_out(seconds, config.train.minutes, reference)
    if dropped:
        first, later = ([name for name in names if name not in dropped] for names in (first, later))
        chosen = {name: model for name, model in chosen.items() if name not in dropped}
        shown = ", ".join(f"{name} (about {middle(seconds[name]):,.0f} s)" for name in dropped)
        listen(Noted(f"left out, for train.minutes = {config.train.minutes:g}: {shown}"))
        seconds = {name: taken for name, taken in seconds.items() if name not in dropped}
    config = config.changed("train", minutes=None)
    foretell(seconds, first, listen)
    results: dict[str, list[Result]] = {name: [] for name in chosen}
    for names in (first, later):
        for number in numbers:
            folder = _folder(out, config, number)
            of_seed = config.changed("train", seed=number)
            for name in names:
                member = trained_alone(name, chosen)
                result = train(
                    msgspec.structs.replace(of_seed, model=chosen[name]),
                    folder / name,
                    overwrite=overwrite,
                    listen=listen,
                    prepared=prepared,
                    lr_folder=folder / "lr",
                    member_folder=folder / member if member else None,
                )
                results[name].append(result)
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


def _over_folds(
    config: Config, out: Path, is_against_given: bool, level: float, compare_fold: Callable[[Config, Path], Comparison]
) -> Comparison:
    """Return the comparison of models over folds (``data.folds``), those of each fold in its subfolder ``fold-N``.

    A budget of minutes is dealt to the folds. Where no model is named to compare with, it is the best on valid.
    """
    num_folds = config.data.folds
    assert num_folds is not None, "there are folds"
    if config.train.minutes is not None:
        config = config.changed("train", minutes=config.train.minutes / num_folds)
    found = [compare_fold(config.changed("data", fold=fold), out / f"fold-{fold}") for fold in range(num_folds)]
    runs = [dict(zip((spread.model for spread in each.spreads), each.models, strict=True)) for each in found]
    # What is left out by rates measured at another time may differ from fold to fold.
    contenders = [
        Contender(name, [of_fold[name] for of_fold in runs])
        for name in runs[0]
        if all(name in of_fold for of_fold in runs)
    ]
    reference = max(contenders, key=Contender.goodness).name
    if is_against_given:
        reference = found[0].against or reference
    return msgspec.structs.replace(
        found[0],
        folder=str(out),
        models=[contender.runs[0] for contender in contenders],
        spreads=spreads(contenders),
        part="test",
        against=reference,
        differences=differences_over_folds(contenders, reference, level),
        folds=num_folds,
    )


def _folder(out: Path, config: Config, seed: int) -> Path:
    """Return where the runs of a training seed lie."""
    return out if seed == config.train.seed else out / f"seed-{seed}"


def _is_done(run: Path) -> bool:
    return (run / RUN_NAME).exists() and read_result(run) is not None


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
