"""Tables as CSV (RFC 4180) whose columns are the fields of what is in them.

The columns must be known before the first row: the client names them, or they are taken from
the first chunks, and further fields of later ones go into the last column, `more`, as JSON.
A value that is no object is in the column `value`.
"""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from fanfold.app.answers.tree import Leaf, LeafChunk
from fanfold.app.http.streaming import made_apart
from fanfold.ledger.chunks import ChunkData
from fanfold.ledger.records import JobRecord

KEY = "key"
MORE = "more"
VALUE = "value"
MAX_COLUMNS = 1000
SAMPLE_BYTES = 256 * 1024
SAMPLE_CHUNKS = 500
ROWS_AT_ONCE = 500

NOTHING: Final = object()
"""In the place of a row's value, where it has none."""

Row = tuple[Sequence[Any], Any]
"""The cells of the first columns, and the value whose fields are in the others."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a table is about."""

    head: Sequence[str]
    """The names of the first columns."""
    values_are: str
    """What the values are: a field that is named like a column that is there already is shown
    as this, a dot and its name."""
    rows: Callable[[Leaf, ChunkData], Iterator[Row]]
    """The rows of a chunk."""


def head_of(job: JobRecord, *others: str) -> Sequence[str]:
    """The names of the first columns of a table over a job's items.

    Each job that another is made of may name a field of its own for keys: there the column is
    always.
    """
    origin = ("job", "path") if job.is_parent else ()
    key = (KEY,) if job.is_parent or job.spec.item_key is not None else ()
    return (*origin, "index", "item", *key, *others)


async def csv_text(
    kind: Kind, chunks: AsyncIterator[LeafChunk], columns: Sequence[str] | None = None
) -> AsyncIterator[bytes]:
    """The CSV text, header first. `columns` names fields; None takes those of the first chunks."""
    first: list[LeafChunk] = []
    if columns is None:
        sampled_bytes = 0
        async for each in chunks:
            first.append(each)
            sampled_bytes += each[1].size_bytes
            if sampled_bytes >= SAMPLE_BYTES or len(first) >= SAMPLE_CHUNKS:
                break
        table = _Table(kind, await asyncio.to_thread(_fields, kind, first), has_more=True)
    else:
        table = _Table(kind, columns, has_more=False)
    yield table.header()
    async for leaf, chunk in _chained(first, chunks):
        async for lines in made_apart(table.lines(leaf, chunk), source_bytes=chunk.size_bytes):
            yield lines


async def _chained(
    first: Iterable[LeafChunk], others: AsyncIterator[LeafChunk]
) -> AsyncIterator[LeafChunk]:
    for each in first:
        yield each
    async for each in others:
        yield each


def _fields(kind: Kind, chunks: Iterable[LeafChunk]) -> list[str]:
    """The fields of these chunks' values, in order of appearance."""
    found: dict[str, None] = {}
    for leaf, chunk in chunks:
        for _, value in kind.rows(leaf, chunk):
            if value is NOTHING:
                continue
            for name in value if isinstance(value, dict) else (VALUE,):
                if len(found) < MAX_COLUMNS:
                    found.setdefault(name)
    return list(found)


class _Table:
    """Turns chunks into lines of CSV."""

    def __init__(self, kind: Kind, columns: Sequence[str], *, has_more: bool) -> None:
        self._kind = kind
        self._columns = columns
        self._empty = [None] * (len(columns) + has_more)
        self._known = frozenset(columns)
        self._has_more = has_more
        self._text = io.StringIO(newline="")
        self._writer = csv.writer(self._text)

    def header(self) -> bytes:
        taken = {*self._kind.head, MORE}
        names: list[str] = []
        for column in self._columns:
            name = column
            while name in taken:
                name = f"{self._kind.values_are}.{name}"
            taken.add(name)
            names.append(name)
        self._writer.writerow([*self._kind.head, *names, *([MORE] if self._has_more else [])])
        return self._taken()

    def lines(self, leaf: Leaf, chunk: ChunkData) -> Iterator[bytes]:
        """The chunk's lines, some hundreds at a time."""
        rows = self._kind.rows(leaf, chunk)
        while some := list(islice(rows, ROWS_AT_ONCE)):
            self._writer.writerows((*head, *self._cells(value)) for head, value in some)
            yield self._taken()

    def _cells(self, value: Any) -> list[Any]:  # noqa: ANN401 - any JSON value
        if value is NOTHING:
            return self._empty
        fields = value if type(value) is dict else {VALUE: value}
        cells = [cell(fields.get(column)) for column in self._columns]
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


def cell(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """What the writer renders by itself, text, numbers and null, or JSON text."""
    return value if type(value) in _PLAIN else _json(value)


def _json(value: Any) -> str:  # noqa: ANN401 - any JSON value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


_PLAIN = frozenset({str, int, float, type(None)})
