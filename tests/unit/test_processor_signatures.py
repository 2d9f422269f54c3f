"""What a function's signature says about the processor it is, and what does not fit."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from pydantic import Field

from fanfold.processing import ProcessorContext, ValidationError, example
from fanfold.workers.processor import NotAProcessor, Processor


def shout(item: str, *, marks: int = 1) -> str:
    """Say it louder."""
    return item.upper() + "!" * marks


def join(chunk: list[str]) -> str:
    return " ".join(chunk)


async def fetch(item: str, *, context: ProcessorContext, host: str) -> str:
    return f"{host}/{item}/{context.attempt}"


def test_the_name_of_the_first_parameter_says_what_it_takes() -> None:
    assert Processor(shout).takes_items
    assert not Processor(join).takes_items


def test_a_coroutine_function_is_told_from_a_plain_one() -> None:
    assert Processor(fetch).is_async
    assert not Processor(shout).is_async


def test_its_name_and_description_are_the_functions() -> None:
    assert (Processor(shout).name, Processor(shout).description) == ("shout", "Say it louder.")
    assert Processor(join).description == ""


def test_its_options_are_the_keyword_only_parameters() -> None:
    assert Processor(shout).options_schema == {
        "title": "shout options",
        "type": "object",
        "properties": {"marks": {"title": "Marks", "type": "integer", "default": 1}},
        "additionalProperties": False,
    }


def test_the_context_is_given_by_the_worker_and_is_no_option() -> None:
    processor = Processor(fetch)
    assert processor.context_parameter == "context"
    assert list(processor.options_schema["properties"]) == ["host"]
    assert processor.options_schema["required"] == ["host"]
    with pytest.raises(ValidationError, match="context"):
        processor.check_options({"host": "h", "context": {}})


def test_options_come_as_the_annotations_want_them_with_defaults() -> None:
    assert Processor(shout).check_options({}) == {"marks": 1}
    assert Processor(shout).check_options({"marks": 3}) == {"marks": 3}


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (shout, {"marks": "many"}, "marks: must be an integer, not a string"),
        (shout, {"marks": float("inf")}, "marks: "),
        (shout, {"volume": 1}, "volume: is unknown"),
        (fetch, {}, "host: is required"),
    ],
)
def test_options_that_do_not_fit_are_a_validation_error(
    function: Callable[..., Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        Processor(function).check_options(options)


def test_the_data_is_checked_by_its_annotation() -> None:
    assert Processor(shout).check_data("a") == "a"
    with pytest.raises(ValidationError, match="the value: must be a string, not a number"):
        Processor(shout).check_data(5)
    with pytest.raises(ValidationError, match="1: must be a string, not a number"):
        Processor(join).check_data(["a", 5])


def test_without_an_annotation_any_value_will_do() -> None:
    def anything(item):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - that is the point
        return item

    value = {"a": [None, 1.5, "x"]}
    assert Processor(anything).check_data(value) is value


def test_constraints_in_an_annotation_are_part_of_the_schema() -> None:
    schema = Processor(_constrained).options_schema["properties"]["count"]
    assert (schema["minimum"], schema["maximum"]) == (1, 9)


def test_an_example_is_completed_with_the_name() -> None:
    shown = example({"items": ["a"], "options": {"marks": 2}})(_with_example)
    expected = {"processor": "_with_example", "items": ["a"], "options": {"marks": 2}}
    assert Processor(shown).example == expected
    assert Processor(join).example == {"processor": "join", "items": ["a"]}


CALLABLE = "from typing import Callable\ndef f(item, *, option: Callable[[], int]): ..."


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def f(): ...", "f: the first parameter must be named 'item' or 'chunk'"),
        ("def f(value): ...", "f: the first parameter must be named 'item' or 'chunk'"),
        ("def f(item, marks): ...", r"f: parameter 'marks' must be keyword-only"),
        ("def f(item, marks=1): ...", r"f: parameter 'marks' must be keyword-only"),
        ("def f(item, *rest): ...", r"f: parameter 'rest' must be keyword-only"),
        ("def f(item, **rest): ...", r"f: parameter 'rest' must be keyword-only"),
        ("def f(*, item): ...", "f: .*item"),
        ("def f(*item): ...", "f: .*item"),
        ("def f(item, *, _a=1): ...", "f: .*_a"),
        ("def f(item, *, model_config=1): ...", "f: .*config"),
        (CALLABLE, "f: .*option"),
        ("def f(item: 'Gone'): ...", "f: .*Gone"),
        ("def f(item, *, a: 'Gone'): ...", "f: .*Gone"),
        ("class C: ...\ndef f(item: C): ...", "f: .*C"),
        ("class C: ...\ndef f(item, *, a: C): ...", "f: .*C"),
    ],
)
def test_a_signature_that_does_not_fit_is_refused_with_the_reason(
    source: str, message: str
) -> None:
    names: dict[str, Any] = {"__name__": "theirs"}
    exec(source, names)  # noqa: S102 - functions as users might write them
    assert inspect.isfunction(names["f"])
    with pytest.raises(NotAProcessor, match=message):
        Processor(names["f"])


def _constrained(item: int, *, count: Annotated[int, Field(ge=1, le=9)] = 1) -> int:
    return item * count


def _with_example(item: str) -> str:
    return item
