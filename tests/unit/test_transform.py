"""`transform`: strings changed as asked, everything else left as it came."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.contract.json_values import decode
from fanfold.workers.processors.transform import transform
from tests.unit.any_json import exactly, storable_text, values
from tests.unit.attempted import attempted, failure_of, result_of


@given(st.lists(values, max_size=5))
def test_without_options_every_item_comes_back_unchanged(items: list[Any]) -> None:
    outcome = attempted(transform, items)
    assert exactly(decode(outcome.output.body)) == exactly(items)


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({"strip": True}, "aDa löve"),
        ({"lower": True}, "  ada löve "),
        ({"upper": True}, "  ADA LÖVE "),
        ({"title": True}, "  Ada Löve "),
        ({"reverse": True}, " evöl aDa  "),
        ({"prefix": "<", "suffix": ">"}, "<  aDa löve >"),
        ({"strip": True, "upper": True, "prefix": "DR. "}, "DR. ADA LÖVE"),
        ({"strip": True, "reverse": True, "suffix": "!"}, "evöl aDa!"),
        ({"lower": True, "upper": True}, "  ADA LÖVE "),
        ({"upper": False, "prefix": ""}, "  aDa löve "),
    ],
)
def test_strings_are_changed_in_the_documented_order(options: dict[str, Any], changed: str) -> None:
    assert result_of(transform, ["  aDa löve "], **options) == [changed]


@given(storable_text)
def test_reversing_twice_gives_the_text_back(text: str) -> None:
    (once,) = result_of(transform, [text], reverse=True)
    assert result_of(transform, [once], reverse=True) == [text]


def test_of_objects_only_the_named_fields_change() -> None:
    items = [{"name": "ada", "note": "x"}, {"note": "no name"}]
    expected = [{"name": "ADA", "note": "x"}, {"note": "no name"}]
    assert result_of(transform, items, upper=True, fields=["name"]) == expected


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        (1, "a number"),
        (1.5, "a number"),
        (True, "true or false"),
        (None, "null"),
        ([], "an array"),
        ({}, "an object"),
    ],
)
def test_what_is_no_string_is_named_by_its_kind(item: object, kind: str) -> None:
    said = f"must be a string, not {kind}"
    assert failure_of(transform, [item], upper=True) == ("ValidationError", f"the value: {said}")
    in_a_field = failure_of(transform, [{"a": item}], upper=True, fields=["a"])
    assert in_a_field == ("ValidationError", f"a: {said}")


def test_fields_of_what_is_no_object_are_an_error() -> None:
    found = failure_of(transform, ["text"], upper=True, fields=["a"])
    assert found[0] == "ValidationError"
    # The item's kind is told as everywhere.
    assert found[1] == "the value: must be an object with the fields, not a string"
