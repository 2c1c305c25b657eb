"""Every verb that reads a log reads one in a store, and what comes out is what it is for the same log on a disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.logs import QUICK, make_table, write
from tests.store import put, s3_server

from fieldwise.cli import main

PARTS = ("train", "valid", "test")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as endpoint, pytest.MonkeyPatch.context() as patch:
        for name, value in (("AWS_ACCESS_KEY_ID", "user"), ("AWS_SECRET_ACCESS_KEY", "secret")):
            patch.setenv(name, value)
        patch.setenv("AWS_ENDPOINT_URL", endpoint)
        yield endpoint


@pytest.fixture(scope="module")
def folder(endpoint, tmp_path_factory) -> Path:
    """The same log in a folder and in a store, as a glob, a folder and a file."""
    folder = tmp_path_factory.mktemp("remote")
    for number, part in enumerate(PARTS):
        (folder / part).mkdir()
        write(make_table(600, seed=number), folder / part / "log.parquet")
        put(endpoint, f"{part}/log.parquet", (folder / part / "log.parquet").read_bytes())
    return folder


def run(*arguments: object) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.stderr or result.exception
    return result.stdout


def test_init_check_train_evaluate_and_predict_read_from_a_store_what_they_read_from_a_disk(folder):
    text = run("init", "s3://logs/train/*.parquet", "--label", "click", "--id", "impression")
    assert 'train = ["s3://logs/train/*.parquet"]' in text
    configs = {}
    for place, root in (("disk", ""), ("store", "s3://logs/")):
        paths = {"train": f"{root}train/*.parquet", "valid": f"{root}valid", "test": f"{root}test/log.parquet"}
        changed = text.replace('split = "split"', "".join(f'{part} = ["{paths[part]}"]\n' for part in PARTS[1:]))
        changed = changed.replace("s3://logs/train/*.parquet", paths["train"])
        configs[place] = folder / f"{place}.toml"
        configs[place].write_text(f"{changed}{QUICK}")
        run("train", configs[place], "--out", folder / place, "--set", f'data.cache="{place}-cache"', "--quiet")
    predictions, metrics = [], []
    for place, data in (("disk", folder / "test"), ("store", "s3://logs/test")):
        out = folder / f"{place}.csv"
        run("predict", folder / place, "--data", data, "--out", out, "--quiet")
        predictions.append(out.read_bytes())
        metrics.append(json.loads(run("evaluate", folder / place, "--data", data, "--json", "--quiet")))
    assert predictions[0] == predictions[1]
    assert metrics[0] == metrics[1]
    surveys = [json.loads(run("check", configs[place], "--json", "--quiet")) for place in ("disk", "store")]
    assert surveys[1].pop("files") == ["s3://logs/train/log.parquet", "s3://logs/valid/log.parquet",
                                       "s3://logs/test/log.parquet"]  # fmt: skip
    surveys[0].pop("files")
    assert json.dumps(surveys[0]).replace(str(folder), "s3://logs") == json.dumps(surveys[1])


def test_a_changed_object_is_prepared_anew_and_an_unchanged_one_is_not(folder, endpoint):
    config = folder / "changing.toml"
    name = put(endpoint, "changing/log.csv", b"click,ad\n" + b"1,a\n0,b\n" * 50)
    config.write_text(f'[data]\ntrain = ["{name}"]\nlabel = "click"\ncache = "changing"\n')
    prepare = ("prepare", config, "--json", "--quiet")
    first = json.loads(run(*prepare))
    assert json.loads(run(*prepare))["folder"] == first["folder"]
    put(endpoint, "changing/log.csv", b"click,ad\n" + b"1,a\n0,c\n" * 50)
    assert json.loads(run(*prepare))["folder"] != first["folder"]
    estimate = json.loads(run(*prepare, "--dry-run"))
    assert 100 <= estimate["rows"] <= 102


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "RUN", "--data", "s3://logs/test", "--out", "s3://logs/out.csv"),
        ("train", "CONFIG", "--out", "s3://logs/run"),
        ("prepare", "CONFIG", "--set", "data.cache='s3://logs/cache'"),
    ],
)
def test_nothing_is_written_to_a_store_and_the_message_says_so(folder, arguments):
    config = folder / "small.toml"
    config.write_text('[data]\ntrain = ["s3://logs/train"]\nlabel = "click"\n')
    filled = [{"CONFIG": str(config), "RUN": str(folder / "none")}.get(word, word) for word in arguments]
    result = CliRunner().invoke(main, filled)
    assert result.exit_code == 2
    assert "writing to remote stores is not supported" in result.stderr
    assert not list(Path().glob("s3:*"))
