from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldwise.features.canonical import fingerprints
from fieldwise.features.counting import VocabularyCounter
from fieldwise.features.scratch import Scratch
from fieldwise.features.texts import TextCollector
from fieldwise.features.vocabulary import Buckets, Vocabulary

TEXTS = st.lists(st.none() | st.text("abcdé", min_size=1, max_size=2), max_size=30)
SEED = 3
SOME = {"min_count": 2, "max_features": 5}


def of(texts: list[str | None]) -> np.ndarray:
    return fingerprints(pa.array(texts, pa.string()), SEED)


def counted(*chunks: list[str | None], min_count: int = 1, max_features: int | None = None) -> VocabularyCounter:
    counter = VocabularyCounter(min_count, max_features)
    for chunk in chunks:
        counter.add(of(chunk))
    return counter


def with_texts(
    *chunks: list[str | None], min_count: int = 1, max_features: int | None = None, spilled: tuple[bool, ...] = ()
) -> tuple[Vocabulary, list[list[int]]]:
    """Return a vocabulary with texts, and the ids that codes of the chunks turn out to have."""
    counter, collector, scratch = VocabularyCounter(min_count, max_features), TextCollector(Scratch()), Scratch()
    coded = []
    for place, chunk in enumerate(chunks):
        learned = counter.add(of(chunk))
        collector.add(of(chunk)[learned.frequent], pa.array(chunk, pa.string()).take(learned.frequent))
        coded.append((chunk, learned.codes))
        if spilled[place : place + 1] == (True,):
            counter.spill(scratch)
    vocabulary = counter.finish(scratch)
    collector.finish(vocabulary)
    ids_of_codes = counter.ids_of_codes(vocabulary, scratch)
    ids = [vocabulary.lookup(of(chunk)) if codes is None else ids_of_codes[codes] for chunk, codes in coded]
    return vocabulary, [of_chunk.tolist() for of_chunk in ids]


def saved(vocabulary: Vocabulary) -> dict[str, list]:
    return {key: array.tolist() for key, array in vocabulary.arrays().items()}


@given(TEXTS, st.integers(1, 3), st.none() | st.integers(1, 4))
def test_values_are_numbered_by_count_then_fingerprint(texts, min_count, max_features):
    vocabulary, [coded] = with_texts(texts, min_count=min_count, max_features=max_features)
    counts = Counter(text for text in texts if text)
    of_text = dict(zip(counts, fingerprints(pa.array(list(counts), pa.string()), SEED).tolist(), strict=True))
    kept = sorted(
        (text for text in counts if counts[text] >= min_count), key=lambda text: (-counts[text], of_text[text])
    )
    kept = kept[:max_features]
    assert vocabulary.rows == 2 + len(kept)
    assert vocabulary.texts(range(vocabulary.rows)) == [None, None, *kept]
    unseen = sum(counts.values()) - sum(counts[text] for text in kept)
    assert vocabulary.counts.tolist() == [texts.count(None), unseen, *(counts[text] for text in kept)]
    ids = vocabulary.lookup(fingerprints(pa.array([*texts, "never"], pa.string()), SEED)).tolist()
    assert ids == [0 if text is None else 2 + kept.index(text) if text in kept else 1 for text in [*texts, "never"]]
    assert coded == ids[:-1]


@given(st.lists(TEXTS, max_size=4), st.randoms())
def test_chunks_merges_and_their_order_do_not_matter(chunks, random):
    whole = counted([text for chunk in chunks for text in chunk], **SOME).finish(Scratch())
    assert saved(counted(*chunks, **SOME).finish(Scratch())) == saved(whole)
    random.shuffle(chunks)
    merged = VocabularyCounter(**SOME)
    for chunk in chunks:
        merged.add_learned(counted(chunk).learned(Scratch()), Scratch())
    assert saved(merged.finish(Scratch())) == saved(whole)


def test_a_vocabulary_of_nothing_knows_missing_and_unseen():
    vocabulary = counted().finish(Scratch())
    assert vocabulary.rows == 2
    assert vocabulary.lookup(np.array([0, 5], np.uint64)).tolist() == [0, 1]


def test_arrays_that_are_mapped_read_only_are_used_as_they_are():
    vocabulary, _ = with_texts(["a", "b", "a", None])
    arrays = {
        key: np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape)
        for key, array in vocabulary.arrays().items()
    }
    opened = Vocabulary(**arrays)
    assert all(opened.arrays()[key] is array for key, array in arrays.items())
    assert opened.lookup(fingerprints(pa.array(["b", "a"]), SEED)).tolist() == [3, 2]
    assert opened.texts([3, 2, 0]) == ["b", "a", None]


def test_a_vocabulary_without_texts_has_ids_all_the_same():
    vocabulary = counted(["a", "b", "a"]).finish(Scratch())
    assert vocabulary.lookup(of(["a", "b"])).tolist() == [2, 3]
    assert vocabulary.texts([0, 2, 3]) == [None, None, None]


def test_texts_may_come_as_a_dictionary():
    array = pa.array(["a", "b", "a"]).dictionary_encode()
    counter, collector = VocabularyCounter(), TextCollector(Scratch())
    found = fingerprints(array, SEED)
    frequent = counter.add(found).frequent
    collector.add(found[frequent], array.take(frequent))
    vocabulary = counter.finish(Scratch())
    collector.finish(vocabulary)
    assert vocabulary.texts([3, 2]) == ["b", "a"]


@given(st.lists(TEXTS, max_size=4), st.tuples(*[st.booleans()] * 4))
def test_counts_that_were_moved_to_disk_count_alike_with_their_texts_and_codes(chunks, spilled):
    moved = with_texts(*chunks, **SOME, spilled=spilled)
    stayed = with_texts(*chunks, **SOME)
    assert saved(moved[0]) == saved(stayed[0])
    assert moved[1] == stayed[1]
    assert moved[1] == [stayed[0].lookup(of(chunk)).tolist() for chunk in chunks]
    assert None not in moved[0].texts(range(2, moved[0].rows))


@pytest.mark.parametrize("num_buckets", [1, 7, 2**20])
def test_a_bucket_is_the_fingerprint_modulo_their_number(num_buckets):
    buckets = Buckets(num_buckets)
    values = np.array([0, 1, num_buckets, 2**64 - 1], np.uint64)
    buckets.add(values)
    ids = buckets.lookup(values).tolist()
    assert ids == [0, 2 + 1 % num_buckets, 2, 2 + (2**64 - 1) % num_buckets]
    assert buckets.rows == 2 + num_buckets
    assert buckets.counts.sum() == 4
    assert buckets.counts[ids].min() >= 1
    assert buckets.texts(ids) == [None] * 4
