"""The text of a job: read as any JSON, but no field of it may be there twice."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.app.http.errors import MalformedRequest
from fanfold.app.intake.body import decode_body
from fanfold.contract import json_values
from fanfold.intake.faults import InvalidJob
from tests.unit.any_json import exactly, storable_text, values

objects = st.dictionaries(storable_text, values, max_size=5)


@given(values | objects, st.sampled_from([None, 1, "\r\n\t"]))
def test_it_is_read_as_any_json(value: Any, indent: Any) -> None:
    text = json.dumps(value, indent=indent).encode()
    assert exactly(decode_body(text)) == exactly(json_values.decode(text))


@given(st.text('{}[]":,a1 \n', max_size=12))
def test_what_is_not_json_is_refused_as_any_other(text: str) -> None:
    body = b'{"a":1' + text.encode()
    assert outcome(decode_body, body) in {outcome(json_values.decode, body), "twice"}


def outcome(decode: Callable[[bytes], Any], body: bytes) -> str:
    """What is read, or in which words it is refused."""
    try:
        return exactly(decode(body))
    except InvalidJob:
        return "twice"
    except json_values.InvalidJson as error:
        return f"The body is not JSON: {error}."
    except MalformedRequest as error:
        return error.detail


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        (b'{"a": 1, "b": 2, "a": 1}', "/a", "is given more than once"),
        (b'{"items": [], "items": []}', "/items", "is given more than once"),
        (b'{"a": {"b": 1, "b": 2}}', "/a", "has the field b more than once"),
        (b'{"a": [{"c": {"b": 1, "b": 2}}]}', "/a", "has the field b more than once"),
    ],
)
def test_a_field_that_is_there_twice_is_refused(text: bytes, place: str, message: str) -> None:
    with pytest.raises(InvalidJob) as refused:
        decode_body(text)
    assert [(f.pointer, f.message) for f in refused.value.errors] == [(place, message)]


def test_a_name_that_is_no_text_is_told_as_far_as_it_can_be_sent_back() -> None:
    with pytest.raises(InvalidJob) as refused:
        decode_body(rb'{"a\ud800": 1, "a\ud800": 2}')
    assert [fault.pointer for fault in refused.value.errors] == ["/a?"]
    assert refused.value.detail == "/a?: is given more than once"


@pytest.mark.parametrize("name", ["items", "chunks"])
def test_items_are_the_clients_own(name: str) -> None:
    text = f'{{"{name}": [{{"a": 1, "a": 2}}]}}'.encode()
    assert decode_body(text) == {name: [{"a": 2}]}


@pytest.mark.parametrize("text", [b"", b" \n\t"])
def test_an_empty_body_is_called_empty(text: bytes) -> None:
    with pytest.raises(MalformedRequest, match="The body is empty: it has to hold the job"):
        decode_body(text)
    with pytest.raises(MalformedRequest, match="The part `job` is empty: it has to hold the job"):
        decode_body(text, "The part `job`")
