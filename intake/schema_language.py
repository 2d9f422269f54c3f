"""The language of the schemas of options and items: JSON schema (2020-12), and what is added.

What is added is described in docs/howto/write-a-processor.md: `x-ascending`, and the formats
`regex` and `linear-regex`. Of items dates, times, addresses and UUIDs are checked too. Other
formats are not: what of them a processor takes is up to it.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, time
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

import jsonschema
import pydantic_core
from jsonschema import FormatChecker
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from pydantic_core import core_schema

from fanfold.ledger.catalog import CatalogEntry

ASCENDING: Final = "x-ascending"
REGEX: Final = "regex"
LINEAR_REGEX: Final = "linear-regex"
_TWO: Final = 2


def validator_for(entry: CatalogEntry) -> Validator:
    """What checks options of this processor."""
    return validator_of(entry.options_schema)


def validator_of(schema: Mapping[str, Any], *, are_items: bool = False) -> Validator:
    """What checks values by this schema."""
    return _validator(_Frozen(schema), are_items)


def _ascending(
    _validator: object, pairs: object, instance: object, _schema: object
) -> Iterator[jsonschema.ValidationError]:
    """`true` at an array: no number is below the one before it.

    At an object, pairs of names: the first one's number is not above the second one's.
    """
    if pairs is True and isinstance(instance, list):
        for index, (low, high) in enumerate(pairwise(instance)):
            if _is_above(low, high):
                yield jsonschema.ValidationError(
                    "must not be below the number before it", path=(index + 1,)
                )
    elif isinstance(pairs, list) and isinstance(instance, dict):
        for pair in pairs:
            # Whoever publishes anything else gets no check; his jobs are taken all the same.
            low, high = pair if isinstance(pair, list) and len(pair) == _TWO else ("", "")
            if _is_above(instance.get(low), instance.get(high)):
                yield jsonschema.ValidationError(f"must not be above {high}", path=(low,))


def _is_above(low: object, high: object) -> bool:
    return _is_number(low) and _is_number(high) and low > high  # type: ignore[operator]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_formats = FormatChecker(formats=())


@_formats.checks(REGEX, raises=(re.error, OverflowError, RecursionError))
def _is_regex(value: object) -> bool:
    return not isinstance(value, str) or bool(re.compile(value))


@_formats.checks(LINEAR_REGEX, raises=pydantic_core.SchemaError)
def _is_linear_regex(value: object) -> bool:
    """By the engine that pydantic's own patterns run in."""
    if isinstance(value, str):
        pydantic_core.SchemaValidator({"type": "str", "pattern": value})
    return True


_item_formats = FormatChecker(["date", "ipv4", "ipv6", "uuid"])
_item_formats.checkers = {**_item_formats.checkers, **_formats.checkers}


@_item_formats.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or bool(datetime.fromisoformat(value.upper()))


@_item_formats.checks("time", raises=ValueError)
def _is_time(value: object) -> bool:
    return not isinstance(value, str) or bool(time.fromisoformat(value.upper()))


def _pattern(
    _validator: object, pattern: str, value: object, _schema: object
) -> Iterator[jsonschema.ValidationError]:
    if isinstance(value, str) and not _matches(pattern, value):
        yield jsonschema.ValidationError("does not match")


def _pattern_properties(
    validator: Any,  # noqa: ANN401 - jsonschema has no type for it
    schemas: Mapping[str, Any],
    value: object,
    _schema: object,
) -> Iterator[jsonschema.ValidationError]:
    for pattern, schema in schemas.items() if isinstance(value, dict) else ():
        for name, member in value.items() if isinstance(value, dict) else ():
            if _matches(pattern, name):
                yield from validator.descend(member, schema, path=name, schema_path=pattern)


def _matches(pattern: str, text: str) -> bool:
    matcher = _matcher(pattern)
    # What only Python's engine can read, the worker decides.
    return matcher is None or matcher.isinstance_python(text)


@lru_cache(maxsize=256)
def _matcher(pattern: str) -> pydantic_core.SchemaValidator | None:
    # The engine that pydantic writes patterns for. It takes linear time, whatever the text:
    # Python's could keep the gateway busy for ever.
    try:
        return pydantic_core.SchemaValidator(core_schema.str_schema(pattern=pattern))
    except pydantic_core.SchemaError:
        return None


_Validator: Any = extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator,
    {ASCENDING: _ascending, "pattern": _pattern, "patternProperties": _pattern_properties},
)


class _Frozen:
    """A schema as a cache key: equal while its text is."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = schema
        self._text = repr(schema)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Frozen) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


@lru_cache(maxsize=256)
def _validator(schema: _Frozen, are_items: bool) -> Validator:
    formats = _item_formats if are_items else _formats
    validator: Validator = _Validator(schema.schema, format_checker=formats)
    return validator
