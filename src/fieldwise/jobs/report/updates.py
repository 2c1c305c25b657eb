"""The page of a run that learns from days: ``updates.html``, and its figures, ``updates.json``."""

from __future__ import annotations

from pathlib import Path

import msgspec

from fieldwise.errors import ArtefactError
from fieldwise.io.files import write_bytes
from fieldwise.io.stores import local_path
from fieldwise.jobs.update.history import read_history
from fieldwise.jobs.update.result import DayRecord, Figures
from fieldwise.report.updates import DayLine, FieldOfDay, Followed, UpdatesContent, updates_page

__all__ = ["UPDATES_NAME", "write_updates_report"]

UPDATES_NAME = "updates.html"
_JSON_NAME = "updates.json"


def write_updates_report(run: str | Path) -> Path:
    """Draw how a run has gone through its days, and return the path of the page.

    Raises
    ------
    ArtefactError
        There is no run, or it was not updated.
    ModuleNotFoundError
        Matplotlib is not installed; ``updates.json`` is written all the same.
    """
    folder, record = local_path(run), read_history(run)
    if not record.days:
        raise ArtefactError("the run has not been updated yet", where=folder, fix="fieldwise update RUN --data DAY")
    last = record.days[-1]
    content = UpdatesContent(
        title=f"Daily updates: {folder.resolve().name}",
        current=record.current,
        days=[_line(number, day) for number, day in enumerate(record.days, 1)],
        hours={hour: _followed(each) for hour, each in last.by_hour.items()},
        fields=[
            FieldOfDay(
                name=name,
                missing=field.missing,
                unseen=field.unseen,
                **(
                    {}
                    if (drift := last.drift.get(name)) is None
                    else {"psi": drift.psi, "mean": drift.mean, "std": drift.std}
                ),
            )
            for name, field in last.summary.fields.items()
        ],
    )
    write_bytes(folder / _JSON_NAME, msgspec.json.format(msgspec.json.encode(content), indent=1))
    write_bytes(folder / UPDATES_NAME, updates_page(content).encode())
    return folder / UPDATES_NAME


def _line(number: int, day: DayRecord) -> DayLine:
    held = day.held_out
    return DayLine(
        name=day.summary.day or str(number),
        version=day.version,
        published=day.published,
        progressive=None if day.progressive is None else _followed(day.progressive),
        new=None if held is None else _followed(held.new),
        old=None if held is None else _followed(held.old),
        rows=day.rows.read,
        rejected=day.rows.rejected,
        living=day.features.living,
        joined=day.features.new,
        left=day.features.left,
        unseen=max((field.unseen for field in day.summary.fields.values()), default=0.0),
        notes=[*day.reasons, *day.warnings],
    )


def _followed(figures: Figures) -> Followed:
    return Followed(
        auc=figures.auc,
        logloss=figures.logloss,
        normalized_entropy=figures.normalized_entropy,
        calibration=figures.calibration,
    )
