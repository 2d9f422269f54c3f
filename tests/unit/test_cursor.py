"""Cursors: they lead back to their place in their listing, and to nowhere else."""

import base64
import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fanfold.app.http import cursor
from fanfold.app.http.errors import MalformedRequest
from fanfold.contract.states import JobState

positions = st.one_of(st.integers(0, 2**31), st.text())
filters = st.lists(
    st.one_of(st.none(), st.text(max_size=5), st.dictionaries(st.text(max_size=3), st.text())),
    max_size=3,
)


def refused(text: str, given_filters: list[Any]) -> None:
    with pytest.raises(MalformedRequest, match="not one of this listing") as refusal:
        cursor.decode(text, given_filters)
    assert (refusal.value.code, refusal.value.status) == ("invalid_cursor", 400)


@given(positions, filters)
def test_a_cursor_leads_back_to_its_place(position: str | int, given_filters: list[Any]) -> None:
    text = cursor.encode(position, given_filters)
    assert cursor.decode(text, given_filters) == position


@given(positions, filters)
def test_a_cursor_can_stand_in_an_address_as_it_is(
    position: str | int, given_filters: list[Any]
) -> None:
    text = cursor.encode(position, given_filters)
    assert text.replace("-", "").replace("_", "").isalnum()
    assert text.isascii()


@given(positions, filters, filters)
def test_a_cursor_of_other_filters_is_refused(
    position: str | int, given_filters: list[Any], other_filters: list[Any]
) -> None:
    assume(given_filters != other_filters)
    refused(cursor.encode(position, given_filters), other_filters)


@pytest.mark.parametrize(
    "other",
    [
        ["jobs", None, {}],
        ["jobs", JobState.FAILED, {"a": "b"}],
        ["jobs", JobState.RUNNING, {"a": "c"}],
        ["jobs", JobState.RUNNING, {"a": "b", "c": "d"}],
        ["children", "job_1", JobState.RUNNING],
    ],
)
def test_a_cursor_knows_its_state_its_labels_and_its_listing(other: list[Any]) -> None:
    refused(cursor.encode("job_1", ["jobs", JobState.RUNNING, {"a": "b"}]), other)


def test_the_order_in_which_labels_were_given_does_not_count() -> None:
    text = cursor.encode("job_1", ["jobs", None, {"a": "1", "b": "2"}])
    assert cursor.decode(text, ["jobs", None, {"b": "2", "a": "1"}]) == "job_1"


@given(positions, st.data())
def test_a_tampered_cursor_is_refused(position: str | int, data: st.DataObject) -> None:
    raw = bytearray(_raw(cursor.encode(position, ["jobs"])))
    index = data.draw(st.integers(0, len(raw) - 1))
    raw[index] ^= data.draw(st.integers(1, 255))
    refused(base64.urlsafe_b64encode(raw).decode().rstrip("="), ["jobs"])


@given(positions, st.data())
def test_a_shortened_cursor_is_refused(position: str | int, data: st.DataObject) -> None:
    raw = _raw(cursor.encode(position, ["jobs"]))
    shorter = raw[: data.draw(st.integers(0, len(raw) - 1))]
    refused(base64.urlsafe_b64encode(shorter).decode().rstrip("="), ["jobs"])


@given(st.text(), filters)
def test_garbage_is_refused(text: str, given_filters: list[Any]) -> None:
    refused(text, given_filters)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "=",
        "====",
        "A",
        "ü",
        "\x00",
        "a b",
        "a" * 10_000,
        json.dumps({"after": 5}),
        "../..",
        "%",
    ],
)
def test_likely_garbage_is_refused(text: str) -> None:
    refused(text, ["jobs"])


def _raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
