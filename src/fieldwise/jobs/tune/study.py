"""The next trial of a search, by optuna's tree-structured Parzen estimator.

The sampler is seeded with the number of the trial and sees the trials before it, so a resumed search proposes the same
values again.

Source: Akiba et al., Optuna, KDD 2019; Bergstra et al., Algorithms for hyper-parameter optimization, NIPS 2011.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from fieldwise.config import Config
from fieldwise.errors import ConfigError
from fieldwise.jobs.tune.space import Choice, Dimension, value_of
from fieldwise.jobs.tune.trial import Trial

__all__ = ["FIRST_TRIALS", "Study", "require_optuna"]

FIRST_TRIALS = 5
"""Trials that are neither guided by others nor broken off."""
_NUM_SEEDS = 1 << 32
"""Of optuna's samplers."""


class Study:
    """Proposes trials in a search space.

    Parameters
    ----------
    config
        The configuration to start from, whose values are used for keys that a trial does not set.
    space
        The dimensions to search.
    seed
        Random seed of the search.
    """

    def __init__(self, config: Config, space: Sequence[Dimension], seed: int) -> None:
        self.space, self.seed = space, seed
        self._optuna = require_optuna()
        self._own = {dimension.key: value_of(msgspec.to_builtins(config), dimension.key) for dimension in space}

    def ask(self, ended: Sequence[Trial]) -> Any:
        """Return the optuna trial that follows the given ones; it accepts reports and decides about pruning."""
        optuna = self._optuna
        sampler = optuna.samplers.TPESampler(
            seed=(self.seed * 100_003 + len(ended)) % _NUM_SEEDS, n_startup_trials=FIRST_TRIALS, constant_liar=False
        )
        pruner = optuna.pruners.MedianPruner(n_startup_trials=FIRST_TRIALS, n_warmup_steps=1)
        study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
        for trial in ended:
            study.add_trial(self._known(trial))
        return study.ask({dimension.key: self._distribution(dimension) for dimension in self.space})

    @staticmethod
    def values(asked: Any) -> dict[str, Any]:
        """Return the values of an optuna trial by key."""
        return {key: json.loads(value) if isinstance(value, str) else value for key, value in asked.params.items()}

    def _known(self, trial: Trial) -> Any:
        """Return a trial that has ended as optuna's."""
        optuna, values = self._optuna, {**self._own, **trial.values}
        states = {
            "done": optuna.trial.TrialState.COMPLETE,
            "pruned": optuna.trial.TrialState.PRUNED,
            "failed": optuna.trial.TrialState.FAIL,
        }
        # A rule in place of a value (None) is no point of a range: the sampler does not learn from it there.
        known = [each for each in self.space if isinstance(each.what, Choice) or values[each.key] is not None]
        state = states[trial.state if trial.metrics or trial.state == "failed" else "failed"]
        return optuna.trial.create_trial(
            state=state,
            value=trial.value if state == optuna.trial.TrialState.COMPLETE else None,
            params={
                each.key: json.dumps(values[each.key]) if isinstance(each.what, Choice) else values[each.key]
                for each in known
            },
            distributions={dimension.key: self._distribution(dimension) for dimension in known},
            intermediate_values=dict(enumerate(trial.metrics, start=1)),
        )

    def _distribution(self, dimension: Dimension) -> Any:
        distributions = self._optuna.distributions
        if isinstance(dimension.what, Choice):
            return distributions.CategoricalDistribution([json.dumps(value) for value in dimension.what.values])
        return distributions.FloatDistribution(*dimension.what[:2], log=dimension.what.log)


def require_optuna() -> Any:
    """Return the module optuna, or raise ConfigError if it is not installed."""
    try:
        import optuna
    except ImportError:
        raise ConfigError(
            "tune requires optuna, which is not installed", where="tune", fix="pip install 'fieldwise[tune]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
