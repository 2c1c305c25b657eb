"""Taking a person's values out of a run, and proving it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
from click.testing import CliRunner
from tests.artefacts import copied
from tests.processes import FORKS

import fieldwise as fw
from fieldwise.cli.forget import command
from fieldwise.errors import ArtefactError, ConfigError
from fieldwise.events import Event, Warned
from fieldwise.jobs.forget.forget import forget
from fieldwise.jobs.forget.proof import search
from fieldwise.jobs.update.update import rollback
from fieldwise.serving.limits import Limits
from fieldwise.serving.models import Models

GONE = ["user-0007", "user-0008"]
ROWS = 3_000
CONFIG = """
[data]
train = ["unused"]
valid = 0.1
label = "click"
id = "row"
[fields.pair]
cross = ["user", "item"]
[model]
kind = "lc-wide-deep"
units = 2
hidden = [4]
cooccurrence = [["user", "item"], ["item", "user"]]
[train]
epochs = 1
threads = 1
"""


def log_of(seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    users, items = rng.integers(0, 60, ROWS), rng.integers(0, 20, ROWS)
    return pa.table(
        {
            "row": np.arange(ROWS),
            "user": [f"user-{user:04d}" for user in users],
            "item": [f"item {item}" for item in items],
            "click": (rng.random(ROWS) < 0.2 + 0.3 * (items % 3 == 0)).astype(int),
        }
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that was updated by a day, rows held out of it among it, and what a server logged."""
    folder = tmp_path_factory.mktemp("forget")
    fw.train(fw.config.parse_config(CONFIG, base=folder), folder / "run", data=log_of())
    settings = ["gate.min_clicks=20", "gate.max_fall=0.5", "guards.repeated=1", "guards.label_rate=9"]
    assert fw.update(folder / "run", log_of(5), overrides=settings).record.published
    (folder / "served").mkdir()
    pq.write_table(log_of(6).slice(0, 500), folder / "served" / "1.parquet")
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return copied(whole, tmp_path)


def fingerprints(text: str) -> bytes:
    """The bytes of what a field named user makes of a text, by the reference implementation."""
    return xxhash.xxh64_intdigest(text.encode(), seed=xxhash.xxh64_intdigest(b"user")).to_bytes(8, "little")


def test_no_file_of_the_run_has_the_text_or_its_fingerprint_any_more(folder: Path) -> None:
    def found(what: bytes) -> list[Path]:
        return [path for path in (folder / "run").rglob("*") if path.is_file() and what in path.read_bytes()]

    for text in GONE:
        assert found(fingerprints(text))
    told = []
    forgotten = forget(folder / "run", "user", [*GONE, "nobody"], served=[folder / "served"], listen=told.append)
    assert forgotten.proof.left == []
    assert (told[-1].name, told[-1].rows, told[-1].total) == ("search", forgotten.proof.files, forgotten.proof.files)
    assert (forgotten.values, forgotten.found) == (3, 2)
    assert set(forgotten.features) == {"user", "pair"}
    for text in GONE:
        assert found(fingerprints(text)) == []
        assert found(text.encode()) == []
    assert found(fingerprints("user-0009"))
    assert found(b"user-0009")
    assert fw.verify(folder).damages == []


def test_others_are_answered_as_before_but_for_bags_and_those_who_are_gone_as_the_unknown(folder: Path) -> None:
    rows = log_of(3).drop_columns(["click"])
    strangers = rows.set_column(1, "user", pa.array(["user-9999"] * ROWS))
    before, unknown = (fw.Predictor(folder / "run").predict(each) for each in (rows, strangers))
    forget(folder / "run", "user", GONE)
    after = fw.Predictor(folder / "run").predict(rows)
    gone = np.isin(rows["user"].to_numpy(zero_copy_only=False), GONE)
    assert gone.any()
    # The bags of items have lost two of some sixty users each.
    np.testing.assert_allclose(after[gone], unknown[gone], atol=0.02)
    np.testing.assert_allclose(after[~gone], before[~gone], atol=0.02)
    assert np.abs(after[gone] - before[gone]).max() > 0.002


def test_rows_of_logs_go_and_all_others_stay(folder: Path) -> None:
    [held] = (folder / "run" / "heldout").glob("*.parquet")
    before = {path: pq.read_table(path) for path in (held, folder / "served" / "1.parquet")}
    forgotten = forget(folder / "run", "user", GONE, served=[folder / "served"])
    for path, rows in before.items():
        kept = [row for row in rows.to_pylist() if row["user"] not in GONE]
        assert pq.read_table(path).to_pylist() == kept
        assert forgotten.rows[str(path)] == rows.num_rows - len(kept) > 0


