"""A page in a real browser: chromium without a window, where there is one."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

__all__ = ["Seen", "needs_browser", "see"]

needs_browser = pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")

# The copy measures itself: our pages have no scripts of their own.
_MEASURE = (
    "<script>const all = [...document.querySelectorAll('figure svg')].map(x => x.getBoundingClientRect());"
    "document.title = JSON.stringify({wide: document.documentElement.scrollWidth, ground:"
    "getComputedStyle(document.body).backgroundColor, pictures: all.length, size: innerWidth,"
    "least: Math.min(...all.map(x => x.width)), right: Math.max(...all.map(x => x.right))})</script>"
)


class Seen(NamedTuple):
    """What the browser made of a page: its document, what it measured, and what it logged."""

    document: str
    measured: dict[str, Any]
    log: str


def see(page: Path, folder: Path, width: int, light: bool = True) -> Seen:
    """Open a copy of a page, at a width in pixels; files are written to `folder`.

    Where the variable FIELDWISE_SCREENSHOTS names a folder, a picture of the page is kept there.
    """
    copy = folder / page.name
    copy.write_text(page.read_text().replace("</body>", f"{_MEASURE}</body>"))
    words = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile",
             "--enable-logging=stderr", f"--window-size={width},2000", "--hide-scrollbars",
             f"--blink-settings=preferredColorScheme={int(light)}"]  # fmt: skip
    done = subprocess.run(
        [*words, "--dump-dom", copy.as_uri()], capture_output=True, text=True, timeout=600, check=True
    )
    if kept := os.environ.get("FIELDWISE_SCREENSHOTS"):
        Path(kept).mkdir(parents=True, exist_ok=True)
        picture = Path(kept, f"{page.stem}-{width}-{'light' if light else 'dark'}.png").absolute()
        subprocess.run(
            [*words, f"--screenshot={picture}", page.absolute().as_uri()], capture_output=True, timeout=600, check=True
        )
        assert picture.stat().st_size > 10_000
    measured = json.loads(html.unescape(re.search("<title>(.*?)</title>", done.stdout)[1]))
    return Seen(done.stdout, measured, done.stderr)
