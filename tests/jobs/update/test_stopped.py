"""A process that ends anywhere in an update, a rollback or a forgetting: what is called next ends in the same bytes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pytest
from tests.dying import Died, dying_at, everything
from tests.jobs.update.serving import labels_of, rows_of, serve_day, train_with_ids

import fieldwise as fw
from fieldwise.jobs.forget.forget import forget
from fieldwise.jobs.update.judge import Judged, judge_version
from fieldwise.jobs.update.versions import read_record

Call = Callable[[Path], object]

_EASY = ["gate.window=1", "gate.min_clicks=2", "gate.max_fall=1", "gate.calibration_low=0.01", "guards.repeated=1"]
_HARM = [*_EASY, "gate.slice_clicks=77"]
_COLUMNS = ["user", "item", "price", "age", "tags", "impression", "click"]


@pytest.fixture(scope="module", autouse=True)
def told():
    """A gate that finds harm where a setting asks for it, and nowhere else."""
    with pytest.MonkeyPatch.context() as patch:

        def judged(*rest):
            if rest[-1].slice_clicks == 77:
                return Judged(publish=False, reasons=("harm",))
            return judge_version(*rest)._replace(publish=True, reasons=(), too_few=False)

        patch.setattr("fieldwise.jobs.update.job.judge_version", judged)
        yield


def nightly(run: Path, number: int, settings: list[str] = _EASY) -> None:
    """Learn from what was served on a day, the last rows of which wait for their labels."""
    folder = run.parent
    fw.update(run, served=folder / "served" / str(number), labels=folder / f"{number}.csv", overrides=settings)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run after four nights: versions that are removed, one that was refused, rows held out, and rows that wait."""
    folder = tmp_path_factory.mktemp("stopped")
    run = train_with_ids(folder)
    for number in range(1, 6):
        rows = rows_of(number)
        (folder / "served" / str(number)).mkdir(parents=True)
        for path in serve_day(run, folder / "log" / str(number), number, rows, "1").iterdir():
            shutil.copy(path, folder / "served" / str(number))
        pa.csv.write_csv(labels_of(rows.slice(0, 1000)), folder / f"{number}.csv")
    shutil.rmtree(folder / "log")
    for number, settings in ((1, _EASY), (2, _EASY), (3, _HARM), (4, _EASY)):
        nightly(run, number, settings)
    record = read_record(run)
    assert (record.published, record.newest, len(record.held_out)) == ([1, 2, 3, 5], 5, 1)
    assert record.waiting.files
    return folder


def copied(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to / "run"


def bytes_of(run: Path) -> dict[str, bytes | None]:
    return everything(run, ".lock")


CALLS: dict[str, Call] = {
    "a night": lambda run: nightly(run, 5),
    "a night that is refused": lambda run: nightly(run, 5, _HARM),
    "a day that is refused": lambda run: fw.update(run, rows_of(9).slice(0, 0).select(_COLUMNS), overrides=_EASY),
    "a rollback": fw.rollback,
    "forgetting": lambda run: forget(run, "user", ["u1", "u2"]),
}


def stop_everywhere(call: Call, folder: Path, to: Path, step: int) -> int:
    """Stop a call at its changes, each `step`-th of them, and call it again; return how many there were."""
    undisturbed = copied(folder, to / "undisturbed")
    with dying_at(None, undisturbed) as effects:
        call(undisturbed)
    expected, num_effects = bytes_of(undisturbed), len(effects.seen)
    if call is CALLS["a night"]:
        assert fw.open_bundle(undisturbed).folder.name == "6"
        assert any("/versions/.old-" in seen for seen in effects.seen), "an old version is removed"
    before = fw.open_bundle(folder / "run").digest, fw.open_bundle(undisturbed).digest
    for number in range((num_effects - 1) % step, num_effects, step):
        run = copied(folder, to / str(number))
        with pytest.raises(Died), dying_at(number, run):
            call(run)
        assert fw.open_bundle(run).verify().digest in before, effects.seen[number]
        call(run)
        assert bytes_of(run) == expected, f"stopped before {effects.seen[number]}"
        shutil.rmtree(run.parent)
    return num_effects


@pytest.mark.parametrize("name", CALLS)
def test_stopped_at_some_changes_the_same_call_ends_it(name: str, folder: Path, tmp_path: Path) -> None:
    assert stop_everywhere(CALLS[name], folder, tmp_path, 17) > 3


@pytest.mark.long
@pytest.mark.parametrize("name", CALLS)
def test_stopped_at_any_change_the_same_call_ends_it(name: str, folder: Path, tmp_path: Path) -> None:
    assert stop_everywhere(CALLS[name], folder, tmp_path, 1) > 3


@pytest.mark.parametrize("step", [23, pytest.param(1, marks=pytest.mark.long)])
def test_stopped_in_a_night_another_call_finds_it_done_or_not_begun(step: int, folder: Path, tmp_path: Path) -> None:
    night, back = CALLS["a night"], CALLS["a rollback"]
    expected = []
    for name, calls in (("not begun", [back]), ("done", [night, back])):
        run = copied(folder, tmp_path / name)
        with dying_at(None, run) as effects:
            for call in calls:
                call(run)
        expected.append(bytes_of(run))
    found = set()
    for number in range((len(effects.seen) - 1) % step, len(effects.seen), step):
        run = copied(folder, tmp_path / str(number))
        try:
            with dying_at(number, run):
                night(run)
        except Died:
            back(run)
            found.add(expected.index(bytes_of(run)))
        shutil.rmtree(run.parent)
    assert found == {0, 1}
