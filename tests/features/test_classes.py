"""Which texts of a label are one class, and which class a probability is of."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldwise.errors import DataError
from fieldwise.features.classes import decide_classes, guess_positive
from fieldwise.features.columns import Columns
from fieldwise.features.labels import MISSING_LABELS, Spelling
from fieldwise.features.target import MISSING, TargetEncoder
from fieldwise.schema import Field, Schema

FIELDS = (Field(name="x", column="x"),)
NO = ["0", "false", "f", "no", "n", "off", "-", "neg", "negative"]
YES = ["1", "true", "t", "yes", "y", "on", "+", "pos", "positive"]


def encoder_of(*labels, **settings) -> TargetEncoder:
    encoder = TargetEncoder(Schema(fields=FIELDS, label="y", **settings))
    for chunk in labels:
        learn(encoder, chunk)
    encoder.finish()
    return encoder


def read(encoder: TargetEncoder, labels) -> list[int]:
    return encoder.encode(encoder.read(Columns(pa.table({"y": labels}))).labels)[0].tolist()


def learn(encoder: TargetEncoder, labels) -> None:
    read = encoder.read(Columns(pa.table({"y": labels})))
    encoder.fit_chunk(read.labels, np.setdiff1d(np.arange(len(labels)), [reject.row for reject in read.rejects]))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["clicked", "not clicked"], ("not clicked", "clicked")),
        (["click", "noclick"], ("noclick", "click")),
        (["Converted", "non-converted"], ("non-converted", "Converted")),
        (["un-subscribed", "subscribed"], ("un-subscribed", "subscribed")),
        (["+", "-"], ("-", "+")),
        (["impression", "click"], ("impression", "click")),
        (["+1", "-1"], ("-1", "1")),
        ([2, 1], ("1", "2")),
        ([100.0, 0.0, None], ("0", "100")),
        (["on", "off"], ("off", "on")),
        (["Yes", " yes", "NO ", "no"], ("NO", "Yes")),
        (["ja", "nein", "Ja", "ja"], ("nein", "ja")),
        (["nee", "ja"], ("nee", "ja")),
        (["Oui", "non"], ("non", "Oui")),
        (["sí", "no", "SÍ", "sí"], ("no", "sí")),
        (["si\u0301", "no"], ("no", "si\u0301")),
        (["não", "sim"], ("não", "sim")),
        (["да", "нет"], ("нет", "да")),
        (["はい", "いいえ"], ("いいえ", "はい")),
        (["１", "０"], ("０", "１")),
    ],
)
def test_the_positive_class_stands_last_where_it_is_evident(labels, expected):
    encoder = TargetEncoder(Schema(fields=FIELDS, label="y"))
    learn(encoder, labels)
    assert encoder.finish()[0].classes == expected


@pytest.mark.parametrize(
    ("labels", "guess"),
    [
        (["skipped"] * 5 + ["bought"] * 9, "bought"),
        (["skip", "buy", "skip"], "buy"),
        (["A", "A", "B"], "B"),
        (["yep", "nope", "nope"], "yep"),
        (["install", "uninstall"], "install"),
        (["m", "f", "m"], "f"),
    ],
)
def test_two_words_that_are_not_known_are_refused_with_the_line_that_names_one(labels, guess):
    with pytest.raises(DataError, match=f'it is not known which of two classes(.|\n)*positive = "{guess}"'):
        encoder_of(labels)


def test_a_named_positive_class_is_the_second_in_any_spelling():
    encoder = encoder_of(["Skipped", "Bought", "skipped "], positive="bought")
    assert encoder.finish()[0].classes == ("Skipped", "Bought")
    assert read(encoder, ["bought", "SKIPPED", " Bought"]) == [1, 0, 1]
    assert encoder_of([1, 0], positive="0").finish()[0].classes == ("1", "0")
    assert encoder_of([True, False], positive="0").finish()[0].classes == ("true", "false")


def test_a_positive_class_that_is_not_met_is_an_error_that_names_what_is():
    with pytest.raises(DataError, match=r'does not occur(.|\n)*"skipped" in 1 row(.|\n)*did you mean bought'):
        encoder_of(["skipped", "bought"], positive="bougth")


def test_a_positive_class_among_three_is_refused():
    with pytest.raises(
        DataError, match=r'requires two classes, and the label has more(.|\n)*data.classes = \["skip", "buy"\]'
    ):
        encoder_of(["skip", "skip", "buy", "wait"], positive="buy")


def test_truth_values_of_one_file_and_numbers_of_another_are_one_label():
    encoder = encoder_of([1, 0, 0], [True, False])
    assert encoder.finish()[0].classes == ("0", "1")
    assert read(encoder, [True, False]) == [1, 0]
    assert read(encoder, ["YES", "1.0", "n"]) == [1, 1, 0]


@pytest.mark.parametrize("stray", ["2", "click", "?", "unknown"])
def test_a_stray_among_two_classes_is_refused_with_both_ways_out(stray):
    counts = {"0": 2000, "1": 1000, stray: 1}
    with pytest.raises(DataError, match="3 values, but 3,000 of 3,001 rows hold two of them") as caught:
        decide_classes(counts, "click")
    assert 'data.classes = ["0", "1"]' in caught.value.fix
    assert f'data.classes = ["0", "1", "{stray}"]' in caught.value.fix


def test_words_among_zeros_and_ones_are_refused_however_many():
    with pytest.raises(DataError, match="3 values, but 80 of 100 rows hold two of them"):
        decide_classes({"0": 50, "1": 30, "unknown": 20}, "click")


def test_more_classes_are_sorted_and_one_that_is_rare_is_pointed_out():
    classes, notes = decide_classes({"wait": 4000, "buy": 3000, "leave": 2000, "laeve": 2}, "action")
    assert classes == ("buy", "laeve", "leave", "wait")
    assert ["laeve" in note and "2 rows" in note for note in notes] == [True]


@pytest.mark.parametrize(
    "counts", [{"0.5": 5, "0.25": 5, "1": 9}, {str(number): 3 for number in range(101)}], ids=["fractions", "many"]
)
def test_numbers_that_are_no_classes_are_refused(counts):
    with pytest.raises(DataError, match=r"numbers that are not classes(.|\n)*threshold"):
        decide_classes(counts, "rating")


def test_a_rating_is_taken_for_classes_with_a_note():
    classes, notes = decide_classes({"5": 30, "4": 40, "1": 20}, "rating")
    assert classes == ("1", "4", "5")
    assert ["3 classes without an order" in note for note in notes] == [True]


def test_letter_case_that_tells_classes_apart_has_to_be_stated():
    with pytest.raises(DataError, match=r'only in letter case(.|\n)*"Wait"'):
        decide_classes({"wait": 9, "Wait": 3, "buy": 9, "leave": 9}, "action")
    assert [Spelling(("A", "a", "b")).place(text) for text in ("A", "a", "B", "c")] == [0, 1, 2, -1]


@pytest.mark.parametrize("text", [*sorted(MISSING_LABELS), "", " ", " NULL "])
def test_a_marker_of_missing_is_no_class_unless_it_is_stated(text):
    encoder = TargetEncoder(Schema(fields=FIELDS, label="y"))
    rejects = encoder.read(Columns(pa.table({"y": ["0", text, "1"]}))).rejects
    assert [(reject.row, reject.reason) for reject in rejects] == [(1, MISSING)]
    if text in MISSING_LABELS and text not in ("nan", "NaN"):  # these are missing in every column
        stated = TargetEncoder(Schema(fields=FIELDS, label="y", classes=(text, "other")))
        assert read(stated, [text, "other"]) == [0, 1]


def test_classes_of_a_saved_model_keep_their_order_and_their_texts():
    old = TargetEncoder(Schema(fields=FIELDS, label="y", classes=("clicked", "not clicked", "\\N")))
    assert read(old, ["not clicked", "\\N", "clicked", "Clicked"]) == [1, 2, 0, 0]


@given(
    st.lists(st.sampled_from([*NO, *YES]), min_size=1),
    st.lists(st.sampled_from([str.upper, str.title, str.lower, "  {}".format, "{} ".format]), min_size=1),
)
def test_flags_are_two_classes_however_they_are_spelled(words, styles):
    labels = [styles[number % len(styles)](word) for number, word in enumerate(["no", "1", *words])]
    expected = [int(word in YES) for word in ["no", "1", *words]]
    encoder = encoder_of(labels)
    assert read(encoder, labels) == expected
    assert read(encoder_of(*([label] for label in reversed(labels))), labels) == expected


@given(
    st.dictionaries(st.text("abAB01-+ nouy", min_size=1, max_size=5).map(str.strip).filter(bool), st.integers(1, 50)),
    st.randoms(),
)
def test_what_is_decided_depends_on_the_rows_alone(counts, random):
    shuffled = list(counts.items())
    random.shuffle(shuffled)

    def outcome(rows):
        try:
            return decide_classes(rows, "y")
        except DataError as error:
            return str(error)

    assert outcome(counts) == outcome(dict(shuffled))
    if not isinstance(found := outcome(counts), str):
        spelling = Spelling(found.texts)
        assert {spelling.place(text) for text in counts} == set(range(len(found.texts)))
        if len(found.texts) == 2:
            assert guess_positive(dict.fromkeys(found.texts, 1)) == (found.texts[1], True)
