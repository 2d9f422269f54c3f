"""The fields that a body may have at a place: the nearest is named to who mistypes one."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel


def fields_at(model: type[BaseModel], path: Sequence[int | str]) -> Iterable[str]:
    """The names of the fields of the object at this place in a body of this model."""
    whole = _schema(model)
    schema: dict[str, Any] = whole
    for step in path:
        schema = _resolved(schema, whole)
        if isinstance(step, int):
            schema = schema.get("items", {})
        else:
            # Of an object with names of the client's own, what they stand for.
            others = schema.get("additionalProperties") or {}
            schema = schema.get("properties", {}).get(step, others)
    return list(_resolved(schema, whole).get("properties", {}))


def _resolved(schema: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """The schema itself: not a reference to it, and not that it may be null."""
    for choice in schema.get("anyOf", ()):
        if choice.get("type") != "null":
            schema = choice
    if "$ref" in schema:
        found: dict[str, Any] = whole["$defs"][schema["$ref"].rpartition("/")[2]]
        return found
    return schema


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()
