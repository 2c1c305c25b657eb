"""What is in the wheel and in the source distribution, and what the installed package looks like from outside."""

from __future__ import annotations

import email
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import fieldwise

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
USER = """
from __future__ import annotations

import fieldwise as fw
from fieldwise.sklearn import LCDNNClassifier, LRClassifier

data = fw.DataConfig(train="clicks.parquet", label="click", valid=0.1)
config = fw.Config(data=data, model=fw.ModelConfig(kind="lc-dnn", units=8), train=fw.TrainConfig(epochs=3))
result: fw.Result = fw.train(config, "runs/first")
assert result.valid is not None
auc: float | None = result.valid.auc
predictor = fw.Predictor("runs/first")
classes: tuple[str, ...] = predictor.classes
model = LCDNNClassifier(units=4, hidden=(8,)).fit([[1.0]], [1])
reveal_type(model)
reveal_type(predictor.predict({"user": "u7"}))
reveal_type(fw.evaluate("runs/first", "tomorrow.parquet").metrics.logloss)
reveal_type(fw.DataError("what").fix)
fw.TrainConfig(epochs="three")
LRClassifier(l2="much")
fw.evaluate()
"""
REVEALED = [
    "fieldwise.sklearn.models.LCDNNClassifier",
    "ndarray[tuple[Any, ...], dtype[floating[Any]]]",
    "float | None",
    "str | None",
]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return the wheel and the source distribution, built as a release builds them."""
    out = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", str(out)], cwd=ROOT, check=True)
    [wheel], [sdist] = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, sdist


def tracked(*paths):
    """Return the files of the checkout, those not committed yet among them."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *paths]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode or not done.stdout:
        pytest.skip("this is no checkout")
    return {name for name in done.stdout.split("\0") if name and (ROOT / name).exists()}


def test_the_wheel_has_all_of_the_package_and_nothing_else(built):
    with zipfile.ZipFile(built[0]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        [metadata] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        told = email.message_from_bytes(wheel.read(metadata))
        licences = [name for name in wheel.namelist() if name.endswith("/licenses/LICENSE")]
    assert names == {name.removeprefix("src/") for name in tracked("src")}
    assert "fieldwise/py.typed" in names
    assert licences
    assert set(told.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
    plain = [name for name in told.get_all("Requires-Dist") if "extra ==" not in name]
    assert sorted(plain) == sorted(PROJECT["dependencies"])


def test_the_source_distribution_has_every_file_of_the_repository(built):
    with tarfile.open(built[1]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert tracked() - names == set()
    assert names - tracked() <= {"PKG-INFO"}


def test_one_version_is_told_everywhere():
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[1]
    assert fieldwise.__version__ == PROJECT["version"] == cited


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """Return the Python of an environment that has the wheel, and its dependencies from the one of the tests."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    target = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(built[0])], check=True)
    # The path alone: what the environment of the tests has installed editable is not followed.
    Path(target, "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


@pytest.mark.long
def test_the_installed_package_trains_and_answers(installed, tmp_path):
    (tmp_path / "log.csv").write_text("user,ad,click\n" + "u1,a,1\nu2,b,0\nu3,a,0\nu1,b,1\n" * 50)
    (tmp_path / "fieldwise.toml").write_text('data = { train = "log.csv", label = "click" }\nmodel.kind = "lr"\n')
    program = installed.parent / "fieldwise"
    subprocess.run([program, "train", "fieldwise.toml", "--out", "run"], cwd=tmp_path, check=True)
    text = "import fieldwise; print(fieldwise.__file__, fieldwise.Predictor('run').predict({'user': 'u1', 'ad': 'a'}))"
    done = subprocess.run([installed, "-c", text], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert str(installed.parents[1]) in done.stdout
    assert float(re.search(r"\[(.+)\]", done.stdout)[1]) > 0.5


@pytest.mark.long
def test_users_see_the_types_of_the_installed_package(installed, tmp_path):
    (tmp_path / "user.py").write_text(USER)
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(installed), "user.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (
        re.findall(r'Revealed type is "(.+)"', done.stdout.replace("numpy.", "").replace("builtins.", "")) == REVEALED
    )
    errors = [line for line in done.stdout.splitlines() if " error: " in line]
    lines = USER.splitlines()
    assert [lines[int(line.split(":")[1]) - 1] for line in errors[:2]] == [
        'fw.TrainConfig(epochs="three")',
        'LRClassifier(l2="much")',
    ]
    assert all("fw.evaluate()" in lines[int(line.split(":")[1]) - 1] for line in errors[2:])
    assert len(errors) >= 3
