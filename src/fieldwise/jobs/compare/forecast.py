"""About how long the training of each model of a comparison takes, and which a budget leaves out."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fieldwise.config import Config
from fieldwise.events import Listener, Outlook, SecondsRange
from fieldwise.jobs.outlook import measure_rates, sampling_seconds, solving_seconds, training_seconds
from fieldwise.jobs.prepare.prepared import Prepared
from fieldwise.jobs.presets import middle, over_budget
from fieldwise.jobs.train.begin import by_steps, with_kind
from fieldwise.jobs.train.settings import settings_of
from fieldwise.models.config import ModelConfig

__all__ = ["foretell", "foretold", "left_out"]


def foretold(
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
        settings = settings_of(own, model.kind)
        solved = model.kind == "lr" and by_steps(own, prepared) is None
        training = solving_seconds(prepared, rates) if solved else training_seconds(own, settings, prepared, rates)
        taken = [seconds.get(name, SecondsRange(0.0, 0.0)), training]
        if own.model.is_sampled and seed not in sampled:
            sampled.add(seed)
            taken.append(sampling_seconds(own, prepared, rates))
        seconds[name] = SecondsRange(sum(part.least for part in taken), sum(part.most for part in taken))
    return seconds


def left_out(seconds: dict[str, SecondsRange], minutes: float | None, reference: str | None) -> list[str]:
    """Return the models that a budget leaves out; never logistic regression, nor the one that is compared with."""
    if minutes is None:
        return []
    costs = {name: middle(taken) for name, taken in seconds.items() if name not in ("lr", reference)}
    return over_budget(costs, minutes)


def foretell(seconds: dict[str, SecondsRange], first: list[str], listen: Listener) -> None:
    """Say which models are to be trained, in order, and about how long that takes; nothing where there are none.

    Those of `first` come before the others.
    """
    if seconds:
        early = tuple(name for name in first if name in seconds)
        late = tuple(name for name in seconds if name not in first)
        listen(Outlook(early, late, _sum(seconds, early), _sum(seconds, early + late)))


def _sum(seconds: dict[str, SecondsRange], names: Sequence[str]) -> SecondsRange:
    return SecondsRange(sum(seconds[name].least for name in names), sum(seconds[name].most for name in names))
