"""What is learned from on a day, and how: by one process, or by several workers together.

Worker 0 reads the day, decides and writes the record. All learn, each from a share of every batch and with a block of
the table's rows, as in training. What they need to know lies in a folder that all of them see, ``LESSON`` in that of
the update: the renewed encoder, the ids that joined and left, and which examples are fake negatives.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from fieldwise.config import Config
from fieldwise.data.cache import Cache
from fieldwise.distributed.world import World
from fieldwise.features.encoder import Encoder
from fieldwise.io.arrays import load_verified, save_arrays
from fieldwise.io.files import write_bytes
from fieldwise.jobs.update.head import Head
from fieldwise.jobs.update.learn import learn
from fieldwise.jobs.update.model import go_on, write_version
from fieldwise.training.interrupt import Interrupt
from fieldwise.training.renewed_rows import RenewedField
from fieldwise.training.step import Stepper

__all__ = ["CACHE_NAME", "LESSON_NAME", "Learned", "Lesson"]

LESSON_NAME, CACHE_NAME = "lesson", "learned"
_BUNDLE, _FAKES = "bundle", "fakes"


class _Told(msgspec.Struct, forbid_unknown_fields=True):
    """Of the two files of a lesson, the checksums; and the encoder's description."""

    described: dict[str, Any]
    encoder: str
    others: str


class Learned(NamedTuple):
    """What came of a lesson.

    Attributes
    ----------
    stepper
        The model and its optimizers afterwards.
    said
        On worker 0, what was predicted of all examples (`learn.learn`).
    reason
        Why the bundle cannot be served; None where it can.
    """

    stepper: Stepper
    said: npt.NDArray[np.floating]
    reason: str | None


class Lesson(NamedTuple):
    """What all workers learn from.

    Attributes
    ----------
    work
        The folder of the update, with the examples, and where the new bundle is written.
    encoder
        Renewed by the day.
    renewed
        What has changed in each field, by its number.
    fakes
        (N,): which examples are fake negatives; None where there are none.
    """

    work: Path
    encoder: Encoder
    renewed: Mapping[int, RenewedField]
    fakes: npt.NDArray[np.bool_] | None

    def tell(self) -> None:
        """Write the lesson for the others."""
        folder = self.work / LESSON_NAME
        folder.mkdir()
        others: dict[str, npt.NDArray[Any]] = {} if self.fakes is None else {_FAKES: self.fakes}
        for number, field in self.renewed.items():
            of_field = field._replace(unseen_is_mean=np.array([field.unseen_is_mean]))  # type: ignore[arg-type]
            others |= {f"{number}.{name}": array for name, array in of_field._asdict().items()}
        told = _Told(
            self.encoder.describe(),
            save_arrays(folder / "encoder.safetensors", self.encoder.arrays()),
            save_arrays(folder / "others.safetensors", others),
        )
        write_bytes(folder / "lesson.json", msgspec.json.encode(told))

    @classmethod
    def told(cls, work: Path) -> Lesson:
        """Return what worker 0 has written."""
        folder = work / LESSON_NAME
        told = msgspec.json.decode((folder / "lesson.json").read_bytes(), type=_Told)
        path = folder / "encoder.safetensors"
        encoder = Encoder.from_arrays(told.described, load_verified(path, told.encoder), path)
        others = load_verified(folder / "others.safetensors", told.others)
        fakes = others.pop(_FAKES, None)
        numbers = {int(name.partition(".")[0]) for name in others}
        renewed = {
            number: RenewedField(
                others[f"{number}.joined"], others[f"{number}.left"], bool(others[f"{number}.unseen_is_mean"][0])
            )
            for number in numbers
        }
        return cls(work, encoder, renewed, fakes)

    @property
    def cache(self) -> Cache:
        """The examples."""
        return Cache.open(self.work / CACHE_NAME)

    def learn(self, head: Head, config: Config, world: World, interrupt: Interrupt) -> Learned:
        """Learn from the day, going on from a version, and write the new bundle; every worker calls it."""
        stepper = go_on(head, self.encoder, self.renewed, config, world)
        # FTRL's weights follow from its state at one rate, and its steps shrink by themselves.
        factor = 1.0 if head.state.table.name == "ftrl" else config.update.learning_rate
        said = learn(
            stepper,
            self.cache,
            head.state.batch_size,
            factor,
            interrupt,
            self.fakes,
            config.update.passes,
            config.train.negative_rate,
        )
        parts = [part["said"] for part in world.gather_arrays({"said": said})]
        reason = write_version(stepper, self.encoder, head.bundle, self.cache, self.bundle)
        return Learned(stepper, sum(parts[1:], start=parts[0]) if parts else said, reason)

    @property
    def bundle(self) -> Path:
        """The folder of the new bundle."""
        return self.work / _BUNDLE
