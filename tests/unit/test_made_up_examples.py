"""The example job of a processor that has none: made up from its types, or left out."""

import inspect
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import jsonschema
import pydantic
import pytest
from pydantic import Field

from fanfold.workers.processor import Processor


class Colour(Enum):
    RED = "red"


class Line(pydantic.BaseModel):
    sku: Annotated[str, Field(min_length=3)]
    count: Annotated[int, Field(ge=5, multiple_of=3)]


class Order(pydantic.BaseModel):
    lines: Annotated[list[Line], Field(min_length=2)]
    ordered: date
    colour: Colour
    note: str | None = None
    code: str = Field(pattern="^[A-Z]{3}$", examples=["HEL"])


class Tree(pydantic.BaseModel):
    value: int
    left: "Tree | None"


class Endless(pydantic.BaseModel):
    next: "Endless"


class Coded(pydantic.BaseModel):
    code: str = Field(pattern="^[A-Z]{3}$")


class EvenTotal(pydantic.BaseModel):
    a: int
    b: int

    @pydantic.model_validator(mode="after")
    def is_even(self) -> "EvenTotal":
        if self.a == self.b:
            raise RuntimeError("not even a validation error")
        return self


@dataclass
class Point:
    x: float
    y: float = 0.0


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]


def processor(annotation: Any, name: str = "item", **options: Any) -> Processor:
    def made(value: Any, **_: Any) -> Any:
        return value

    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    parameters += [inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY) for option in options]
    made.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    made.__annotations__ = {name: annotation, **options}
    return Processor(made)


ANNOTATIONS = [
    *(int, float, str, bool, None, bytes, date, datetime, time, timedelta, UUID, Decimal),
    *(Order, Tree, Point, Colour, Literal["x", 5], int | None, Cat | Dog),
    *(list[int], set[str], dict[str, int], tuple[int, str], list[Order]),
    Annotated[Cat | Dog, Field(discriminator="kind")],
    Annotated[int, Field(gt=5)],
    Annotated[int, Field(lt=-5)],
    Annotated[int, Field(ge=10, le=20, multiple_of=7)],
    Annotated[float, Field(gt=0, lt=0.5)],
    Annotated[float, Field(ge=0.25, le=0.25)],
    Annotated[str, Field(min_length=3, max_length=4)],
    Annotated[str, Field(max_length=0)],
    Annotated[list[int], Field(max_length=0)],
]


@pytest.mark.parametrize("annotation", ANNOTATIONS, ids=str)
@pytest.mark.parametrize("takes", ["item", "chunk"])
def test_an_example_fits_the_published_schemas(takes: str, annotation: Any) -> None:
    data = annotation if takes == "item" else list[annotation]
    code = processor(data, takes, needed=annotation)

    example = code.example

    assert example is not None
    assert code.item_schema is not None
    for item in example["items"]:
        jsonschema.validate(item, code.item_schema, jsonschema.Draft202012Validator)
    jsonschema.validate(example["options"], code.options_schema, jsonschema.Draft202012Validator)
    code.check_data(example["items"][0] if takes == "item" else example["items"])
    assert set(code.check_options(example["options"])) == {"needed"}


@pytest.mark.parametrize(
    "annotation",
    [
        Coded,
        EvenTotal,
        Endless,
        Annotated[set[int], Field(min_length=2)],
        Annotated[dict[str, int], Field(min_length=1)],
        Annotated[int, Field(gt=5, lt=6)],
    ],
    ids=str,
)
def test_what_cannot_be_made_up_is_left_out(annotation: Any) -> None:
    assert processor(annotation).example is None
    assert processor(Any, needed=annotation).example is None


def test_where_any_item_will_do_the_example_has_numbers() -> None:
    assert processor(Any).example == {"processor": "made", "items": [1, 2, 3]}
    assert processor(list[Any], "chunk").example == {"processor": "made", "items": [1, 2, 3]}
    assert processor(dict[str, int], "chunk").example is None


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (int, {"type": "integer"}),
        (Any, None),
        (object, None),
    ],
)
def test_the_schema_of_an_item_is_that_of_its_annotation(annotation: Any, schema: Any) -> None:
    assert processor(annotation).item_schema == schema
    assert processor(list[annotation], "chunk").item_schema == schema


def test_the_schema_of_a_chunks_items_brings_its_definitions() -> None:
    schema = processor(list[Line], "chunk").item_schema
    assert schema is not None
    jsonschema.validate({"sku": "abc", "count": 6}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"sku": "abc"}, schema)


def test_what_an_author_adds_to_a_schema_may_be_no_json() -> None:
    money = Annotated[Decimal, Field(json_schema_extra={"examples": [Decimal("4.50")]})]
    schema = processor(money).item_schema
    assert schema is not None
    assert schema["examples"] == ["4.50"]
