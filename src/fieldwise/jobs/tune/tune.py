"""``fieldwise tune``: hyperparameter search for one model within a budget.

The first trial is the given configuration; further ones are proposed by optuna's tree-structured Parzen estimator over
the search space in `jobs.tune.space`. Each is trained like any run, but without the test part. A trial whose metric
after an epoch is below the median of the earlier trials at that epoch is pruned. Finally the best trial on valid is
evaluated on test, once. With ``data.folds`` a trial is trained once for each fold, and judged by the mean over them.

::

    tune/
        tune.json       the settings of the search, and the values and metrics of every trial
        best.toml       the best configuration
        trials/         run folders: the current trial, the best so far, and the logistic regressions from which trials
                        are initialized

``tune.json`` is replaced atomically after every epoch. The same command resumes an interrupted search: the current
trial gets the same values again (`jobs.tune.study`), and its run resumes from its checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fieldwise.config import Config
from fieldwise.errors import ConfigError
from fieldwise.events import Listener, ignore
from fieldwise.io.stores import local_path
from fieldwise.jobs.outputs import refuse_output_folder
from fieldwise.jobs.prepare.logs import with_tables
from fieldwise.jobs.prepare.part_rows import check_parts
from fieldwise.jobs.prepare.prepare import prepare
from fieldwise.jobs.threads import use_threads
from fieldwise.jobs.train.trees import refuse_trees_of
from fieldwise.jobs.tune.search import SEARCH_NAME, FoldLog, Search
from fieldwise.jobs.tune.space import space_of
from fieldwise.jobs.tune.study import require_optuna
from fieldwise.jobs.tune.trial import Tuning

__all__ = ["tune"]


def tune(
    config: Config,
    out: str | Path,
    *,
    data: Any = None,
    minutes: float | None = None,
    trials: int | None = None,
    only: Sequence[str] | None = None,
    seed: int = 0,
    overwrite: bool = False,
    listen: Listener = ignore,
) -> Tuning:
    """Search for better hyperparameters of the model of a configuration.

    Parameters
    ----------
    config
        The configuration to start from; keys outside the search space keep their values.
    out
        The folder of the search.
    data
        Rows in memory to use instead of the configured files: a pyarrow, pandas or polars table, a dict of columns, a
        list of dicts, or a numpy structured array; or ``{"train": rows, "valid": rows, "test": rows}``. They are stored
        in the folder of prepared logs (`jobs.prepare.logs`).
    minutes
        Total training time, > 0, including earlier calls. The current trial is then discarded, unless it is the first.
        30 if neither `minutes` nor `trials` is given.
    trials
        Total number of trials, >= 1, including those of earlier calls.
    only
        The keys to search (`jobs.tune.space`); all by default.
    seed
        Random seed of the search; all trials are trained with ``train.seed``.
    overwrite
        Replace an existing search.
    listen
        Called with every event; `events.Noted` at the end of each trial.

    Returns
    -------
    Tuning
        All trials, and the metrics of the best one.

    Raises
    ------
    ConfigError
        optuna is not installed, there are no validation rows, the budget is invalid, or the folder belongs to another
        search.
    Stopped
        SIGTERM or Ctrl-C interrupted the search; the same call resumes it.

    Examples
    --------
    >>> import fieldwise as fw
    >>> config = fw.load_config("fieldwise.toml")  # doctest: +SKIP
    >>> fw.tune(config, "runs/tuned", minutes=30).config  # doctest: +SKIP
    'runs/tuned/best.toml'
    """
    require_optuna()
    config = with_tables(config, data)
    refuse_trees_of(config, "tune")
    refuse_output_folder(local_path(out), config, SEARCH_NAME)
    if (minutes is not None and minutes <= 0) or (trials is not None and trials < 1):
        raise ConfigError("invalid budget", expected="minutes > 0, trials >= 1", got=f"{minutes}, {trials}")
    minutes = 30.0 if minutes is None and trials is None else minutes
    space = space_of(config, only)
    use_threads(config.train.threads)
    logs = [FoldLog(each, prepare(each, listen=listen)) for each in _by_fold(config)]
    for log in logs:
        check_parts(log.config, log.prepared, listen)
        if "valid" not in log.prepared.parts:
            raise ConfigError("tune requires validation rows", fix="set data.valid, or data.folds")
    with ExitStack() as stack:
        search = Search(config, Path(out), logs, space, seed, listen)
        stack.enter_context(search.held(overwrite))
        while search.goes_on(minutes, trials) and search.run_trial(minutes):
            pass
        return search.finish()


def _by_fold(config: Config) -> list[Config]:
    """Return the configuration of each fold, or the one that there is."""
    data = config.data
    if data.folds is None or data.fold is not None:
        return [config]
    return [config.changed("data", fold=fold) for fold in range(data.folds)]
