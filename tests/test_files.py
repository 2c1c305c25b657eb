from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from tests.full_disk import files_of_at_most

from fieldwise.errors import ArtefactError, ResourceError
from fieldwise.io.arrays import load_arrays, save_arrays
from fieldwise.io.files import atomic_file, checksum, map_file, remove_leftovers, write_bytes
from fieldwise.io.manifests import manifest_format, read_manifest, write_manifest


class Content(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    numbers: tuple[int, ...] = ()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_under_its_name_only_when_it_is_whole(tmp_path):
    with atomic_file(tmp_path / "new" / "a") as file:
        file.write(b"abc")
        assert not (tmp_path / "new" / "a").exists()
    assert (tmp_path / "new" / "a").read_bytes() == b"abc"
    assert names_in(tmp_path / "new") == ["a"]


def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path):
    write_bytes(tmp_path / "a", b"old")

    def fail() -> None:
        with atomic_file(tmp_path / "a") as file:
            file.write(b"new")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names_in(tmp_path) == ["a"]


def test_what_a_killed_process_left_is_removed_and_what_is_being_written_is_not(tmp_path):
    out = tmp_path / "out.csv"
    script = "import os, sys\nfrom fieldwise.io.files import atomic_file\n"
    script += "with atomic_file(sys.argv[1]) as file:\n    file.write(b'x'); file.flush(); os._exit(9)"
    subprocess.run([sys.executable, "-c", script, str(out)], check=False)
    [left] = tmp_path.iterdir()
    (tmp_path / ".out.csv.not-ours.tmp").write_bytes(b"x")
    (tmp_path / ".other.csv.01234567.tmp").write_bytes(b"x")
    with atomic_file(out) as file:
        file.write(b"new")
        file.flush()
        remove_leftovers(out)
        assert not left.exists()
    assert out.read_bytes() == b"new"
    assert {path.name for path in tmp_path.iterdir()} == {"out.csv", ".out.csv.not-ours.tmp", ".other.csv.01234567.tmp"}


def test_a_full_disk_is_an_error_that_names_the_file_and_leaves_nothing(tmp_path):
    with (
        files_of_at_most(10_000),
        pytest.raises(ResourceError, match=r"disk is full(.|\n)*weights(.|\n)*ulimit -f"),
    ):
        save_arrays(tmp_path / "weights", {"w": np.zeros(100_000, dtype=np.float32)})
    assert names_in(tmp_path) == []


def test_a_disk_that_is_full_only_when_synced_is_the_same_error(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match="the disk is full"):
        write_bytes(tmp_path / "a", b"abc")
    assert names_in(tmp_path) == []


def test_a_place_that_cannot_be_written_is_an_artefact_error(tmp_path):
    write_bytes(tmp_path / "file", b"")
    with pytest.raises(ArtefactError, match=r"cannot be used(.|\n)*hint: one of the folders in its path is a file"):
        write_bytes(tmp_path / "file" / "a", b"abc")


