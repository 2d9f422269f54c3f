"""What a worker says of data that does not fit a processor's annotations, as users write them."""

from collections.abc import Callable
from datetime import date
from enum import Enum
from typing import Annotated, Any, Literal, Self

import pytest
from pydantic import BaseModel, Field, StrictFloat, StrictInt, field_validator, model_validator

from fanfold.processing import ValidationError
from fanfold.workers.processor import Processor


class Colour(Enum):
    RED = "red"
    GREEN = "green"


class Order(BaseModel):
    sku: str
    net: Annotated[float, Field(gt=0, multiple_of=0.5)]
    due: Annotated[date, Field(gt=date(2026, 1, 1))] | None = None
    size: Literal[1, 2, "it's"] | None = None
    colour: Colour = Colour.RED
    parts: Annotated[dict[Annotated[str, Field(max_length=2)], int], Field(max_length=1)] = {}

    @field_validator("sku")
    @classmethod
    def is_sold(cls, sku: str) -> str:
        if sku == "":
            raise AssertionError("an article has a number")
        if sku == "gone":
            raise ValueError("the article is not sold any more")
        if sku == "odd":
            raise ValueError
        return sku

    @model_validator(mode="after")
    def is_worth_it(self) -> Self:
        if self.net > 1000:
            raise ValueError("an order is worth 1000 at most")
        return self


class Voucher(BaseModel):
    code: int


def ship(item: Order) -> None: ...
def count(item: StrictInt | StrictFloat) -> None: ...
def either(item: Order | Voucher | str | list[Order]) -> None: ...
def many(chunk: list[int]) -> None: ...
def switch(item: bool) -> None: ...


def order(**changed: Any) -> dict[str, Any]:
    return {"sku": "tea", "net": 4.5, **changed}


@pytest.mark.parametrize(
    ("function", "value", "said"),
    [
        (ship, {"sku": "tea"}, "net: is required"),
        (ship, order(sku=5, net="x"), "sku: must be a string, not a number; net: must be a number"),
        (ship, None, "the value: must be an object, not null"),
        (ship, order(net=0), "net: must be above 0"),
        (ship, order(net=0.7), "net: must be a multiple of 0.5"),
        (ship, order(due="2025-05-05"), "due: must be above 2026-01-01"),
        (ship, order(size=3), "size: must be 1, 2 or it's"),
        (ship, order(colour="grene"), "colour: must be red or green; did you mean green?"),
        (ship, order(parts={"abc": 1}), "parts.abc: the name must have at most 2 characters"),
        (ship, order(parts={"a": 1, "b": 2}), "parts: must have at most 1 item"),
        (count, "5", "the value: must be a number, not a string"),
        (count, True, "the value: must be a number, not true or false"),
        (
            many,
            ["x", 1, 1.5],
            "0: must be an integer, not a string; 2: must be an integer, without",
        ),
        (many, {}, "the value: must be an array, not an object"),
        (switch, "maybe", "the value: must be true or false, not a string"),
    ],
)
def test_faults_are_told_in_json_s_words(
    function: Callable[..., Any], value: Any, said: str
) -> None:
    assert told(function, value).startswith(said)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (5, "the value: must be an object, a string or an array, not a number"),
        ([order(sku=None)], "0.sku: must be a string, not null"),
        ([5], "0: must be an object, not a number"),
        (order(sku="gone"), "sku: the article is not sold any more; code: is required"),
    ],
)
def test_of_a_union_the_forms_that_may_have_been_meant_are_told(value: Any, said: str) -> None:
    assert told(either, value) == said


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"sku": "gone"}, "sku: the article is not sold any more"),
        ({"sku": ""}, "sku: an article has a number"),
        ({"sku": "odd"}, "sku: is not valid here"),
        ({"net": 1001}, "the value: an order is worth 1000 at most"),
    ],
)
def test_a_validator_of_the_user_s_speaks_for_itself(changed: dict[str, Any], said: str) -> None:
    assert told(ship, order(**changed)) == said


def test_what_we_have_no_words_for_keeps_those_of_pydantic() -> None:
    assert told(ship, order(due="2026-13-01")).startswith("due: Input should be a valid date")


def told(function: Callable[..., Any], value: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Processor(function).check_data(value)
    return str(caught.value)
