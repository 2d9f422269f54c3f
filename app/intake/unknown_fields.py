"""The fields that a job may have at a place: the nearest is named to who mistypes one."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from fanfold.app.intake.job_request import JobRequest


def fields_at(path: Sequence[int | str]) -> Iterable[str]:
    """The names of the fields of the object at this place in a job."""
    schema: dict[str, Any] = _schema()
    for step in path:
        schema = _resolved(schema)
        below = schema.get("items", {}) if isinstance(step, int) else schema.get("properties", {})
        schema = below if isinstance(step, int) else below.get(step, {})
    return list(_resolved(schema).get("properties", {}))


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema itself: not a reference to it, and not that it may be null."""
    for choice in schema.get("anyOf", ()):
        if choice.get("type") != "null":
            schema = choice
    if "$ref" in schema:
        found: dict[str, Any] = _schema()["$defs"][schema["$ref"].rpartition("/")[2]]
        return found
    return schema


@cache
def _schema() -> dict[str, Any]:
    return JobRequest.model_json_schema()
