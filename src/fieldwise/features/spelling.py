r"""The canonical texts of values that are looked at once, by Arrow's expressions: the rules of `features.canonical`.

A log's values go through kernels, which take some nanoseconds for each, and as much of a second to compile as a million
values to spell. What `init` looks at, or a configuration names, is spelled here, some hundred nanoseconds each.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from fieldwise.features.canonical import as_text, canonical, plain

__all__ = ["spelled"]

_DATE, _CLOCK = "[0-9]{4}-[0-9]{2}-[0-9]{2}", "[0-9]{2}:[0-9]{2}:[0-9]{2}"
_UTC = r"(?:Z|\+[0:]{2}|\+[0:]{4}|\+[0:]{2}:[0:]{2})?"
_MISSING = "nan|NaN|"
_WORD = "[tT][rR][uU][eE]|[fF][aA][lL][sS][eE]"
_WHOLE = r"(-?[1-9][0-9]*|0)\.0+"
_ZERO = r"-0(?:\.0+)?"
_EXPONENT = r"-?[1-9](?:\.[0-9]+)?e\+[0-9][0-9]"
_TIME = rf"({_DATE})[ T]({_CLOCK})(?:(\.[0-9]*[1-9])0*|\.0+)?{_UTC}"
_MAY_CHANGE = f"^(?:{'|'.join((_MISSING, _WORD, _WHOLE, _ZERO, _EXPONENT, _TIME))})$"


def spelled(array: pa.Array) -> pa.Array:
    """Return the canonical text of every value, null for a missing one, as `canonical` does, without a kernel.

    Returns
    -------
    An array of strings or large strings.

    Examples
    --------
    >>> spelled(pa.array(["5.0", "05", "-0", "TRUE", "", "2026-11-08T00:00:00Z"])).to_pylist()
    ['5', '05', '0', 'true', None, '2026-11-08']
    """
    text = as_text(plain(array))
    may_change = pc.match_substring_regex(text, _MAY_CHANGE)
    if not pc.any(may_change).as_py():
        return text
    found = text.filter(may_change)
    found = pc.if_else(pc.match_substring_regex(found, f"^(?:{_MISSING})$"), pa.scalar(None, text.type), found)
    found = pc.if_else(pc.match_substring_regex(found, f"^(?:{_WORD})$"), pc.ascii_lower(found), found)
    found = pc.replace_substring_regex(found, f"^{_WHOLE}$", r"\1")
    found = pc.replace_substring_regex(found, f"^{_ZERO}$", "0")
    found = pc.replace_substring_regex(found, f"^{_TIME}$", r"\1 \2\3")
    found = pc.replace_substring_regex(found, f"^({_DATE}) 00:00:00$", r"\1")
    exponent = pc.match_substring_regex(found, f"^{_EXPONENT}$")
    if pc.any(exponent).as_py():  # Arrow cannot move a point
        found = pc.if_else(exponent, canonical(found).cast(text.type), found)
    return pc.replace_with_mask(text, may_change, found)