def test_rows_of_features_and_their_optimizers_state_are_zeros(folder: Path) -> None:
    from fieldwise.bundle import open_bundle
    from fieldwise.training.checkpoint import read_checkpoint

    state = folder / "run" / "state" / "00000002"
    bundle = open_bundle(folder / "run")
    at = int(bundle.encoder.layout.base[0]) + bundle.encoder.transform(
        pa.table({"user": GONE, "item": ["item 1"] * 2}), labelled=False
    ).batch.ids[0].astype(int)
    before = read_checkpoint(state).table.copy()
    assert before[at].any(axis=1).all()
    forget(folder / "run", "user", GONE)
    after = read_checkpoint(state).table
    assert not after[at].any()
    assert not open_bundle(folder / "run").table[at].any()
    changed = (before != after).any(axis=1)
    assert changed.sum() < 100  # theirs, of crosses, and in others' bags


def test_all_versions_forget_and_the_next_day_is_learned_from(folder: Path) -> None:
    from fieldwise.bundle import open_bundle

    forgotten = forget(folder / "run", "user", GONE)
    assert forgotten.bundles[:3] == ["bundle", "versions/1", "versions/2"]
    assert forgotten.states[:2] == ["state/00000001", "state/00000002"]
    day = log_of(7)
    newest = day.filter(pa.array(~np.isin(day["user"].to_numpy(zero_copy_only=False), GONE)))
    settings = ["gate.min_clicks=20", "gate.max_fall=0.5", "guards.repeated=1", "guards.label_rate=9"]
    assert fw.update(folder / "run", newest, overrides=settings).record.version == 3
    vocabulary = open_bundle(folder / "run" / "versions" / "2").encoder.feature_texts("user", range(2, 62))
    assert None in vocabulary
    assert not set(GONE) & set(vocabulary)
    fw.rollback(folder / "run", 1)
    assert fw.Predictor(folder / "run").predict([{"user": "user-0007", "item": "item 1"}]).shape == (1,)


def test_to_forget_again_changes_nothing(folder: Path) -> None:
    forget(folder / "run", "user", GONE)
    before = bytes_of(folder / "run")
    again = forget(folder / "run", "user", GONE)
    assert (again.found, again.bundles, again.states, again.proof.left) == (0, [], [], [])
    assert bytes_of(folder / "run") == before


def test_what_is_left_elsewhere_is_found(folder: Path) -> None:
    (folder / "run" / "notes.txt").write_text("asked about user-0007, not user-00071")
    assert [place.split(": ")[1] for place in forget(folder / "run", "user", GONE).proof.left] == [
        "the text of a value"
    ]
    (folder / "run" / "notes.txt").write_text("asked about user-00071")
    assert forget(folder / "run", "user", GONE).proof.left == []
    (folder / "run" / "dump.bin").write_bytes(b"abc" + fingerprints("user-0008") + b"d")
    assert [place.split(": ")[1] for place in forget(folder / "run", "user", GONE).proof.left] == [
        "the bytes of a fingerprint"
    ]
    pq.write_table(log_of(2), folder / "run" / "copy.parquet")
    assert any("a cell of column user" in place for place in forget(folder / "run", "user", GONE).proof.left)


def bytes_of(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file()}


def die_at(number: int) -> None:
    """Die at the `number`-th change of a name, before it (odd numbers) or after it."""
    left = (number + 1) // 2

    def around(place: Any, name: str) -> None:
        function: Callable[..., Any] = getattr(place, name)

        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if not left and number % 2:
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(*arguments, **options)
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(place, name, call)

    for name in ("replace", "rename", "unlink"):
        around(Path, name)


def forget_and_die(folder: Path, number: int) -> None:
    die_at(number)
    forget(folder / "run", "user", GONE, served=[folder / "served"])
    os._exit(7)


