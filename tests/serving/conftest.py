"""The models that the tests of the server ask."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.serving.models import make_run


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models: ``ctr`` with the versions 1 and 2, and ``kinds`` with three classes."""
    folder = tmp_path_factory.mktemp("served")
    for version in (1, 2):
        run = make_run(folder / f"made-{version}", seed=version)
        shutil.copytree(run / "bundle", folder / "models" / "ctr" / str(version))
    shutil.copytree(make_run(folder / "made-3", classes=3) / "bundle", folder / "models" / "kinds" / "7")
    return folder / "models"
