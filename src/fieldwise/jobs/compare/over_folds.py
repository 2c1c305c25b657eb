"""A comparison over the folds of a small log (``data.folds``): each by itself, and what they say together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from fieldwise.config import Config
from fieldwise.jobs.compare.differences import Contender, differences_over_folds, spreads

if TYPE_CHECKING:
    from fieldwise.jobs.compare.comparison import Comparison

__all__ = ["compared_over_folds"]


def compared_over_folds(
    config: Config, out: Path, is_against_given: bool, level: float, on_fold: Callable[[Config, Path], Comparison]
) -> Comparison:
    """Return the comparison of models over folds, those of each fold in its subfolder ``fold-N`` of `out`.

    Parameters
    ----------
    config
        With ``data.folds``. A budget of minutes is dealt to the folds.
    is_against_given
        Whether the models are compared with one that was named, and not with the best on valid.
    level
        Of the intervals and tests.
    on_fold
        Compares models by the configuration of a fold, in a folder.
    """
    replace = msgspec.structs.replace
    num_folds = config.data.folds
    assert num_folds is not None, "there are folds"
    if config.train.minutes is not None:
        config = replace(config, train=replace(config.train, minutes=config.train.minutes / num_folds))
    found = [
        on_fold(replace(config, data=replace(config.data, fold=fold)), out / f"fold-{fold}")
        for fold in range(num_folds)
    ]
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
    return replace(
        found[0],
        folder=str(out),
        models=[contender.runs[0] for contender in contenders],
        spreads=spreads(contenders),
        part="test",
        against=reference,
        differences=differences_over_folds(contenders, reference, level),
        folds=num_folds,
    )
