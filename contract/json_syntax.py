"""Says what is wrong with text that is not JSON, in words for whoever wrote it."""

import json
import re
from typing import Final

_WORD = re.compile(r"[A-Za-z_$][\w$]*")
# What other languages write, and JSON does not.
_FOREIGN: Final = {
    "True": "true",
    "TRUE": "true",
    "False": "false",
    "FALSE": "false",
    "None": "null",
    "NULL": "null",
    "undefined": "null",
    "nan": "null",
}
_STRING = r'"(?:[^"\\]|\\.)*"'
_CONSTANT = re.compile(rf"{_STRING}|(?P<found>NaN|-?Infinity)", re.DOTALL)
_LAST_BEFORE = re.compile(r"\S\s*\Z")
# What no value begins with.
_AT: Final = {
    "'": "text stands in single quotes: JSON wants double quotes",
    "#": "JSON has no comments",
    "+": "a number has no plus sign",
    ".": "a number has digits on both sides of its point",
    **dict.fromkeys(
        "\u00ab\u00bb\u2018\u2019\u201c\u201d\u201e",
        "the quotes are typographic: JSON wants straight double quotes",
    ),
}
_BOM: Final = "\ufeff"
# By what Python's parser says.
_FAULTS: Final = (
    ("Expecting property name", "the name of a field, in double quotes, is missing"),
    ("Expecting ':'", "a colon is missing after the name of a field"),
    ("Expecting ','", "a comma is missing, or a closing bracket"),
    (
        "Invalid control character",
        "a string holds a line break or another control character: write \\n for it",
    ),
    ("Invalid \\uXXXX", "\\u is not followed by four hexadecimal digits"),
    ("Invalid \\escape", "a backslash is written as two"),
    ("Extra data", "there is more text after the end of the value"),
    ("Expecting value", "a JSON value has to be here"),
)


def explained(error: json.JSONDecodeError) -> str:
    """What is wrong where Python's parser gave up."""
    text, at = error.doc, error.pos
    if not text.strip():
        return "there is no text"
    if text.startswith(_BOM):
        return "the text begins with a byte order mark: save it without one"
    if error.msg.startswith("Unterminated string"):
        return "a string begins here and is never closed"
    if at >= len(text.rstrip()):
        return "the text ends before it is whole"
    return _of_what_is_there(text, at) or next(
        (words for beginning, words in _FAULTS if error.msg.startswith(beginning)),
        "this is not JSON",
    )


def place_of_constant(text: str) -> int:
    """Where the first NaN or Infinity is that is no part of a string."""
    found = (match.start() for match in _CONSTANT.finditer(text) if match["found"])
    return next(found, 0)


def _of_what_is_there(text: str, at: int) -> str | None:
    """The frequent mistakes, by the characters where they are."""
    here, before = text[at], _last_before(text, at)
    word = _WORD.match(text, at)
    if word is not None:
        if before in {"{", ","} and text[word.end() :].lstrip()[:1] == ":":
            return "the name of a field has to stand in double quotes"
        meant = _FOREIGN.get(word[0])
        return f"{word[0]} is not JSON: write {meant}" if meant else None
    if (here in "]}" and before == ",") or (
        here == "," and text[at + 1 :].lstrip()[:1] in {"]", "}"}
    ):
        return "a comma stands before the closing bracket"
    if here == "," and before in {",", "[", "{"}:
        return "there is nothing before this comma"
    return _of_character(text, at)


def _of_character(text: str, at: int) -> str | None:
    here = text[at]
    if text.startswith(("//", "/*"), at):
        here = "#"
    if here.isspace() and not here.isascii():
        return f"a blank that JSON does not know (U+{ord(here):04X}): write a space for it"
    if here.isdigit() and text[at - 1 : at] == "0":
        return "a number begins with 0"
    return _AT.get(here)


def _last_before(text: str, at: int) -> str:
    """The last character before this place that is not blank."""
    found = _LAST_BEFORE.search(text[max(0, at - 1000) : at])
    return found[0][0] if found else ""
