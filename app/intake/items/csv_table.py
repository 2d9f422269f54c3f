"""Items as the rows of a CSV table: objects of strings, by the names in the first row."""

import csv
from collections.abc import Callable, Iterator
from json import encoder
from typing import Final

from fanfold.contract.wording import counted
from fanfold.intake.faults import ITEMS, item, refuse, refuse_limit
from fanfold.intake.item_schema import ItemSchema

_ROWS_AT_ONCE: Final = 500
_OTHER_SEPARATORS: Final = {";": "semicolon", "\t": "tab", "|": "vertical bar"}
_quoted: Callable[[str], str] = encoder.encode_basestring


class _Lines:
    """The lines of the text, as csv.reader takes them."""

    def __init__(self, blocks: Iterator[bytes], max_row_bytes: int) -> None:
        self._blocks = blocks
        self._max_row_bytes = max_row_bytes
        self.row_bytes = 0
        self.index = 0
        """Of the row that is being read."""
        self.first_line = 1
        self.is_quoted = False
        """Whether the row begins with a quote."""
        self._count = 0

    def next_row(self) -> None:
        """Begin a row where the last one ended."""
        self.row_bytes = 0
        self.first_line = self._count + 1

    def __iter__(self) -> Iterator[str]:
        rest = b""
        for block in self._blocks:
            lines = (rest + block).split(b"\n")
            rest = lines.pop()
            for line in lines:
                yield self._text(line) + "\n"
            self.check_size(len(rest))
        if rest:
            yield self._text(rest)

    def _text(self, line: bytes) -> str:
        self._count += 1
        if not self.row_bytes:
            self.is_quoted = line.startswith(b'"')
        self.row_bytes += len(line)
        self.check_size(self.row_bytes)
        if b"\0" in line:
            refuse("invalid_value", item(self.index), f"line {self._count}: holds a NUL character")
        try:
            return line.decode()
        except UnicodeDecodeError:
            refuse("invalid_item", item(self.index), f"line {self._count}: the text is not UTF-8")

    def check_size(self, row_bytes: int) -> None:
        """Refuse the row where it is larger than an item may be."""
        if row_bytes > self._max_row_bytes:
            refuse_limit(
                item(self.index),
                "bytes an item",
                self._max_row_bytes,
                "FANFOLD_MAX_ITEM_BYTES",
                line=f"line {self.first_line}: ",
            )


def items(
    blocks: Iterator[bytes], max_item_bytes: int, schema: ItemSchema | None = None
) -> Iterator[list[bytes]]:
    """The rows' JSON texts, checked by the schema where there is one. Empty lines are no rows."""
    # The process's limit. A longer field can only be in a row that is refused anyway.
    csv.field_size_limit(max(csv.field_size_limit(), max_item_bytes + 1))
    lines = _Lines(blocks, max_item_bytes)
    rows = csv.reader(lines, strict=True)
    texts: list[bytes] = []
    first_lines: list[int] = []
    names: list[str] | None = None
    template = ""
    while True:
        lines.next_row()
        row = _next(rows, lines)
        if row is None:
            break
        if not row:
            continue
        if names is None:
            names = _names(row, lines)
            template = (
                "{"
                + ",".join(f"{_quoted(name)}:".replace("%", "%%") + "%s" for name in names)
                + "}"
            )
            continue
        if len(row) != len(names):
            what = f"{counted(len(row), 'field')}, where the header has {len(names)}"
            refuse("invalid_item", item(lines.index), f"line {lines.first_line}: {what}")
        text = (template % tuple(map(_quoted, row))).encode()
        if len(text) > max_item_bytes:
            lines.check_size(len(text))
        texts.append(text)
        first_lines.append(lines.first_line)
        lines.index += 1
        if len(texts) == _ROWS_AT_ONCE:
            _check(texts, first_lines, lines.index, schema)
            yield texts
            texts, first_lines = [], []
    if texts:
        _check(texts, first_lines, lines.index, schema)
        yield texts


def _check(texts: list[bytes], first_lines: list[int], end: int, schema: ItemSchema | None) -> None:
    if schema is not None:
        schema.check_texts(
            texts, end - len(texts), lambda row: f"line {first_lines[row]}: ", are_rows=True
        )


def _next(rows: Iterator[list[str]], lines: _Lines) -> list[str] | None:
    try:
        return next(rows, None)
    except csv.Error as error:
        message = str(error)
        if message.startswith("new-line character"):
            message = "a carriage return that is not before a line's end"
        elif message == "unexpected end of data":
            message = "a quote is opened and never closed"
        else:
            message = "a quote within a field in quotes has to be doubled"
        refuse("invalid_item", item(lines.index), f"line {lines.first_line}: {message}")


def _names(row: list[str], lines: _Lines) -> list[str]:
    twice = {name for name in row if row.count(name) > 1} if len(set(row)) < len(row) else set()
    place = f"line {lines.first_line}: "
    if twice:
        refuse("invalid_item", ITEMS, f"{place}the header has the same name more than once")
    if row[0].startswith(("{", "[")) and not lines.is_quoted:
        message = (
            f"{place}the header begins like JSON: items one a line are sent as "
            "application/x-ndjson (a file as .ndjson), an array as application/json (.json). "
            "If it is the name of a column, put it in quotes"
        )
        refuse("invalid_item", ITEMS, message)
    if len(row) == 1 and not lines.is_quoted:
        other = next((name for mark, name in _OTHER_SEPARATORS.items() if mark in row[0]), None)
        if other is not None:
            message = (
                f"{place}the header is a single column with a {other} in its name: the columns "
                "have to be separated by commas. If it is one column, put the name in quotes"
            )
            refuse("invalid_item", ITEMS, message)
    return row
