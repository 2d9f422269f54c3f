"""Corrected items, as lines of what `fanfold failures` gives."""

import re
from dataclasses import dataclass
from typing import Any

from fanfold import Refused
from fanfold.contract.json_values import InvalidJson, decode
from fanfold.contract.wording import kind_of

_POINTER = re.compile(r"^/corrections/(\d+)(?:/|$)")


class InvalidCorrections(Exception):
    """A line is no correction; the message names it and says why."""


@dataclass(frozen=True)
class Corrections:
    """Corrections, each with the number of the line that it stood in."""

    place: str
    entries: list[dict[str, Any]]
    lines: list[int]

    def name_lines(self, refused: Refused) -> None:
        """Say in which lines those corrections stand that the gateway refuses."""
        found = [_POINTER.match(fault.get("pointer") or "") for fault in refused.errors]
        for number in sorted({int(match[1]) for match in found if match}):
            if number < len(self.lines):
                line = self.lines[number]
                refused.add_note(f"  /corrections/{number} is line {line} of {self.place}")


def read_corrections(text: bytes, place: str) -> Corrections:
    """The corrections in NDJSON; `place` is where it came from. Raises InvalidCorrections."""
    entries: list[dict[str, Any]] = []
    lines: list[int] = []
    line_of: dict[tuple[int, int], int] = {}
    for number, line in enumerate(text.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            entry = _correction(line)
        except InvalidJson as error:
            column = "" if error.column is None else f", column {error.column}"
            raise InvalidCorrections(f"{place}: line {number}{column}: {error.what}") from None
        except InvalidCorrections as error:
            raise InvalidCorrections(
                f"{place}: line {number}: {error} (lines are like those of fanfold failures)"
            ) from None
        first = line_of.setdefault((entry["index"], entry["item"]), number)
        if first != number:
            raise InvalidCorrections(
                f"{place}: line {number}: line {first} corrects the same item, "
                f"{entry['item']} of chunk {entry['index']}"
            )
        entries.append(entry)
        lines.append(number)
    if not entries:
        raise InvalidCorrections(f"{place}: there are no corrections in it")
    return Corrections(place, entries, lines)


def _correction(line: bytes) -> dict[str, Any]:
    entry = decode(line)
    if not isinstance(entry, dict):
        raise InvalidCorrections(f"must be an object, not {kind_of(entry)}")
    for name in ("index", "item", "value"):
        if name not in entry:
            raise InvalidCorrections(f"'{name}' is missing")
    for name in ("index", "item"):
        if type(entry[name]) is not int or entry[name] < 0:
            raise InvalidCorrections(f"'{name}' must be a whole number from 0 on")
    return entry
