"""User data as JSON text: a value leaves as it came, or never gets in."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.contract.json_values import (
    MAX_INTEGER_DIGITS,
    InvalidJson,
    UnstorableValue,
    decode,
    encode,
    nests_deeper_than,
)
from tests.unit.any_json import exactly, storable_text, values

Path = tuple[str | int, ...]


def nested(depth: int, leaf: Any = 1) -> Any:
    value = leaf
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


@given(values)
def test_any_value_comes_back_equal(value: Any) -> None:
    assert exactly(decode(encode(value))) == exactly(value)


@given(values)
def test_the_text_is_what_any_json_reader_understands(value: Any) -> None:
    assert exactly(json.loads(encode(value))) == exactly(value)


@given(values)
def test_what_another_writer_wrote_is_read_the_same(value: Any) -> None:
    spread = json.dumps(value, ensure_ascii=True, indent=1).encode()
    assert exactly(decode(spread)) == exactly(value)


@pytest.mark.parametrize("sign", ["", "-"])
def test_the_longest_allowed_integer_comes_back(sign: str) -> None:
    text = f"{sign}{'7' * MAX_INTEGER_DIGITS}".encode()
    assert encode(decode(text)) == text


def test_a_longer_integer_is_refused_both_ways() -> None:
    with pytest.raises(InvalidJson, match=f"more than {MAX_INTEGER_DIGITS} digits"):
        decode(b'{"a": [%s]}' % (b"7" * (MAX_INTEGER_DIGITS + 1)))
    with pytest.raises(UnstorableValue, match=f"more than {MAX_INTEGER_DIGITS} digits"):
        encode({"a": [10**MAX_INTEGER_DIGITS]})


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("around", ["{}", "[1, {}]", '{{"a": {}}}'])
def test_what_json_has_no_number_for_is_no_json(name: str, around: str) -> None:
    with pytest.raises(InvalidJson, match=f"^{name} is not a JSON number$"):
        decode(around.format(name).encode())


@pytest.mark.parametrize("text", ["1e999", "-1e999", "1e" + "9" * 400])
def test_a_number_that_overflows_is_found_when_it_is_stored(text: str) -> None:
    with pytest.raises(UnstorableValue, match="too large for a 64-bit float") as refused:
        encode(decode(f'{{"a": [0, {text}]}}'.encode()))
    assert refused.value.path == ("a", 1)


SPOILERS = [
    pytest.param(float("nan"), "is not a finite number", id="nan"),
    pytest.param(float("-inf"), "is a number too large", id="infinity"),
    pytest.param("a\x00b", "holds a NUL character", id="nul"),
    pytest.param("\ud83d", "holds a lone surrogate", id="high-surrogate"),
    pytest.param("a\udcff", "holds a lone surrogate", id="low-surrogate"),
]


@pytest.mark.parametrize(("spoiler", "message"), SPOILERS)
@pytest.mark.parametrize(
    ("place", "path"),
    [
        (lambda bad: bad, ()),
        (lambda bad: [1, bad], (1,)),
        (lambda bad: {"x": "fine", "ü/~": [[], {"y": bad}]}, ("ü/~", 1, "y")),
    ],
)
def test_what_cannot_be_stored_is_refused_with_its_place(
    place: Any, path: Path, spoiler: object, message: str
) -> None:
    with pytest.raises(UnstorableValue, match=message) as refused:
        encode(place(spoiler))
    assert refused.value.path == path


@pytest.mark.parametrize(("spoiler", "message"), SPOILERS[2:])
def test_a_key_that_cannot_be_stored_is_refused_with_the_place_of_its_object(
    spoiler: str, message: str
) -> None:
    with pytest.raises(UnstorableValue, match=f"has a key that {message}") as refused:
        encode([0, {"a": {spoiler: 1}}])
    assert refused.value.path == (1, "a")


@given(storable_text)
def test_text_that_only_looks_like_a_nul_is_kept(text: str) -> None:
    value = [f"{text}\\u0000", {f"\\\\u0000{text}": "\\x00"}]
    assert decode(encode(value)) == value


@pytest.mark.parametrize("depth", [100, 300, 600, 900, 2_000, 100_000])
def test_deep_nesting_never_breaks_the_writer(depth: int) -> None:
    try:
        text = encode(nested(depth))
    except UnstorableValue as refused:
        assert (str(refused), refused.path) == ("is nested too deeply", ())  # noqa: PT017 - either is right
    else:
        assert text.count(b"[") + text.count(b"{") == depth


@pytest.mark.parametrize("depth", [100, 300, 600, 900, 2_000])
def test_a_fault_at_any_depth_is_refused_and_not_an_error_of_ours(depth: int) -> None:
    with pytest.raises(UnstorableValue):
        encode(nested(depth, leaf="\x00"))


def test_a_text_nested_too_deeply_is_refused() -> None:
    with pytest.raises(InvalidJson, match="nested too deeply"):
        decode(b"[" * 100_000 + b"]" * 100_000)


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(UnstorableValue, match="contains itself"):
        encode(value)


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", [1, 2j]])
def test_what_is_no_json_value_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError):
        encode(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "Expecting value at line 1 column 1"),
        (b'{"a": 1,\n "b"', "line 2 column 5"),
        (b"[1] 2", "Extra data at line 1 column 5"),
        (b'"\xff"', "not UTF-8 at byte 1"),
        (b'"\x01"', "Invalid control character"),
        (b"{'a': 1}", "line 1 column 2"),
        (b"[01]", "line 1 column 3"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(text: bytes, message: str) -> None:
    with pytest.raises(InvalidJson, match=message):
        decode(text)


@given(st.integers(0, 12), st.integers(0, 12))
def test_depth_is_counted_in_arrays_and_objects(depth: int, limit: int) -> None:
    assert nests_deeper_than(nested(depth), limit) == (depth > limit)
    assert nests_deeper_than([1, {}, nested(depth)], limit + 1) == (max(depth, 1) > limit)


def test_a_value_far_deeper_than_the_limit_costs_no_recursion() -> None:
    assert nests_deeper_than(nested(100_000), 200)
