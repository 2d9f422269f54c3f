"""User data as JSON text: one strict way in, one exact way out.

A value that came in leaves equal: integers of any size, every Unicode text. What
JSON has no name for (NaN, Infinity) or PostgreSQL and UTF-8 cannot hold (NUL, lone
surrogates) never gets in.
"""

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from fanfold.contract.json_syntax import explained, place_of_constant

# CPython refuses to convert longer integers, since the conversion takes quadratic
# time: 20,000 digits take 2 ms to read and 5 ms to write, a body full of them a third
# of a second a megabyte; at 100,000 digits that would be 1.6 seconds.
MAX_INTEGER_DIGITS = 20_000

MAX_FLOAT_NAME = "a number too large for a 64-bit float"


class InvalidJson(ValueError):
    """The text is not JSON; the message says where, and what is wrong there."""

    def __init__(self, what: str, text: str = "", position: int | None = None) -> None:
        """Keep what is wrong, and its place in the text where that is known."""
        self.what = what
        self.line: int | None = None
        self.column: int | None = None
        place = ""
        if position is not None:
            self.line = text.count("\n", 0, position) + 1
            self.column = position - text.rfind("\n", 0, position)
            place = f"line {self.line}, column {self.column}: "
        super().__init__(f"{place}{what}")


class UnstorableValue(ValueError):
    """The value holds something that JSON text cannot carry exactly.

    `path` leads to it from the value's root, as keys and indexes.
    """

    def __init__(self, message: str, path: tuple[str | int, ...]) -> None:
        """Keep the message and where in the value it applies."""
        super().__init__(message)
        self.path = path


def allow_long_integers() -> None:
    """Lift CPython's limit of 4,300 digits; every process that handles user data calls this."""
    sys.set_int_max_str_digits(MAX_INTEGER_DIGITS)


def decode(text: bytes, parse: Callable[[str], Any] | None = None) -> Any:  # noqa: ANN401
    """Parse JSON text, with one of `decoder()` if nothing else is given.

    Raises InvalidJson for anything RFC 8259 does not allow, NaN and Infinity among
    it, and for text that is not UTF-8.
    """
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidJson(f"the text is not UTF-8 at byte {error.start}") from None
    try:
        return (parse or _decode)(decoded)
    except json.JSONDecodeError as error:
        raise InvalidJson(explained(error), error.doc, error.pos) from None
    except RecursionError:
        raise InvalidJson("the text is nested too deeply to be read") from None
    except _Constant as error:
        what = f"{error} is not a JSON number"
        raise InvalidJson(what, decoded, place_of_constant(decoded)) from None
    except ValueError:
        raise InvalidJson(f"an integer has more than {MAX_INTEGER_DIGITS} digits") from None


def decoder(
    pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None,
) -> json.JSONDecoder:
    """A parser that refuses NaN and Infinity; for use below `decode` only."""
    return json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=pairs_hook)


def encode(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """The compact JSON text of a value, in UTF-8.

    Raises UnstorableValue where the value cannot be carried exactly, and TypeError
    for what is not a JSON value at all.
    """
    try:
        text = _encode(value)
        if "\\u0000" not in text:
            return text.encode("utf-8")
    except UnicodeEncodeError:
        pass
    except RecursionError:
        raise UnstorableValue("is nested too deeply", ()) from None
    except ValueError as error:
        if "circular" in str(error).lower():
            raise UnstorableValue("contains itself", ()) from None
        if "integer" in str(error):
            raise UnstorableValue(
                f"holds an integer of more than {MAX_INTEGER_DIGITS} digits", ()
            ) from None
    # Something is wrong, or only looks wrong (a backslash before "u0000" is text):
    # the slow walk finds what and where.
    for path, message in _faults(value, ()):
        raise UnstorableValue(message, path)
    return _encode(value).encode("utf-8")


def nests_deeper_than(value: Any, limit: int) -> bool:  # noqa: ANN401 - any JSON value
    """Whether arrays and objects are nested more than `limit` levels deep."""
    if type(value) not in _CONTAINERS:
        return False
    if limit == 0:
        return True
    for child in value.values() if type(value) is dict else value:
        if type(child) in _CONTAINERS and nests_deeper_than(child, limit - 1):
            return True
    return False


_CONTAINERS = frozenset({dict, list})
_encode: Callable[[Any], str] = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode


class _Constant(Exception):
    """A constant that is Python's, not JSON's."""


def _refuse_constant(name: str) -> NoReturn:
    raise _Constant(name)


_decode = decoder().decode


def _faults(
    value: object, path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(value, str):
        if "\x00" in value:
            yield path, "holds a NUL character"
        if any("\ud800" <= character <= "\udfff" for character in value):
            yield path, "holds a lone surrogate, which is not a Unicode character"
    elif isinstance(value, float) and (value != value or abs(value) == float("inf")):  # noqa: PLR0124
        yield path, "is not a finite number" if value != value else f"is {MAX_FLOAT_NAME}"  # noqa: PLR0124
    elif isinstance(value, dict):
        for key, child in value.items():
            for _, message in _faults(key, ()):
                yield path, f"has a key that {message}"
            yield from _faults(child, (*path, key))
    elif isinstance(value, list | tuple):
        for index, child in enumerate(value):
            yield from _faults(child, (*path, index))
