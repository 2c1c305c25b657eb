"""Logs to learn on: a public one, fetched, and synthetic ones with a known best possible AUC."""

from fieldwise.datasets.movielens import make_movielens
from fieldwise.datasets.synth import PRESETS, SynthOptions, make_synth

__all__ = ["DATASETS", "PRESETS", "SynthOptions", "make_movielens", "make_synth"]

DATASETS = {
    "movielens-1m": "739,012 film ratings as clicks, 7 fields (fetched; may not be redistributed)",
    "synth": "a synthetic log with a planted truth: any number of rows, fields and features",
    "appdata": "synth in the shape of the paper's AppData: 158 fields, 8,672,633 features",
    "feedsdata": "synth in the shape of the paper's FeedsData: 2,311 fields, 8,522,742 features",
}
"""What `fieldwise datasets` offers, and what it is."""
