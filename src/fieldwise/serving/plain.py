"""Plain JSON: raw rows as they stand in a log, and candidates to be ranked.

::

    {"rows": [{"user": "u7", "item": "i3"}, ...]}                     a dict for each row
    {"columns": {"user": ["u7", ...], "item": ["i3", ...]}}           a list for each column
    {"context": {"user": "u7"}, "candidates": [{"item": "i3"}, ...], "top": 20}

A cell is a text, a number, a boolean, null, a list (a bag), or a dict of weights (a weighted bag).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from fieldwise.serving.explain import Explanation
from fieldwise.serving.limits import Limits, too_many_rows
from fieldwise.serving.ranking import by_column
from fieldwise.serving.refusals import Refusal
from fieldwise.serving.rows import Reads, Rows
from fieldwise.serving.unreadable import Cell, Record, unreadable

__all__ = ["PlainRequest", "parse_plain", "write_explanation", "write_plain"]


class _Body(msgspec.Struct):
    rows: list[Record] | None = None
    columns: dict[str, list[Cell]] | None = None
    context: Record | None = None
    candidates: list[Record] | None = None
    top: Annotated[int, msgspec.Meta(ge=1)] | None = None
    id: str | None = None


class PlainRequest(NamedTuple):
    """What is asked.

    Attributes
    ----------
    rows
        The rows; for a ranking those of the candidates, each with the context.
    ranked
        Whether the candidates are to be ranked.
    top
        How many of them are asked for; None for all.
    id
        The identifier of the request, given by its client.
    """

    rows: Rows
    ranked: bool = False
    top: int | None = None
    id: str | None = None


_decode = msgspec.json.Decoder(_Body).decode
_encode = msgspec.json.Encoder().encode


def parse_plain(body: bytes, reads: Reads, limits: Limits) -> PlainRequest:
    """Return what a body asks.

    Raises
    ------
    Refusal
        It is no JSON, of another form, lacks a column, or is beyond a limit.

    Examples
    --------
    >>> from fieldwise.schema import Field, Schema
    >>> reads = Reads(Schema(fields=(Field(name="user", column="user"),), label="click"))
    >>> parse_plain(b'{"rows": [{"user": "u7"}, {"user": null}]}', reads, Limits()).rows.columns
    [('u7', None)]
    >>> parse_plain(b'{"rows": [{"usr": "u7"}]}', reads, Limits())
    Traceback (most recent call last):
    ...
    fieldwise.serving.refusals.Refusal: the rows lack column user: did you mean usr?
    """
    try:
        asked = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise unreadable(body, error) from None
    forms = [asked.rows is not None, asked.columns is not None, asked.candidates is not None]
    if sum(forms) != 1 or ((asked.context is not None or asked.top is not None) and asked.candidates is None):
        raise Refusal(400, 'expected one of {"rows": [...]}, {"columns": {...}} and {"context", "candidates"}')
    if asked.candidates is not None:
        rows = _records(asked.candidates, asked.context or {}, reads, limits)
        return PlainRequest(rows, True, asked.top, asked.id)
    if asked.columns is not None:
        return PlainRequest(_columns(asked.columns, reads, limits), id=asked.id)
    assert asked.rows is not None
    return PlainRequest(_records(asked.rows, {}, reads, limits), id=asked.id)


def _columns(columns: Mapping[str, Sequence[Any]], reads: Reads, limits: Limits) -> Rows:
    lengths = {len(cells) for cells in columns.values()}
    if len(lengths) > 1:
        found = ", ".join(f"{name} {len(cells)}" for name, cells in list(columns.items())[:10])
        raise Refusal(400, f"the columns do not have the same number of rows: {found}")
    return reads.rows(columns, lengths.pop() if lengths else 0, limits)


def _records(records: Sequence[Record], context: Record, reads: Reads, limits: Limits) -> Rows:
    """Return rows that are given one by one; they have the cells of the context, unless they have their own."""
    num_rows = len(records)
    too_many_rows(num_rows, limits)
    if not num_rows:
        return Rows([[] for _ in reads.names], 0)
    if not context:
        try:  # where every row has all columns, twice as fast
            cells = list(zip(*map(reads.cells_of, records), strict=True))
        except KeyError:
            pass
        else:
            ids = [record.get(reads.id) for record in records] if reads.id in records[0] else None
            return reads.checked(cells, num_rows, ids, limits)
    columns, shared = by_column(context, records, [*reads.taken])
    columns |= {name: [context[name]] * num_rows for name in shared}
    # A column that no row has is a mistake; one that some rows have is missing in the others.
    if any(name not in columns for name in reads.names):
        raise reads.lacking([*columns, *{**context, **records[0]}])
    rows = reads.rows(columns, num_rows, limits)
    return rows._replace(shared=shared.intersection(reads.names))


def write_plain(
    request: PlainRequest,
    model: str,
    version: str,
    outputs: Sequence[str],
    probabilities: npt.NDArray[np.floating[Any]],
) -> bytes:
    """Return the body of the answer: the probabilities in the order of the rows, or the candidates by probability.

    Raises
    ------
    Refusal
        Candidates cannot be ranked by more than one probability.

    Examples
    --------
    >>> request = PlainRequest(Rows([["a", "b"]], 2), ranked=True, top=1)
    >>> write_plain(request, "ctr", "7", (), np.array([0.25, 0.5]))
    b'{"model_name":"ctr","model_version":"7","candidates":[{"index":1,"probability":0.5}]}'
    """
    answer: dict[str, Any] = {"model_name": model, "model_version": version}
    if request.id is not None:
        answer["id"] = request.id
    if not request.ranked:
        answer["probability"] = probabilities.tolist()
        if probabilities.ndim == 2:
            answer["classes"] = list(outputs)
        return _encode(answer)
    if probabilities.ndim == 2:
        raise Refusal(400, f"candidates are ranked by one probability, not by {len(outputs)}: {', '.join(outputs)}")
    best = np.argsort(-probabilities, kind="stable")[: request.top]
    answer["candidates"] = [
        {"index": index, "probability": probability}
        for index, probability in zip(best.tolist(), probabilities[best].tolist(), strict=True)
    ]
    return _encode(answer)


def write_explanation(request: PlainRequest, model: str, version: str, explanation: Explanation) -> bytes:
    """Return the body of the answer: for each row the contributions of the fields, and of the base last."""
    answer: dict[str, Any] = {"model_name": model, "model_version": version}
    if request.id is not None:
        answer["id"] = request.id
    answer["fields"] = [*explanation.fields, "base"]
    answer["contributions"] = explanation.contributions.tolist()
    answer["logit"] = explanation.logits.tolist()
    answer["residual"] = explanation.residuals.tolist()
    return _encode(answer)
