"""MovieLens-100k in both of its forms, made by hand here: the licence keeps the real one out of the repository."""

from __future__ import annotations

import zipfile

import pyarrow.parquet

from fieldwise.config import load_config
from fieldwise.datasets import fetch, movielens_100k

USERS = [("1", "24", "M", "technician"), ("2", "53", "F", "other")]
GENRES = ["unknown", "Animation", "Children's", "Comedy", "Drama"]
FILMS = [
    ("1", "Toy Story (1995)", "01-Jan-1995", "1995", "Animation Children's Comedy"),
    ("2", "Rumble (in) the Bronx (1995) ", "23-Feb-1996", "1995", "Drama"),
    ("267", "unknown", "", "unkonwn", "unknown"),
]
RATINGS = [("1", "267", 5), ("1", "1", 3), ("2", "2", 1), ("2", "1", 4)]
EXPECTED = [
    (1, 267, 24, "M", "technician", None, "unknown", 5),
    (1, 1, 24, "M", "technician", 1995, "Animation Children's Comedy", 3),
    (2, 2, 53, "F", "other", 1995, "Drama", 1),
    (2, 1, 53, "F", "other", 1995, "Animation Children's Comedy", 4),
]


def write_official(path):
    def flags(genres):
        return "|".join("1" if genre in genres.split() else "0" for genre in GENRES)

    parts = {
        "u.data": "".join(f"{user}\t{film}\t{rating}\t881250949\n" for user, film, rating in RATINGS),
        "u.user": "".join(f"{'|'.join(user)}|85711\n" for user in USERS),
        "u.item": "".join(
            f"{key}|{title}|{date}||http://example.org/?{key}|{flags(genres)}\n"
            for key, title, date, _, genres in FILMS
        ),
        "u.genre": "".join(f"{genre}|{number}\n" for number, genre in enumerate(GENRES)) + "\n",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in parts.items():
            archive.writestr(f"ml-100k/{name}", text.encode("latin1"))


def rows(table):
    return [tuple(row.values()) for row in table.to_pylist()]


def test_the_official_zip_is_read_as_ratings_with_their_users_and_films(tmp_path):
    write_official(tmp_path / "ml-100k.zip")
    assert rows(movielens_100k.read_official(tmp_path / "ml-100k.zip")) == EXPECTED


def test_the_mirror_gives_the_same_rows(tmp_path):
    (tmp_path / "ml-100k.inter").write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        + "".join(f"{user}\t{film}\t{rating}\t1\n" for user, film, rating in RATINGS)
    )
    (tmp_path / "ml-100k.user").write_text(
        "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
        + "".join("\t".join(user) + "\t85711\n" for user in USERS)
    )
    (tmp_path / "ml-100k.item").write_text(
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        + "".join(f"{key}\t{title}\t{year}\t{genres}\n" for key, title, _, year, genres in FILMS)
    )
    assert rows(movielens_100k.read_mirror(tmp_path)) == EXPECTED


def test_a_zip_put_by_hand_becomes_a_click_log_without_the_threes(tmp_path, monkeypatch):
    monkeypatch.setenv("FIELDWISE_DATA", str(tmp_path / "cache"))
    archive = tmp_path / "cache" / "movielens-100k" / "ml-100k.zip"
    write_official(archive)
    monkeypatch.setattr(movielens_100k, "_MD5", fetch.hashlib.md5(archive.read_bytes()).hexdigest())
    config = load_config(movielens_100k.make_movielens_100k(tmp_path / "data"))
    table = pyarrow.parquet.read_table(config.paths("train")[0])
    assert table["click"].to_pylist() == [1, 0, 1]
    assert set(config.fields) == set(table.column_names) - {"click", "split"}
