"""The items that failed or were left out, as NDJSON and as CSV.

Each with the item as it was submitted: what is corrected can be sent back.
"""

from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

from fanfold.app.answers.csv_table import Kind, Row, cell, csv_text
from fanfold.app.answers.item_outcomes import failed_items
from fanfold.app.http.streaming import made_apart
from fanfold.contract import json_values
from fanfold.ledger.chunks import ChunkData
from fanfold.ledger.records import key_of

_HEAD = ("index", "item", "error_type", "error_message")
_HEAD_WITH_KEY = ("index", "item", "key", "error_type", "error_message")


async def ndjson_failures(
    chunks: AsyncIterator[ChunkData], *, item_key: str | None
) -> AsyncIterator[bytes]:
    """The failed items of chunks, a line of JSON each; with an `item_key`, also their keys."""
    async for chunk in chunks:
        lines = _lines(chunk, item_key)
        async for some in made_apart(lines, source_bytes=chunk.size_bytes):
            yield some


def csv_failures(chunks: AsyncIterator[ChunkData], *, item_key: str | None) -> AsyncIterator[bytes]:
    """The failed items of chunks as CSV text, with a column for each field of the items."""
    head = _HEAD if item_key is None else _HEAD_WITH_KEY
    return csv_text(Kind(head, "value", partial(_rows, item_key=item_key)), chunks)


def _lines(chunk: ChunkData, item_key: str | None) -> Iterator[bytes]:
    for item, value, failure in failed_items(chunk):
        shown: dict[str, Any] = {"index": chunk.record.index, "item": item}
        if item_key is not None:
            shown["key"] = key_of(value, item_key)
        yield json_values.encode(shown | {"value": value, "error": failure.as_json()}) + b"\n"


def _rows(chunk: ChunkData, *, item_key: str | None) -> Iterator[Row]:
    for item, value, failure in failed_items(chunk):
        key = () if item_key is None else (cell(key_of(value, item_key)),)
        yield (chunk.record.index, item, *key, failure.type, failure.message), value
