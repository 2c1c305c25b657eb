"""The frame of all reports: one file of HTML without scripts or network access, for light, dark, phone and paper."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["facts", "figures", "key_figures", "note", "page", "section", "table"]

_STYLE = """
:root { color-scheme: light dark; --text: #1c2430; --quiet: #556070; --line: #dde2e8; --ground: #ffffff;
  --shade: #1c243033; --warn: #fdf3ea; --first: #2f6db5; --second: #c2571a; --third: #2b8a5b; --fourth: #8b56b8;
  --fifth: #a8821c; --sixth: #2a8c9e; --seventh: #b8477f; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e8ee; --quiet: #a3adba; --line: #38414d; --ground: #14181e;
  --shade: #00000099; --warn: #2b2118; --first: #6ba6ea; --second: #ee8f52; --third: #5cc492; --fourth: #bd92e6;
  --fifth: #d9b755; --sixth: #5fc0d2; --seventh: #e684b4; } }
* { box-sizing: border-box; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: var(--text);
  background: var(--ground); }
h1, h2, h3 { line-height: 1.2; overflow-wrap: anywhere; } h2 { margin-top: 2.2rem; } h3 { margin: 1.6rem 0 .3rem; }
.wide { overflow-x: auto; background: linear-gradient(to left, var(--ground) 1rem, transparent) right / 2rem 100% local,
  linear-gradient(to left, var(--shade), transparent) right / .7rem 100% scroll; background-repeat: no-repeat; }
table { border-collapse: separate; border-spacing: 0; margin: .4rem 0 1rem; }
th, td { padding: .15rem .7rem .15rem 0; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
th.text, td.text { text-align: left; overflow-wrap: anywhere; min-width: 5rem; white-space: normal; }
th.text:first-child, td.text:first-child { position: sticky; left: 0; background: var(--ground); min-width: 8.5rem; }
.key { display: flex; flex-wrap: wrap; gap: .6rem 2.5rem; margin: 1rem 0; } .key div { display: flex;
  flex-direction: column-reverse; } .key dt { font-size: .9em; } .key dd { font-size: 1.6em; font-weight: 600;
  margin: 0; font-variant-numeric: tabular-nums; }
.key small { font-size: .55em; font-weight: 400; color: var(--quiet); }
th { font-weight: 600; color: var(--quiet); }
.warning { border-left: 4px solid var(--second); background: var(--warn); padding: .4rem .8rem; margin: .6rem 0; }
.warning p { margin: .1rem 0; } .facts { color: var(--quiet); margin: .1rem 0 .4rem; overflow-wrap: anywhere; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem 2rem; } figure { margin: .4rem 0; flex: 1 1 min(24rem, 100%);
  max-width: 34rem; }
figure svg { width: 100%; height: auto; } figcaption { color: var(--quiet); font-size: .9em; }
svg text { font-family: system-ui, sans-serif !important; } meter { width: 10rem; height: .8rem; }
pre { overflow-x: auto; border: 1px solid var(--line); padding: .6rem; } dl { display: grid;
  grid-template-columns: max-content 1fr; gap: .1rem 1rem; } dt { color: var(--quiet); } dd { margin: 0;
  overflow-wrap: anywhere; }
@media (max-width: 40rem) { body { margin: 1rem auto; }
  dl { grid-template-columns: 1fr; } dd { margin-bottom: .3rem; } }
@media print { body { max-width: none; margin: 0; font-size: 11px; } figure, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; } .wide { overflow: visible; background: none; } details > * { display: block; } }
"""


def page(title: str, mark: str, body: Iterable[str]) -> str:
    """Return a page.

    Parameters
    ----------
    title
        Plain text; it is escaped.
    mark
        HTML for the head, by which programs recognise what wrote the page.
    body
        The parts of the body, as HTML.
    """
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">{mark}<title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>\n<body>\n'
        + "\n".join(filter(None, body))
        + "\n</body></html>\n"
    )


def section(title: str, *parts: str) -> str:
    """Return a heading and the HTML below it; an empty text if there is nothing below it.

    Examples
    --------
    >>> section("Days", "")
    ''
    >>> section("Days", "<p>1</p>").endswith("<p>1</p>")
    True
    """
    content = "\n".join(filter(None, parts))
    return f"<h2>{escape(title)}</h2>\n{content}" if content else ""


def note(*lines: str) -> str:
    """Return lines of text in a quiet colour."""
    return f'<p class="facts">{"<br>".join(map(escape, lines))}</p>' if lines else ""


def figures(*drawn: tuple[str, str]) -> str:
    """Return pictures ``(svg, caption)``, side by side where there is room."""
    found = "".join(f"<figure>{svg}<figcaption>{escape(said)}</figcaption></figure>\n" for svg, said in drawn if svg)
    return f'<div class="figures">{found}</div>' if found else ""


def key_figures(values: Iterable[tuple[str, str, str]]) -> str:
    """Return ``(name, value, remark)`` as large figures, each with its remark in small letters."""
    lines = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)} <small>{escape(said)}</small></dd></div>"
        for name, value, said in values
    )
    return f'<dl class="key">{lines}</dl>' if lines else ""


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
