"""The documentation site: built without a warning, its links lead somewhere, its reference is whole."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import msgspec
import pytest
from tests.documentation.pages import ROOT

from fieldwise.cli import VERBS
from fieldwise.config import DataConfig
from fieldwise.training.config import TrainConfig


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def test_every_link_and_picture_within_the_site_is_there(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 25
    for page in pages:
        for target in re.findall(r'(?:href|src)="([^"#?:]+)[#?]?[^":]*"', page.read_text()):
            assert page.name == "404.html" or (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_reference_has_every_key_and_every_command(site):
    configuration = (site / "reference" / "configuration.html").read_text()
    for struct in (DataConfig, TrainConfig):
        for field in msgspec.structs.fields(struct):
            if field.name not in ("csv", "table", "dense", "sampler"):  # which are tables of their own
                assert f"<code>{field.name}</code>" in configuration
    commands = (site / "reference" / "commands.html").read_text()
    assert all(f'id="{verb}"' in commands for verb in VERBS)
    python = (site / "reference" / "python.html").read_text()
    assert all(f'id="fieldwise.{name}"' in python for name in ("train", "Predictor", "register_metric"))


def test_formulas_are_drawn_without_a_script(site):
    method = (site / "method.html").read_text()
    assert method.count("<math") > 20
    assert "arithmatex" not in method
    assert "assets/architectures.svg" in method


def test_the_picture_is_that_of_a_run(site):
    assert (site / "assets" / "demo.svg").read_bytes() == (ROOT / "docs" / "assets" / "demo.svg").read_bytes()
    assert "demo.svg" in (site / "index.html").read_text()
