"""Draw LR, LC-DNN and LC-W&D side by side: ``python scripts/draw_architectures.py docs/assets/architectures.svg``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

_FIELDS = (("user", "#1b9e77", 4), ("item", "#d95f02", 4), ("age", "#7570b3", 3))
_PANEL, _HEIGHT = 300, 305
_FEATURES, _UNITS, _DENSE, _LOGIT = 265, 205, (145, 100), 45
_STYLE = 'font-family="sans-serif" font-size="12" fill="#666"'


def panel(left: int, title: str, deep: bool, wide: bool) -> Iterator[str]:
    """Yield the elements of one model, its features at the bottom and its logit at the top."""
    middle = left + _PANEL // 2
    yield f'<text x="{middle}" y="20" text-anchor="middle" font-weight="bold" {_STYLE}>{title}</text>'
    x, units = left + 40, []
    shown = []
    for name, colour, count in _FIELDS:
        places = [x + 18 * number for number in range(count)]
        unit = (places[0] + places[-1]) / 2 + 6
        units.append((unit, colour))
        for place in places:
            yield line(place + 6, _FEATURES, unit, _UNITS, colour)
            if wide:
                yield line(place + 6, _FEATURES, left + _PANEL - 22, _UNITS, "#bbbbbb")
            shown.append(f'<rect x="{place}" y="{_FEATURES}" width="12" height="12" rx="2" fill="{colour}"/>')
        shown.append(f'<text x="{unit}" y="{_FEATURES + 28}" text-anchor="middle" {_STYLE}>{name}</text>')
        x = places[-1] + 32
    below, top = [place for place, _ in units], (middle, _LOGIT)
    if deep:
        for level, count in zip(_DENSE, (5, 4), strict=True):
            layer = [middle + 34 * (number - (count - 1) / 2) for number in range(count)]
            lower = _UNITS if level == _DENSE[0] else _DENSE[0]
            yield from (line(one, lower, other, level, "#999999") for one in below for other in layer)
            shown += [circle(place, level, "#777777") for place in layer]
            below = layer
    yield from (line(place, _DENSE[1] if deep else _UNITS, *top, "#999999") for place in below)
    shown += [circle(place, _UNITS, colour) for place, colour in units]
    if wide:
        yield line(left + _PANEL - 22, _UNITS, *top, "#999999")
        shown += [circle(left + _PANEL - 22, _UNITS, "#ffffff"), text(left + _PANEL - 22, _UNITS + 4, "Σ")]
    yield from (*shown, circle(*top, "#333333"), text(middle + 34, _LOGIT + 4, "logit"))


def line(x: float, y: float, to_x: float, to_y: float, colour: str) -> str:
    """Return a thin line."""
    return f'<line x1="{x}" y1="{y}" x2="{to_x}" y2="{to_y}" stroke="{colour}" stroke-opacity="0.6"/>'


def circle(x: float, y: float, colour: str) -> str:
    """Return a unit."""
    return f'<circle cx="{x}" cy="{y}" r="7" fill="{colour}" stroke="#777777"/>'


def text(x: float, y: float, words: str) -> str:
    """Return a label, centred."""
    return f'<text x="{x}" y="{y}" text-anchor="middle" {_STYLE}>{words}</text>'


def draw() -> str:
    """Return the picture as SVG."""
    panels = [("LR", False, False), ("LC-DNN", True, False), ("LC-W&amp;D", True, True)]
    parts = [part for number, model in enumerate(panels) for part in panel(number * _PANEL, *model)]
    size = f'viewBox="0 0 {_PANEL * len(panels)} {_HEIGHT}" width="{_PANEL * len(panels)}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n' + "\n".join(parts) + "\n</svg>\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(draw())
