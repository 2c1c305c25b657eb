"""What the name of a column says about its values."""

from __future__ import annotations

import re

__all__ = ["is_code", "is_position", "is_row_id", "is_time", "label_rank", "words"]


def _set_of(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CODES = _set_of(
    "id ids uid pid cid code codes hash key uuid guid zip zipcode postcode sku asin isbn ip phone version "
    "user visitor member customer item product ad advertiser campaign creative banner publisher site app domain page "
    "query category cat subcategory brand type kind class channel region city country state segment cluster model "
    "device carrier browser store shop year month weekday dow hour"
)
_QUANTITIES = _set_of("num number count nb total sum avg mean min max days")
_NO_IDS = _set_of("bid paid prepaid unpaid grid mid valid invalid void")
_POSITIONS = _set_of("position pos rank slot placement")
_TIMES = _set_of("time timestamp ts date datetime day hour dt utc epoch created updated month")
_ROW_IDS = _set_of("id rowid row index idx rownumber impressionid requestid eventid recordid exampleid uuid guid")
_LABELS = ("click", "clicked", "isclick", "label", "target", "y")
_LABEL_WORDS = _set_of(
    "click clicked label target conversion converted purchase purchased bought buy install installed like liked "
    "response responded churn churned"
)


def words(name: str) -> list[str]:
    """Return the words of a name in lower case, without numbers and without what stands after a colon.

    Examples
    --------
    >>> words("siteCategory_ID"), words("hours-per-week"), words("item_id:token")
    (['site', 'category', 'id'], ['hours', 'per', 'week'], ['item', 'id'])
    """
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", name.partition(":")[0] or name)
    return re.findall(r"[^\W\d_]+", spaced.lower())


def is_code(name: str) -> bool:
    """Whether numbers under this name stand for things: user_id, zip, C14 (as Criteo and Avazu name categories).

    Examples
    --------
    >>> [name for name in ("movieId", "bid", "C14", "num_page", "item_price", "device_type") if is_code(name)]
    ['movieId', 'C14', 'device_type']
    """
    if re.fullmatch(r"[cC]\d+", name):
        return True
    found = words(name)
    if not found or found[0] in _QUANTITIES:
        return False
    last = found[-1]
    return last in _CODES or (last.endswith("id") and last not in _NO_IDS)


def is_time(name: str) -> bool:
    """Whether numbers under this name may be points in time.

    Examples
    --------
    >>> [name for name in ("timestamp", "shown_at", "createdAt", "at_bats", "price") if is_time(name)]
    ['timestamp', 'shown_at', 'createdAt']
    """
    found = words(name)
    return not _TIMES.isdisjoint(found) or found[-1:] == ["at"]


def is_position(name: str) -> bool:
    """Whether this is a usual name for the place where something was shown, which is known once it was shown.

    Examples
    --------
    >>> [name for name in ("position", "banner_pos", "slot2", "rank_score") if is_position(name)]
    ['position', 'banner_pos', 'slot2']
    """
    return not _POSITIONS.isdisjoint(words(name)[-1:])


def is_row_id(name: str) -> bool:
    """Whether this is a usual name for the identifier of a row."""
    return "".join(words(name)) in _ROW_IDS


def label_rank(name: str) -> int | None:
    """How much a name sounds like a label, 0 the most; None where it does not.

    Examples
    --------
    >>> [label_rank(name) for name in ("Click", "is_click", "user_clicked", "num_clicks", "age")]
    [0, 2, 6, None, None]
    """
    found = words(name)
    joined = "".join(found)
    if joined in _LABELS:
        return _LABELS.index(joined)
    if not found or found[0] in _QUANTITIES or is_time(name):
        return None
    return None if _LABEL_WORDS.isdisjoint((found[0], found[-1])) or is_code(name) else len(_LABELS)