@pytest.mark.parametrize(
    ("number", "hint"), [(errno.EACCES, "who may read and write"), (errno.EROFS, "read-only: choose another place")]
)
def test_a_place_that_is_forbidden_is_told_with_what_to_do(tmp_path, monkeypatch, number, hint):
    def forbidden(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", forbidden)
    with pytest.raises(ArtefactError, match=rf"got: {os.strerror(number)}\n  hint: .*{hint}"):
        write_bytes(tmp_path / "a", b"abc")


def test_the_checksum_of_a_path_is_that_of_its_bytes_and_of_an_array_that_of_its_memory(tmp_path):
    data = np.arange(3_000_000, dtype=np.uint16)
    write_bytes(tmp_path / "a", data.tobytes())
    assert checksum(tmp_path / "a") == checksum(data.tobytes()) == checksum(data.data)
    assert checksum(b"abc") == "06b05ab6733a618578af5f94892f3950"  # XXH3_128bits of the reference implementation


def test_a_missing_file_is_an_artefact_error(tmp_path):
    for read in (checksum, load_arrays, map_file):
        with pytest.raises(ArtefactError, match="missing"):
            read(tmp_path / "none")


# --- manifest ---


def test_a_manifest_comes_back_with_its_checksum(tmp_path):
    digest = write_manifest(tmp_path / "m", Content("ä", (1, 2)), format="x", version=3)
    assert read_manifest(tmp_path / "m", Content, format="x", version=3) == (Content("ä", (1, 2)), digest)


def test_a_manifest_may_be_indented_anew(tmp_path):
    digest = write_manifest(tmp_path / "m", Content("a b", (1, 2)), format="x", version=3)
    text = json.dumps(json.loads((tmp_path / "m").read_text()), indent=7)
    (tmp_path / "m").write_text(text)
    assert read_manifest(tmp_path / "m", Content, format="x", version=3)[1] == digest


def test_another_format_a_newer_version_and_an_older_one_are_told_apart(tmp_path):
    write_manifest(tmp_path / "m", Content("a"), format="x", version=3)
    with pytest.raises(ArtefactError, match=r"another format(.|\n)*expected: y\n  got: x"):
        read_manifest(tmp_path / "m", Content, format="y", version=3)
    with pytest.raises(ArtefactError, match=r"an older version of fieldwise(.|\n)*expected: .* 4\n  got: 3"):
        read_manifest(tmp_path / "m", Content, format="x", version=4)
    with pytest.raises(ArtefactError, match=r"a newer version of fieldwise(.|\n)*2 or older\n  got: 3\n.*install"):
        read_manifest(tmp_path / "m", Content, format="x", version=2)


def test_an_older_version_is_read_where_there_is_a_way_from_each_version_to_the_next(tmp_path):
    class First(msgspec.Struct):
        title: str

    upgrades = {
        1: lambda content: {"name": content["title"]},
        2: lambda content: {**content, "numbers": [len(content["name"])]},
    }
    digest = write_manifest(tmp_path / "m", First("abc"), format="x", version=1)
    assert read_manifest(tmp_path / "m", Content, format="x", version=3, upgrades=upgrades) == (
        Content("abc", (3,)),
        digest,
    )
    with pytest.raises(ArtefactError, match="no longer supported"):
        read_manifest(tmp_path / "m", Content, format="x", version=3, upgrades={2: upgrades[2]})
    write_manifest(tmp_path / "m", Content("a"), format="x", version=1)
    with pytest.raises(ArtefactError, match="invalid content"):
        read_manifest(tmp_path / "m", Content, format="x", version=3, upgrades=upgrades)


@pytest.mark.parametrize("text", [b'{"a":' + b"[" * 100_000, b'{"format":' * 100_000, b"[" * 100_000 + b"]" * 100_000])
def test_a_text_that_is_nested_without_end_is_refused(tmp_path, text):
    (tmp_path / "m").write_bytes(text)
    assert manifest_format(tmp_path / "m") is None
    with pytest.raises(ArtefactError, match="cannot be read"):
        read_manifest(tmp_path / "m", Content, format="x", version=1)
    write_raw(tmp_path / "a", text)
    with pytest.raises(ArtefactError, match="a, header"):
        load_arrays(tmp_path / "a")


def test_a_content_that_does_not_fit_is_refused_with_its_place(tmp_path):
    class Other(msgspec.Struct):
        name: int

    write_manifest(tmp_path / "m", Content("a"), format="x", version=1)
    with pytest.raises(ArtefactError, match=r"\$\.name"):
        read_manifest(tmp_path / "m", Other, format="x", version=1)


def test_every_flipped_bit_of_a_manifest_is_found(tmp_path):
    path = tmp_path / "m"
    write_manifest(path, Content("ab", (10, 2)), format="x", version=1)
    whole = path.read_bytes()
    for bit in range(8 * len(whole.rstrip())):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(ArtefactError):
            read_manifest(path, Content, format="x", version=1)


# --- arrays ---

ARRAYS = {
    "table": np.arange(12, dtype=np.float32).reshape(3, 4),
    "ids": np.array([1, 2**32 - 1], dtype=np.uint32),
    "fingerprints": np.array([2**64 - 1], dtype=np.uint64),
    "bytes": np.arange(5, dtype=np.uint8),
    "scalar": np.array(2.5),
    "empty": np.zeros((0, 3), dtype=np.int64),
    "half": np.array([1.5], dtype=np.float16),
    "mask": np.array([True, False]),
    "transposed": np.arange(6, dtype=np.int32).reshape(2, 3).T,
}


def test_arrays_come_back_equal_aligned_and_read_only(tmp_path):
    assert save_arrays(tmp_path / "a", ARRAYS) == checksum(tmp_path / "a")
    loaded = load_arrays(tmp_path / "a")
    assert set(loaded) == set(ARRAYS)
    for name, array in loaded.items():
        assert array.dtype == ARRAYS[name].dtype
        assert array.shape == ARRAYS[name].shape
        assert np.array_equal(array, ARRAYS[name])
        assert array.flags.aligned
        assert not array.flags.writeable


def test_no_array_at_all_is_a_file_too(tmp_path):
    save_arrays(tmp_path / "a", {})
    assert load_arrays(tmp_path / "a") == {}


def test_the_library_of_the_format_reads_what_we_write(tmp_path):
    save_arrays(tmp_path / "a", ARRAYS)
    loaded = safetensors.numpy.load_file(tmp_path / "a")
    assert set(loaded) == set(ARRAYS)
    for name, array in loaded.items():
        assert np.array_equal(array, ARRAYS[name])


def test_we_read_what_the_library_of_the_format_writes(tmp_path):
    safetensors.numpy.save_file({name: np.array(array, order="C") for name, array in ARRAYS.items()}, tmp_path / "a")
    loaded = load_arrays(tmp_path / "a")
    assert set(loaded) == set(ARRAYS)
    assert all(np.array_equal(array, ARRAYS[name]) for name, array in loaded.items())


def write_raw(path: Path, header: object, data: bytes = b"") -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def test_bfloat16_comes_as_its_bits(tmp_path):
    entry = {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}
    write_raw(tmp_path / "a", json.dumps({"w": entry}).ljust(72).encode(), bytes([0x80, 0x3F, 0, 0x40]))
    assert load_arrays(tmp_path / "a")["w"].tolist() == [0x3F80, 0x4000]


def tensor(dtype="U8", shape=(4,), start=0, end=4, **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end], **more}


