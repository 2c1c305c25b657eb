"""Logs to learn on: public ones, fetched, and synthetic ones with a known best possible AUC."""

from fieldwise.datasets.adult import make_adult
from fieldwise.datasets.movielens import make_movielens
from fieldwise.datasets.movielens_100k import make_movielens_100k
from fieldwise.datasets.synth import PRESETS, SynthOptions, make_synth

__all__ = ["DATASETS", "FETCHED", "PRESETS", "SynthOptions", "make_synth"]

FETCHED = {"movielens-1m": make_movielens, "movielens-100k": make_movielens_100k, "adult": make_adult}
"""The public logs, and what makes each in a folder."""

DATASETS = {
    "movielens-1m": "739,012 film ratings as clicks, 7 fields (fetched; may not be redistributed)",
    "movielens-100k": "72,855 film ratings as clicks, 7 fields (fetched; may not be redistributed)",
    "adult": "who earns more than 50,000 dollars: 48,842 people, 14 fields (fetched; CC BY 4.0)",
    "synth": "a synthetic log with a planted truth: any number of rows, fields and features",
    "appdata": "synth in the shape of the paper's AppData: 158 fields, 8,672,633 features",
    "feedsdata": "synth in the shape of the paper's FeedsData: 2,311 fields, 8,522,742 features",
}
"""What `fieldwise datasets` offers, and what it is."""
