"""Whether logistic regression is solved to its optimum (`training.optimum`) or trained by steps.

The rule is one of bytes, so that the same log is trained alike on every machine: examples take 8 for every feature that
they have (16 in a bag), and 64 more; features take 64.
"""

from __future__ import annotations

import msgspec
import numpy as np

from fieldwise.data.cache import Cache
from fieldwise.errors import ConfigError
from fieldwise.kernels.layout import BAG, Layout
from fieldwise.training.config import LrTableOptimizerConfig, PretrainConfig
from fieldwise.training.penalty import LEAST_PENALTY

__all__ = ["MOST_BYTES", "ids_in_bags", "not_solved", "solving_memory"]

MOST_BYTES = 512 * 2**20
"""What solving may take: one minute of two cores, at most."""
_SOME = 1000


def ids_in_bags(train: Cache) -> float:
    """Return how many features of bags an example has, by a thousand of them, evenly spread."""
    if not train.num_examples or not (train.layout.form == BAG).any():
        return 0.0
    some = train.gather(np.unique(np.linspace(0, train.num_examples - 1, _SOME).astype(np.int64)))
    return len(some.batch.bag_ids) / some.batch.num_examples


def solving_memory(layout: Layout, num_examples: int, in_bags: float = 0.0) -> int:
    """Return the bytes that solving takes.

    Examples
    --------
    >>> solving_memory(Layout.of([0] * 7, [1404] * 7), 600_000) / 1e6
    72.6...
    """
    of_example = 8 * int((layout.form != BAG).sum()) + 16 * in_bags + 64
    return int(num_examples * of_example) + 64 * layout.num_features


def not_solved(
    settings: PretrainConfig,
    needed: int,
    num_classes: int,
    negative_rate: float,
    num_labels: int = 0,
    *,
    one_class: bool = False,
) -> str | None:
    """Return why logistic regression is trained by steps, and not solved; None where it is solved.

    `needed` is what `solving_memory` says of the log; `num_labels` is 0 where there is one;
    `one_class` says that the training rows hold one class alone.

    Raises
    ------
    ConfigError
        It must be solved, and cannot be.
    """
    l2 = settings.table.l2
    plain = msgspec.structs.replace(settings, solver="auto", table=msgspec.structs.replace(settings.table, l2=None))
    reasons = {
        "there are more than two classes": num_classes > 2,
        "there are several labels": num_labels > 1,
        "the training rows hold one class alone": one_class,  # its optimum is at infinity
        "train.negative_rate leaves examples out": negative_rate < 1.0,
        f"a penalty below {LEAST_PENALTY:g} is set": l2 is not None and l2 < LEAST_PENALTY,
        "an L1 penalty or another optimizer is set": settings.table.name != "ftrl" or settings.table.l1 > 0.0,
        f"the log needs {needed / 2**20:,.0f} MiB, {MOST_BYTES >> 20} at most": needed > MOST_BYTES,
    }
    if settings.solver == "auto":
        reasons["[pretrain] has settings of FTRL"] = plain != PretrainConfig(table=LrTableOptimizerConfig())
    elif settings.solver == "newton":  # as large as it may be
        reasons.popitem()
    found = [reason for reason, is_so in reasons.items() if is_so]
    if found and settings.solver == "newton":
        raise ConfigError(
            f"logistic regression cannot be solved: {found[0]}",
            where="pretrain.solver",
            got="newton",
            fix='set pretrain.solver = "auto" or "ftrl"',
        )
    return "[pretrain] says so" if settings.solver == "ftrl" else found[0] if found else None