@pytest.mark.parametrize(
    ("header", "place"),
    [
        ({"w": tensor(dtype="F99")}, "array w"),
        ({"w": tensor(shape=[5])}, "array w"),
        ({"w": tensor(shape=[2**40, 2**40])}, "array w"),
        ({"w": tensor(shape=[-4])}, "header"),
        ({"w": tensor(end=3)}, "array w"),
        ({"w": tensor(end=5)}, "array w"),
        ({"w": tensor(start=4, end=0)}, "array w"),
        ({"w": tensor(start=1, end=5)}, "array w"),
        ({"v": tensor(), "w": tensor()}, "array w"),
        ({"w": tensor(shape=[2], end=2)}, "data"),
        ({}, "data"),
        ({"w": tensor(more=1)}, "header"),
        ({"w": 1}, "header"),
        ({"w": tensor(), "__metadata__": {"a": 1}}, "header"),
        ([], "header"),
        (b"{", "header"),
        (b"\xff", "header"),
        (b'{"\xff": 1}', "header"),
    ],
)
def test_a_header_that_is_not_true_of_its_file_is_refused_with_the_place(tmp_path, header, place):
    write_raw(tmp_path / "a", header, b"1234")
    with pytest.raises(ArtefactError, match=f"damaged\n  where: .*a, {place}"):
        load_arrays(tmp_path / "a")


def test_an_array_that_is_not_aligned_is_refused(tmp_path):
    write_raw(tmp_path / "a", json.dumps({"w": tensor("U32", [1])}).ljust(71).encode(), b"1234")
    with pytest.raises(ArtefactError, match="aligned to 4"):
        load_arrays(tmp_path / "a")


@pytest.mark.parametrize("keep", [0, 7, 8, 50, -1])
def test_a_truncated_file_is_refused(tmp_path, keep):
    save_arrays(tmp_path / "a", ARRAYS)
    whole = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(whole[:keep])
    with pytest.raises(ArtefactError):
        load_arrays(tmp_path / "a")


@given(st.binary(max_size=40), st.binary(max_size=10), st.integers(0, 2**64 - 1) | st.none())
def test_arbitrary_bytes_are_refused_or_read_but_never_crash(tmp_path_factory, header, data, length):
    path = tmp_path_factory.mktemp("fuzz") / "a"
    path.write_bytes((len(header) if length is None else length).to_bytes(8, "little") + header + data)
    try:
        arrays = load_arrays(path)
    except ArtefactError:
        return
    assert sum(array.nbytes for array in arrays.values()) == len(data)


@given(st.data())
def test_a_flipped_bit_in_the_header_is_refused_or_harmless_but_never_crashes(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("flip") / "a"
    save_arrays(path, ARRAYS)
    whole = bytearray(path.read_bytes())
    end = 8 + int.from_bytes(whole[:8], "little")
    bit = data.draw(st.integers(0, 8 * end - 1))
    whole[bit // 8] ^= 1 << bit % 8
    path.write_bytes(whole)
    try:
        arrays = load_arrays(path)
    except ArtefactError:
        return
    assert sum(array.nbytes for array in arrays.values()) == sum(array.nbytes for array in ARRAYS.values())
