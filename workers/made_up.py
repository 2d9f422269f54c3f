"""Makes up a value for a JSON schema: a small one, for the example of a processor without one.

It knows what pydantic writes into schemas. A pattern, or rules between fields, it cannot
keep: whoever asks for a value checks it, and does without where it does not fit.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

_TEXTS: Final = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "email": "ada@example.com",
    "uri": "https://example.com/",
    "uuid": "8c9f3c1e-54a2-4f0b-9d6e-2f1b7c3a5d10",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
}


class CannotMakeUp(Exception):
    """No value is known that fits the schema."""


def made_up(schema: Schema) -> Any:  # noqa: ANN401 - any JSON value
    """A value that fits, as far as can be told; raises CannotMakeUp."""
    return _Making(schema.get("$defs", {})).value(schema)


class _Making:
    """One value in the making."""

    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self._definitions = definitions
        self._open: list[str] = []
        """The definitions that the value is inside of: none is entered twice."""
        self._makers: dict[str, Callable[[Schema], Any]] = {
            "any": lambda _: 1,
            "null": lambda _: None,
            "boolean": lambda _: True,
            "integer": _number,
            "number": _number,
            "string": _text,
            "array": self._array,
            "object": self._object,
        }

    def value(self, schema: Schema) -> Any:  # noqa: ANN401 - any JSON value
        for named in _named(schema):
            return named
        if "$ref" in schema:
            return self._defined(schema["$ref"])
        for forms in ("anyOf", "oneOf"):
            if forms in schema:
                return self._first(schema[forms])
        make = self._makers.get(str(schema.get("type", "any")))
        if make is None:
            raise CannotMakeUp
        return make(schema)

    def _defined(self, reference: str) -> Any:  # noqa: ANN401 - any JSON value
        name = reference.removeprefix("#/$defs/")
        if name in self._open or name not in self._definitions:
            raise CannotMakeUp
        self._open.append(name)
        try:
            return self.value(self._definitions[name])
        finally:
            self._open.pop()

    def _first(self, forms: list[Schema]) -> Any:  # noqa: ANN401 - any JSON value
        """Of the first form that has a value; null is the last resort, since it shows least."""
        for form in sorted(forms, key=lambda form: form.get("type") == "null"):
            try:
                return self.value(form)
            except CannotMakeUp:
                continue
        raise CannotMakeUp

    def _array(self, schema: Schema) -> list[Any]:
        made = [self.value(each) for each in schema.get("prefixItems", [])]
        least = schema.get("minItems", 0)
        wanted = max(least, min(1, schema.get("maxItems", 1)))
        try:
            while len(made) < wanted:
                made.append(self.value(schema.get("items") or {}))
        except CannotMakeUp:
            if len(made) < least:
                raise
        return made

    def _object(self, schema: Schema) -> dict[str, Any]:
        properties = schema.get("properties", {})
        return {name: self.value(properties.get(name, {})) for name in schema.get("required", [])}


def _named(schema: Schema) -> Iterator[Any]:
    """The values that the schema itself names."""
    for several in ("examples", "enum"):
        yield from schema.get(several, [])
    for one in ("const", "default"):
        if one in schema:
            yield schema[one]


def _text(schema: Schema) -> str:
    if "pattern" in schema:
        raise CannotMakeUp
    length = min(max(1, schema.get("minLength", 0)), schema.get("maxLength", math.inf))
    return _TEXTS.get(schema.get("format", ""), "a" * int(length))


def _number(schema: Schema) -> int | float:
    low = schema.get("minimum", schema.get("exclusiveMinimum", -math.inf))
    high = schema.get("maximum", schema.get("exclusiveMaximum", math.inf))
    step = schema.get("multipleOf", 1)
    for value in _numbers(low, high, step, is_whole=schema["type"] == "integer"):
        is_above = value > low or (value == low and "minimum" in schema)
        is_below = value < high or (value == high and "maximum" in schema)
        if is_above and is_below and ("multipleOf" not in schema or value % step == 0):
            return value
    raise CannotMakeUp


def _numbers(low: float, high: float, step: float, *, is_whole: bool) -> Iterator[int | float]:
    """Numbers that may fit, the plainest first."""
    yield 1
    if low > -math.inf:
        first = math.ceil(low / step) * step
        yield from (first, first + step)
        if not is_whole:
            yield low
    if high < math.inf:
        last = math.floor(high / step) * step
        yield from (last, last - step)
        if not is_whole:
            yield high
    if not is_whole and -math.inf < low < high < math.inf:
        yield (low + high) / 2
    yield step
