"""What pydantic finds has words of ours: in answers of the gateway always, in a worker's mostly."""

import re
from collections.abc import Iterator
from typing import Any, get_args

import pydantic
import pytest
from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ErrorType

from fanfold.contract.pydantic_faults import message_of
from fanfold.intake.job_request import JobRequest

SCHEMA = JobRequest.model_json_schema()
ONE_OF_EACH: list[Any] = [None, True, 1, 1.5, "\ud800", "text", [], {}, float("nan"), float("inf")]
PYTHON = re.compile(
    r"\b(dict\w*|list|str|int|bool|NoneType|None|True|False|instance|Input|input|literal|parsing"
    r"|Retry|Stage|ToleratedFailures|JobRequest|SubJobRequest|model|pydantic|[Ee]xtra|inf|nan|greater|less)\b|_"
)
# Names of fields are the API's own.
FIELDS = re.compile("|".join(sorted(JobRequest.model_fields, key=len, reverse=True)))


def mistakes(schema: dict[str, Any]) -> Iterator[Any]:
    """Values of which each breaks some rule of this schema, or of what is below it."""
    if schema.get("$ref", "").endswith("/SubJobRequest"):
        return  # which is like a job
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    yield from ONE_OF_EACH
    yield from beyond_limits(schema)
    for choice in schema.get("anyOf", ()):
        yield from mistakes(choice)
    yield from ([mistake] for mistake in mistakes(schema["items"])) if "items" in schema else ()
    for name, below in named(schema):
        yield from ({name: mistake} for mistake in mistakes(below))


def beyond_limits(schema: dict[str, Any]) -> Iterator[Any]:
    """What is just outside the limits of this schema itself."""
    for keyword, step in (("minimum", -1), ("exclusiveMinimum", -1), ("maximum", 1)):
        if keyword in schema:
            yield schema[keyword] + step
    yield "x" * (schema.get("maxLength", -1) + 1)
    yield [None] * (schema.get("maxItems", -1) + 1)
    yield {"no such name": 1}


def named(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The fields of an object, by their names or by one that fits a pattern."""
    yield from schema.get("properties", {}).items()
    yield from (("name", below) for below in schema.get("patternProperties", {}).values())


def found() -> dict[str, ErrorDetails]:
    """A fault of each type that a job can have."""
    faults: dict[str, ErrorDetails] = {}
    for mistake in mistakes(SCHEMA):
        try:
            JobRequest.model_validate(mistake)
        except pydantic.ValidationError as error:
            faults |= {fault["type"]: fault for fault in error.errors(include_url=False)}
    return faults


FOUND = found()


def test_the_mistakes_cover_what_there_is_to_get_wrong() -> None:
    assert set(FOUND) >= {
        "dict_type", "extra_forbidden", "finite_number", "float_type", "greater_than",
        "greater_than_equal", "int_type", "less_than_equal", "list_type", "literal_error",
        "missing", "model_type", "no_limit", "string_pattern_mismatch", "string_too_long",
        "string_too_short", "string_type", "string_unicode", "too_long", "too_short",
    }  # fmt: skip


@pytest.mark.parametrize("fault", FOUND.values(), ids=FOUND)
def test_each_says_what_must_be_in_jsons_words(fault: ErrorDetails) -> None:
    said = message_of(fault)
    pattern = fault.get("ctx", {}).get("pattern", "")
    assert said != "is not valid here"
    assert not PYTHON.search(FIELDS.sub("", said.replace(pattern, ""))), said


@pytest.mark.parametrize("kind", get_args(ErrorType))
def test_one_that_nobody_thought_of_says_nothing_of_python_either(kind: str) -> None:
    limits = dict.fromkeys(["gt", "ge", "lt", "le", "min_length", "max_length", "multiple_of"], 1)
    context = {**limits, "actual_length": 0, "expected": "'a' or 'b'", "pattern": "x"}
    fault: Any = {"type": kind, "loc": ("a",), "input": 5, "msg": "Input _ str", "ctx": context}
    said = message_of(fault)
    assert said
    assert not PYTHON.search(said), said
