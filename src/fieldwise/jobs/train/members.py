"""What each member of a stack reaches alone, what it costs, and what the stack would lose without it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from fieldwise.calibration import Calibration
from fieldwise.data.cache import Examples
from fieldwise.distributed.world import World
from fieldwise.jobs.result import MemberResult
from fieldwise.metrics import Metrics
from fieldwise.models.click import ClickModel
from fieldwise.training.score import metrics_without

__all__ = ["evaluate_members", "minus"]


def evaluate_members(
    model: ClickModel,
    negative_rate: float,
    evaluate: Callable[[str], Metrics | None],
    valid: Iterable[Examples] | None,
    world: World,
    seconds: Mapping[str, float],
) -> list[MemberResult]:
    """Return the result of each member as it is, without the calibration of the whole; none where the model is one.

    Parameters
    ----------
    model
        With the weights that were kept.
    negative_rate
        Of training, for which probabilities are corrected.
    evaluate
        Returns the metrics of the model on a part; None where there is no such part.
    valid
        The validation examples, by which the others are weighed anew without each member.
    world
        The workers.
    seconds
        What each member took.
    """
    if model.stacker is None:
        return []
    of_stack, model.calibration = model.calibration, Calibration.of_negative_rate(negative_rate)
    lost: dict[str, tuple[float | None, float | None]] = {}
    if valid is not None and (whole := evaluate("valid")) is not None:
        for name, others in metrics_without(model, valid, world).items():
            lost[name] = minus(whole.auc, others.auc), minus(others.logloss, whole.logloss)
    found = []
    for name in model.members:
        with model.answering_as(name):
            parts = {part: evaluate(part) for part in ("valid", "test")}
        auc_lost, logloss_lost = lost.get(name, (None, None))
        found.append(
            MemberResult(
                model=name,
                weights=model.stacking_weights(name),
                valid=parts["valid"],
                test=parts["test"],
                seconds=seconds[name],
                auc_lost=auc_lost,
                logloss_lost=logloss_lost,
            )
        )
    model.calibration = of_stack
    return found


def minus(one: float | None, other: float | None) -> float | None:
    """Return the difference of two metrics; None where one is not defined."""
    return None if one is None or other is None else one - other
