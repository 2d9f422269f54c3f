"""What is wrong with options or items, by the JSON schema that their processor published."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, cast

import jsonschema
from jsonschema.protocols import Validator

from fanfold.contract.wording import counted, kind_of, not_one_of, one_of, one_of_kinds, suggested
from fanfold.intake.faults import Fault, Path, pointer
from fanfold.intake.schema_language import ASCENDING, LINEAR_REGEX, REGEX

Error = jsonschema.ValidationError

_KINDS: Final = {
    "array": "an array",
    "boolean": "true or false",
    "integer": "an integer",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a string",
}


def faults_in(options: Mapping[str, Any], by: Validator, path: Path) -> Iterator[Fault]:
    """What is wrong with the options of a processor, which stand at this place in the job."""
    for error in each_once(by.iter_errors(options)):
        for place, message in faults_of(error, what="option"):
            yield Fault(pointer(*path, *place), message)


def each_once(errors: Iterable[Error]) -> list[Error]:
    """Without those of a value's type where it is none of the choices either: these say more."""
    found = list(errors)
    of_choice = {tuple(error.path) for error in found if error.validator in {"enum", "const"}}
    return [
        error for error in found if error.validator != "type" or tuple(error.path) not in of_choice
    ]


def faults_of(error: Error, *, what: str) -> Iterator[tuple[Path, str]]:
    """The concrete faults behind an error, each with its place in the value.

    `what` the fields of the value itself are called.
    """
    place, schema = tuple(error.absolute_path), cast("Mapping[str, Any]", error.schema)
    value = cast("Any", error.instance)
    what = "field" if place else what
    if error.context:  # of anyOf and oneOf
        yield from _faults_of_choice(error, place, what)
    elif error.validator == "additionalProperties":
        known = schema.get("properties", {})
        for name in _unknown_names(value, schema):
            yield (*place, name), f"unknown {what}{suggested(name, known, f'{what}s')}"
    elif error.validator == "required":
        for name in cast("Any", error.validator_value):
            if name not in value:
                yield (*place, name), f"is required: the {what} is missing"
    else:
        yield place, _message(error)


def _unknown_names(value: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    return [
        name
        for name in value
        if name not in known and not any(re.search(pattern, name) for pattern in patterns)
    ]


def _faults_of_choice(error: Error, place: Path, what: str) -> Iterator[tuple[Path, str]]:
    """The faults by the form that was most likely meant; null is meant only where it is given."""
    forms, by_form = cast("Any", error.validator_value), dict[int, list[Error]]()
    for below in error.context or ():
        form = int(below.schema_path[0])
        if forms[form] != {"type": "null"}:
            by_form.setdefault(form, []).append(below)
    wrong_kinds = [below for found in by_form.values() for below in found if _is_of_kind(below)]
    right_kind = [found for found in by_form.values() if not any(map(_is_of_kind, found))]
    if not right_kind:
        limits = dict.fromkeys(_kinds(below.validator_value) for below in wrong_kinds)
        if len(limits) == 1:
            yield place, _wrong_kind(wrong_kinds[0].validator_value, error.instance)
        else:
            kinds = one_of_kinds(limits or ["null"])
            yield place, f"must be {kinds}, not {kind_of(error.instance)}"
        return
    # The form that fits down to the deepest place, and of such the one with the fewest faults.
    meant = max(
        right_kind, key=lambda found: (max(len(below.path) for below in found), -len(found))
    )
    for below in each_once(meant):
        yield from faults_of(below, what=what)


def _is_of_kind(error: Error) -> bool:
    """Whether the value itself, not one in it, is of the wrong kind."""
    return error.validator == "type" and not error.path


def _kinds(limit: Any) -> str:  # noqa: ANN401 - whatever stands in a schema
    return one_of(_KINDS[kind] for kind in ([limit] if isinstance(limit, str) else limit))


def _wrong_kind(limit: Any, value: Any) -> str:  # noqa: ANN401
    if limit == "integer" and isinstance(value, float):
        return "must be an integer, without a fraction"
    return f"must be {_kinds(limit)}, not {kind_of(value)}"


_FORMATS: Final = {
    "date": "is not a date, such as 2026-01-31",
    "date-time": "is not a date and time, such as 2026-01-31T12:00:00Z",
    "ipv4": "is not an IPv4 address",
    "ipv6": "is not an IPv6 address",
    "time": "is not a time, such as 12:00:00",
    "uuid": "is not a UUID",
    REGEX: "is not a regular expression",
    LINEAR_REGEX: "is not a regular expression (without look-around and back-references)",
}
# By the keyword of the schema; from its value there, and the value that was given.
_MESSAGES: Final[dict[str, Callable[[Any, Any], str]]] = {
    "type": _wrong_kind,
    "enum": not_one_of,
    "const": lambda limit, value: not_one_of([limit], value),
    "minimum": lambda limit, _: f"must be at least {limit}",
    "maximum": lambda limit, _: f"must be at most {limit}",
    "exclusiveMinimum": lambda limit, _: f"must be above {limit}",
    "exclusiveMaximum": lambda limit, _: f"must be below {limit}",
    "multipleOf": lambda limit, _: f"must be a multiple of {limit}",
    "minLength": lambda limit, _: f"must have at least {counted(limit, 'character')}",
    "maxLength": lambda limit, _: f"must have at most {counted(limit, 'character')}",
    "pattern": lambda limit, _: f"must match the pattern {limit}",
    "format": lambda limit, _: _FORMATS[limit],
    "minItems": lambda limit, value: (
        f"must have at least {counted(limit, 'item')}, not {len(value)}"
    ),
    "maxItems": lambda limit, value: (
        f"must have at most {counted(limit, 'item')}, not {len(value)}"
    ),
    "uniqueItems": lambda *_: "must not have the same item twice",
    "minProperties": lambda limit, _: f"must have at least {counted(limit, 'field')}",
    "maxProperties": lambda limit, _: f"must have at most {counted(limit, 'field')}",
    "oneOf": lambda *_: "fits more than one of the forms that exclude each other",
}


def _message(error: Error) -> str:
    """What is wrong, in our words: the library's repeat the value."""
    keyword = str(error.validator)
    if keyword == ASCENDING:
        return error.message
    make = _MESSAGES.get(keyword)
    limit = error.validator_value
    return make(limit, error.instance) if make else f"breaks the rule {keyword} of the schema"
