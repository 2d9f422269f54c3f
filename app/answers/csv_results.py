"""Results as CSV (RFC 4180): a row for each item of a chunk whose processor takes items.

Of any other chunk, a row for each element of a result that is an array, else one row; before
them one for each item that failed at an earlier stage. The fields of a result that is an
object are columns; anything else is in the column `value`. The columns must be known before
the first row: the client names them, or they are taken from the first results, and further
fields of later ones go into the last column, `more`, as JSON.
"""

import csv
import io
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from fanfold.app.answers.item_outcomes import failure_of, item_outcomes, result_of
from fanfold.contract.failures import Failure
from fanfold.contract.states import ItemState
from fanfold.ledger.chunks import ChunkData
from fanfold.ledger.records import key_of, placed

HEAD = ("index", "item", "state", "error")
"""The item's chunk, its position there, its state, and why it failed."""
KEY = "key"
MORE = "more"
VALUE = "value"
MAX_COLUMNS = 1000
SAMPLE_BYTES = 256 * 1024
SAMPLE_CHUNKS = 500
ROWS_AT_ONCE = 500


async def csv_rows(
    chunks: AsyncIterator[ChunkData], columns: Sequence[str] | None, *, item_key: str | None
) -> AsyncIterator[bytes]:
    """The CSV text, header first. `columns` names fields; None takes those of the first results.

    With an `item_key`, chunks come with their items, and the items' keys are a column.
    """
    first: list[ChunkData] = []
    if columns is None:
        sampled_bytes = 0
        async for chunk in chunks:
            first.append(chunk)
            sampled_bytes += len(chunk.output.body)
            if sampled_bytes >= SAMPLE_BYTES or len(first) >= SAMPLE_CHUNKS:
                break
    table = _Table(
        _columns_of(first) if columns is None else columns,
        has_more=columns is None,
        item_key=item_key,
    )
    yield table.header()
    for chunk in first:
        for rows in table.rows(chunk):
            yield rows
    async for chunk in chunks:
        for rows in table.rows(chunk):
            yield rows


class _Table:
    """Turns chunks into lines of CSV."""

    def __init__(self, columns: Sequence[str], *, has_more: bool, item_key: str | None) -> None:
        self._columns = columns
        self._item_key = item_key
        self._head = HEAD if item_key is None else (*HEAD[:2], KEY, *HEAD[2:])
        self._empty = [None] * (len(columns) + has_more)
        self._known = frozenset(columns)
        self._has_more = has_more
        self._text = io.StringIO(newline="")
        self._writer = csv.writer(self._text)

    def header(self) -> bytes:
        taken = {*self._head, MORE}
        names: list[str] = []
        for column in self._columns:
            name = column
            while name in taken:
                name = f"result.{name}"
            taken.add(name)
            names.append(name)
        self._writer.writerow([*self._head, *names, *([MORE] if self._has_more else [])])
        return self._taken()

    def rows(self, chunk: ChunkData) -> Iterator[bytes]:
        """The chunk's lines, some hundreds at a time."""
        rows = self._rows(chunk)
        while some := list(islice(rows, ROWS_AT_ONCE)):
            self._writer.writerows(some)
            yield self._taken()

    def _rows(self, chunk: ChunkData) -> Iterator[Sequence[Any]]:
        record, result = chunk.record, result_of(chunk.record, chunk.output)
        keys: list[Any] | None = None
        if self._item_key is not None:
            keys = [key_of(value, self._item_key) for value in json.loads(chunk.items)]
        if result.is_by_item:
            for one in item_outcomes(record, chunk.output, result):
                fields = self._empty
                if one.state is ItemState.SUCCEEDED:
                    fields = self._fields(one.result)
                yield self._row(record.index, one.item, keys, one.state, one.error, fields)
            return
        errors = chunk.output.item_errors
        for error in errors:
            if not error.is_derived:
                at, why = error.item, failure_of(error)
                yield self._row(record.index, at, keys, ItemState.FAILED, why, self._empty)
        if not isinstance(result.value, list):
            fields = self._empty if result.value is None else self._fields(result.value)
            yield self._row(record.index, None, None, record.state, record.error, fields)
            return
        made = placed(errors, is_derived=True)
        dropped = {error.item for error in made if error.is_dropped}
        failed = {error.item: error for error in made}
        places = [n for n in range(len(result.value) + len(dropped)) if n not in dropped]
        for place, value in zip(places, result.value, strict=True):
            if place in failed:
                why = failure_of(failed[place])
                yield self._row(record.index, place, None, ItemState.FAILED, why, self._empty)
            else:
                fields = self._fields(value)
                yield self._row(record.index, place, None, ItemState.SUCCEEDED, None, fields)

    def _row(
        self,
        index: int,
        item: int | None,
        keys: list[Any] | None,
        state: str,
        error: Failure | None,
        fields: list[Any],
    ) -> Sequence[Any]:
        key: list[Any] = []
        if self._item_key is not None:
            key = [_cell(keys[item]) if keys is not None and item is not None else None]
        why = f"{error.type}: {error.message}" if error else None
        return (index, item, *key, str(state), why, *fields)

    def _fields(self, item: Any) -> list[Any]:  # noqa: ANN401 - any JSON value
        fields = item if type(item) is dict else {VALUE: item}
        cells = [_cell(fields.get(column)) for column in self._columns]
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


def _columns_of(chunks: Iterable[ChunkData]) -> list[str]:
    """The fields of these results, in order of appearance."""
    found: dict[str, None] = {}
    for chunk in chunks:
        result = result_of(chunk.record, chunk.output).value
        failed = {*chunk.output.failed_places}
        given = result if isinstance(result, list) else [] if result is None else [result]
        for place, value in enumerate(given):
            if place in failed:
                continue
            for name in value if isinstance(value, dict) else (VALUE,):
                if len(found) < MAX_COLUMNS:
                    found.setdefault(name)
    return list(found)


def _cell(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """What the writer renders by itself, text, numbers and null, or JSON text."""
    return value if type(value) in _PLAIN else _json(value)


def _json(value: Any) -> str:  # noqa: ANN401 - any JSON value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


_PLAIN = frozenset({str, int, float, type(None)})
