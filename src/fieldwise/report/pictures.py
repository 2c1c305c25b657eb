"""Pictures for reports: matplotlib's, as SVG inside of the page, in the page's own colours and letters.

Matplotlib is imported when the first picture is drawn. Colours are written as numbers that stand for the variables of
the page's style (`report.page`), so that one picture serves light and dark. The same figures make the same bytes.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from fieldwise.metrics.intervals import Estimate

if TYPE_CHECKING:  # half a second
    from matplotlib.axes import Axes

__all__ = ["Series", "chart", "histogram", "intervals"]

Numbers = Sequence[float | None]
Series = tuple[str, Sequence[float], Numbers]
"""A name, empty for none, and the coordinates of points; None is a gap."""

_SERIES = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh")
_COLOURS = {name: f"#0a0b{number:02x}" for number, name in enumerate(_SERIES, start=16)}
_TEXT, _QUIET, _GRID = "#0a0b01", "#0a0b02", "#0a0b03"
_VARIABLES = {
    _TEXT: "var(--text)",
    _QUIET: "var(--quiet)",
    _GRID: "var(--line)",
    **{colour: f"var(--{name})" for name, colour in _COLOURS.items()},
}
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "fieldwise",
    "font.size": 9,
    "text.color": _TEXT,
    "axes.edgecolor": _QUIET,
    "axes.labelcolor": _TEXT,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.formatter.useoffset": False,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
    "xtick.color": _QUIET,
    "ytick.color": _QUIET,
    "legend.frameon": False,
}
_INCHES = 4.6, 3.1


def chart(
    name: str,
    alt: str,
    series: Sequence[Series],
    x: str,
    y: str,
    *,
    mark: tuple[float, str] | None = None,
    band: Sequence[Estimate] = (),
    reference: Series | None = None,
    names: Sequence[str] = (),
    log: bool = False,
    log_y: bool = False,
    markers: bool = True,
) -> str:
    """Draw lines, and return them as SVG.

    Parameters
    ----------
    name
        A name that no other picture of the page has: the ids in the SVG begin with it.
    alt
        Alternative text.
    series, x, y
        The lines, and the titles of the axes.
    mark
        A place on the horizontal axis, and what it is.
    band
        Intervals around the points of the first line.
    reference
        A line that the others are compared with, drawn in dashes.
    names
        The labels of 0, 1, ... on the horizontal axis.
    log, log_y
        Whether that axis, and the other one, are logarithmic.
    markers
        Whether points are shown; one alone always is.

    Raises
    ------
    ModuleNotFoundError
        Matplotlib is not installed.
    """

    def paint(axes: Axes) -> None:
        for (title, along, values), colour in zip(series, _colours(len(series)), strict=True):
            known = [(a, b) for a, b in zip(along, values, strict=True) if b is not None]
            marker = "o" if markers or len(known) == 1 else ""
            points: Any = [[a for a, _ in known], [b for _, b in known]]
            axes.plot(*points, marker=marker, markersize=3.5, linewidth=1.4, color=colour, label=title or None)
        if reference is not None:
            title, *points = reference
            axes.plot(*points, linestyle="--", linewidth=1.0, color=_QUIET, label=title)
        if band:
            ends = [each.low for each in band], [each.high for each in band]
            axes.fill_between(series[0][1], *ends, color=_COLOURS["first"], alpha=0.2, linewidth=0)
        if mark is not None:
            axes.axvline(mark[0], color=_QUIET, linewidth=0.9, linestyle=":", label=mark[1])
        if log and len({place for _, along, _ in series for place in along}) > 1:  # or it has no width
            axes.set_xscale("log")
        if log_y:
            axes.set_yscale("log")
        if names:
            places = sorted({round(number * (len(names) - 1) / 4) for number in range(5)})
            axes.set_xticks(places, [_shortened(names[place]) for place in places], rotation=20)
        elif not log and all(float(place).is_integer() for _, along, _ in series for place in along):
            axes.locator_params(axis="x", integer=True)
        _label(axes, x, y)

    return _draw(name, alt, paint)


def intervals(
    name: str,
    alt: str,
    names: Sequence[str],
    estimates: Sequence[Estimate],
    x: str,
    *,
    others: Sequence[float] = (),
    titles: tuple[str, str] | None = None,
    reference: float | None = None,
) -> str:
    """Draw figures with their intervals, one below the other, the first on top, and return them as SVG.

    Parameters
    ----------
    name, alt, x
        As for `chart`.
    names, estimates
        Of the figures.
    others
        Another figure beside each; `titles` names the two.
    reference
        Where a line is drawn.
    """
    places = range(len(names))
    values = [each.value for each in estimates]
    far = [[max(each.value - each.low, 0.0) for each in estimates],
           [max(each.high - each.value, 0.0) for each in estimates]]  # fmt: skip

    def paint(axes: Axes) -> None:
        colour, title = _COLOURS["first"], titles[0] if titles else None
        axes.errorbar(
            values, places, xerr=far, fmt="o", markersize=4, capsize=2, color=colour, elinewidth=1.0, label=title
        )
        if others and titles:
            axes.plot(others, places, "D", markersize=4, label=titles[1], color=_COLOURS["second"])
        if reference is not None:
            axes.axvline(reference, color=_QUIET, linewidth=0.9, linestyle=":")
        axes.set_yticks(list(places), [_shortened(each) for each in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        _label(axes, x, "")

    return _draw(name, alt, paint, _INCHES[1] * max(len(names) / 12, 0.3) + 0.5)


def histogram(
    name: str, alt: str, edges: Sequence[float], series: Sequence[tuple[str, Sequence[float]]], x: str, y: str
) -> str:
    """Draw histograms over the same ranges, and return them as SVG.

    Parameters
    ----------
    name, alt, x, y
        As for `chart`.
    edges
        (n + 1,) rising.
    series
        Names, and (n,) heights.
    """

    def paint(axes: Axes) -> None:
        for (title, shares), colour in zip(series, _colours(len(series)), strict=True):
            axes.stairs(shares, edges, color=colour, label=title, linewidth=1.2, fill=True, alpha=0.35)
            axes.stairs(shares, edges, color=colour, linewidth=1.2)
        _label(axes, x, y)

    return _draw(name, alt, paint)


def _draw(name: str, alt: str, paint: Callable[[Axes], None], inches: float = _INCHES[1]) -> str:
    """Return what is painted into the axes, as SVG of this height."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        # Texts are drawn by the browser: that matplotlib's font lacks a letter shifts a label by a little at most.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure = Figure(figsize=(_INCHES[0], inches), layout="constrained")
        FigureCanvasSVG(figure)
        paint(figure.add_subplot())
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", text)
    [box] = re.findall(r'viewBox="[^"]*"', text)
    text = f'<svg {box} role="img" aria-label="{escape(alt)}">' + text[text.index(">") + 1 :]
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    return re.sub(r"\n\s*", "\n", text)


def _shortened(name: str, most: int = 24) -> str:
    """Return a name that fits beside an axis; what looks like mathematics to matplotlib stays text."""
    name = "".join(letter if letter.isprintable() else "?" for letter in name)
    short = name if len(name) <= most else name[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return short.replace("$", r"\$")


def _colours(count: int) -> list[str]:
    return [_COLOURS[_SERIES[number % len(_SERIES)]] for number in range(count)]


def _label(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if len(axes.get_legend_handles_labels()[1]):
        axes.legend(fontsize=8)
