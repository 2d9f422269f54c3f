"""The items that failed or were left out, as NDJSON and as CSV.

Each with the item as it was submitted: what is corrected can be sent back.
"""

from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

from fanfold.app.answers.csv_table import KEY, Kind, Row, cell, csv_text, head_of
from fanfold.app.answers.item_outcomes import failed_items
from fanfold.app.answers.tree import Leaf, LeafChunk
from fanfold.app.http.streaming import made_apart
from fanfold.contract import json_values
from fanfold.ledger.chunks import ChunkData
from fanfold.ledger.records import JobRecord


async def ndjson_failures(chunks: AsyncIterator[LeafChunk]) -> AsyncIterator[bytes]:
    """The failed items of chunks, a line of JSON each; with their keys where they have any."""
    async for leaf, chunk in chunks:
        lines = _lines(leaf, chunk)
        async for some in made_apart(lines, source_bytes=chunk.size_bytes):
            yield some


def csv_failures(chunks: AsyncIterator[LeafChunk], *, of: JobRecord) -> AsyncIterator[bytes]:
    """The failed items of chunks as CSV text, with a column for each field of the items."""
    head = head_of(of, "error_type", "error_message")
    return csv_text(Kind(head, "value", partial(_rows, has_keys=KEY in head)), chunks)


def _lines(leaf: Leaf, chunk: ChunkData) -> Iterator[bytes]:
    for item, value, failure in failed_items(chunk):
        shown: dict[str, Any] = {**leaf.origin, "index": chunk.record.index, "item": item}
        if leaf.item_key is not None:
            shown["key"] = leaf.key_of(value)
        yield json_values.encode(shown | {"value": value, "error": failure.as_json()}) + b"\n"


def _rows(leaf: Leaf, chunk: ChunkData, *, has_keys: bool) -> Iterator[Row]:
    for item, value, failure in failed_items(chunk):
        key = (cell(leaf.key_of(value)),) if has_keys else ()
        where = (*leaf.origin.values(), chunk.record.index, item, *key)
        yield (*where, failure.type, failure.message), value
