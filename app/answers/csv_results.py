"""Results as CSV (RFC 4180): a row for each item of a chunk whose result is an array.

Any other result, and a chunk without one, is one row. The fields of an item that is an
object are columns; anything else is in the column `value`. The columns must be known
before the first row: the client names them, or they are taken from the first results,
and further fields of later items go into the last column, `more`, as JSON.
"""

import csv
import io
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any

from fanfold.ledger.records import ChunkOutput, ChunkRecord

Child = tuple[ChunkRecord, ChunkOutput]

# The ledger holds valid JSON only.
_decode = json.JSONDecoder().decode

HEAD = ("index", "item", "state", "error")
"""Of the chunk: its index, the position in its result, its state, why it failed."""
MORE = "more"
VALUE = "value"
MAX_COLUMNS = 1000
SAMPLE_BYTES = 256 * 1024
SAMPLE_CHUNKS = 500
ROWS_AT_ONCE = 500


async def csv_rows(
    children: AsyncIterator[Child], columns: Sequence[str] | None
) -> AsyncIterator[bytes]:
    """The CSV text, header first. `columns` names fields; None takes those of the first results."""
    first: list[Child] = []
    if columns is None:
        sampled_bytes = 0
        async for child in children:
            first.append(child)
            sampled_bytes += len(child[1].body)
            if sampled_bytes >= SAMPLE_BYTES or len(first) >= SAMPLE_CHUNKS:
                break
    table = _Table(_columns_of(first) if columns is None else columns, has_more=columns is None)
    yield table.header()
    for child in first:
        for rows in table.rows(*child):
            yield rows
    async for child in children:
        for rows in table.rows(*child):
            yield rows


class _Table:
    """Turns children into lines of CSV."""

    def __init__(self, columns: Sequence[str], *, has_more: bool) -> None:
        self._columns = columns
        self._known = frozenset(columns)
        self._has_more = has_more
        self._text = io.StringIO(newline="")
        self._writer = csv.writer(self._text)

    def header(self) -> bytes:
        taken = {*HEAD, MORE}
        names: list[str] = []
        for column in self._columns:
            name = column
            while name in taken:
                name = f"result.{name}"
            taken.add(name)
            names.append(name)
        self._writer.writerow([*HEAD, *names, *([MORE] if self._has_more else [])])
        return self._taken()

    def rows(self, chunk: ChunkRecord, output: ChunkOutput) -> Iterator[bytes]:
        """The chunk's lines, some hundreds at a time."""
        error = f"{chunk.error.type}: {chunk.error.message}" if chunk.error else None
        result = _decode(output.body.decode()) if output.body else None
        state = chunk.state.value
        if not isinstance(result, list):
            fields = self._fields({} if result is None else result)
            self._writer.writerow((chunk.index, None, state, error, *fields))
            yield self._taken()
            return
        for start in range(0, len(result), ROWS_AT_ONCE):
            self._writer.writerows(
                (chunk.index, start + offset, state, error, *self._fields(item))
                for offset, item in enumerate(result[start : start + ROWS_AT_ONCE])
            )
            yield self._taken()

    def _fields(self, item: Any) -> list[Any]:  # noqa: ANN401 - any JSON value
        fields = item if type(item) is dict else {VALUE: item}
        # The writer renders text, numbers and null correctly by itself.
        cells = [
            value if type(value := fields.get(column)) in _PLAIN else _json(value)
            for column in self._columns
        ]
        if self._has_more:
            is_all = fields.keys() <= self._known
            cells.append(None if is_all else _json(self._without_known(fields)))
        return cells

    def _without_known(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in fields.items() if name not in self._known}

    def _taken(self) -> bytes:
        text = self._text.getvalue()
        self._text.seek(0)
        self._text.truncate()
        return text.encode()


def _columns_of(children: Iterable[Child]) -> list[str]:
    """The fields of these items, in order of appearance."""
    found: dict[str, None] = {}
    for _, output in children:
        result = _decode(output.body.decode()) if output.body else []
        for item in result if isinstance(result, list) else [result]:
            for name in item if isinstance(item, dict) else (VALUE,):
                if len(found) < MAX_COLUMNS:
                    found.setdefault(name)
    return list(found)


def _json(value: Any) -> str:  # noqa: ANN401 - any JSON value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


_PLAIN = frozenset({str, int, float, type(None)})
