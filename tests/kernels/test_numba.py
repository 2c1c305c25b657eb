"""What kernels need of numba beyond its promises: where that stands, and whether numba still leaves it to us.

A test here that fails with a new version says which of our code can go.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest
from numba.core import codegen
from numba.core.caching import NullCache

import fieldwise
from fieldwise.kernels import jit

PACKAGE = Path(fieldwise.__file__).parent
WHERE = {"kernels/compiler.py", "kernels/jit.py", "kernels/kept.py"}
PROMISED = ("numba", "numba.extending", "numba.core.event", "numba.core.types", "numba.core.cgutils")


def private_names(path: Path) -> list[str]:
    """Return what a module imports of numba that numba does not document."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "numba":
            names = [f"{node.module}.{each.name}" for each in node.names]
        elif isinstance(node, ast.Import):
            names = [each.name for each in node.names if each.name.partition(".")[0] == "numba"]
        found += [name for name in names if name not in PROMISED and name.rpartition(".")[0] not in PROMISED]
        found += [name for name in names if any(word.startswith("_") for word in name.split("."))]
    return found


def test_names_that_numba_does_not_promise_stand_in_three_modules():
    users = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if private_names(path)}
    # The doctor asks for the processor's name.
    assert users - {"jobs/doctor/doctor.py"} <= WHERE
    assert {"kernels/compiler.py", "kernels/kept.py"} <= users


def test_the_version_that_our_compiler_stands_on_is_the_one_that_is_tested():
    constraints = (PACKAGE.parent.parent / "constraints.txt").read_text()
    [pinned] = [line.partition("==")[2] for line in constraints.splitlines() if line.startswith("numba==")]
    assert numba.__version__ == pinned
    assert jit._compiler(), "measure kernels/compiler.py with this version (benchmarks/compilation.py), or remove it"


@pytest.mark.skipif(not jit._compiler(), reason="another version of numba")
def test_numba_still_makes_machine_code_twice_of_a_function_that_kernels_alone_call(monkeypatch):
    monkeypatch.setattr(jit, "KernelCache", lambda function: NullCache())
    finished = []
    optimize = codegen.JITCodeLibrary._finalize_specific
    monkeypatch.setattr(
        codegen.JITCodeLibrary, "_finalize_specific", lambda self: (finished.append(self.name), optimize(self))[1]
    )

    def compiled() -> int:
        finished.clear()

        @jit.part
        def twice(x):
            return x + x

        @jit.kernel
        def four_times(x):
            return twice(twice(x))

        assert four_times(3) == 12
        return sum("twice" in name or "four_times" in name for name in finished)

    with_ours = compiled()
    monkeypatch.setattr(jit, "_compiler", dict)
    assert with_ours < compiled(), "numba does the same by now: `_Part` of kernels/compiler.py can go"


def test_the_cache_of_numba_still_returns_what_was_made_of_a_constant_that_has_changed(tmp_path):
    (tmp_path / "module_of_kernel.py").write_text(
        "import numba\nfrom module_of_constant import CONSTANT\n"
        "@numba.njit(cache=True)\ndef function(x):\n    return x + CONSTANT\n"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(tmp_path)}
    said = []
    for constant in (1, 2):
        (tmp_path / "module_of_constant.py").write_text(f"CONSTANT = {constant}\n# {'x' * constant}\n")
        command = [sys.executable, "-c", "import module_of_kernel; print(module_of_kernel.function(0))"]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        said.append(int(done.stdout))
    assert said == [1, 1], "numba sees what a function depends on by now: measure its cache against kernels/kept.py"
