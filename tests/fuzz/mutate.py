"""Inputs for the targets from those that there are: bytes changed anywhere, JSON where it says something."""

from __future__ import annotations

import json
import random
from typing import Any

ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2, 63, 64, 255, 65_536, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**30,
    -(2**63), 0.5, -0.0, 1e308, "", "x", "../x", "/etc/passwd", "a/../../b", "F64", "U8", "bag", "cross", [], {}, [[]],
    [0], [-1, 2**62], {"": 0},
)  # fmt: skip
WORDS = (b"\n", b"\r\n", b",", b'"', b":", b"|", b" ", b"\t", b"\0", b"\xff", b"#", b"=", b"[", b"]", b"{", b"}", b".",
         b"nan", b"inf", b"1e999", b"-", b"0x", b"9" * 20)  # fmt: skip


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return a changed input."""
    for start in (0, 1):  # artefacts begin with the number of a file
        changed = _change_json(data[start:], rng)
        if changed is not None and rng.random() < 0.8:
            return data[:start] + changed
        changed = _change_header(data[start:], rng)
        if changed is not None and rng.random() < 0.5:
            return data[:start] + changed
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        _change_bytes(out, rng)
    return bytes(out)


def _change_bytes(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data) + 1)
    match rng.randrange(6):
        case 0:
            data[at : at + 1] = rng.randbytes(1)
        case 1:
            data[at:at] = rng.choice(WORDS)
        case 2:
            del data[at : at + rng.choice((1, 4, 50))]
        case 3:
            data[at:at] = data[at : at + rng.choice((1, 8, 100))]
        case 4:
            data[at : at + 8] = rng.choice((0, 1, 2**31, 2**63, 2**64 - 1)).to_bytes(8, "little")
        case _ if data:
            data[at % len(data)] ^= 1 << rng.randrange(8)


def _change_json(data: bytes, rng: random.Random) -> bytes | None:
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return None
    for _ in range(rng.choice((1, 1, 3))):
        tree = _change_tree(tree, rng)
    return json.dumps(tree).encode()


def _change_header(data: bytes, rng: random.Random) -> bytes | None:
    """Change the header of a file of arrays, and let its length fit."""
    length = int.from_bytes(data[:8], "little")
    if length > len(data):
        return None
    header = _change_json(data[8 : 8 + length], rng)
    if header is None:
        return None
    header += b" " * (-(len(header) + 8) % 64)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def _change_tree(tree: Any, rng: random.Random) -> Any:
    if not isinstance(tree, dict | list) or not tree or rng.random() < 0.1:
        return rng.choice(ODD)
    if isinstance(tree, list):
        tree = list(tree)
        at = rng.randrange(len(tree))
        match rng.randrange(6):
            case 0:
                del tree[at]
            case 1:
                tree.insert(at, tree[at])
            case _:
                tree[at] = _change_tree(tree[at], rng)
        return tree
    tree = dict(tree)
    key = rng.choice(list(tree))
    match rng.randrange(8):
        case 0:
            del tree[key]
        case 1:
            tree[rng.choice(("x", "", key + "x"))] = tree.pop(key)
        case 2:
            tree[key] = tree[rng.choice(list(tree))]
        case _:
            tree[key] = _change_tree(tree[key], rng)
    return tree
