"""Validates items against rules; often a stage before another."""

from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, Literal

import pydantic
import pydantic_core
from pydantic import BaseModel, ConfigDict, Field

from fanfold.processing import ItemDropped, ValidationError, example

Kind = Literal["string", "number", "integer", "boolean", "object", "array", "null"]

_KINDS: dict[Kind, Callable[[object], bool]] = {
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "null": lambda value: value is None,
}


class Rule(BaseModel):
    """What one field of an item has to be. Only what is given is checked."""

    model_config = ConfigDict(
        extra="forbid",
        allow_inf_nan=False,
        json_schema_extra={
            "x-ascending": [["minimum", "maximum"], ["min_length", "max_length"]],
        },
    )

    field: str | None = None
    """The item's field; left out, the rule is about the item itself."""
    required: bool = False
    """The field must be there, and be neither null nor an empty string."""
    type: Kind | None = None
    minimum: float | None = None
    maximum: float | None = None
    min_length: Annotated[int, Field(ge=0)] | None = None
    max_length: Annotated[int, Field(ge=0)] | None = None
    pattern: (
        Annotated[str, Field(max_length=500, json_schema_extra={"format": "linear-regex"})] | None
    ) = None
    """A regular expression, without look-around, that the whole string has to match."""
    choices: Annotated[list[Any], Field(min_length=1)] | None = None


@example(
    {
        "items": [{"iata": "HEL", "country": "FI"}, {"iata": "", "country": "FI"}],
        "options": {
            "rules": [
                {"field": "iata", "required": True, "pattern": "[A-Z]{3}"},
                {"field": "country", "min_length": 2, "max_length": 2},
            ],
            "on_invalid": "drop",
        },
    }
)
def validate(
    item: Any,  # noqa: ANN401 - any JSON value may be validated
    *,
    required: list[str] | None = None,
    rules: list[Rule] | None = None,
    on_invalid: Literal["fail", "drop"] = "fail",
) -> Any:  # noqa: ANN401 - the item itself
    """Give back each item that keeps the rules.

    `required` lists fields that must be there; `rules` say more: type, range, length,
    pattern, choice. An item that breaks one fails its chunk with `ValidationError`, or
    with `on_invalid: "drop"` is left out and counted as failed.
    """
    every_rule = [Rule(field=name, required=True) for name in required or []] + (rules or [])
    for rule in every_rule:
        fault = _fault(rule, item)
        if fault is not None:
            raise (ValidationError if on_invalid == "fail" else ItemDropped)(fault)
    return item


def _fault(rule: Rule, item: object) -> str | None:
    """What is wrong with the item by this rule, or None."""
    name, value = "item", item
    if rule.field is not None:
        if not isinstance(item, dict):
            return "item is not an object"
        name, value = rule.field, item.get(rule.field)
    if value is None or value == "":
        if rule.required:
            return f"{name} is missing"
        if rule.field is not None and rule.field not in (item if isinstance(item, dict) else {}):
            return None
    if rule.type is not None and not _KINDS[rule.type](value):
        return f"{name} is not of type {rule.type}"
    if rule.choices is not None and not any(_is_same(value, one) for one in rule.choices):
        return f"{name} is not one of the allowed values"
    return _range_fault(rule, name, value) or _text_fault(rule, name, value)


def _is_same(value: object, other: object) -> bool:
    """Equal as JSON values: to Python, true is 1."""
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def _range_fault(rule: Rule, name: str, value: object) -> str | None:
    if rule.minimum is None and rule.maximum is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        return f"{name} is not a number"
    if rule.minimum is not None and value < rule.minimum:
        return f"{name} is below {rule.minimum:g}"
    if rule.maximum is not None and value > rule.maximum:
        return f"{name} is above {rule.maximum:g}"
    return None


def _text_fault(rule: Rule, name: str, value: object) -> str | None:
    if rule.min_length is not None or rule.max_length is not None:
        if not isinstance(value, str | list | dict):
            return f"{name} has no length"
        if rule.min_length is not None and len(value) < rule.min_length:
            return f"{name} is shorter than {rule.min_length}"
        if rule.max_length is not None and len(value) > rule.max_length:
            return f"{name} is longer than {rule.max_length}"
    if rule.pattern is not None:
        if not isinstance(value, str):
            return f"{name} is not a string"
        try:
            _matcher(rule.pattern).validate_python(value)
        except pydantic.ValidationError:
            return f"{name} does not match the pattern"
    return None


@lru_cache(maxsize=256)
def _matcher(pattern: str) -> pydantic.TypeAdapter[str]:
    # pydantic's expressions take linear time, whatever the text: one of Python's could
    # keep the whole worker busy for ever.
    whole = Annotated[str, Field(pattern=f"^(?:{pattern})$")]
    try:
        return pydantic.TypeAdapter(whole)
    except pydantic_core.SchemaError:
        raise ValidationError("the pattern is not a regular expression") from None
