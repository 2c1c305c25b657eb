"""The metrics by their definitions, in plain Python: every pair, every threshold, every group."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise, permutations
from math import erfc, log, log2, sqrt


def concordance(probabilities, labels, weights):
    """Weight of pairs (label 1, label 0) in the right order, twice, with ties once; weight of label 1; of label 0."""
    examples = list(zip(probabilities, labels, weights, strict=True))
    positives = [(p, w) for p, y, w in examples if y == 1]
    negatives = [(p, w) for p, y, w in examples if y == 0]
    doubled = sum(v * w * (2 * (p > q) + (p == q)) for p, v in positives for q, w in negatives)
    return doubled, sum(w for _, w in positives), sum(w for _, w in negatives)


def auc(probabilities, labels, weights):
    """None where one of the labels has no weight."""
    doubled, positive, negative = concordance(probabilities, labels, weights)
    return doubled / (2 * positive * negative) if positive and negative else None


def average_precision(probabilities, labels, weights):
    """Sum over thresholds of the step in recall times the precision."""
    examples = list(zip(probabilities, labels, weights, strict=True))
    positive = sum(w for _, y, w in examples if y == 1)
    area, recall = 0.0, 0.0
    for threshold in sorted(set(probabilities), reverse=True):
        chosen = sum(w for p, _, w in examples if p >= threshold)
        hits = sum(w for p, y, w in examples if p >= threshold and y == 1)
        if hits:
            area += (hits / positive - recall) * (hits / chosen)
            recall = hits / positive
    return area


def gauc(groups, probabilities, labels, weights):
    """GAUC, number of groups in it, number left out, share of weight left out."""
    members = defaultdict(list)
    for group, *example in zip(groups, probabilities, labels, weights, strict=True):
        members[group].append(example)
    aucs = [(auc(*zip(*rows, strict=True)), sum(w for _, _, w in rows)) for rows in members.values()]
    kept = [(value, weight) for value, weight in aucs if value is not None]
    total = sum(weight for _, weight in aucs)
    weight = sum(weight for _, weight in kept)
    mean = sum(value * w for value, w in kept) / weight if kept else None
    return mean, len(kept), len(aucs) - len(kept), (total - weight) / total


def ranking(groups, probabilities, labels, cutoff):
    """Means over the groups with label 1 of NDCG, reciprocal rank, hit and recall, over all orders of equal
    probabilities; and how many groups these are.
    """
    members = defaultdict(list)
    for group, *example in zip(groups, probabilities, labels, strict=True):
        members[group].append(example)
    found = []
    for rows in members.values():
        positive = sum(y for _, y in rows)
        if not positive:
            continue
        best = sum(1 / log2(1 + rank) for rank in range(1, min(positive, cutoff) + 1))
        of_orders = []
        for order in permutations(rows):
            if any(one[0] < other[0] for one, other in pairwise(order)):
                continue
            ranks = [rank for rank, (_, y) in enumerate(order, start=1) if y]
            seen = [rank for rank in ranks if rank <= cutoff]
            gain = sum(1 / log2(1 + rank) for rank in seen)
            of_orders.append((gain / best, 1 / ranks[0], float(bool(seen)), len(seen) / positive))
        found.append([sum(column) / len(of_orders) for column in zip(*of_orders, strict=True)])
    return [sum(column) / len(found) for column in zip(*found, strict=True)] if found else None, len(found)


def calibration_error(probabilities, labels, weights, num_bins):
    """Walk the distinct probabilities upwards; close a bin after the one in which a quantile falls."""
    total = sum(weights)
    error = gap = mass = 0.0
    for probability in sorted(set(probabilities)):
        run = [(y, w) for p, y, w in zip(probabilities, labels, weights, strict=True) if p == probability]
        before, mass = mass, mass + sum(w for _, w in run)
        gap += sum(w * (probability - y) for y, w in run)
        if any(before < total * k / num_bins <= mass for k in range(1, num_bins)):
            error, gap = error + abs(gap), 0.0
    return (error + abs(gap)) / total


def logloss(probabilities, labels, weights, eps):
    """Mean of -log of the label's probability, clipped."""
    own = [min(max(p if y == 1 else 1 - p, eps), 1 - eps) for p, y in zip(probabilities, labels, strict=True)]
    return sum(-w * log(p) for p, w in zip(own, weights, strict=True)) / sum(weights)


def entropy(labels, weights):
    """Entropy of the shares of the labels."""
    shares = defaultdict(float)
    for y, w in zip(labels, weights, strict=True):
        shares[y] += w / sum(weights)
    return -sum(share * log(share) for share in shares.values() if share)


def delong(labels, a, b):
    """The covariance matrices of DeLong, DeLong and Clarke-Pearson (1988), from every pair of examples."""

    def structural(scores):
        positives = [s for s, y in zip(scores, labels, strict=True) if y == 1]
        negatives = [s for s, y in zip(scores, labels, strict=True) if y == 0]
        kernel = [[(x > z) + 0.5 * (x == z) for z in negatives] for x in positives]
        return [sum(row) / len(row) for row in kernel], [sum(row) / len(row) for row in zip(*kernel, strict=True)]

    def covariance(x, z):
        mean_x, mean_z = sum(x) / len(x), sum(z) / len(z)
        return sum((i - mean_x) * (j - mean_z) for i, j in zip(x, z, strict=True)) / (len(x) - 1)

    (v_a, w_a), (v_b, w_b) = structural(a), structural(b)
    auc_a, auc_b = sum(v_a) / len(v_a), sum(v_b) / len(v_b)
    variance = (covariance(v_a, v_a) + covariance(v_b, v_b) - 2 * covariance(v_a, v_b)) / len(v_a)
    variance += (covariance(w_a, w_a) + covariance(w_b, w_b) - 2 * covariance(w_a, w_b)) / len(w_a)
    standard_error = sqrt(max(variance, 0.0))
    p_value = erfc(abs(auc_a - auc_b) / standard_error / sqrt(2)) if standard_error else None
    return auc_a, auc_b, auc_a - auc_b, standard_error, p_value
