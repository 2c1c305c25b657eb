"""The live display of progress in a notebook: one output that is replaced, which needs no widgets."""

from __future__ import annotations

import io
import time
from typing import Any, Self

from rich.console import Console, RenderableType

__all__ = ["NotebookLive"]

_SECONDS_BETWEEN_UPDATES = 0.25
_WIDTH = 100


class NotebookLive:
    """Shows what changes in one place below a cell, and takes it away at the end; stands for `rich.live.Live`."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._shown_at = -_SECONDS_BETWEEN_UPDATES

    def update(self, renderable: RenderableType) -> None:
        """Show something in place of what was shown; what comes sooner than a quarter of a second after it is not."""
        if time.monotonic() - self._shown_at >= _SECONDS_BETWEEN_UPDATES:
            self._show(as_html(renderable))

    def start(self) -> None:
        """Go on: the next update is shown."""
        self._shown_at = -_SECONDS_BETWEEN_UPDATES

    def stop(self) -> None:
        """Take away what is shown."""
        if self._handle is not None:
            self._show("")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *of_error: object) -> None:
        self.stop()

    def _show(self, text: str) -> None:
        from IPython.display import HTML, display  # there wherever a notebook is

        content = HTML(text)
        if self._handle is None:
            self._handle = display(content, display_id=True)
        else:
            self._handle.update(content)
        self._shown_at = time.monotonic()


def as_html(renderable: RenderableType) -> str:
    r"""Return what a terminal would show, as HTML.

    Examples
    --------
    >>> as_html("epoch 2")
    '<pre style="line-height:1.3">epoch 2\n</pre>'
    """
    console = Console(record=True, file=io.StringIO(), width=_WIDTH, force_jupyter=False, force_terminal=True)
    console.print(renderable, highlight=False)
    return console.export_html(inline_styles=True, code_format='<pre style="line-height:1.3">{code}</pre>')
