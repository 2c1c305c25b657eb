"""A fitted estimator carries its model with it, and leaves nothing behind."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import pickletools
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from fieldwise.errors import ArtefactError
from fieldwise.sklearn import LRClassifier


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return lambda: sorted(path.name for path in tmp_path.iterdir())


@pytest.fixture
def rows():
    X = np.random.default_rng(0).normal(size=(60, 2))
    return X, (X[:, 0] > 0).astype(int)


def test_a_pickled_estimator_answers_when_the_folder_of_the_first_is_gone(folders, rows):
    X, y = rows
    model = LRClassifier().fit(X, y)
    expected, packed = model.predict_proba(X), pickle.dumps(model)
    del model
    gc.collect()
    assert folders() == []
    again = pickle.loads(packed)  # noqa: S301
    assert folders() == []  # nothing is written before it is asked
    np.testing.assert_array_equal(again.predict_proba(X), expected)
    assert pickle.loads(pickle.dumps(again)).predict_proba(X).tolist() == expected.tolist()  # noqa: S301


def test_a_pickle_holds_no_path_and_no_objects_of_ours_but_the_estimator_and_its_result(folders, rows, tmp_path):
    packed = pickle.dumps(LRClassifier().fit(*rows))
    assert str(tmp_path).encode() not in packed
    names = {argument for _, argument, _ in pickletools.genops(packed) if isinstance(argument, str)}
    assert not any(name.startswith("fieldwise.") and "predictor" in name for name in names)


def test_a_damaged_pickle_is_refused(rows):
    model = pickle.loads(pickle.dumps(LRClassifier().fit(*rows)))  # noqa: S301
    name, (content, expected) = next(iter(model._model._packed.items()))
    model._model._packed[name] = (content[:-1] + b"x", expected)
    with pytest.raises(ArtefactError, match="damaged"):
        model.predict(rows[0])


def test_folders_go_with_the_estimator_and_its_copies_share_one(folders, rows):
    model = LRClassifier().fit(*rows)
    other = copy.deepcopy(model)
    assert len(folders()) == 1
    del model
    gc.collect()
    assert other.predict(rows[0]).shape == (60,)
    del other
    gc.collect()
    assert folders() == []


def test_a_forked_child_leaves_the_folder_to_its_parent(folders, rows):
    model = LRClassifier().fit(*rows)
    child = os.fork()
    if child == 0:
        del model
        gc.collect()
        os._exit(0)
    os.waitpid(child, 0)
    assert [Path(name).name for name in folders()] != []
    assert model.predict(rows[0]).shape == (60,)


@pytest.mark.parametrize("missing", ["sklearn", "torch"])
def test_a_library_that_is_missing_is_named_with_the_extras_that_bring_it(missing):
    text = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == {missing!r}:
            raise ModuleNotFoundError(f"No module named {missing!r}", name=name)

sys.meta_path.insert(0, Absent())
import fieldwise.sklearn
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert f"ImportError: fieldwise.sklearn needs {missing}, which is not installed: pip install" in done.stderr
