"""How much of a field's effect lasts from one tenth of the rows to another, pair of rows by pair of rows."""


def effects(values, labels, num_blocks=10):
    """Return the mean product of residuals of two rows of one value, of different blocks and of one, weighted by
    1 / rows of the value.
    """
    block = [row * num_blocks // len(labels) for row in range(len(labels))]
    rate = {b: sum(y for y, c in zip(labels, block, strict=True) if c == b) / block.count(b) for b in set(block)}
    sums, weights = {True: 0.0, False: 0.0}, {True: 0.0, False: 0.0}
    for value in set(values):
        rows = [row for row in range(len(labels)) if values[row] == value]
        for one in rows:
            for other in rows:
                if one != other:
                    product = (labels[one] - rate[block[one]]) * (labels[other] - rate[block[other]])
                    sums[block[one] == block[other]] += product / len(rows)
                    weights[block[one] == block[other]] += 1.0 / len(rows)
    return sums[False] / weights[False], sums[True] / weights[True]
