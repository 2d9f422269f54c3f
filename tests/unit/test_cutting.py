"""Splitting: every item in one chunk, in order, within the sizes asked for and the limits."""

import itertools
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.contract.settings import GatewaySettings
from fanfold.intake.cutting import DEFAULT_CHUNK_SIZE, split
from fanfold.intake.faults import InvalidJob
from fanfold.intake.validation import validate
from fanfold.ledger.records import NewChunk
from tests.unit.any_json import exactly, values

LIMITS = GatewaySettings()
items_of_any_kind = st.lists(values, min_size=1, max_size=30)


def limits(**changed: int) -> GatewaySettings:
    return LIMITS.model_copy(update=changed)


def split_up(document: dict[str, Any], within: GatewaySettings = LIMITS) -> list[NewChunk]:
    root, *_ = validate({"processor": "any", **document}, within)
    return split(root.whole, within)


def items_in(chunks: Sequence[NewChunk]) -> list[list[Any]]:
    return [json.loads(chunk.body) for chunk in chunks]


def refusal(document: dict[str, Any], within: GatewaySettings = LIMITS) -> tuple[str, str, str]:
    """The code, the place and the message of the one fault."""
    with pytest.raises(InvalidJob) as refused:
        split_up(document, within)
    (fault,) = refused.value.errors
    return refused.value.code, fault.pointer, fault.message


@given(items_of_any_kind, st.integers(1, 12))
def test_every_item_is_in_one_chunk_and_in_order(items: list[Any], size: int) -> None:
    chunks = split_up({"items": items, "chunk_size": size})
    flat = [item for chunk in items_in(chunks) for item in chunk]
    assert exactly(flat) == exactly(items)
    assert [chunk.item_count for chunk in chunks] == [len(chunk) for chunk in items_in(chunks)]
    assert {chunk.item_count for chunk in chunks[:-1]} <= {size}
    assert 1 <= chunks[-1].item_count <= size


@given(items_of_any_kind, st.integers(1, 12), st.integers(0, 200))
def test_no_chunk_is_over_its_bytes_and_none_is_closed_too_early(
    items: list[Any], size: int, spare: int
) -> None:
    texts = [json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode() for item in items]
    most = max(map(len, texts)) + 2 + spare
    chunks = split_up({"items": items, "chunk_size": size, "max_chunk_bytes": most})
    assert exactly([i for chunk in items_in(chunks) for i in chunk]) == exactly(items)
    done = 0
    for chunk, following in itertools.pairwise(chunks):
        assert len(chunk.body) <= most
        done += chunk.item_count
        grown = len(chunk.body) + 1 + len(texts[done])
        assert chunk.item_count == size or grown > most, following
    assert len(chunks[-1].body) <= most


@given(st.lists(st.lists(values, min_size=1, max_size=5), min_size=1, max_size=8))
def test_given_chunks_stay_as_they_were_given(chunks: list[list[Any]]) -> None:
    made = split_up({"chunks": chunks})
    assert exactly(items_in(made)) == exactly(chunks)
    assert [chunk.item_count for chunk in made] == [len(chunk) for chunk in chunks]


def test_a_chunk_has_a_hundred_items_by_default() -> None:
    chunks = split_up({"items": list(range(250))})
    assert DEFAULT_CHUNK_SIZE == 100
    assert [chunk.item_count for chunk in chunks] == [100, 100, 50]


def test_a_single_item_may_be_a_chunk() -> None:
    assert items_in(split_up({"items": [None, [], {}], "chunk_size": 1})) == [[None], [[]], [{}]]


def test_the_text_of_an_item_is_not_changed() -> None:
    (chunk,) = split_up({"items": ["ü\u2028\U0001f9fe", 10**30, 1.0, -0.0]})
    expected = '["ü\u2028\U0001f9fe",1000000000000000000000000000000,1.0,-0.0]'
    assert chunk.body == expected.encode()


