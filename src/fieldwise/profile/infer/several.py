"""Columns whose cells hold several values: lists and maps, texts that are lists, texts with a separator.

Lists of fractions that all have one length are vectors, embeddings and the like, whether their numbers are floats,
decimals or texts; without brackets they have three numbers or more, for two are places on a map or ranges. Other lists
of fractions have no value that occurs again. All others are bags.
"""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fieldwise.counted import counted
from fieldwise.errors import DataError
from fieldwise.features.bags import is_pair, split_pairs, weigh
from fieldwise.features.lists import split_lists
from fieldwise.features.missing import IN_NUMBERS
from fieldwise.features.parse import parse_text
from fieldwise.profile.infer.bags import find_bag, find_lists, is_objects, is_printed
from fieldwise.profile.infer.meaning import Guess
from fieldwise.profile.infer.values import Values
from fieldwise.schema.field import LONGEST_VECTOR

__all__ = ["guess_lists", "guess_texts"]

_SEPARATORS = ("|", ";", ",", " ")
_NO_VECTOR = "lists of fractions of different lengths: not a vector, and the values do not recur"


def guess_lists(array: pa.Array, missing: tuple[str, ...]) -> Guess:
    """Return what lists or maps are: a vector, or a bag of values that may have weights."""
    if pa.types.is_map(array.type):
        array = array.cast(pa.list_(pa.struct([("value", array.type.key_type), ("weight", array.type.item_type)])))
    numbers = _numbers_of(array)
    if numbers is not None and (guess := _guess_vector(numbers)) is not None:
        return guess
    values, weights, num_unweighted = pc.list_flatten(array), None, 0
    if is_pair(values.type):
        weights = split_pairs(values)[1]
        if not _is_number(weights.type):
            return Guess(f"weights of type {weights.type} are not numbers", type="bag", left_out=True)
        values, _, bad = weigh(values, missing)
        num_unweighted = len(pc.unique(pc.list_parent_indices(array).filter(pa.array(bad))))
    try:
        found = Values(values).without(missing, of_numbers=False)
    except DataError:
        return Guess(f"lists of unsupported type {values.type}", type="bag", left_out=True)
    guess = Guess(
        f"lists of {counted(found.num_present, 'value')}, {found.num_distinct:,} of them distinct",
        type="bag",
        weighted=weights is not None,
        min_count=found.min_count,
    )
    if not found.num_present:
        return guess._replace(left_out=True, reason="no value in any row")
    if numbers is not None and _has_fractions(numbers):
        return guess._replace(left_out=True, reason=_NO_VECTOR)
    lengths = pc.list_value_length(array).fill_null(0)
    if found.num_distinct == 1 and not found.num_missing and len(pc.unique(lengths)) == 1:
        return guess._replace(left_out=True, reason=f"the same in every row: {found.example()}")
    return _if_weighted(guess, num_unweighted)


def _if_weighted(guess: Guess, num_unweighted: int) -> Guess:
    """Leave out a bag of which some cells have values without a weight, for they would be rejected as they are."""
    if not num_unweighted:
        return guess
    found = f"{guess.reason}, {counted(num_unweighted, 'row')} with a weight that is no finite number"
    return guess._replace(left_out=True, reason=f'{found}: type = "bag" takes the column, and rejects such rows')


def _numbers_of(lists: pa.Array) -> pa.Array | None:
    """Return lists of numbers as lists of floats; None for lists of anything else, integers among them."""
    kind = lists.type.value_type
    if pa.types.is_floating(kind):
        return lists
    items = pc.list_flatten(lists)
    if pa.types.is_decimal(kind):
        items = items.cast(pa.float64())
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        parsed, bad = parse_text(items, IN_NUMBERS)
        if bad.any():
            return None
        items = pa.array(parsed)
    else:
        return None
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
    return pa.LargeListArray.from_arrays(pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int64()), items)


def _guess_vector(array: pa.Array) -> Guess | None:
    """Return the guess for lists of floats that all have one length, 2 or more; None unless some are fractions, or the
    type has the length.
    """
    lengths = np.unique(pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False))
    lengths = lengths[lengths > 0]
    if len(lengths) != 1 or lengths[0] < 2:
        return None
    if lengths[0] > LONGEST_VECTOR:
        reason = f"vectors of {lengths[0]:,} numbers, which are more than the {LONGEST_VECTOR:,} of a field"
        return Guess(reason, type="vector", left_out=True)
    if not pa.types.is_fixed_size_list(array.type) and not _has_fractions(array):
        return None
    numbers = pc.list_flatten(array).to_numpy(zero_copy_only=False).reshape(-1, lengths[0])
    guess = Guess(f"vectors of {lengths[0]:,} numbers", type="vector", length=int(lengths[0]))
    if len(numbers) == len(array) and (numbers == numbers[0]).all():
        return guess._replace(left_out=True, reason=f"the same vector of {lengths[0]:,} numbers in every row")
    with np.errstate(over="ignore"):
        beyond = int(np.isinf(numbers.astype(np.float32)).any(axis=1).sum())
    if beyond:
        found = f"{guess.reason}, {beyond:,} with inf or a number beyond float32"
        return guess._replace(left_out=True, reason=f'{found}: type = "vector" takes the column, and rejects such rows')
    return guess


def _has_fractions(lists: pa.Array) -> bool:
    numbers = pc.list_flatten(lists).to_numpy(zero_copy_only=False)
    known = numbers[np.isfinite(numbers)]
    return bool((known != np.rint(known)).any())


def guess_texts(name: str, kind: pa.DataType, values: Values) -> Guess | None:
    """Return what texts are that hold several values: a vector, or a bag; None where they hold one."""
    # A column that libffm makes of a field: cells of one value and its weight need no separator.
    if re.fullmatch("field_[0-9]+", name) and values.all_match("^[0-9]+:[^:|]+([|][0-9]+:[^:|]+)*$"):
        return Guess("values with weights", type="bag", separator="|", weighted=True, min_count=values.min_count)
    if is_objects(values):
        return Guess("looks like JSON objects: extract their values into columns", left_out=True)
    if is_printed(values):
        return Guess(
            f"arrays as Python prints them, such as {values.example()}: write x.tolist() instead", left_out=True
        )
    bag = find_lists(values)
    if bag is not None and bag.values.numbers is not None and bag.values.whole_numbers is None:
        vector = _written_vector(values, bag.separator, brackets=True)
        return vector or Guess(_NO_VECTOR, type="bag", left_out=True)
    for separator in _SEPARATORS if bag is None else ():
        places = pc.unique(pc.count_substring(values.texts, separator))
        if len(places) == 1 and places[0].as_py() > 1:
            vector = _written_vector(values, separator, brackets=False)
            if vector is not None:
                return vector
    bag = bag or find_bag(values)
    if bag is None:
        return None
    what = "lists" if bag.brackets else "cells"
    what += " of values with weights" if bag.weighted else " of values"
    guess = Guess(
        f"{what} such as {bag.values.example()}",
        type="bag",
        separator=bag.separator,
        brackets=bag.brackets,
        weighted=bag.weighted,
        min_count=bag.values.min_count,
    )
    return _if_weighted(guess, bag.num_unweighted)


def _written_vector(cells: Values, separator: str, *, brackets: bool) -> Guess | None:
    """Return the guess for cells of numbers between separators; None where some are no numbers or it is no vector."""
    lists = split_lists(cells.texts, separator) if brackets else pc.split_pattern(cells.texts, separator)
    numbers = _numbers_of(lists)
    guess = None if numbers is None else _guess_vector(numbers)
    return None if guess is None else guess._replace(separator=separator, brackets=brackets)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))
