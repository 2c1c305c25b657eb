"""Whether two checkouts prepare the same bytes from the same logs: encoders, caches and rejected rows.

    python scripts/same_caches.py OLD_CHECKOUT NEW_CHECKOUT

Logs in CSV and Parquet, of values as people write them (texts that mean missing, numbers with thousands, bags with
weights and without, times, bad labels, rows cut short), are prepared by each checkout in a process of its own: as
usual, with a disk that has no room for what lies aside between the passes, and with counts moved to disk after every
chunk. Of every file that is made a checksum is compared, and of what `Encoder.transform` makes of the log's chunks and
of single rows, as a model has it answer. Exit code 1 where something differs. Run it with the interpreter of either
checkout.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

LABEL = ["0", "1", "yes", "no", " 1 "]
FIELDS: dict[str, dict[str, Any]] = {
    "user": {"type": "category", "min_count": 2},
    "hashed": {"type": "category", "column": "user", "buckets": 101},
    "top": {"type": "category", "column": "user", "max_features": 20, "default": "u4"},
    "code": {"type": "category"},
    "age": {"type": "number", "bins": 4},
    "old": {"type": "number", "column": "age", "edges": [10.0, 30.0], "default": 12},
    "price": {"type": "number", "scale": "log"},
    "raw": {"type": "number", "column": "price", "scale": "none"},
    "amount": {"type": "number", "decimal": ".", "bins": 0},
    "tags": {"type": "bag"},
    "few": {"type": "bag", "column": "tags", "max_length": 2, "default": "none", "min_count": 3},
    "weighed": {"type": "bag", "weighted": True, "weight_scale": "log"},
    "hour": {"type": "time", "column": "at", "part": "hour", "timezone": "Europe/Rome"},
    "days": {"type": "time", "column": "at", "since": "born", "part": "age", "bins": 6},
    "tags_hour": {"cross": ["tags", "hour"], "buckets": 77},
    "user_weighed": {"cross": ["user", "weighed"], "min_count": 2},
}
CASES: dict[str, tuple[dict[str, Any], dict[str, dict[str, Any]]]] = {
    "csv": ({"train": ["a.csv", "b.csv"], "weight": "w", "group": "g", "valid": 0.2, "test": 0.1}, FIELDS),
    "csv, two passes": ({"train": ["a.csv"], "valid": ["b.csv"]}, FIELDS | {"user_age": {"cross": ["user", "age"]}}),
    "csv, rows cut short": ({"train": ["bad.csv"], "split": "part"}, FIELDS),
    "parquet": ({"train": ["a.parquet"], "valid": 0.1}, FIELDS),
    "stated classes": ({"train": ["a.csv"], "label": "kind", "classes": ["a", "b"], "positive": "b"}, FIELDS),
    "several classes": ({"train": ["a.csv"], "label": "kind", "missing": ("NULL", "5"), "valid": 0.1}, FIELDS),
}


def main() -> int:
    """Prepare with both checkouts, compare and print; return 1 where something differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs=2, type=Path, metavar="CHECKOUT")
    options = parser.parse_args()
    found: list[dict[str, dict[str, str]]] = []
    with tempfile.TemporaryDirectory() as folder:
        write_logs(Path(folder))
        for checkout in options.checkouts:
            words = [sys.executable, __file__, "--prepare", folder]
            environment = os.environ | {"PYTHONPATH": str(checkout.absolute() / "src")}
            done = subprocess.run(words, env=environment, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"{checkout}:\n{done.stderr[-3000:]}")
            found.append(json.loads(done.stdout))
    old, new = found
    wrong = [f"{case}: {name}" for case in old for name in old[case] if new[case].get(name) != old[case][name]]
    wrong += [f"{case}: {name} is new" for case in new for name in new[case].keys() - old[case].keys()]
    print("\n".join(wrong) if wrong else f"{sum(map(len, old.values()))} checksums, all the same")
    return int(bool(wrong))


def write_logs(folder: Path) -> None:
    """Write the logs of all cases."""
    pyarrow.csv.write_csv(make_table(4000, 0), folder / "a.csv")
    pyarrow.csv.write_csv(make_table(2000, 1), folder / "b.csv")
    pyarrow.parquet.write_table(make_table(4000, 2), folder / "a.parquet", row_group_size=700)
    lines = (folder / "a.csv").read_text().splitlines()
    lines[7], lines[90], lines[1000] = lines[7] + ",more", lines[90][:20], lines[0]
    (folder / "bad.csv").write_text("\n".join(lines) + "\n")


