"""A failure's text: storable everywhere and of bounded length, whatever user code raised."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fanfold.contract.failures import MAX_MESSAGE_CHARACTERS, Failure, printable
from fanfold.contract.json_values import decode, encode
from tests.unit.any_json import storable_text


@given(st.text(), st.text())
@example("", "")
@example("\ud800" * 200, "\x00\udfff" * 600)
def test_any_text_becomes_a_failure_that_can_be_stored(kind: str, message: str) -> None:
    failure = Failure(type=kind, message=message)
    assert decode(encode(failure.as_json())) == failure.as_json()
    assert 0 < len(failure.type) <= 100
    assert len(failure.message) <= MAX_MESSAGE_CHARACTERS


@given(storable_text.filter(lambda text: len(text) <= MAX_MESSAGE_CHARACTERS))
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_what_cannot_be_stored_is_spelled_out() -> None:
    assert printable("a\x00b\ud800c") == "a\\x00b\\ud800c"


@pytest.mark.parametrize("length", [MAX_MESSAGE_CHARACTERS + 1, 100_000])
def test_a_long_message_is_cut_and_says_so(length: int) -> None:
    cut = printable("x" * length)
    assert cut == "x" * (MAX_MESSAGE_CHARACTERS - 1) + "…"
