"""The fast check passes only what the rules of a JSON job pass, and refuses what they refuse."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fanfold.app.intake.items.item_check import ItemCheck
from fanfold.contract import json_values
from fanfold.contract.settings import GatewaySettings
from fanfold.intake.faults import InvalidJob
from tests.unit.any_json import values

LIMITS = GatewaySettings()
CORNERS = [
    *(b"1e999", b"[1e999]", b"-1E+999", b"1e0400", b"0.1e400", b"1.7976931348623159e308"),
    *(b"1" * 400 + b".0", b"1" * 310 + b"e0", b"9" * 300 + b"e9", b"1e308", b"5e-999"),
    *(b"1.7976931348623157e308", b"1.7976931348623158e308", b"1" * 400, b"1" * 5000),
    *(b"1" * 20_000, b"1" * 20_001, b"1" * 400 + b"e-200", b"-0", b"01", b"1.", b".5", b"-", b"+1"),
    *(
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"nan",
        b"tru",
        b"null",
        b"True",
        b"",
        b" ",
        b"\xc2\xa0",
    ),
    *(rb'"\ud800"', rb'"\udc00"', rb'"\ud83d\ude00"', rb'"\u0000"', rb'"\\u0000"', b'"\x00"'),
    *(
        rb'{"\u0000":1}',
        rb'{"\ud800":1}',
        b'{"a":1,"a":2}',
        b'{"a":1,}',
        b"[1,]",
        b"[,1]",
        b"{1:2}",
    ),
    *(b'"\t"', b'"\x7f"', b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"'),
    *(
        b"\xef\xbb\xbf1",
        b"\x0b1",
        b"1\r",
        b"\x0c1",
        rb'"\x"',
        rb'"\/"',
        b"1,2",
        b"1 2",
        b"[3",
        b"4]",
    ),
    *(b"[" * 64 + b"]" * 64, b"[" * 65 + b"]" * 65, b'{"a":' * 65 + b"1" + b"}" * 65),
    *(b"[" * 201 + b"]" * 201, b"[" * 100_000, b"[" + b"[],{}," * 50 + b"0]", b'"Infinity e999"'),
    *(b'"e1234"', b'["e1234",1e999]', b'["Infinity e400"]', b"1],[2", b'1,"', b'",2', b"{}"),
]


def is_item(text: bytes) -> bool:
    """By the rules themselves."""
    if len(text) > LIMITS.max_item_bytes:
        return False
    try:
        value = json_values.decode(text)
        json_values.encode(value)
    except (json_values.InvalidJson, json_values.UnstorableValue):
        return False
    return not json_values.nests_deeper_than(value, LIMITS.max_nesting_depth)


def refused_at(texts: list[bytes]) -> int | None:
    """The index of the item that the checker refuses."""
    try:
        ItemCheck(LIMITS).check(texts, 0)
    except InvalidJob as refused:
        return int(refused.errors[0].pointer.split("/")[2])
    return None


def first_that_is_none(texts: list[bytes]) -> int | None:
    return next((index for index, text in enumerate(texts) if not is_item(text)), None)


def mangled(text: bytes, place: int, insert: bytes, removed: int) -> bytes:
    place %= len(text) + 1
    return text[:place] + insert + text[place + removed :]


written = st.one_of(
    values.map(lambda value: json.dumps(value, ensure_ascii=False).encode()),
    values.map(lambda value: json.dumps(value).encode()),
    st.sampled_from(CORNERS),
)
pieces = st.one_of(
    st.binary(max_size=3),
    st.sampled_from([b"[", b"]", b"{", b"}", b",", b'"', b"\\", b"e999", rb"\u0000", rb"\ud800"]),
)
texts = st.one_of(
    written, st.builds(mangled, written, st.integers(0, 10_000), pieces, st.integers(0, 3))
)


@pytest.mark.parametrize("text", CORNERS)
def test_every_corner_is_judged_as_in_a_json_job(text: bytes) -> None:
    assert (refused_at([text]) is None) == is_item(text)


@settings(max_examples=500)
@given(st.lists(texts, min_size=1, max_size=6))
@example([b"1,2", b"[3", b"4]"])
@example([b"1],[2", b"[[3", b"4]]"])
@example([b'"a', b'b"'])
def test_the_first_text_that_is_no_item_is_the_one_refused(given_texts: list[bytes]) -> None:
    assert refused_at(given_texts) == first_that_is_none(given_texts)


def test_what_is_wrong_is_said_with_its_place() -> None:
    with pytest.raises(InvalidJob) as refused:
        ItemCheck(LIMITS).check([b"1", rb'{"a":["\u0000"]}'], 16, lambda offset: f"line {offset}: ")
    assert refused.value.code == "invalid_value"
    (fault,) = refused.value.errors
    assert (fault.pointer, fault.message) == (
        "/items/17/a/0",
        "line 1: the value holds a NUL character",
    )


@pytest.mark.parametrize("size", [9, 10, 11])
def test_an_item_over_the_limit_of_bytes_is_refused(size: int) -> None:
    limits = LIMITS.model_copy(update={"max_item_bytes": 10})
    text = b'"' + b"x" * (size - 2) + b'"'
    if size <= 10:
        ItemCheck(limits).check([text], 0)
        return
    with pytest.raises(InvalidJob, match="at most 10 bytes an item"):
        ItemCheck(limits).check([text], 0)
