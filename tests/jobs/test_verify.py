"""Verifying: all that has a checksum is read, and what is wrong is named."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.artefacts import copied, make_artefacts, stop_early

import fieldwise as fw
from fieldwise.cli import main
from fieldwise.jobs.prepare.prepared import open_parts, read_prepared
from fieldwise.jobs.run import RunFolder


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return make_artefacts(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def folder(whole, tmp_path) -> Path:
    return copied(whole, tmp_path)


def prepared(folder: Path) -> Path:
    [path] = folder.glob(".fieldwise/*/prepared.json")
    return path.parent


def kinds(verification: fw.Verification) -> dict[str, int]:
    found = [verified.kind for verified in verification.artefacts]
    return {kind: found.count(kind) for kind in found}


def test_everything_in_a_folder_is_found_and_whole(whole):
    verification = fw.verify(whole)
    assert verification.damages == []
    assert kinds(verification) == {"prepared": 1, "cache": 3, "run": 4, "bundle": 4, "checkpoint": 5}
    assert verification.num_bytes == sum(path.stat().st_size for path in all_files(whole))
    assert verification.unchecked == records(whole)


def test_a_folder_that_was_taken_for_a_run_that_never_began_is_not_damaged(folder):
    begun = folder / "runs" / "begun"
    begun.mkdir()
    for name in (".lock", ".run.json.0a1b2c3d.tmp"):
        (begun / name).touch()
    assert fw.verify(folder).damages == []
    with pytest.raises(fw.ArtefactError, match="nothing to verify"):
        fw.verify(begun)


def test_a_first_model_that_was_never_whole_is_no_damage_to_a_run_that_goes_on(folder):
    config = fw.load_config(folder / "fieldwise.toml", ["model.initial_model=random"])  # others save the initial model
    stop_early(config, folder / "runs" / "begun")
    (folder / "runs" / "begun" / "bundle" / "manifest.json").unlink()
    assert fw.verify(folder).damages == []
    (folder / "runs" / "finished" / "bundle" / "manifest.json").unlink()
    assert len(fw.verify(folder).damages) == 1


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("runs/finished", {"run": 2, "bundle": 2, "checkpoint": 2}),
        ("runs/finished/bundle", {"bundle": 1}),
        ("runs/unfinished/checkpoints", {"checkpoint": 2}),
        ("runs", {"run": 4, "bundle": 4, "checkpoint": 5}),
    ],
)
def test_any_part_can_be_verified_alone(whole, place, expected):
    assert kinds(fw.verify(whole / place)) == expected


def test_a_part_of_a_prepared_log_is_an_artefact_of_its_own(whole):
    assert kinds(fw.verify(prepared(whole) / "train")) == {"cache": 1}
    assert kinds(fw.verify(prepared(whole))) == {"prepared": 1, "cache": 3}


def test_damage_is_named_with_file_and_place_and_does_not_hide_other_damage(folder):
    [table] = folder.glob("runs/finished/bundle/table-*")
    examples = prepared(folder) / "train" / "examples.bin"
    for path in (table, examples):
        content = bytearray(path.read_bytes())
        content[-9] ^= 16
        path.write_bytes(content)
    damages = fw.verify(folder).damages
    assert len(damages) == 2
    assert any(f"{examples}, block 0, bytes 0 to {examples.stat().st_size}" in damage for damage in damages)
    assert any(str(table) in damage for damage in damages)


def test_a_truncated_file_says_how_much_is_left(folder):
    [table] = folder.glob("runs/finished/bundle/table-*")
    table.write_bytes(table.read_bytes()[:-4])
    [damage] = fw.verify(folder / "runs" / "finished").damages
    assert f"{table}, data" in damage


def all_files(folder: Path) -> list[Path]:
    found = [path for name in (".fieldwise", "runs") for path in (folder / name).rglob("*") if path.is_file()]
    return [path for path in found if path.name != "progress.jsonl"]


def records(folder: Path) -> list[str]:
    """Return the records of training, of which nothing is made but reports: they have no checksum."""
    return sorted(map(str, folder.rglob("progress.jsonl")))


def test_a_file_that_is_gone_is_missed(whole, tmp_path):
    names = [path.relative_to(whole) for path in all_files(whole) if path.stat().st_size]
    names.remove(Path("runs/unfinished/bundle/manifest.json"))  # its checkpoints are older, and lead to it again
    for number, name in enumerate(names):
        folder = copied(whole, tmp_path / str(number))
        (folder / name).unlink()
        damages = fw.verify(folder).damages
        # The manifest of a prepared log or of a run stands for its folder.
        assert any(name.name in damage or name.parent.name in damage for damage in damages), name


def test_a_finished_run_without_its_model_is_damaged(folder):
    for path in (folder / "runs/finished/bundle").iterdir():
        path.unlink()
    [damage] = fw.verify(folder / "runs/finished").damages
    assert "its model is missing" in damage


def test_a_whole_model_of_another_run_is_not_taken_for_the_run_s_own(folder):
    runs = [path.parent for path in sorted(folder.glob("runs/**/run.json")) if (path.parent / "bundle").exists()]
    ours, theirs = [run for run in runs if json.loads((run / "run.json").read_text())["content"]["bundle"]][:2]
    shutil.rmtree(ours / "bundle")
    shutil.copytree(theirs / "bundle", ours / "bundle")
    [damage] = fw.verify(ours).damages
    assert "the model in the run folder is not the one that the run saved" in damage
    assert f"where: {ours / 'bundle'}" in damage


def test_what_has_no_checksum_is_listed(folder):
    (folder / "runs/finished/notes.txt").write_text("better than the last")
    assert fw.verify(folder).unchecked == sorted([str(folder / "runs/finished/notes.txt"), *records(folder)])


@pytest.mark.parametrize("name", ["nothing", "log.parquet", "exported", "."])
def test_where_there_is_nothing_to_verify_it_says_so(tmp_path, name):
    (tmp_path / "log.parquet").write_bytes(b"PAR1")
    (tmp_path / "exported").mkdir()
    for file in ("model.onnx", "table-0001.safetensors"):
        (tmp_path / "exported" / file).touch()
    with pytest.raises(fw.ArtefactError, match="nothing to verify"):
        fw.verify(tmp_path / name)


def test_a_run_that_is_worked_on_is_not_verified(whole):
    config = fw.load_config(whole / "fieldwise.toml")
    log = prepared(whole).name
    with (
        RunFolder(whole / "runs" / "finished", config, log),
        pytest.raises(fw.UserError, match="in use by another process"),
    ):
        fw.verify(whole / "runs")


def test_verifying_writes_nothing(whole):
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    fw.verify(whole)
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before


@pytest.mark.parametrize(
    ("place", "kind"),
    [(".fieldwise/*", "prepared"), (".fieldwise/*/train", "cache"), ("runs/finished", "run"),
     ("runs/finished/bundle", "bundle"), ("runs/*/checkpoints/*", "checkpoint")],
)  # fmt: skip
def test_the_command_says_of_every_kind_what_it_compared_and_ends_with_the_result(whole, place, kind):
    folder = next(path for path in whole.glob(place) if path.is_dir())
    lines = CliRunner().invoke(main, ["verify", str(folder)]).stdout.splitlines()
    assert lines[0].startswith("Verified ")
    assert re.fullmatch(rf"\. +{kind} +ok +\d+ +[\d,]+", lines[3])
    assert re.fullmatch(r"\d+ files match their checksums", lines[-1])


def test_the_command_exits_with_2_and_names_the_file_on_standard_error(folder):
    result = CliRunner().invoke(main, ["verify", str(folder / "runs")])
    assert (result.exit_code, result.stderr) == (0, "")
    assert " ok " in result.stdout
    path = folder / "runs/finished/run.json"
    path.write_bytes(path.read_bytes().replace(b'"epochs": 2', b'"epochs": 3'))
    result = CliRunner().invoke(main, ["verify", str(folder / "runs")])
    assert result.exit_code == 2
    assert re.search(r"\n1 of \d+ artefacts DAMAGED; \d+ files match their checksums", result.stdout)
    assert f"error: the manifest is damaged\n  where: {path}" in result.stderr


def test_with_json_one_value_is_printed_whole_or_not(folder):
    command = [sys.executable, "-m", "fieldwise", "verify", str(folder), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    printed = json.loads(done.stdout)
    assert (done.returncode, printed["whole"]) == (0, True)
    assert printed["num_bytes"] == sum(artefact["num_bytes"] for artefact in printed["artefacts"])
    (prepared(folder) / "valid" / "examples.bin").write_bytes(b"")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    printed = json.loads(done.stdout)
    assert (done.returncode, printed["whole"]) == (2, False)
    [damage] = [artefact["damage"] for artefact in printed["artefacts"] if artefact["damage"]]
    assert "truncated" in damage


def test_a_whole_cache_of_another_log_is_not_taken_for_a_part_of_this_one(folder):
    log = prepared(folder)
    shutil.rmtree(log / "valid")
    shutil.copytree(log / "test", log / "valid")
    [damage] = fw.verify(folder).damages
    assert "not those that the encoder beside them made" in damage
    assert str(log / "valid") in damage
    with pytest.raises(fw.ArtefactError, match="not those that the encoder"):
        open_parts(log, *read_prepared(log))
