"""Which bags a model gets, and their collection from the training rows (`nn.cooccurrence`).

An *entity* is a field that stands for a thing with properties of its own, such as a user with an age: it has 256 values
or more, determines another field, and no other field determines it. Where a log has two entities, whoever meets the one
has a bag of the other. Fields that say nothing of each other, or only few values each, have no entity among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from fieldwise.data.cache import Cache
from fieldwise.errors import ConfigError, did_you_mean
from fieldwise.kernels.cooccurrence import Cooccurrence, Uint32s, collect
from fieldwise.kernels.layout import SINGLE
from fieldwise.models.config import ModelConfig
from fieldwise.training.dependence import Determined

__all__ = ["cooccurrence_fields", "find_cooccurrence"]

_MIN_VALUES = 256
_MOST_EXAMPLES = 1 << 26
"""Beyond it nothing is collected unasked: 8 bytes for each pair that occurs, several times over."""
_CHUNK_EXAMPLES = 1 << 18


def find_cooccurrence(
    config: ModelConfig, train: Cache, names: Sequence[str], determined: Sequence[Determined]
) -> list[Cooccurrence]:
    """Return the bags of a model, as its configuration says (`cooccurrence_fields`); the training rows are read once
    for each.
    """
    sizes = np.diff(train.layout.base).tolist()
    return [
        Cooccurrence(key, value, *collect(_ids(train, key, value), sizes[key], config.cooccurrence_limit))
        for key, value in cooccurrence_fields(config, train, names, determined)
    ]


def cooccurrence_fields(
    config: ModelConfig, train: Cache, names: Sequence[str], determined: Sequence[Determined]
) -> list[tuple[int, int]]:
    """Return whose bags a model has and what is in them, as numbers of fields; none where it has no interactions.

    Parameters
    ----------
    config
        Of the model.
    train
        The training rows.
    names
        Of the log's fields, in order.
    determined
        Which fields determine which others (`training.dependence`).

    Raises
    ------
    ConfigError
        A field that is named does not exist, or has no values to make a bag of.
    """
    if not config.has_interactions(len(names)) or config.cooccurrence == "none":
        return []
    if isinstance(config.cooccurrence, str):
        return _between_entities(train, determined)
    return [(_number(train, names, key), _number(train, names, value)) for key, value in config.cooccurrence]


def _between_entities(train: Cache, determined: Sequence[Determined]) -> list[tuple[int, int]]:
    layout, sizes = train.layout, np.diff(train.layout.base)
    if train.num_examples > _MOST_EXAMPLES:
        return []
    having = {pair.by for pair in determined} - {pair.field for pair in determined}
    entities = [f for f in sorted(having) if layout.form[f] == SINGLE and sizes[f] >= _MIN_VALUES]
    if len(entities) != 2:
        return []
    one, other = entities
    return [(one, other), (other, one)]


def _number(train: Cache, names: Sequence[str], name: str) -> int:
    if name not in names:
        raise ConfigError("there is no such field", where="model.cooccurrence", got=name, fix=did_you_mean(name, names))
    number = names.index(name)
    if train.layout.form[number] != SINGLE:
        raise ConfigError(
            "a bag is made of two fields with one value each",
            where="model.cooccurrence",
            expected="categories, crosses, or numbers with bins",
            got=name,
        )
    return number


def _ids(train: Cache, key: int, value: int) -> Iterator[tuple[Uint32s, Uint32s]]:
    """Yield the ids of two fields in all training rows."""
    layout = train.layout
    for first in range(0, train.num_examples, _CHUNK_EXAMPLES):
        batch = train.gather(np.arange(first, min(first + _CHUNK_EXAMPLES, train.num_examples))).batch
        yield batch.ids[layout.single[key]], batch.ids[layout.single[value]]
