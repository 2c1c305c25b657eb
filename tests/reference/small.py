"""What the small kernels do, in plain loops over lists."""

from collections.abc import Sequence


def marked_blocks(rows: Sequence[int], shift: int, num_blocks: int) -> list[bool]:
    return [any(row // 2**shift == block for row in rows) for block in range(num_blocks)]


def bucket_ids(fingerprints: Sequence[int], num_buckets: int, first: int) -> list[int]:
    return [first + each % num_buckets if each else 0 for each in fingerprints]


def put_texts(ids: Sequence[int], texts: Sequence[bytes], first: int, num_features: int) -> list[bytes]:
    """The text of each feature from `first` on; each comes once."""
    found = [b""] * num_features
    for id_, text in zip(ids, texts, strict=True):
        if id_ >= first:
            found[id_ - first] = text
    return found


def examples_of_features(bags: Sequence[Sequence[tuple[int, float]]], num_features: int) -> list[list[list[float]]]:
    """For every feature the examples that have it, each once, with the sum of its weights."""
    found: list[dict[int, float]] = [{} for _ in range(num_features)]
    for example, bag in enumerate(bags):
        for id_, weight in bag:
            found[id_][example] = found[id_].get(example, 0.0) + weight
    return [[[example, weight] for example, weight in sorted(each.items())] for each in found]


def joined_labels(states: Sequence[Sequence[int]]) -> list[int]:
    """The states of several labels as digits of base 4, the first label's the lowest."""
    return [sum(state * 4**place for place, state in enumerate(of_example)) for of_example in zip(*states, strict=True)]


def matches(data: bytes, byte: int) -> int:
    """Bit i is set where byte i is the one that is looked for."""
    return sum(1 << place for place, each in enumerate(data) if each == byte)
