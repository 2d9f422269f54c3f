"""`count_by` and `word_count`: the map steps of a map-reduce."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.workers.processors.count_by import count_by
from fanfold.workers.processors.word_count import word_count
from tests.unit.any_json import storable_text
from tests.unit.attempted import failure_of, result_of


@given(st.lists(storable_text, min_size=1))
def test_strings_are_counted_as_they_are(items: list[str]) -> None:
    assert result_of(count_by, items) == dict(Counter(items))


def test_objects_are_counted_by_their_field() -> None:
    items = [{"country": "FI"}, {"country": "SE", "x": 1}, {"country": "FI"}]
    assert result_of(count_by, items, field="country") == {"FI": 2, "SE": 1}


def test_other_values_are_counted_under_their_json_text() -> None:
    items: list[Any] = [1, 1.0, True, None, [1, "a"], {"a": 1}, {"a": 1}, 10**30]
    assert result_of(count_by, items) == {
        "1": 1,
        "1.0": 1,
        "true": 1,
        "null": 1,
        '[1,"a"]': 1,
        '{"a":1}': 2,
        "1" + "0" * 30: 1,
    }


@pytest.mark.parametrize("item", [{}, {"Country": "FI"}, "FI", None, ["country"]])
def test_an_item_without_the_field_fails_the_chunk(item: object) -> None:
    found = failure_of(count_by, [{"country": "FI"}, item], field="country")
    assert found == ("ValidationError", "country is missing")


def test_a_field_that_is_null_is_counted_as_such() -> None:
    assert result_of(count_by, [{"a": None}, {"a": None}], field="a") == {"null": 2}


def test_words_are_counted_in_lower_case() -> None:
    texts = ["To be, or not to be:", "that's the question -- isn\u2019t it?"]
    once = ["or", "not", "that's", "the", "question", "isn\u2019t", "it"]
    assert result_of(word_count, texts) == {"to": 2, "be": 2, **dict.fromkeys(once, 1)}


def test_words_of_every_script_are_counted() -> None:
    texts = ["Ääkköset ääkköset", "Мир 東京 мир", "well-known well known"]
    once = ["東京", "well-known", "well", "known"]
    assert result_of(word_count, texts) == {"ääkköset": 2, "мир": 2, **dict.fromkeys(once, 1)}


def test_short_words_may_be_left_out() -> None:
    assert result_of(word_count, ["a bb ccc bb"], min_length=2) == {"bb": 2, "ccc": 1}


def test_a_chunk_without_words_has_no_counts() -> None:
    assert result_of(word_count, ["", "... --- !!!"]) == {}


@pytest.mark.parametrize("item", [1, None, ["a"], {"text": "a"}])
def test_words_are_counted_in_texts_only(item: object) -> None:
    kind, message = failure_of(word_count, ["fine", item])
    assert kind == "ValidationError"
    assert message.startswith("1: must be a string, not ")
