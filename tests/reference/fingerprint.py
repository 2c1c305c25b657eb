"""xxh64 as its specification words it, in Python's integers."""

P1, P2, P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P4, P5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
MASK = 2**64 - 1


def rotate(x: int, bits: int) -> int:
    x &= MASK
    return (x << bits | x >> (64 - bits)) & MASK


def round_(lane: int, word: int) -> int:
    return rotate(lane + word * P2, 31) * P1 & MASK


def xxh64(data: bytes, seed: int) -> int:
    rest = data
    if len(data) >= 32:
        lanes = [seed + P1 + P2, seed + P2, seed, seed - P1]
        while len(rest) >= 32:
            lanes = [round_(lane, int.from_bytes(rest[8 * k : 8 * k + 8], "little")) for k, lane in enumerate(lanes)]
            rest = rest[32:]
        h = sum(rotate(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18), strict=True))
        for lane in lanes:
            h = ((h ^ round_(0, lane)) * P1 + P4) & MASK
    else:
        h = seed + P5
    h = (h + len(data)) & MASK
    while len(rest) >= 8:
        h = (rotate(h ^ round_(0, int.from_bytes(rest[:8], "little")), 27) * P1 + P4) & MASK
        rest = rest[8:]
    if len(rest) >= 4:
        h = (rotate(h ^ int.from_bytes(rest[:4], "little") * P1 & MASK, 23) * P2 + P3) & MASK
        rest = rest[4:]
    for byte in rest:
        h = rotate(h ^ byte * P5 & MASK, 11) * P1 & MASK
    h = (h ^ h >> 33) * P2 & MASK
    h = (h ^ h >> 29) * P3 & MASK
    return h ^ h >> 32


def fingerprint(data: bytes, seed: int) -> int:
    """0 for nothing, and for nothing else."""
    return (xxh64(data, seed) or 1) if data else 0
