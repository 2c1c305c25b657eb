"""Compiled kernels that are kept: used again, but never after their sources have changed, nor from untrusted hands."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numba
import numpy as np
import pytest
from numba.core.caching import NullCache
from numba.core.event import trigger_event

import fieldwise
from fieldwise.kernels import jit, kept, random
from fieldwise.kernels.fingerprint import fingerprint

_RUN = """
import numpy as np
from fieldwise.kernels import random, threads
threads.run_each(random.fisher_yates, [(np.zeros(3, np.uint64), np.arange(3))])
print(random.fisher_yates.stats.cache_hits.total())
"""


def cache_hits(folder: Path) -> int:
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    environment["PYTHONPATH"] = str(folder)
    done = subprocess.run([sys.executable, "-c", _RUN], env=environment, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_kernels_are_compiled_once_and_again_when_a_file_that_they_are_made_of_has_changed(tmp_path):
    package = Path(fieldwise.__file__).parent
    shutil.copytree(package, tmp_path / "fieldwise", ignore=shutil.ignore_patterns("__pycache__"))
    assert cache_hits(tmp_path) == 0
    assert cache_hits(tmp_path) == 1
    with (tmp_path / "fieldwise/kernels/decode.py").open("a") as file:
        file.write("# another version, which random.py does not import\n")
    assert cache_hits(tmp_path) == 1
    with (tmp_path / "fieldwise/kernels/jit.py").open("a") as file:
        file.write("# another version\n")
    assert cache_hits(tmp_path) == 0
    assert cache_hits(tmp_path) == 1


def test_the_clock_of_training_stands_still_while_kernels_are_compiled():
    on_the_wall, of_training = time.perf_counter(), jit.clock()
    with trigger_event("numba:compile"), trigger_event("numba:compile"):  # one kernel within another
        time.sleep(0.05)
    of_training = jit.clock() - of_training
    assert 0 <= of_training <= time.perf_counter() - on_the_wall - 0.05


def test_a_kernel_depends_on_all_files_that_it_is_made_of(tmp_path, monkeypatch):
    (tmp_path / "jit.py").touch()
    (tmp_path / "compiler.py").touch()
    (tmp_path / "one.py").write_text("from fieldwise.kernels.two import a\n")
    (tmp_path / "two.py").write_text("from fieldwise.kernels.one import b\nfrom fieldwise.kernels.three import c\n")
    (tmp_path / "three.py").touch()
    monkeypatch.setattr(kept, "_SOURCES", tmp_path)
    version_tags = []
    for content in ("", "", "# changed"):
        kept.version_tag.cache_clear()
        kept._source.cache_clear()
        (tmp_path / "three.py").write_text(content)
        version_tags.append(kept.version_tag("one"))
    kept.version_tag.cache_clear()
    kept._source.cache_clear()
    assert version_tags[0] == version_tags[1] != version_tags[2]


@pytest.fixture
def places(monkeypatch):
    """Let kernels lie in the given folders alone."""

    def places(*folders: Path) -> None:
        monkeypatch.setattr(kept, "_NOTED", set())
        monkeypatch.setattr(kept, "folders", lambda: folders)
        monkeypatch.setattr(kept, "_read_from", lambda: folders)

    return places


def is_kept() -> bool:
    """Use a kernel as a new process would; return whether it was kept."""
    kernel = jit.kernel(random.fisher_yates.py_func)
    kernel(np.zeros(3, np.uint64), np.arange(3))
    return bool(kernel.stats.cache_hits)


def test_a_file_that_was_cut_short_is_compiled_anew_and_replaced(tmp_path, places):
    places(tmp_path)
    assert not is_kept()
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    for damaged in (b"", content[:100], content[:-1], content[:500] + b"?" + content[501:]):
        file.write_bytes(damaged)
        assert not is_kept()
    assert is_kept()


def test_where_nothing_can_be_written_kernels_work_and_one_note_says_what_to_do(places, capsys):
    places(Path("/dev/null/a"), Path("/dev/null/b"))
    assert not is_kept()
    assert not is_kept()
    told = capsys.readouterr().err
    assert told.count("note:") == 1
    assert "every process compiles them again" in told
    assert "NUMBA_CACHE_DIR" in told
    assert "doctor --compile" in told


def test_a_full_disk_is_said_and_does_not_end_the_work(tmp_path, places, capsys, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    places(tmp_path)
    monkeypatch.setattr(kept, "_write", full)
    assert not is_kept()
    told = capsys.readouterr().err
    assert str(tmp_path) in told
    assert "No space left on device" in told


def test_a_folder_that_was_filled_and_cannot_be_written_is_read_without_a_note(tmp_path, places, capsys, monkeypatch):
    places(tmp_path)
    is_kept()
    monkeypatch.setattr(kept, "can_be_written", lambda folder: False)
    assert is_kept()
    assert capsys.readouterr().err == ""


def test_a_file_that_anybody_can_write_is_not_used(tmp_path, places):
    places(tmp_path)
    is_kept()
    (file,) = tmp_path.iterdir()
    file.chmod(0o666)
    assert not is_kept()


def test_a_file_of_another_kernel_under_the_name_of_one_is_not_used(tmp_path, places):
    places(tmp_path)
    is_kept()
    (file,) = tmp_path.iterdir()
    jit.kernel(random.name_rows.py_func)(np.arange(2), np.arange(1), 4, 4)
    (other,) = set(tmp_path.iterdir()) - {file}
    shutil.copy(other, file)
    assert not is_kept()


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_a_file_of_another_user_is_not_used(tmp_path, places):
    places(tmp_path)
    is_kept()
    (file,) = tmp_path.iterdir()
    os.chown(file, 65534, 65534)
    assert not is_kept()


@pytest.mark.parametrize("kind", ["open to all", "a link"])
def test_a_temporary_folder_in_which_others_can_plant_files_is_not_used(tmp_path, kind):
    folder = tmp_path / f"fieldwise-{os.getuid()}"
    if kind == "a link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "elsewhere")
    else:
        folder.mkdir()
        folder.chmod(0o777)
    assert not kept.can_be_written(folder / "kernels")


def test_a_temporary_folder_is_made_for_its_user_alone(tmp_path):
    folder = tmp_path / f"fieldwise-{os.getuid()}"
    assert kept.can_be_written(folder / "kernels")
    assert folder.stat().st_mode & 0o777 == 0o700


_WITH_ANOTHER_NUMBA = """
import numba
numba.__version__ = "0.60.0"
from fieldwise.kernels import jit
from fieldwise.kernels.fingerprint import fingerprint
import numpy as np
assert not jit._compiler()
print(fingerprint(np.frombuffer(b"abc" * 30, np.uint8), np.array([0, 3, 3, 90]), seed=5).tolist())
"""


def test_another_version_of_numba_compiles_kernels_by_itself(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", _WITH_ANOTHER_NUMBA]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = np.frombuffer(b"abc" * 30, np.uint8)
    assert done.stdout == f"{fingerprint(text, np.array([0, 3, 3, 90]), seed=5).tolist()}\n"


def test_the_tested_version_is_compiled_with_fewer_steps():
    assert ("pipeline_class" in jit._compiler()) == numba.__version__.startswith("0.68.")


@pytest.mark.skipif(not jit._compiler(), reason="with this version of numba, references are counted everywhere")
def test_arrays_whose_references_nobody_would_count_are_refused(monkeypatch):
    monkeypatch.setattr(jit, "KernelCache", lambda function: NullCache())

    @jit.kernel(allocates=True)
    def ones(size):
        return np.ones(size)

    @jit.kernel
    def first_of_ones(size):
        return ones(size)[0]

    @jit.part
    def end_of(values):
        return values[1:]

    @jit.kernel(allocates=True)
    def sum_of_end(values):
        return end_of(values).sum()

    @jit.kernel
    def end(values):
        return end_of(values)

    assert ones(2).tolist() == [1.0, 1.0]
    for kernel, argument in ((first_of_ones, 2), (sum_of_end, np.ones(2)), (end, np.ones(2))):
        with pytest.raises(numba.TypingError, match="allocates=True"):
            kernel(argument)


def test_no_kernel_is_left_to_the_cache_of_numba_which_fails_where_nothing_can_be_written():
    for path in Path(kept.__file__).parent.glob("*.py"):
        assert "cache=True" not in path.read_text(), path.name
