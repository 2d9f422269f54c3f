"""Which fields of a job go together, for the published schema: what `rules` checks.

What a sub-job inherits no schema can say: of a sub-job it allows all that is right in some job.
"""

from typing import Any, Final

_Schema = dict[str, Any]
_NULL: Final[_Schema] = {"type": "null"}


def with_field(name: str, kind: str, *without: str) -> _Schema:
    """The schema of objects that have the one field and none of the others."""
    fields = {name: {"type": kind}} | dict.fromkeys(without, _NULL)
    return {"required": [name], "properties": fields}


def _without(*names: str) -> _Schema:
    return {"properties": dict.fromkeys(names, _NULL)}


_HOLD: Final[_Schema] = {
    "anyOf": [
        _without("hold_timeout_seconds"),
        {"required": ["on_failure"], "properties": {"on_failure": {"const": "hold"}}},
    ]
}
_CUT: Final = ("chunk_size", "max_chunk_bytes")
_DATA: Final[_Schema] = {
    "anyOf": [
        with_field("items", "array", "chunks", "source"),
        with_field("chunks", "array", "items", "source", *_CUT),
        with_field("source", "string", "items", "chunks"),
        with_field("jobs", "object", "items", "chunks", "source"),
    ]
}
_WORK: Final[_Schema] = {
    "anyOf": [
        with_field("processor", "string", "stages"),
        with_field("stages", "array", "processor", "options"),
        with_field("jobs", "object", "processor", "stages", "options"),
    ]
}
_DATA_OF_SUB_JOB: Final[_Schema] = {
    "anyOf": [
        _without("chunks", "input"),
        with_field("chunks", "array", "items", "input", *_CUT),
        with_field("input", "string", "items", "chunks"),
    ]
}
_WORK_OF_SUB_JOB: Final[_Schema] = {"anyOf": [_without("stages"), _without("processor", "options")]}


def _parts(*not_of_parents: str) -> _Schema:
    """A job has chunks, or is made of jobs: side by side, or one after another."""
    parent = with_field("jobs", "object", "max_per_second", "compensate", *not_of_parents)
    in_parallel: _Schema = {
        "properties": {
            "order": {"enum": ["parallel", None]},
            "jobs": {"additionalProperties": _without("input", "when")},
        }
    }
    in_a_row = {
        "required": ["order"],
        "properties": {"order": {"const": "sequence"}, "max_jobs": _NULL},
    }
    return {
        "anyOf": [
            _without("jobs", "order", "max_jobs"),
            {"allOf": [parent, {"anyOf": [in_parallel, in_a_row]}]},
        ]
    }


OF_JOB: Final[_Schema] = {"allOf": [_DATA, _WORK, _HOLD, _parts()]}


def describe_sub_job(schema: _Schema) -> None:
    """Complete the schema of a sub-job.

    Without defaults: whoever fills them in would say what the sub-job is to inherit.
    """
    schema["allOf"] = [_DATA_OF_SUB_JOB, _WORK_OF_SUB_JOB, _parts("input")]
    for field in schema["properties"].values():
        field.pop("default", None)
