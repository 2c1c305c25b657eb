"""The frame of all reports: one file of HTML without scripts or network access, for light, dark, phone and paper."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["facts", "figures", "note", "page", "section", "table"]

_STYLE = """
:root { color-scheme: light dark; --text: #1c2430; --quiet: #556070; --line: #dde2e8; --ground: #ffffff;
  --warn: #fdf3ea; --first: #2f6db5; --second: #c2571a; --third: #2b8a5b; --fourth: #8b56b8; --fifth: #a8821c;
  --sixth: #2a8c9e; --seventh: #b8477f; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e8ee; --quiet: #a3adba; --line: #38414d; --ground: #14181e;
  --warn: #2b2118; --first: #6ba6ea; --second: #ee8f52; --third: #5cc492; --fourth: #bd92e6; --fifth: #d9b755;
  --sixth: #5fc0d2; --seventh: #e684b4; } }
* { box-sizing: border-box; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: var(--text);
  background: var(--ground); }
h1, h2, h3 { line-height: 1.2; overflow-wrap: anywhere; } h2 { margin-top: 2.2rem; } h3 { margin: 1.6rem 0 .3rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; margin: .4rem 0 1rem; }
th, td { padding: .15rem .7rem .15rem 0; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
th.text, td.text { text-align: left; overflow-wrap: anywhere; min-width: 5rem; white-space: normal; }
th { font-weight: 600; color: var(--quiet); }
.warning { border-left: 4px solid var(--second); background: var(--warn); padding: .4rem .8rem; margin: .6rem 0; }
.warning p { margin: .1rem 0; } .facts { color: var(--quiet); margin: .1rem 0 .4rem; overflow-wrap: anywhere; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem 2rem; } figure { margin: .4rem 0; flex: 1 1 20rem;
  max-width: 34rem; }
figure svg { width: 100%; height: auto; } figcaption { color: var(--quiet); font-size: .9em; }
svg text { font-family: system-ui, sans-serif !important; } meter { width: 10rem; height: .8rem; }
pre { overflow-x: auto; border: 1px solid var(--line); padding: .6rem; } dl { display: grid;
  grid-template-columns: max-content 1fr; gap: .1rem 1rem; } dt { color: var(--quiet); } dd { margin: 0;
  overflow-wrap: anywhere; }
@media (max-width: 40rem) { body { margin: 1rem auto; }
  dl { grid-template-columns: 1fr; } dd { margin-bottom: .3rem; } }
@media print { body { max-width: none; margin: 0; font-size: 11px; } figure, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; } .wide { overflow: visible; } details > * { display: block; } }
"""


def page(title: str, mark: str, body: Iterable[str]) -> str:
    """Return a page; `mark` is HTML for its head by which programs know what wrote it, `body` the parts, as HTML."""
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">{mark}<title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>\n<body>\n'
        + "\n".join(filter(None, body))
        + "\n</body></html>\n"
    )


def section(title: str, *parts: str) -> str:
    """Return a heading and what stands below it; nothing where that is empty."""
    content = "\n".join(filter(None, parts))
    return f"<h2>{escape(title)}</h2>\n{content}" if content else ""


def note(*lines: str) -> str:
    """Return lines of text in a quiet colour."""
    return f'<p class="facts">{"<br>".join(map(escape, lines))}</p>' if lines else ""


def figures(*drawn: tuple[str, str]) -> str:
    """Return pictures, each with a sentence that says what it shows, beside each other where there is room."""
    found = "".join(f"<figure>{svg}<figcaption>{escape(said)}</figcaption></figure>\n" for svg, said in drawn if svg)
    return f'<div class="figures">{found}</div>' if found else ""


def facts(values: Iterable[tuple[str, str]]) -> str:
    """Return names and their values."""
    lines = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in values)
    return f"<dl>{lines}</dl>" if lines else ""


def table(headings: Sequence[str], lines: Iterable[Sequence[str]], *, num_texts: int = 1, escaped: bool = False) -> str:
    """Return a table; the first `num_texts` columns are texts, the others figures; `escaped` cells are HTML already.

    Examples
    --------
    >>> "<td class=text>a&lt;b</td><td>1</td>" in table(["value", "rows"], [["a<b", "1"]])
    True
    """

    def row(tag: str, cells: Sequence[str], done: bool) -> str:
        return "".join(
            f"<{tag}{' class=text' if place < num_texts else ''}>{cell if done else escape(cell)}</{tag}>"
            for place, cell in enumerate(cells)
        )

    content = "".join(f"<tr>{row('td', line, escaped)}</tr>\n" for line in lines)
    head = f"<thead><tr>{row('th', headings, False)}</tr></thead>"
    return f'<div class="wide"><table>{head}<tbody>{content}</tbody></table></div>' if content else ""
