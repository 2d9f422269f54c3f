"""Reads the JSON text of a job, in which no field may be given twice.

Python's parser takes the last of two fields with the same name, so a job could run with
other options than its author sees. Items are the client's own: of them none is looked at.
"""

import json
import re
from typing import Any, Final

from fanfold.contract import json_values
from fanfold.intake.faults import pointer, refuse, shown

_DATA: Final = frozenset({"items", "chunks"})
_skip_blanks = re.compile(r"[ \t\r\n]*").match


class _Repeated(Exception):
    """An object has a field of this name more than once."""


def decode_job(text: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """The document in this text.

    Raises InvalidJson where it is not JSON, and InvalidJob for a field that is there twice.
    """
    return json_values.decode(text, _parsed)


def _parsed(text: str) -> Any:  # noqa: ANN401 - any JSON value
    """The document, the fields of an object one by one, so that each is parsed as it needs.

    Where anything else is there than expected, the parser reads the whole text and says what.
    """
    at = _after_blanks(text, 0)
    if text[at : at + 1] != "{":
        return _plain.decode(text)
    fields: dict[str, Any] = {}
    while True:
        at = _after_blanks(text, at + 1)
        if text[at : at + 1] != '"':
            return _plain.decode(text)
        name, at = _plain.raw_decode(text, at)
        at = _after_blanks(text, at)
        if text[at : at + 1] != ":":
            return _plain.decode(text)
        if name in fields:
            refuse("invalid_job", pointer(name), "is given more than once")
        fields[name], at = _field(text, _after_blanks(text, at + 1), name)
        at = _after_blanks(text, at)
        if text[at : at + 1] != ",":
            break
    is_whole = text[at : at + 1] == "}" and _after_blanks(text, at + 1) == len(text)
    return fields if is_whole else _plain.decode(text)


def _field(text: str, at: int, name: str) -> tuple[Any, int]:
    if name in _DATA:
        return _plain.raw_decode(text, at)
    try:
        return _strict.raw_decode(text, at)
    except _Repeated as error:
        refuse("invalid_job", pointer(name), f"has the field {shown(str(error))} more than once")


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
