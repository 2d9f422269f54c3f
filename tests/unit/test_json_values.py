"""User data as JSON text: a value leaves as it came, or never gets in."""

import json
import re
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
    with pytest.raises(InvalidJson, match=f"^line 1, column [0-9]+: {name} is not a JSON number$"):
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
        (b"", "line 1, column 1: there is no text"),
        (b'{"a": 1,\n "b"', "line 2, column 5: the text ends before it is whole"),
        (b'{"a": [1', "line 1, column 9: the text ends before it is whole"),
        (b'{"a": "b', "line 1, column 7: a string begins here and is never closed"),
        (b"[1] 2", "line 1, column 5: there is more text after the end of the value"),
        (b'"\xff"', "the text is not UTF-8 at byte 1"),
        (b"\xef\xbb\xbf[]", "line 1, column 1: the text begins with a byte order mark: save it"),
        (b'["a\nb"]', "line 1, column 4: a string holds a line break or another control"),
        (b'"\x01"', "line 1, column 2: a string holds a line break or another control"),
        (b"{'a': 1}", "line 1, column 2: text stands in single quotes: JSON wants double"),
        (b"['a']", "line 1, column 2: text stands in single quotes"),
        (b'{"a": 1, b: 2}', "line 1, column 10: the name of a field has to stand in double"),
        (b"[01]", "line 1, column 3: a number begins with 0"),
        (b"[1,]", "line 1, column 4: a comma stands before the closing bracket"),
        (b'{"a": 1,\n}', "line 2, column 1: a comma stands before the closing bracket"),
        (b"[1 2]", "line 1, column 4: a comma is missing, or a closing bracket"),
        (b'{"a" 1}', "line 1, column 6: a colon is missing after the name of a field"),
        (b"{1: 2}", "line 1, column 2: the name of a field, in double quotes, is missing"),
        (b"[1, # one\n 2]", "line 1, column 5: JSON has no comments"),
        (b"[1 /* one */]", "line 1, column 4: JSON has no comments"),
        (b"[True, False]", "line 1, column 2: True is not JSON: write true"),
        (b'{"a": None}', "line 1, column 7: None is not JSON: write null"),
        (b"<html>", "line 1, column 1: a JSON value has to be here"),
        (b"[+1]", "line 1, column 2: a number has no plus sign"),
        (b"[.5]", "line 1, column 2: a number has digits on both sides of its point"),
        (b"[1.]", "line 1, column 3: a number has digits on both sides of its point"),
        (b"[1,,2]", "line 1, column 4: there is nothing before this comma"),
        ("[“a”]".encode(), "line 1, column 2: the quotes are typographic"),
        ("[1,\u00a02]".encode(), "line 1, column 4: a blank that JSON does not know"),
        (b'["\\x"]', "line 1, column 3: a backslash is written as two"),
        (b'["\\u12"]', r"line 1, column \d: .u is not followed by four hexadecimal digits"),
        (b'["NaN", "\\"NaN", NaN]', "line 1, column 18: NaN is not a JSON number"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place_and_what_is_wrong_there(
    text: bytes, message: str
) -> None:
    with pytest.raises(InvalidJson, match=f"^{message}"):
        decode(text)


@given(st.text(max_size=30) | st.text("[]{}:,\"\\/#1eE+-. \n'ntfNI", max_size=20))
def test_nothing_of_the_parsers_own_words_is_said(text: str) -> None:
    try:
        decode(text.encode("utf-8", "replace"))
    except InvalidJson as error:
        said = str(error)
    else:
        return
    assert not re.search("Expecting|delimiter|Invalid|Extra|Illegal|Unterminated|this is not", said)


@given(st.integers(0, 12), st.integers(0, 12))
def test_depth_is_counted_in_arrays_and_objects(depth: int, limit: int) -> None:
    assert nests_deeper_than(nested(depth), limit) == (depth > limit)
    assert nests_deeper_than([1, {}, nested(depth)], limit + 1) == (max(depth, 1) > limit)


def test_a_value_far_deeper_than_the_limit_costs_no_recursion() -> None:
    assert nests_deeper_than(nested(100_000), 200)
