"""What all results of jobs can do."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["Outcome"]


class Outcome:
    """A result, for people and for programs: a base of structs, beside ``msgspec.Struct``."""

    __slots__ = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, with None (null) for what is not defined."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain
