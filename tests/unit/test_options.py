"""Options against what a processor published: the concrete fault, where it is, the nearest word."""

from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from fanfold.intake.faults import Fault
from fanfold.intake.schema_faults import faults_in
from fanfold.intake.schema_language import validator_for
from fanfold.ledger.catalog import CatalogEntry
from fanfold.workers.processor import Processor
from fanfold.workers.processors.double import double
from fanfold.workers.processors.validate import validate
from tests.unit.any_json import values


class Address(BaseModel):
    """What a field of an option may be."""

    model_config = ConfigDict(extra="forbid")

    street: str
    city: str = ""


class Delivery(BaseModel):
    """An optional option of every sort."""

    model_config = ConfigDict(extra="forbid")

    country: Literal["FI", "SE"] | None = None
    weight: Annotated[int, Field(ge=1, le=100)] | None = None
    code: Annotated[str, Field(pattern="^[A-Z]+$", max_length=3)] | None = None
    to: Address | None = None
    size: int | str | None = None
    tags: Annotated[list[str], Field(min_length=1)] | None = None
    key: str


def published(name: str, options_schema: dict[str, Any]) -> CatalogEntry:
    return CatalogEntry(name=name, description="", options_schema=options_schema, example={})


DELIVER = published("deliver", Delivery.model_json_schema())
DOUBLE = published("double", Processor(double).options_schema)
VALIDATE = published("validate", Processor(validate).options_schema)


def told(options: dict[str, Any], of: CatalogEntry) -> dict[str, str]:
    """Message by pointer."""
    faults = list(faults_in(options, validator_for(of), ()))
    return {fault.pointer: fault.message for fault in faults}


MISTAKES = [
    ({"weight": "5"}, "/weight", "must be an integer, not a string"),
    ({"weight": 1.5}, "/weight", "must be an integer, without a fraction"),
    ({"weight": 0}, "/weight", "must be at least 1"),
    ({"weight": 101}, "/weight", "must be at most 100"),
    ({"code": "a"}, "/code", "must match the pattern ^[A-Z]+$"),
    ({"code": "ABCD"}, "/code", "must have at most 3 characters"),
    ({"country": "fi"}, "/country", "must be FI or SE; did you mean FI?"),
    ({"to": {"street": "a", "town": ""}}, "/to/town", "unknown field; the fields are city, street"),
    ({"to": {"street": "a", "cty": ""}}, "/to/cty", "unknown field; did you mean city?"),
    ({"to": {}}, "/to/street", "is required: the field is missing"),
    ({"to": {"street": 1}}, "/to/street", "must be a string, not a number"),
    ({"to": []}, "/to", "must be an object, not an array"),
    ({"size": []}, "/size", "must be an integer or a string, not an array"),
    ({"tags": []}, "/tags", "must have at least 1 item, not 0"),
    ({"tags": ["a", None]}, "/tags/1", "must be a string, not null"),
]


@pytest.mark.parametrize(("options", "place", "message"), MISTAKES)
def test_a_fault_in_an_optional_option_is_the_concrete_one(
    options: dict[str, Any], place: str, message: str
) -> None:
    assert told({"key": "k", **options}, DELIVER) == {place: message}


def test_no_two_of_these_mistakes_have_the_same_text() -> None:
    assert len({message for _, _, message in MISTAKES}) == len(MISTAKES)


def test_unknown_and_missing_options_are_named_each_at_its_own_place() -> None:
    assert told({"wieght": 5, "zzz": 1}, DELIVER) == {
        "/wieght": "unknown option; did you mean weight?",
        "/zzz": "unknown option; the options are code, country, key, size, tags, to, weight",
        "/key": "is required: the option is missing",
    }


@pytest.mark.parametrize(
    ("rule", "place", "message"),
    [
        ({"pattern": "["}, "/pattern", "is not a regular expression"),
        ({"pattern": "(?=a)"}, "/pattern", "is not a regular expression"),
        ({"pattern": "a)|(b"}, "/pattern", "is not a regular expression"),
        ({"minimum": 2, "maximum": 1}, "/minimum", "must not be above maximum"),
        ({"min_length": 2, "max_length": 1}, "/min_length", "must not be above max_length"),
        ({"type": "strng"}, "/type", "must be string, number, integer, boolean, object, array"),
        ({"feild": "a"}, "/feild", "unknown field; did you mean field?"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(
    rule: dict[str, Any], place: str, message: str
) -> None:
    found = told({"rules": [{}, rule]}, VALIDATE)
    assert list(found) == [f"/rules/1{place}"]
    assert found[f"/rules/1{place}"].startswith(message)


@pytest.mark.parametrize(
    "rule",
    [
        {"pattern": "[A-Z]{3}"},
        {"minimum": 1, "maximum": 1},
        {"minimum": 5, "maximum": None},
        {"minimum": 5, "max_length": 1},
        {"field": None, "type": None, "choices": [None]},
    ],
)
def test_a_rule_that_makes_sense_is_taken(rule: dict[str, Any]) -> None:
    assert told({"rules": [rule]}, VALIDATE) == {}


def test_a_range_that_falls_is_refused() -> None:
    message = "must not be below the number before it"
    assert told({"delay_seconds": [5, 1]}, DOUBLE) == {"/delay_seconds/1": message}
    assert told({"delay_seconds": [1, 1]}, DOUBLE) == {}


@pytest.mark.parametrize("pattern", ["[", "(" * 5000, "a{99999999999999999999}"])
def test_the_format_regex_takes_pythons_expressions(pattern: str) -> None:
    schema = {"properties": {"a": {"type": "string", "format": "regex"}}}
    processor = published("x", schema)
    assert told({"a": "(?=a)b"}, processor) == {}
    assert told({"a": pattern}, processor) == {"/a": "is not a regular expression"}


@pytest.mark.parametrize(
    ("schema", "value", "message"),
    [
        ({"anyOf": [{"const": "x", "type": "string"}, {"type": "integer"}, {"type": "null"}]}, [],
         "must be a string or an integer, not an array"),
        ({"anyOf": [{"const": "x", "type": "string"}, {"type": "null"}]}, 5,
         "must be a string, not a number"),
        ({"anyOf": [{"type": "null"}]}, 5, "must be null, not a number"),
        ({"oneOf": [{"type": "number"}, {"type": "integer"}]}, 5,
         "fits more than one of the forms that exclude each other"),
        ({"anyOf": [{"type": ["integer", "boolean"]}]}, "a",
         "must be an integer or true or false, not a string"),
        ({"pattern": r"^\p{Lu}+$"}, "a", r"must match the pattern ^\p{Lu}+$"),
        ({"pattern": r"^\p{Lu}+$"}, "\u00c4", None),
        # What only Python's engine can read, the worker decides: that one may take for ever.
        ({"pattern": "^(?=A)"}, "a", None),
        ({"pattern": "["}, "a", None),
        ({"x-ascending": [["a"], 5, []]}, {"a": 1}, None),
        ({"x-ascending": "yes"}, [2, 1], None),
        ({"contains": {"type": "string"}}, [1], "breaks the rule contains of the schema"),
        ({"const": True}, 5, "must be true"),
        ({"enum": ["a", None]}, "b", "must be a or null"),
        ({"multipleOf": 5}, 3, "must be a multiple of 5"),
    ],
)  # fmt: skip
def test_any_schema_has_words(schema: dict[str, Any], value: Any, message: str | None) -> None:
    found = told({"a": value}, published("x", {"properties": {"a": schema}}))
    assert found == ({} if message is None else {"/a": message})


@given(st.dictionaries(st.sampled_from(["country", "weight", "code", "to", "size", "key"]), values))
def test_what_is_taken_is_taken_by_pydantic_too(options: dict[str, Any]) -> None:
    faults: list[Fault] = list(faults_in(options, validator_for(DELIVER), ()))
    if not faults:
        Delivery.model_validate(options)
    assert all(fault.message and "breaks the rule" not in fault.message for fault in faults)
