"""Which folders are models and versions."""

from __future__ import annotations

import json

import pytest

from fieldwise.errors import ConfigError
from fieldwise.serving.folders import find_models
from fieldwise.serving.models import Model, Models


def make(path, format="fieldwise-bundle"):
    path.mkdir(parents=True)
    (path / "manifest.json").write_text(json.dumps({"format": format, "version": 2}, indent=1))


def test_a_checkpoint_beside_models_is_no_version_of_one(tmp_path):
    make(tmp_path / "lr" / "bundle")
    make(tmp_path / "bayesian-fm-0123" / "00000120", format="fieldwise-checkpoint")
    assert list(find_models(tmp_path)) == ["lr"]


def test_what_is_half_copied_stays_a_version_so_that_it_is_said(tmp_path):
    make(tmp_path / "ctr" / "1")
    (tmp_path / "ctr" / "2").mkdir()
    (tmp_path / "ctr" / "3").mkdir()
    (tmp_path / "ctr" / "3" / "manifest.json").write_text("{")
    assert sorted(find_models(tmp_path / "ctr")["ctr"].versions) == ["1", "2", "3"]


def test_a_run_that_is_updated_has_its_versions_and_names_the_one_in_use(tmp_path):
    make(tmp_path / "run" / "bundle")
    for version in ("1", "2", "3"):
        make(tmp_path / "run" / "versions" / version)
    make(tmp_path / "run" / "state" / "00000003", format="fieldwise-checkpoint")
    make(tmp_path / "run" / "refused" / "4")
    (tmp_path / "run" / "versions" / "current").write_text("2\n")
    for place in (tmp_path / "run", tmp_path):
        found = find_models(place)["run"]
        assert (sorted(found.versions), found.pinned) == (["1", "2", "3"], "2")


def test_a_name_for_several_models_is_refused_with_what_to_do(tmp_path):
    make(tmp_path / "ctr" / "bundle")
    make(tmp_path / "cvr" / "bundle")
    with pytest.raises(ConfigError, match="for one model") as refused:
        find_models(tmp_path, "mine")
    assert "serve one of its folders" in str(refused.value)


def test_folders_that_would_have_one_name_are_refused(tmp_path):
    make(tmp_path / "a b" / "bundle")
    make(tmp_path / "a-b" / "bundle")
    with pytest.raises(ConfigError, match="one name") as refused:
        find_models(tmp_path)
    assert "a b, a-b" in str(refused.value)


def test_a_current_that_names_what_is_not_there_is_said_once(tmp_path):
    make(tmp_path / "1")
    make(tmp_path / "2")
    (tmp_path / "current").write_text("11\n")
    found = find_models(tmp_path, "ctr")
    assert list(Model("ctr", found["ctr"]).wanted()) == ["2", "1"]
    said = []
    models = Models(tmp_path, "ctr", None, said.append)
    models._follow(found)
    models._follow(found)
    assert said == ["model ctr: current names 11, which is not there; the highest version answers"]
    (tmp_path / "current").write_text("1")
    assert list(Model("ctr", find_models(tmp_path, "ctr")["ctr"]).wanted()) == ["1", "2"]


def test_a_refused_version_that_is_taken_away_is_refused_no_more(tmp_path):
    make(tmp_path / "1")
    make(tmp_path / "2")
    models = Models(tmp_path, "ctr", None, print)
    models._follow(find_models(tmp_path, "ctr"))
    models.by_name["ctr"].refused["2"] = ((), "damaged")
    (tmp_path / "2" / "manifest.json").unlink()
    (tmp_path / "2").rmdir()
    models._follow(find_models(tmp_path, "ctr"))
    assert not models.by_name["ctr"].refused
