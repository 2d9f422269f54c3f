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
_OF_PARENTS: Final = ("jobs", "order", "max_jobs")
_OF_LEAVES: Final = ("max_per_second", "compensate")


def _one_of_data(last: str) -> list[_Schema]:
    """The data in one of its three ways."""
    return [
        with_field("items", "array", "chunks", last),
        with_field("chunks", "array", "items", last, *_CUT),
        with_field(last, "string", "items", "chunks"),
    ]


_WORK: Final[list[_Schema]] = [
    with_field("processor", "string", "stages"),
    with_field("stages", "array", "processor", "options"),
]
_ORDER: Final[list[_Schema]] = [
    {
        "properties": {
            "order": {"enum": ["parallel", None]},
            "jobs": {"additionalProperties": _without("input", "when")},
        }
    },
    {
        "required": ["order"],
        "properties": {"order": {"const": "sequence"}, "max_jobs": _NULL},
    },
]


def _all_of(form: _Schema, *choices: list[_Schema]) -> _Schema:
    return {"allOf": [form, *({"anyOf": choice} for choice in choices)]}


# Nested: whoever generates data by it unrolls all combinations.
OF_JOB: Final[_Schema] = {
    "allOf": [
        _HOLD,
        {
            "anyOf": [
                _all_of(_without(*_OF_PARENTS), _one_of_data("source"), _WORK),
                _all_of(
                    with_field("jobs", "object", *_OF_LEAVES),
                    [*_one_of_data("source"), _without("items", "chunks", "source")],
                    [*_WORK, _without("processor", "stages", "options")],
                    _ORDER,
                ),
            ]
        },
    ]
}


def describe_sub_job(schema: _Schema) -> None:
    """Complete the schema of a sub-job.

    Without defaults: whoever fills them in would say what the sub-job is to inherit.
    """
    work = [_without("stages"), _without("processor", "options")]
    *in_body, of_previous = _one_of_data("input")
    of_previous["properties"]["check_items"] = {"const": False}
    data = [*in_body, of_previous, _without("items", "chunks", "input")]
    of_parent = [_without("chunks"), with_field("chunks", "array", "items", *_CUT)]
    schema["anyOf"] = [
        _all_of(_without(*_OF_PARENTS), data, work),
        _all_of(with_field("jobs", "object", "input", *_OF_LEAVES), of_parent, work, _ORDER),
    ]
    for field in schema["properties"].values():
        field.pop("default", None)
