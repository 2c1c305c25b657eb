r"""One column's meaning, guessed from its name and the values in the sample.

The first rule that fits decides.

===============================================  ===============  ======================================================
the values                                       are              because
===============================================  ===============  ======================================================
lists, maps; lists of (value, weight)            a bag            they are several values in one cell
lists of fractions, all of one length            a vector         embeddings and the like
other lists of fractions, structs, times of day  left out         no value of them occurs again, or it has no text
none, in every row                               left out         there is nothing to learn from
train, valid, test                               left out         they say which part a row belongs to (``split``)
timestamps, dates; 2026110809; by name only,     two times        no later example has them again, but their hour and
14102109 and seconds since 1970                                   weekday; left out where it is not known how they are
                                                                  written, or where there is but one date
one and the same in every row                    left out         it cannot tell one example from another
distinct in 1,000 rows or more, and counting,    left out         they name the row (``id``); training would learn them
UUIDs or hashes, or named id                                      by heart
booleans, dictionaries                           a category       whoever wrote the type said so
numbers with fractions; texts such as 1,234.50,  bins             quantile bins fit any scale, and missing ones have a
3,14 or $5 (`number_styles.find_style`)                           feature of their own
whole numbers named as codes (id, zip, C14),     a category       5 is not between 4 and 6 in any sense that matters
with leading zeros, above 2^53, or of one
length from 6 digits on
other whole numbers: 50 or fewer, 4 rows each    a category       each has enough rows for a weight of its own
other whole numbers                              bins             near ones behave alike, and most are rare
these, and codes by their length alone, where    as it says       both readings are tried on rows held out
the label tells (`evidence.weigh`)                                (`by_label`); they may be both
lists as text (`bags.find_lists`)                a bag            ``["a", "b"]``; objects of JSON are left out
texts with a separator (`bags.find_bag`)         a bag            its values recur, the cells do not
long texts that hardly recur                     left out         as categories they would only fill the vocabulary
other texts, hashes and numbers with texts       a category
===============================================  ===============  ======================================================

Texts that mean missing (`features.missing`) are passed over: ``NULL`` and ``\N``, and ``NA``, ``-`` and their like too
where all other values are numbers or times.

A category or bag has `min_count` 2 where it has more than 10,000 values in the sample, or more than 1,000 of which most
occur once; else 1.

Tried and not used: calling a number a code where neighbouring values differ in how often they occur. The correlation of
the two, 0.96 for people's ages, is -0.08 for their capital gains and 0.70 for the numbers of films. It decides how many
bins a number gets (`features.sketch`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fieldwise.counted import counted
from fieldwise.data.split import SPELLINGS
from fieldwise.errors import DataError
from fieldwise.features.canonical import is_list
from fieldwise.features.missing import IN_NUMBERS, IN_TEXTS
from fieldwise.features.numerals import respelled
from fieldwise.features.parse import parse_text
from fieldwise.profile.infer.evidence import weigh
from fieldwise.profile.infer.meaning import Guess
from fieldwise.profile.infer.names import is_code, is_row_id
from fieldwise.profile.infer.number_styles import find_style, may_be_numbers
from fieldwise.profile.infer.several import guess_lists, guess_texts
from fieldwise.profile.infer.times import Times, find_times
from fieldwise.profile.infer.values import Float64s, Values

__all__ = ["by_label", "guess_column"]

_FEW = 50
_FEW_EACH = 4
_MANY_ROWS = 1_000
_LONG_TEXT = 40
_STRAY_SHARE = 0.1
_CODE_DIGITS = 6
_MAX_EXACT = 2.0**53

_UUID = "^[{]?[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}[}]?$"
_HASH = "^(0x)?[0-9a-fA-F]{6,}$"
_LONG_HASH = "^(0x)?[0-9a-fA-F]{16,}$"
_LEADING_ZERO = "^[+-]?0[0-9]"
_GROUPED = r"^[+-]?[1-9][0-9]{0,2}([.][0-9]{3})+$"
_FEW_GROUPED = 10


def by_label(guess: Guess, column: pa.Array, label: npt.NDArray[np.int8] | None) -> Guess:
    """Decide from the label whether whole numbers are quantities or codes (`evidence.weigh`), if it is ambiguous.

    Parameters
    ----------
    guess
        The guess from the column alone.
    column, label
        (B,); see `evidence.weigh`. Without a binary label the guess is returned unchanged.
    """
    if not guess.is_open or label is None:
        return guess
    found = weigh(column, label)
    if not found.has_identity and not found.has_order:
        return guess
    named = guess.reason.partition(";")[0]
    if found.is_of_frequent:
        least = found.most_rows + 1
        why = f"these alone say more than their order ({found.identity:.0f} sd)"
        reason = f"{named}; number, and category of values of {least} rows or more: {why}"
        return guess._replace(type="category", is_both=True, min_count=least, reason=reason)
    if found.has_identity and found.has_order:
        why = f"the label depends on the values ({found.identity:.0f} sd) and on their order ({found.order:.0f} sd)"
        return guess._replace(type="category", is_both=True, reason=f"{named}; category and number: {why}")
    if found.has_identity:
        why = f"codes: the label depends on the values, not on their order ({found.identity:.0f} sd)"
        return guess._replace(type="category", reason=f"{named}; {why}")
    why = f"a quantity: the label depends only on their order ({found.order:.0f} sd)"
    return guess._replace(type="number", min_count=1, reason=f"{named}; {why}")


def guess_column(name: str, array: pa.Array, missing: tuple[str, ...] | None = None) -> Guess:
    """Infer the meaning of a column from its name and its values.

    Parameters
    ----------
    name, array
        The name, and the values in the sample.
    missing
        Texts that mean missing; by default the usual ones (`features.missing`).

    Examples
    --------
    >>> guess_column("genre", pa.array(["Drama", "Comedy|Drama", "Comedy"])).type
    'bag'
    >>> guess_column("price", pa.array(["1.5", "20", "3.25"]))[:2]
    ('numbers with fractions, 1.5 to 20', 'number')
    """
    if not name:
        return Guess("no name", left_out=True)
    kind = array.type
    if is_list(kind) or pa.types.is_map(kind):
        markers = IN_TEXTS if missing is None else missing
        return guess_lists(array, markers)._replace(missing=markers)
    try:
        values = Values(array)
    except DataError:
        return Guess(f"unsupported type {kind}", left_out=True)
    values, markers, dropped = _without_missing(name, kind, values, missing)
    for rule in (_no_category, _marked_category, _number, guess_texts, _text):
        guess = rule(name, kind, values)
        if guess is not None:
            return guess._replace(
                reason=f"{guess.reason}; missing where {dropped}" if dropped else guess.reason,
                min_count=guess.min_count if guess.type == "bag" else values.min_count,
                missing=markers,
            )
    raise AssertionError("the last rule always matches")


def _without_missing(
    name: str, kind: pa.DataType, values: Values, missing: tuple[str, ...] | None
) -> tuple[Values, tuple[str, ...], str]:
    """Return the remaining values, the texts that mean missing in the column, and those of them that occur."""
    of_numbers = IN_NUMBERS if missing is None else missing
    rest = values.without(of_numbers, of_numbers=True)
    markers = IN_TEXTS if missing is None else missing
    if rest.numbers is not None or (
        rest.num_present and (find_style(rest) is not None or find_times(name, kind, rest) is not None)
    ):
        markers = of_numbers
    else:
        rest = values.without(markers, of_numbers=False)
    if rest is values:
        return rest, markers, ""
    gone = values.texts.filter(pc.invert(pc.is_in(values.texts, value_set=rest.texts)))
    shown = [f"'{text[:40]}'" for text in gone.to_pylist()]
    return rest, markers, ", ".join(shown[:3]) + (", ..." if len(shown) > 3 else "")


def _no_category(name: str, kind: pa.DataType, values: Values) -> Guess | None:
    """Columns that do not help on new examples as they are: constants, identifiers, splits and times."""
    if not values.num_present:
        return Guess("no value in any row", left_out=True)
    names = [SPELLINGS.get(text.strip().lower()) for text in values.texts.slice(0, _FEW).to_pylist()]
    if "train" in names and None not in names:
        return Guess("train, valid or test", left_out=True, role="split")
    times = find_times(name, kind, values)
    if times is not None and times.parts:
        reason = f"{'points in time' if 'hour' in times.parts else 'dates'} such as {values.example()}"
        return Guess(reason, type="time", parts=times.parts, format=times.format, role="time")
    if times is not None and values.num_distinct > 1:
        return Guess(_why_no_times(times, values), left_out=True, role="time")
    if values.num_distinct == 1 and not values.num_missing:
        return Guess(f"the same in every row: {values.example()}", left_out=True)
    if _is_identifier(name, values):
        return Guess("a different value in every row: a row identifier", left_out=True, role="id")
    return None


def _why_no_times(times: Times, values: Values) -> str:
    if times.formats:
        how = f"times such as {values.example()}, in the format {' or '.join(times.formats[:3])}"
    else:
        how = f"looks like times such as {values.example()}, in an unknown format"
    return f'{how}: specify it, e.g. type = "time", part = "hour", format = "%d/%m/%Y %H:%M"'


def _is_identifier(name: str, values: Values) -> bool:
    if values.num_missing or values.num_distinct < max(values.num_present, _MANY_ROWS):
        return False
    whole = values.whole_numbers
    if whole is not None:  # in the order of the rows, because all are distinct
        counting = whole.max() - whole.min() + 1 == len(whole) or bool((np.diff(whole) > 0).all())
        return counting or is_row_id(name) or values.all_match(_LONG_HASH)
    return values.numbers is None and (is_row_id(name) or values.all_match(_UUID) or values.all_match(_LONG_HASH))


def _marked_category(name: str, kind: pa.DataType, values: Values) -> Guess | None:
    if pa.types.is_boolean(kind):
        return Guess("true or false")
    return Guess(_many(values)) if pa.types.is_dictionary(kind) else None


def _number(name: str, kind: pa.DataType, values: Values) -> Guess | None:
    numbers, whole = values.numbers, values.whole_numbers
    if numbers is None:
        return _written_number(name, values)
    span = f"{numbers.min():.12g} to {numbers.max():.12g}"
    if whole is None:
        if values.any_matches(_LEADING_ZERO):
            return Guess(f"{_many(values)}; codes, judging by leading zeros")
        if is_code(name) and values.num_distinct <= _FEW:  # versions
            return Guess(f"{_many(values)}; codes, judging by the name")
        return Guess(f"numbers with fractions, {span}{_if_thousands(values)}", type="number")
    if code := _why_code(name, values, whole):
        return Guess(f"{_many(values)}; {code}", is_open=code.startswith("codes of"))
    if values.num_distinct <= _FEW and values.num_distinct * _FEW_EACH <= values.num_present:
        return Guess(f"{values.num_distinct:,} whole numbers, {span}")
    return Guess(f"{values.num_distinct:,} whole numbers, {span}", type="number", is_open=True)


def _written_number(name: str, values: Values) -> Guess | None:
    style = None if is_code(name) else find_style(values)
    if style is None:
        return None
    numbers, bad = parse_text(respelled(values.texts, style))
    if bad.any():  # 1e400
        return None
    reason = f"numbers such as {values.example()}, {numbers.min():.12g} to {numbers.max():.12g}"
    return Guess(reason, type="number", decimal=style.decimal, symbol=style.symbol)


def _if_thousands(values: Values) -> str:
    """Return a hint that points may separate thousands, if each is followed by three digits."""
    with_points = pc.match_substring(values.texts, ".")
    grouped = pc.match_substring_regex(values.texts, _GROUPED)
    if pc.sum(with_points).as_py() >= _FEW_GROUPED and pc.all(pc.equal(with_points, grouped)).as_py():
        return '; if points separate thousands, set decimal = ","'
    return ""


def _why_code(name: str, values: Values, whole: Float64s) -> str | None:
    if is_code(name):
        return "codes, judging by the name"
    if values.any_matches(_LEADING_ZERO):
        return "codes, judging by leading zeros"
    if float(np.abs(whole).max()) > _MAX_EXACT:
        return "too large to be quantities"
    lengths = pc.utf8_length(values.texts).to_numpy(zero_copy_only=False)
    if lengths.max() >= _CODE_DIGITS and np.mean(lengths == lengths.max()) >= 0.85:
        return f"codes of {lengths.max()} digits"
    return None


def _text(name: str, kind: pa.DataType, values: Values) -> Guess:
    if (
        values.num_present >= _MANY_ROWS
        and 5 * values.num_distinct > 4 * values.num_present
        and float(pc.mean(pc.utf8_length(values.texts)).as_py()) >= _LONG_TEXT
    ):
        return Guess("long texts that rarely recur", left_out=True)
    if values.all_match(_HASH):
        return Guess(f"{_many(values)}, hashes")
    if may_be_numbers(values):
        say = 'type = "number" and decimal = "," or "."'
        return Guess(f"{_many(values)}, possibly numbers such as {values.example()}; if so, set {say}")
    _, bad = parse_text(values.texts)
    if values.counts[bad].sum() < _STRAY_SHARE * values.num_present:
        stray = values.texts[int(np.flatnonzero(bad)[0])].as_py()
        return Guess(f"{_many(values)}, numbers except for texts such as {stray[:40]!r}")
    return Guess(_many(values))


def _many(values: Values) -> str:
    what = counted(values.num_distinct, "value")
    return f"{what} in {counted(values.num_present, 'row')}"