def crash_at(whole: Path, to: Path, numbers: range) -> int:
    """Kill a process that forgets at some moments, end what it began, and return at how many it was killed."""
    reference = copied(whole, to / "reference")
    forget(reference / "run", "user", GONE, served=[reference / "served"])
    expected = bytes_of(reference)
    num_killed = 0
    for number in numbers:
        folder = copied(whole, to / str(number))
        process = FORKS.Process(target=forget_and_die, args=(folder, number))
        process.start()
        process.join()
        if process.exitcode == 7:
            break
        assert process.exitcode == -signal.SIGKILL
        num_killed += 1
        done = forget(folder / "run", "user", GONE, served=[folder / "served"])
        assert done.proof.left == []
        assert fw.verify(folder).damages == []
        assert bytes_of(folder) == expected, number
    return num_killed


def test_killed_at_some_moments_the_same_call_ends_it(whole: Path, tmp_path: Path) -> None:
    assert crash_at(whole, tmp_path, range(4, 60, 17)) >= 2


@pytest.mark.long
def test_killed_at_any_moment_the_same_call_ends_it(whole: Path, tmp_path: Path) -> None:
    assert crash_at(whole, tmp_path, range(1, 500)) > 30


def test_on_the_command_line_it_says_what_it_did_and_what_stays(folder: Path) -> None:
    (folder / "leavers.txt").write_text("user-0007\n\nuser-0008\n", encoding="utf-8-sig")
    arguments = [str(folder / "run"), "--field", "user", "--values", str(folder / "leavers.txt")]
    result = CliRunner().invoke(command, [*arguments, "--json"])
    found = json.loads(result.stdout)
    assert result.exit_code == 0
    assert found["proven"]
    assert found["found"] == 2
    assert "only training again" in found["stays"][0]
    (folder / "run" / "notes.txt").write_text("user-0007")
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 2
    assert "0 of 2 values of user were known" in result.stdout
    assert "notes.txt: the text of a value" in result.stderr


def test_half_way_the_run_is_not_updated_and_that_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fieldwise.jobs.forget.forget.forget_in_bundle", stop)
        with pytest.raises(KeyboardInterrupt):
            forget(folder / "run", "user", GONE)
    for job in (lambda: fw.update(folder / "run", log_of(7)), lambda: rollback(folder / "run")):
        with pytest.raises(ArtefactError, match="was interrupted"):
            job()
    assert "was interrupted" in fw.verify(folder / "run").damages[0]
    said: list[Event] = []
    rows = folder / "rows.parquet"
    pq.write_table(log_of(7), rows)
    fw.predict(folder / "run", rows, folder / "out.parquet", listen=said.append)
    fw.evaluate(folder / "run", rows, listen=said.append)
    lines: list[str] = []
    models = Models(folder / "run", None, Limits(), lines.append)
    models.load()
    models.close()
    assert sum(isinstance(each, Warned) and "was interrupted" in each.text for each in said) == 2
    assert "was interrupted" in lines[0]
    assert not forget(folder / "run", "user", GONE).proof.left
    assert fw.verify(folder / "run").damages == []


def test_what_cannot_be_forgotten_is_said(folder: Path) -> None:
    for field, values, message in (
        ("usr", ["a"], "did you mean user"),
        ("pair", ["a"], "values that can be"),
        ("user", [""], "nothing to forget"),
    ):
        with pytest.raises(ConfigError, match=message):
            forget(folder / "run", field, values)
        assert not (folder / "run" / "forgetting.json").exists(), "nothing was begun"
    with pytest.raises(ArtefactError, match="no prepared log"):
        forget(folder / "run", "user", GONE, prepared=[folder / "served"])
    with pytest.raises(ArtefactError, match="no such log"):
        forget(folder / "run", "user", GONE, served=[folder / "elsewhere"])


def test_texts_inside_of_lists_are_found(tmp_path: Path) -> None:
    bags = {"a": pa.array([["x", "ann"]]), "b": pa.array([[("ann", 1.0)]], pa.map_(pa.string(), pa.float64()))}
    for number, bag in enumerate(bags.values()):
        path = tmp_path / f"{number}.parquet"
        pq.write_table(pa.table({"n": [5], "friends": bag}), path)
        assert search([path], np.zeros(0, np.uint64), ["ann"]).left == [f"{path}: a cell of column friends"]
        assert search([path], np.zeros(0, np.uint64), ["5", "an"]).left == []


def test_prepared_logs_that_are_named_are_removed(folder: Path) -> None:
    [prepared] = (folder / ".fieldwise").glob("*/prepared.json")
    removed = forget(folder / "run", "user", GONE, prepared=[folder / ".fieldwise"]).removed
    assert removed == [str(prepared.parent)]
    assert not prepared.parent.exists()
