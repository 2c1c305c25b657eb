"""Fuzz one target with atheris, guided by what of the code is reached; a script of its own (scripts/fuzz.sh runs it).

    python -m tests.fuzz TARGET CORPUS [OPTION OF libFuzzer ...]

CORPUS is a folder: the kept seeds are put into it, and what reaches new code is added. Stops at the first defect, whose
input is written to the working folder. Half of the changes are our own, which know JSON; the rest are libFuzzer's.
"""

from __future__ import annotations

import importlib
import pkgutil
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import atheris

import fieldwise.kernels

for module in pkgutil.iter_modules(fieldwise.kernels.__path__):  # numba compiles them: they stay as they are
    importlib.import_module(f"fieldwise.kernels.{module.name}")
with atheris.instrument_imports(include=["fieldwise"]):
    from tests.fuzz.mutate import mutate
    from tests.fuzz.seeds import read_seeds
    from tests.fuzz.targets import MAX_BYTES, TARGETS

SECONDS = 10.0
"""Of the processor, for one input."""
_MEMORY = Path("/dev/shm")


def main() -> None:
    name, corpus, options = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=_MEMORY if _MEMORY.is_dir() else None))
    target = TARGETS[name](folder)
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate([*target.seeds(), *read_seeds(name)]):
        target(seed)
        (corpus / f"seed-{number:03d}").write_bytes(seed)

    def one(data: bytes) -> None:
        started = time.process_time()
        target(data)
        seconds = time.process_time() - started
        if seconds > SECONDS:
            raise TimeoutError(f"{seconds:.1f} s of the processor")

    def change(data: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() < 0.5:
            return bytes(atheris.Mutate(data, max_size))
        return mutate(data, rng)[:max_size]

    arguments = [sys.argv[0], str(corpus), f"-max_len={MAX_BYTES}", *options]
    atheris.Setup(arguments, one, custom_mutator=change)
    try:
        atheris.Fuzz()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
