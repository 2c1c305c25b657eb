"""`fieldwise update` on several workers: what one process makes of a day."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.distributed import runs
from tests.helpers import PATIENCE
from tests.jobs.update.runs import day_of, train
from tests.jobs.update.serving import labels_of, rows_of, serve_day, train_with_ids

import fieldwise as fw
from fieldwise.errors import ConfigError
from fieldwise.jobs.update.versions import read_record

SETTINGS = ["gate.window=1", "gate.min_clicks=2", "gate.max_fall=1", "guards.top=1", "guards.unknown=1"]


def update_on(workers, run, days):
    """Learn from days, and return what each worker is told."""
    return [
        fw.update(run, rows, overrides=[*SETTINGS, "update.keep_days=1"], workers=workers).record.version
        for rows in days
    ]


@pytest.fixture(scope="module", params=["lr", "lc-dnn"])
def alone(request, tmp_path_factory):
    """A trained run, and one that one process updated by two days, on the first of which values leave."""
    folder = tmp_path_factory.mktemp(request.param)
    run = train(folder, request.param, model="unit_dropout = 0.0")  # what is drawn goes by the worker
    shutil.copytree(run, folder / "alone")
    days = [day_of(1, item=[1000 + n % 15 for n in range(1200)]), day_of(2)]
    assert update_on(None, folder / "alone", days) == [2, 3]
    return folder, days


def test_two_workers_make_the_version_of_one_process(alone, tmp_path):
    folder, days = alone
    run = Path(shutil.copytree(folder / "run", tmp_path / "two"))
    assert runs.run_workers(update_on, 2, run, days) == [[2, 3]] * 2
    assert read_record(folder / "alone").days[0].features.left > 0
    ours, theirs = (read_record(each).days[1] for each in (run, folder / "alone"))
    assert ours.summary == theirs.summary
    assert (ours.rows, ours.features, ours.published) == (theirs.rows, theirs.features, theirs.published)
    for name in ("auc", "logloss", "calibration"):
        expected = getattr(theirs.progressive, name)
        assert getattr(ours.progressive, name) == pytest.approx(expected, rel=1e-7)
        assert getattr(ours.held_out.new, name) == pytest.approx(getattr(theirs.held_out.new, name), rel=1e-7)
    for name, array in runs.weights(folder / "alone").items():
        np.testing.assert_allclose(runs.weights(run)[name], array, rtol=1e-7, atol=1e-9, err_msg=name)
    assert fw.verify(run).damages == []


def test_one_process_goes_on_from_what_two_have_left_and_they_from_its(alone, tmp_path):
    folder, days = alone
    run = Path(shutil.copytree(folder / "run", tmp_path / "two"))
    assert runs.run_workers(update_on, 2, run, days[:1]) == [[2], [2]]
    assert update_on(None, run, days[1:]) == [3]
    assert read_record(run).days[1].features == read_record(folder / "alone").days[1].features
    for name, array in runs.weights(folder / "alone" / "versions" / "2").items():
        np.testing.assert_allclose(runs.weights(run / "versions" / "2")[name], array, rtol=1e-7, atol=1e-9)
    assert read_record(run).head == read_record(folder / "alone").head
    assert runs.run_workers(update_on, 2, run, [day_of(3)]) == [[4]] * 2


def refused_on(workers, run, day):
    """Return what each worker is told of a day that cannot be learned from."""
    try:
        return fw.update(run, day, overrides=SETTINGS, workers=workers).record.reasons
    except ConfigError as error:
        return str(error)


def test_all_workers_are_told_why_nothing_was_learned(alone, tmp_path):
    folder, days = alone
    run = Path(shutil.copytree(folder / "run", tmp_path / "two"))
    first, second = runs.run_workers(refused_on, 2, run, days[0].slice(0, 0))
    assert first == second
    assert "rows with a label" in first[0]
    first, second = runs.run_workers(refused_on, 2, run, None)
    assert first == second
    assert "--data, --served" in first


def late_on(workers, run, served, labels):
    settings = ["update.late_labels=fake-negatives", "update.label_window=1.5", "guards.label_rate=50"]
    return fw.update(run, served=served, labels=labels, gate=False, overrides=settings, workers=workers).record.version


def test_fake_negatives_have_the_weights_that_one_process_gives_them(tmp_path):
    run, rows = train_with_ids(tmp_path), rows_of(1)
    served = serve_day(run, tmp_path / "served", 1, rows, "1")
    pq.write_table(labels_of(rows.slice(0, 300)), tmp_path / "labels.parquet")
    shutil.copytree(run, tmp_path / "alone")
    arguments = served, tmp_path / "labels.parquet"
    assert late_on(None, tmp_path / "alone", *arguments) == 2
    assert runs.run_workers(late_on, 2, run, *arguments) == [2, 2]
    for name, array in runs.weights(tmp_path / "alone").items():
        np.testing.assert_allclose(runs.weights(run)[name], array, rtol=1e-7, atol=1e-9, err_msg=name)
    ours, theirs = (read_record(each) for each in (run, tmp_path / "alone"))
    assert ours.waiting == theirs.waiting
    assert ours.days[0].progressive.calibration == pytest.approx(theirs.days[0].progressive.calibration, rel=1e-7)


def test_the_command_starts_its_workers(alone, tmp_path):
    folder, days = alone
    run = shutil.copytree(folder / "run", tmp_path / "two")
    pq.write_table(days[0], tmp_path / "day.parquet")
    options = ["--workers", "2", "--threads", "1", "--no-gate", "--json", "--no-report"]
    process = runs.begin([*runs.FIELDWISE, "update", str(run), "--data", str(tmp_path / "day.parquet"), *options])
    try:
        output, messages = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 0, messages
    assert (json.loads(output)["version"], json.loads(output)["published"]) == (2, True)