def test_an_item_larger_than_its_chunk_is_named() -> None:
    code, place, message = refusal({"items": [1, "x" * 20, 2], "max_chunk_bytes": 10})
    assert (code, place) == ("limit_exceeded", "/items/1")
    assert "max_chunk_bytes (10)" in message


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({"items": []}, "/items"),
        ({"chunks": []}, "/chunks"),
        ({"chunks": [[1], []]}, "/chunks/1"),
    ],
)
def test_there_is_no_job_without_data(document: dict[str, Any], place: str) -> None:
    assert refusal(document)[:2] == ("invalid_job", place)


@pytest.mark.parametrize(
    ("changed", "fits", "too_much", "place"),
    [
        ({"max_items": 3}, {"items": [1] * 3}, {"items": [1] * 4}, "/items"),
        ({"max_items": 3}, {"chunks": [[1, 2], [3]]}, {"chunks": [[1, 2], [3, 4]]}, "/chunks"),
        (
            {"max_chunks": 2},
            {"items": [1] * 4, "chunk_size": 2},
            {"items": [1] * 5, "chunk_size": 2},
            "/chunk_size",
        ),
        ({"max_chunks": 2}, {"chunks": [[1], [2]]}, {"chunks": [[1], [2], [3]]}, "/chunks"),
        ({"max_item_bytes": 5}, {"items": ["abc"]}, {"items": [1, "abcd"]}, "/items/1"),
        ({"max_item_bytes": 5}, {"items": ["ü"]}, {"items": ["üüü"]}, "/items/0"),
        (
            {"max_item_bytes": 5},
            {"chunks": [["abc"]]},
            {"chunks": [["a"], ["b", "abcd"]]},
            "/chunks/1/1",
        ),
        pytest.param(
            {"max_nesting_depth": 2},
            {"items": [[[]], {"a": {}}]},
            {"items": [1, [{"a": []}]]},
            "/items/1",
        ),
        pytest.param(
            {"max_nesting_depth": 2},
            {"chunks": [[[[]]]]},
            {"chunks": [[1], [2, [[[]]]]]},
            "/chunks/1/1",
        ),
        (
            {"max_nesting_depth": 5},
            {"items": [[[[[[]]]]]]},
            {"items": [1, [[{"a": [[[]]]}]]]},
            "/items/1",
        ),
        (
            {"max_nesting_depth": 5},
            {"chunks": [[[[[[[]]]]]]]},
            {"chunks": [[1], [2, [[[[[[]]]]]]]]},
            "/chunks/1/1",
        ),
    ],
)
def test_a_limit_is_inclusive_and_named_where_it_is_passed(
    changed: dict[str, int], fits: dict[str, Any], too_much: dict[str, Any], place: str
) -> None:
    (name, limit) = next(iter(changed.items()))
    assert split_up(fits, limits(**changed))
    code, found_place, message = refusal(too_much, limits(**changed))
    assert (code, found_place) == ("limit_exceeded", place)
    assert f"FANFOLD_{name.upper()}" in message
    assert str(limit) in message


@pytest.mark.parametrize("depth", [300, 900])
def test_very_deep_nesting_is_over_the_limit_and_no_error_of_ours(depth: int) -> None:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    assert refusal({"items": [value]})[:2] == ("limit_exceeded", "/items/0")
    assert refusal({"items": [1], "options": {"a": value}})[0] == "limit_exceeded"


@pytest.mark.parametrize(
    ("items", "place"),
    [
        ([float("inf")], "/items/0"),
        ([0, {"a/b": ["\x00"]}], "/items/1/a~1b/0"),
        ([{"m~n": "\ud800"}], "/items/0/m~0n"),
        ([{"a": {"b\x00": 1}}], "/items/0/a"),
    ],
)
def test_a_value_that_cannot_be_carried_is_named_by_a_pointer(items: list[Any], place: str) -> None:
    assert refusal({"items": items})[:2] == ("invalid_value", place)
    assert refusal({"chunks": [[1], items]})[:2] == (
        "invalid_value",
        place.replace("/items", "/chunks/1"),
    )