def make_table(num_rows: int, seed: int) -> pa.Table:
    """Return rows with all that is hard to read."""
    rng = np.random.default_rng(seed)

    def texts(values: Iterable[str], rest: int = 0) -> list[str]:
        """Draw of these, and of so many whole numbers."""
        values = [*values, *map(str, range(rest))]
        return [values[at] for at in rng.integers(0, len(values), num_rows)]

    def bags(make: Callable[[int], str], most: int) -> list[str]:
        return ["|".join(map(make, rng.integers(0, 9, length).tolist())) for length in rng.integers(0, most, num_rows)]

    users = (rng.random(num_rows) ** 3 * num_rows / 3).astype(int)
    return pa.table(
        {
            "user": [None if user == 0 else f"u{user * user}" for user in users],
            "code": texts(["05", "5", "5.0", "NULL", "na", "TRUE", "2026-11-08T00:00:00Z", ""]),
            "age": pa.array(rng.integers(0, 60, num_rows), pa.int16(), mask=rng.random(num_rows) < 0.05),
            "price": np.round(rng.lognormal(2, 2, num_rows), 2),
            "amount": texts(["1,234.5", "7.25", "x", "-3", "NA"], 2000),
            "tags": bags(lambda tag: f"t{tag}", 5),
            "weighed": bags(lambda tag: f"t{tag}:{tag}.5", 4),
            "at": texts([*(f"2026-{month:02}-17T{month:02}:15:00" for month in range(1, 13)), "soon"]),
            "born": rng.integers(300_000_000, 1_600_000_000, num_rows),
            "click": texts([*LABEL, *["0", "1"] * 20]),
            "kind": texts(["a", "b", "c", "", "d"]),
            "w": np.where(rng.random(num_rows) < 0.01, -1.0, np.round(rng.random(num_rows), 3)),
            "g": [None if group == 0 else f"g{group}" for group in rng.integers(0, 50, num_rows)],
            "part": texts(["train", "train", "valid", "test", "nope"]),
        }
    )


def prepare(folder: Path) -> dict[str, dict[str, str]]:
    """Return the checksums of what this process's checkout makes of each case, by name."""
    import fieldwise as fw

    found: dict[str, dict[str, str]] = {}
    for case, (data, fields) in CASES.items():
        given = {name: paths_in(folder, value) for name, value in data.items()}
        for way in ("as usual", "read twice", "counts on disk"):
            place = folder / "caches"
            shutil.rmtree(place, ignore_errors=True)
            config = fw.Config(
                data=fw.DataConfig(**{"label": "click", "cache": str(place)} | given),
                fields={name: fw.FieldConfig(**settings) for name, settings in fields.items()},
            )
            with prepared_this_way(way):
                prepared = fw.prepare(config)
            files = (path for path in sorted(prepared.folder.rglob("*")) if path.is_file())
            sums = {str(path.relative_to(prepared.folder)): checksum([path.read_bytes()]) for path in files}
            found[f"{case}, {way}"] = sums | {"name": prepared.folder.name}
        found[f"{case}, transform"] = transformed(prepared.encoder, given["train"])
    return found


def paths_in(folder: Path, value: Any) -> Any:
    """Return the paths of files in a folder, for a list of their names; all else as it is."""
    is_paths = isinstance(value, list) and value[0].endswith(("csv", "parquet"))
    return [str(folder / name) for name in value] if is_paths else value


@contextmanager
def prepared_this_way(way: str) -> Iterator[None]:
    """Take the room for what lies aside, or the memory for counts, until the block ends."""
    from fieldwise.features.encoder import Encoder

    usage, counter_bytes, spill = shutil.disk_usage, Encoder.counter_bytes, Encoder.spill
    if way == "read twice":
        shutil.disk_usage = lambda path: usage(path)._replace(free=1000)  # type: ignore[assignment]
    if way == "counts on disk":
        Encoder.counter_bytes = property(lambda encoder: 1 << 60)  # type: ignore[assignment, method-assign]
        Encoder.spill = lambda encoder, limit: spill(encoder, 0)  # type: ignore[method-assign]
    try:
        yield
    finally:
        shutil.disk_usage, Encoder.counter_bytes, Encoder.spill = usage, counter_bytes, spill  # type: ignore


def transformed(encoder: Any, paths: list[str]) -> dict[str, str]:
    """Return the checksums of a log's chunks as an encoder answers for them, and of its first rows one by one."""
    from fieldwise.data.log import open_log

    chunks = [chunk.table for chunk in open_log(paths).chunks()]
    rows = [chunks[0].slice(place, 1) for place in range(20)]
    answers = [encoder.transform(chunk) for chunk in chunks]
    return {
        "chunks": checksum(map(arrays_of, answers)),
        "rejects": checksum(str([tuple(reject) for reject in answer.rejects]).encode() for answer in answers),
        "rows": checksum(arrays_of(encoder.transform(row, labelled=False)) for row in rows),
    }


def arrays_of(encoded: Any) -> bytes:
    """Return types and bytes of all arrays of what an encoder answers."""
    columns: list[npt.NDArray[Any] | None] = [encoded.labels, encoded.weights, encoded.groups, encoded.accepted]
    arrays = [np.zeros(0) if array is None else array for array in (*encoded.batch, *columns)]
    return b"".join(array.dtype.str.encode() + np.ascontiguousarray(array).tobytes() for array in arrays)


def checksum(pieces: Iterable[bytes]) -> str:
    """Return the checksum of bytes."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--prepare"]:
        json.dump(prepare(Path(sys.argv[2])), sys.stdout)
    else:
        sys.exit(main())
