"""Results as CSV: a row for each item of a chunk whose processor takes items.

Of any other chunk, a row for each element of a result that is an array, else one row; before
them one for each item that failed at an earlier stage. The fields of a result that is an
object are columns.
"""

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from typing import Any

from fanfold.app.answers.csv_table import KEY, NOTHING, Kind, Row, cell, csv_text, head_of
from fanfold.app.answers.item_outcomes import ChunkResult, failure_of, item_outcomes, result_of
from fanfold.app.answers.tree import Leaf, LeafChunk
from fanfold.contract.failures import Failure
from fanfold.contract.states import ItemState
from fanfold.ledger.chunks import ChunkData
from fanfold.ledger.records import JobRecord, placed


def csv_rows(
    chunks: AsyncIterator[LeafChunk], columns: Sequence[str] | None, *, of: JobRecord
) -> AsyncIterator[bytes]:
    """The results of chunks as CSV text.

    Chunks of a job with an `item_key` come with their items, whose keys are in a column.
    """
    head = head_of(of, "state", "error")
    return csv_text(Kind(head, "result", partial(_rows, has_keys=KEY in head)), chunks, columns)


def _rows(leaf: Leaf, chunk: ChunkData, *, has_keys: bool) -> Iterator[Row]:
    result = result_of(chunk.record, chunk.output)
    keys: list[Any] | None = None
    if leaf.item_key is not None:
        keys = [leaf.key_of(value) for value in json.loads(chunk.items)]
    elif has_keys:
        keys = [None] * chunk.record.item_count
    of = _Rows(leaf, chunk, keys)
    return of.items(result) if result.is_by_item else of.elements(result.value)


class _Rows:
    """The rows of a chunk, whose items have these keys, where there is a column for them."""

    def __init__(self, leaf: Leaf, chunk: ChunkData, keys: list[Any] | None) -> None:
        self._leaf = leaf
        self._chunk = chunk
        self._keys = keys

    def items(self, result: ChunkResult) -> Iterator[Row]:
        """One for each item."""
        for one in item_outcomes(self._chunk.record, self._chunk.output, result):
            given = one.result if one.state is ItemState.SUCCEEDED else NOTHING
            yield self._row(one.item, one.state, one.error, given, key_of_item=one.item)

    def elements(self, result: Any) -> Iterator[Row]:  # noqa: ANN401 - any JSON value
        """One for each element of the result, or for the chunk, after the items without a place."""
        record, errors = self._chunk.record, self._chunk.output.item_errors
        for error in errors:
            if not error.is_derived:
                why = failure_of(error)
                yield self._row(error.item, ItemState.FAILED, why, key_of_item=error.item)
        if not isinstance(result, list):
            value = NOTHING if result is None else result
            yield self._row(None, record.state, record.error, value)
            return
        made = placed(errors, is_derived=True)
        dropped = {error.item for error in made if error.is_dropped}
        failed = {error.item: error for error in made}
        places = [n for n in range(len(result) + len(dropped)) if n not in dropped]
        for place, value in zip(places, result, strict=True):
            if place in failed:
                yield self._row(place, ItemState.FAILED, failure_of(failed[place]))
            else:
                yield self._row(place, ItemState.SUCCEEDED, None, value)

    def _row(
        self,
        item: int | None,
        state: str,
        error: Failure | None,
        value: Any = NOTHING,  # noqa: ANN401 - any JSON value
        *,
        key_of_item: int | None = None,
    ) -> Row:
        key: list[Any] = []
        if self._keys is not None:
            key = [cell(self._keys[key_of_item]) if key_of_item is not None else None]
        why = f"{error.type}: {error.message}" if error else None
        where = (*self._leaf.origin.values(), self._chunk.record.index, item)
        return (*where, *key, str(state), why), value
