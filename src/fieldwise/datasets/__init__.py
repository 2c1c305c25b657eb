"""Example logs: public ones, which are downloaded, and synthetic ones with a known best possible AUC."""

from fieldwise.datasets.adult import make_adult
from fieldwise.datasets.movielens import make_movielens
from fieldwise.datasets.movielens_100k import make_movielens_100k
from fieldwise.datasets.synth import PRESETS, SynthOptions, make_synth
from fieldwise.datasets.synth_days import DaysOptions, make_synth_days

__all__ = ["DATASETS", "FETCHED", "PRESETS", "DaysOptions", "SynthOptions", "make_synth", "make_synth_days"]

FETCHED = {"movielens-1m": make_movielens, "movielens-100k": make_movielens_100k, "adult": make_adult}
"""The functions that write each public log to a folder."""

DATASETS = {
    "movielens-1m": "739,012 film ratings as clicks, 7 fields (downloaded; may not be redistributed)",
    "movielens-100k": "72,855 film ratings as clicks, 7 fields (downloaded; may not be redistributed)",
    "adult": "income above 50,000 dollars: 48,842 people, 14 fields (downloaded; CC BY 4.0)",
    "synth": "synthetic log with a known true model: any number of rows, fields and features",
    "synth-days": "synthetic log in days: features come and go, effects drift, clicks become known later",
    "appdata": "synth with the sizes of the paper's AppData: 158 fields, 8,672,633 features",
    "feedsdata": "synth with the sizes of the paper's FeedsData: 2,311 fields, 8,522,742 features",
}
"""The example logs, with descriptions."""
