"""The version that an update goes on from: its bundle, and the state in which training left it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from fieldwise.bundle import Bundle, open_bundle
from fieldwise.errors import ArtefactError, ConfigError
from fieldwise.features.encoder import Encoder
from fieldwise.features.renewal import Memory, Renewal
from fieldwise.features.scratch import Scratch
from fieldwise.training.checkpoint import Checkpoint
from fieldwise.training.kept_state import KeptState, read_state

__all__ = ["MEMORY_PREFIX", "Head"]

MEMORY_PREFIX = "memory."
"""Of arrays in the state that vocabularies remember."""


class Head(NamedTuple):
    """A version with its state.

    Attributes
    ----------
    version
        Its number.
    bundle, checkpoint, state
        All of their bytes verified.
    """

    version: int
    bundle: Bundle
    checkpoint: Checkpoint
    state: KeptState

    @classmethod
    def open(cls, run: Path, version: int, folder: Path) -> Head:
        """Open the version whose bundle lies in a folder.

        Raises
        ------
        ArtefactError
            The run keeps nothing to go on from, or the state of another version.
        ConfigError
            It is a model of several labels.
        """
        bundle = open_bundle(folder).verify()
        if bundle.encoder.schema.labels:
            raise ConfigError(
                "a model of several labels cannot be updated: the guards and the gate judge by one label",
                where=bundle.folder,
                fix="train it again on the newest days",
            )
        checkpoint, state = read_state(run, version)
        if state.bundle != bundle.digest:
            raise ArtefactError(
                "the state of training is not that of the version in use",
                where=run / "state",
                expected=f"the state of the bundle {bundle.digest}",
                got=state.bundle,
                fix="restore both from one backup, or train again",
            )
        return cls(version, bundle, checkpoint, state)

    def growing(self, scratch: Scratch, keep_days: int) -> Encoder:
        """Return an encoder that goes on from that of the version."""
        renewal = Renewal(self.state.day + 1, keep_days or None, self._memories())
        return self.bundle.encoder.growing(scratch, renewal)

    def _memories(self) -> dict[str, Memory]:
        """Return what the vocabularies remember, by field; nothing before the first update."""
        found: dict[str, Memory] = {}
        dense = self.checkpoint.dense
        for name, rows in self.bundle.encoder.rows.items():
            prefix = f"{MEMORY_PREFIX}{name}."
            own = {key.removeprefix(prefix): array for key, array in dense.items() if key.startswith(prefix)}
            if own:
                found[name] = Memory.restored(own, rows)
        return found
