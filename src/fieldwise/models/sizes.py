"""How many weights a model has, from its sizes alone: built without memory.

With D features, F fields, K units per field, hidden widths H1, H2, ... and O outputs, weights only (Chen et al. 2017,
Tables 2 and 3)::

    lr              D O
    dnn             D H1 + H1 H2 + ... + O
    lc-dnn          D K + F K H1 + H1 H2 + ... + O
    lc-wide-deep    lc-dnn + D O
    lc-resnet       D K + F K H1 + sum over blocks i of 2 H1 Hi + H1 O
    bayesian-fm     D (1 + factors)

``... + O`` is the last hidden width times O; cross layers have 2 (F K)^2 more. A stack has those of all members.
Co-occurrence bags are fields, too, among F and D. Biases are counted apart; standardisation has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fieldwise.errors import ConfigError
from fieldwise.kernels.layout import SINGLE, Layout
from fieldwise.models.config import ModelConfig

__all__ = ["Size", "count_parameters", "num_outputs"]


def num_outputs(num_classes: int) -> int:
    """Return O: one logit for two classes, one for each of more."""
    return 1 if num_classes == 2 else num_classes


class Size(NamedTuple):
    """The weights of a model, and its biases apart.

    Attributes
    ----------
    model
        Its kind.
    units
        K; None where no unit is locally connected.
    parameters, biases
        All weights, those of the table among them; biases and normalisation.
    row_weights, num_rows
        Of the table: n, the weights of a row; D, and the rows of co-occurrence bags.
    table_outputs
        The numbers that the table makes of an example.
    """

    model: str
    units: int | None
    parameters: int
    biases: int
    row_weights: int
    num_rows: int
    table_outputs: int

    @property
    def dense(self) -> int:
        """Numbers beside the table."""
        return self.parameters + self.biases - self.row_weights * self.num_rows


def count_parameters(
    config: ModelConfig, num_features: int, num_fields: int, num_outputs: int = 1, bags: Sequence[int] = ()
) -> Size:
    """Count the weights of a model.

    Parameters
    ----------
    config
        The model.
    num_features, num_fields
        D and F of the log, the ids for missing and unseen values among D.
    num_outputs
        O: 1 for two classes, the number of classes for more. Of a model of several labels it is their number.
    bags
        The rows of each co-occurrence bag that a model with interactions adds to the fields of the log.

    Raises
    ------
    ConfigError
        It cannot be built, or has a matrix larger than can be addressed.

    Examples
    --------
    The first row of the paper's Table 3:

    >>> paper = ModelConfig(kind="lc-dnn", units=1, hidden=(2048, 1024))
    >>> count_parameters(paper, 8_672_633, 158)
    Size(model='lc-dnn', units=1, parameters=11094393, biases=3074, row_weights=1, num_rows=8672633, table_outputs=158)
    """
    import torch

    from fieldwise.models.click import build_members
    from fieldwise.nn.deep import count_weights

    config = config.for_fields(num_fields)
    num_outputs = len(config.labels) or num_outputs
    if not config.has_interactions(num_fields):
        bags = ()
    num_rows = num_features + sum(bags)
    rows = [num_features - num_fields + 1, *[1] * (num_fields - 1), *bags]
    try:
        with torch.device("meta"):
            members = build_members(config, Layout.of([SINGLE] * len(rows), rows), num_outputs, len(bags))
    except RuntimeError as error:
        raise ConfigError(
            "the size of this model is unknown",
            where="model",
            expected="matrices that can be addressed, and no numbers asked for before there are any",
            got=error,
        ) from None
    num_local, num_full = (sum(getattr(each, n) for each in members.values()) for n in ("num_local", "num_full"))
    n = num_local + num_full
    counts = [count_weights(member) for member in members.values()]
    units = config.units if config.locally_connected else None
    parameters = num_rows * n + sum(weights for weights, _ in counts)
    biases = sum(biases for _, biases in counts)
    return Size(config.kind, units, parameters, biases, n, num_rows, len(rows) * num_local + num_full)
