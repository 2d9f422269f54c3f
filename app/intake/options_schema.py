"""The language of option schemas: JSON schema (2020-12), and what Fanfold adds to it.

What is added is described in docs/howto/write-a-processor.md: `x-ascending`, and the formats
`regex` and `linear-regex`. Other formats are not checked here: what of them a processor
takes is up to it.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

import jsonschema
import pydantic_core
from jsonschema import FormatChecker
from jsonschema.protocols import Validator
from jsonschema.validators import extend

from fanfold.ledger.catalog import CatalogEntry

ASCENDING: Final = "x-ascending"
REGEX: Final = "regex"
LINEAR_REGEX: Final = "linear-regex"
_TWO: Final = 2


def validator_for(entry: CatalogEntry) -> Validator:
    """What checks options of this processor."""
    return _validator(_Frozen(entry.options_schema))


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


def _pattern(
    _validator: object, pattern: str, instance: object, _schema: object
) -> Iterator[jsonschema.ValidationError]:
    """`pattern`, by the engine of pydantic, which published it; else by Python's.

    The library's own takes Python's alone, and fails on what only the other one knows.
    """
    if isinstance(instance, str) and not _matcher(pattern)(instance):
        yield jsonschema.ValidationError("does not match")


@lru_cache(maxsize=256)
def _matcher(pattern: str) -> Callable[[str], object]:
    with suppress(pydantic_core.SchemaError):
        return pydantic_core.SchemaValidator({"type": "str", "pattern": pattern}).isinstance_python
    with suppress(re.error):
        return re.compile(pattern).search
    return lambda _: True  # in a third language: the processor will say


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


_Validator: Any = extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator, {ASCENDING: _ascending, "pattern": _pattern}
)


class _Frozen:
    """A schema as a cache key: equal while its text is."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.schema = schema
        self._text = repr(schema)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Frozen) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


@lru_cache(maxsize=256)
def _validator(schema: _Frozen) -> Validator:
    validator: Validator = _Validator(schema.schema, format_checker=_formats)
    return validator
