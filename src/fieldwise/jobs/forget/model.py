"""A bundle, and the state of training that belongs to it, without the features of values that were forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldwise.bundle import Bundle, block_rows, rewrite_bundle
from fieldwise.features.forgetting import Forgotten
from fieldwise.io.arrays import Pieces
from fieldwise.io.files import discard, explaining, sync_folder
from fieldwise.kernels.cooccurrence import Cooccurrence
from fieldwise.kernels.layout import Layout
from fieldwise.training.checkpoint import Checkpoints, read_checkpoint
from fieldwise.training.renewed_rows import RenewedField, renewed_bags

__all__ = ["end_renames", "forget_in_bundle", "forget_in_state"]

Arrays = Mapping[str, npt.NDArray[Any]]

_BAGS, _MODEL = "cooccurrence.", "model."
_RARE = "rare_keys", "rare_counts", "rare_days"
_NEW, _OLD = ".new", ".old"


def forget_in_bundle(folder: Path, bundle: Bundle, gone: Forgotten) -> None:
    """Rewrite a bundle without vocabulary entries, rows and members of co-occurrence bags."""
    layout = bundle.encoder.layout
    rows = _rows(layout, gone, Cooccurrence.saved(bundle.dense, _BAGS))
    dense = {**bundle.dense, **_without_bags(bundle.dense, _BAGS, layout, gone)}
    posterior = bundle.posterior()
    if posterior is not None:
        variance = posterior["variance"].copy()
        variance[rows[rows < len(variance)]] = 0.0
        posterior = {**posterior, "variance": variance}
    rewrite_bundle(folder, gone.encoder, _zeroed(bundle.table, rows), dense, posterior)


def forget_in_state(folder: Path, bundle: Bundle, gone: Forgotten) -> bool:
    """Rewrite the state that belongs to a bundle: rows with their optimizer's state, bags, and rare values; return
    whether there was anything to forget.
    """
    checkpoint, layout = read_checkpoint(folder), bundle.encoder.layout
    rows = _rows(layout, gone, Cooccurrence.saved(bundle.dense, _BAGS))
    dense = {**checkpoint.dense, **_without_bags(checkpoint.dense, f"{_MODEL}{_BAGS}", layout, gone)}
    rare = _without_rare(checkpoint.dense, gone)
    if not len(rows) and all(len(array) == len(checkpoint.dense[name]) for name, array in rare.items()):
        return False
    dense |= rare
    new = folder.with_name(f".{folder.name}{_NEW}")
    discard(new)
    Checkpoints(new).save(int(folder.name), _zeroed(checkpoint.table, rows), dense, checkpoint.state)
    with explaining(folder):
        folder.rename(folder.with_name(f".{folder.name}{_OLD}"))
    end_renames(folder.parent)
    return True


def end_renames(states: Path) -> None:
    """Give states that were rewritten their names: a new one is whole where the old one has lost its name."""
    for old in states.glob(f".*{_OLD}"):
        name = old.name.removeprefix(".").removesuffix(_OLD)
        new = states / f".{name}{_NEW}" / name
        with explaining(states):
            if not (states / name).exists() and new.exists():
                new.rename(states / name)
                sync_folder(states)
        discard(old)
    for new in states.glob(f".*{_NEW}"):
        discard(new)


def _rows(layout: Layout, gone: Forgotten, bags: list[Cooccurrence]) -> npt.NDArray[np.int64]:
    """Return the rows of a model's table that belong to forgotten features, those of bags behind all others."""
    numbers = {name: number for number, name in enumerate(gone.encoder.fields)}
    found = [layout.base[numbers[name]] + ids for name, ids in gone.ids.items()]
    end = int(layout.base[-1])
    for bag in bags:
        found += [end + ids for name, ids in gone.ids.items() if numbers[name] == bag.value]
        end += int(layout.base[bag.value + 1] - layout.base[bag.value])
    return np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *found]))


def _zeroed(table: npt.NDArray[Any], rows: npt.NDArray[np.int64]) -> Pieces:
    """Return a table with zeros in some rows, a block at a time."""
    block = block_rows(table.shape[1] * table.itemsize)

    def parts() -> Iterator[npt.NDArray[Any]]:
        for first in range(0, len(table), block):
            part = np.array(table[first : first + block])
            part[rows[(rows >= first) & (rows < first + block)] - first] = 0
            yield part

    return Pieces(table.dtype, table.shape, parts())


def _without_bags(arrays: Arrays, prefix: str, layout: Layout, gone: Forgotten) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of co-occurrence bags without bags of forgotten values, and without them in others' bags."""
    bags = Cooccurrence.saved(arrays, prefix)
    nothing = np.zeros(0, dtype=np.int64)
    left = {
        number: RenewedField(nothing, gone.ids[name], False)
        for number, name in enumerate(gone.encoder.fields)
        if name in gone.ids
    }
    found: dict[str, npt.NDArray[Any]] = {}
    for number, bag in enumerate(renewed_bags(bags, layout, left)):
        name = f"{prefix}{number}_"
        found |= {f"{name}offsets": bag.offsets, f"{name}ids": bag.ids.view(arrays[f"{name}ids"].dtype)}
    return found


def _without_rare(arrays: Arrays, gone: Forgotten) -> dict[str, npt.NDArray[Any]]:
    """Return what is remembered of values without an id, without those that are forgotten; of crosses nothing, for what
    they are crosses of is not known.
    """
    found: dict[str, npt.NDArray[Any]] = {}
    for name in (key.removesuffix(_RARE[0]) for key in arrays if key.endswith(f".{_RARE[0]}")):
        field = next((field for field in gone.ids if name.endswith(f".{field}.")), None)
        if field is not None:
            is_cross = gone.encoder.schema.fields[list(gone.encoder.fields).index(field)].type == "cross"
            keys = arrays[f"{name}{_RARE[0]}"]
            kept = np.zeros(len(keys), np.bool_) if is_cross else ~np.isin(keys, gone.keys[field])
            found |= {f"{name}{key}": arrays[f"{name}{key}"][kept] for key in _RARE}
    return found
