"""The page of a run that learns from days; docs/report.md says what each figure means."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape

import msgspec

from fieldwise.counted import counted
from fieldwise.report.page import figures, note, page, section, table
from fieldwise.report.pictures import Series, chart

__all__ = ["DayLine", "FieldOfDay", "Followed", "UpdatesContent", "updates_page"]

_MARK = '<meta name="generator" content="fieldwise">'


class Followed(msgspec.Struct, frozen=True, kw_only=True):
    """The metrics that a model is followed by; None where they are undefined."""

    auc: float | None
    logloss: float | None
    normalized_entropy: float | None
    calibration: float | None


_NOTHING = Followed(auc=None, logloss=None, normalized_entropy=None, calibration=None)


class FieldOfDay(msgspec.Struct, frozen=True, kw_only=True):
    """A field on the last day: the shares of missing and unseen values, and how far its numbers have drifted."""

    name: str
    missing: float
    unseen: float
    psi: float | None = None
    mean: float | None = None
    std: float | None = None


class DayLine(msgspec.Struct, frozen=True, kw_only=True):
    """A day.

    Attributes
    ----------
    name
        The day, or its number.
    version, published
        What came of it; None where nothing was learned.
    progressive
        Of its rows, each predicted before it was learned from.
    new, old
        Of the rows that are held out, by the new version and by the one in use.
    rows, rejected
        Read, and those that could not be used.
    living, joined, left
        Features.
    unseen
        The largest share of unseen values of a field.
    notes
        Why it was refused, and what is unusual about it.
    """

    name: str
    version: int | None
    published: bool
    progressive: Followed | None
    new: Followed | None
    old: Followed | None
    rows: int
    rejected: int
    living: int
    joined: int
    left: int
    unseen: float
    notes: list[str] = []


class UpdatesContent(msgspec.Struct, frozen=True, kw_only=True):
    """Everything on the page: the days in order, and of the last one the hours (in UTC) and the fields."""

    title: str
    current: int
    days: list[DayLine]
    hours: dict[str, Followed] = {}
    fields: list[FieldOfDay] = []


def updates_page(content: UpdatesContent) -> str:
    """Return the page.

    Raises
    ------
    ModuleNotFoundError
        Matplotlib is not installed.
    """
    days = content.days
    held = [day for day in days if day.new is not None]
    return page(
        content.title,
        _MARK,
        [
            f"<h1>{escape(content.title)}</h1>",
            note(f"{counted(len(days), 'day')}; version {content.current} is in use."),
            *(_warning(days[-1], note) for note in (days[-1].notes if days else [])),
            section("Before it was learned from", figures(*_progressive(days))),
            section("Rows held out", figures(*_held_out(held))),
            section("Days", _table(days)),
            section("The last day", figures(*_hours(content)), _fields(content)),
            section("Features and rows", figures(*_sizes(days))),
            section("What was refused, and what was unusual", _notes(days)),
        ],
    )


def _warning(day: DayLine, text: str) -> str:
    return f'<div class="warning"><p>{escape(day.name)}: {escape(text)}</p></div>'


def _lines(days: list[DayLine], *series: tuple[str, Callable[[DayLine], float | None]]) -> list[Series]:
    along = [float(number) for number in range(len(days))]
    return [(name, along, [get(day) for day in days]) for name, get in series]


def _picture(
    name: str, y: str, said: str, days: list[DayLine], *series: tuple[str, Callable[[DayLine], float | None]]
) -> tuple[str, str]:
    lines = [each for each in _lines(days, *series) if any(value is not None for value in each[2])]
    if not lines:
        return "", ""
    return chart(name, f"{y} by day", lines, "day", y, names=[day.name for day in days]), said


def _progressive(days: list[DayLine]) -> Iterator[tuple[str, str]]:
    rows = "of each day's rows, each predicted before it was learned from."
    for name, y, said in (
        ("auc", "AUC", f"AUC {rows}"),
        ("logloss", "logloss", f"Logloss {rows}"),
        (
            "normalized_entropy",
            "normalized entropy",
            "Normalized entropy: logloss over that of the day's label rate, which moves logloss by itself.",
        ),
        ("calibration", "calibration", "Predictions over labels: 1 is calibrated."),
    ):
        yield _picture(name, y, said, days, ("", _metric("progressive", name)))


def _held_out(days: list[DayLine]) -> Iterator[tuple[str, str]]:
    for name, y, said in (
        ("auc", "AUC", "AUC of the rows that are held out: of the new version and of the one in use before it."),
        ("logloss", "logloss", "Logloss of the same rows."),
    ):
        yield _picture(
            f"held-{name}",
            y,
            said,
            days,
            ("new version", _metric("new", name)),
            ("in use", _metric("old", name)),
        )


def _hours(content: UpdatesContent) -> Iterator[tuple[str, str]]:
    hours = content.hours
    along = [float(hour) for hour in hours]
    for name, y in (("auc", "AUC"), ("calibration", "calibration")):
        values = [getattr(each, name) for each in hours.values()]
        if any(value is not None for value in values):
            picture = chart(f"hour-{name}", f"{y} by hour of the last day", [("", along, values)], "hour (UTC)", y)
            yield picture, f"{y} by the hour of the last day, before it was learned from."


def _sizes(days: list[DayLine]) -> Iterator[tuple[str, str]]:
    learned = [day for day in days if day.version is not None]
    said = "Features that have an id after the day."
    yield _picture("features", "features", said, learned, ("", lambda day: float(day.living)))
    said = "Features that joined on the day, and that left."
    moved: tuple[tuple[str, Callable[[DayLine], float | None]], ...] = (
        ("joined", lambda day: float(day.joined)),
        ("left", lambda day: float(day.left)),
    )
    yield _picture("moved", "features", said, learned, *moved)
    yield _picture("rows", "rows", "Rows of the day's log.", days, ("", lambda day: float(day.rows)))


def _table(days: list[DayLine]) -> str:
    headings = ["day", "version", "published", "AUC", "logloss", "norm. entropy", "calibration", "held-out AUC"]
    headings += ["in use", "rows", "rejected", "most unseen"]
    lines = []
    for day in reversed(days):
        own = _of(day.progressive)
        values = own.auc, own.logloss, own.normalized_entropy, own.calibration, _of(day.new).auc, _of(day.old).auc
        lines.append(
            [
                day.name,
                "-" if day.version is None else str(day.version),
                "yes" if day.published else "no",
                *map(_figure, values),
                f"{day.rows:,}",
                f"{day.rejected:,}",
                f"{day.unseen:.1%}",
            ]
        )
    return table(headings, lines, num_texts=3)


def _fields(content: UpdatesContent) -> str:
    headings = ["field", "missing", "unseen", "drift (PSI)", "mean", "std. deviation"]
    return table(
        headings,
        [
            [each.name, f"{each.missing:.1%}", f"{each.unseen:.1%}", *map(_figure, (each.psi, each.mean, each.std))]
            for each in sorted(content.fields, key=lambda each: -each.unseen)
        ],
    )


def _notes(days: list[DayLine]) -> str:
    return table(["day", "what"], [[day.name, text] for day in reversed(days) for text in day.notes], num_texts=2)


def _metric(of: str, name: str) -> Callable[[DayLine], float | None]:
    """Return what reads a metric from the figures of a day that have a name in `DayLine`."""
    return lambda day: getattr(_of(getattr(day, of)), name)


def _of(figures: Followed | None) -> Followed:
    return _NOTHING if figures is None else figures


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
