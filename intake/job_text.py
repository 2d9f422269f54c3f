"""Reads the JSON text of a job, in which no field may be given twice.

Python's parser takes the last of two fields with the same name, so a job could run with
other options than its author sees; the same holds for the jobs that it is made of, and for their
names. Items are the client's own: of them none is looked at.
"""

import json
import re
from collections.abc import Callable
from typing import Any, Final

from fanfold.contract import json_values
from fanfold.intake.faults import Path, pointer, refuse, shown

_DATA: Final = frozenset({"items", "chunks"})
_skip_blanks = re.compile(r"[ \t\r\n]*").match


class _Repeated(Exception):
    """An object has a field of this name more than once."""


class _Unexpected(Exception):
    """The text is not JSON here."""


def decode_job(text: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """The document in this text.

    Raises InvalidJson where it is not JSON, and InvalidJob for a field that is there twice.
    """
    return json_values.decode(text, lambda whole: _parsed(whole, _job))


def decode_schedule(text: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """The same of a schedule, whose field `job` is a job."""
    return json_values.decode(text, lambda whole: _parsed(whole, _schedule))


def _parsed(text: str, read: "Member") -> Any:  # noqa: ANN401 - any JSON value
    """The document, the fields of a job one by one, so that each is parsed as it needs.

    Where anything else is there than expected, the parser reads the whole text and says what.
    """
    try:
        document, at = read(text, _after_blanks(text, 0), ())
    except _Unexpected:
        return _plain.decode(text)
    return document if _after_blanks(text, at) == len(text) else _plain.decode(text)


Member = Callable[[str, int, Path], tuple[Any, int]]
"""Reads the value at a position of the text, which stands at this place in the document."""


def _object(text: str, at: int, path: Path, member: Member) -> tuple[Any, int]:
    """The object that begins here, or another value, and where it ends."""
    if text[at : at + 1] != "{":
        return _plain.raw_decode(text, at)
    fields: dict[str, Any] = {}
    at = _after_blanks(text, at + 1)
    if text[at : at + 1] == "}":
        return fields, at + 1
    while True:
        if text[at : at + 1] != '"':
            raise _Unexpected
        name, at = _plain.raw_decode(text, at)
        at = _after_blanks(text, at)
        if text[at : at + 1] != ":":
            raise _Unexpected
        if name in fields:
            refuse("invalid_job", pointer(*path, name), "is given more than once")
        fields[name], at = member(text, _after_blanks(text, at + 1), (*path, name))
        at = _after_blanks(text, at)
        if text[at : at + 1] == "}":
            return fields, at + 1
        if text[at : at + 1] != ",":
            raise _Unexpected
        at = _after_blanks(text, at + 1)


def _schedule(text: str, at: int, path: Path) -> tuple[Any, int]:
    def member(text: str, at: int, path: Path) -> tuple[Any, int]:
        return (_job if path == ("job",) else _strictly)(text, at, path)

    return _object(text, at, path, member)


def _job(text: str, at: int, path: Path) -> tuple[Any, int]:
    return _object(text, at, path, _field)


def _field(text: str, at: int, path: Path) -> tuple[Any, int]:
    if path[-1] == "jobs":
        return _object(text, at, path, _job)
    if path[-1] in _DATA:
        return _plain.raw_decode(text, at)
    return _strictly(text, at, path)


def _strictly(text: str, at: int, path: Path) -> tuple[Any, int]:
    try:
        return _strict.raw_decode(text, at)
    except _Repeated as error:
        message = f"has the field {shown(str(error))} more than once"
        refuse("invalid_job", pointer(*path), message)


def _after_blanks(text: str, at: int) -> int:
    found = _skip_blanks(text, at)
    return found.end() if found else at


def _without_repetition(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in fields:
        if name in found:
            raise _Repeated(name)
        found[name] = value
    return found


_plain: json.JSONDecoder = json_values.decoder()
_strict: json.JSONDecoder = json_values.decoder(_without_repetition)
