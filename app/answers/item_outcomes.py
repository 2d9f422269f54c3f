"""What became of each item of a chunk, told from the chunk's state, its result and item errors."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fanfold.contract.failures import Failure
from fanfold.contract.states import WITH_RESULT, ChunkState, ItemState
from fanfold.ledger.chunks import ChunkData
from fanfold.ledger.records import ChunkOutput, ChunkRecord, ItemError

# The ledger holds valid JSON only.
_decode = json.JSONDecoder().decode


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """What became of one item."""

    item: int
    """Its position in the chunk, as it was submitted."""
    state: ItemState
    result: Any = None
    """What it gave, where the chunk's result has a place for it."""
    error: Failure | None = None


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """A chunk's result, parsed, and whether each of its places is an item's."""

    value: Any
    is_by_item: bool


def result_of(chunk: ChunkRecord, output: ChunkOutput) -> ChunkResult:
    """The result of a chunk that has one; None of any other."""
    if chunk.state not in WITH_RESULT:
        return ChunkResult(None, is_by_item=bool(chunk.by_item))
    value = _decode(output.body.decode())
    if chunk.by_item is not None:
        return ChunkResult(value, is_by_item=chunk.by_item)
    # Recorded by a release that did not say: told by the length.
    dropped = sum(error.is_dropped for error in output.item_errors)
    fits = isinstance(value, list) and len(value) == chunk.item_count - dropped
    return ChunkResult(value, is_by_item=fits)


def item_outcomes(
    chunk: ChunkRecord, output: ChunkOutput, result: ChunkResult
) -> Iterator[ItemOutcome]:
    """Each item of the chunk, in order.

    Items that a chunk processor has made something else of have no result of their own, and
    share the chunk's failure where one of what was made of them failed.
    """
    if chunk.state is ChunkState.HELD:
        yield from _held_items(chunk, output)
        return
    if chunk.state not in {*WITH_RESULT, ChunkState.FAILED}:
        state = ItemState.read(chunk.state)
        for item in range(chunk.item_count):
            yield ItemOutcome(item, state)
        return
    errors, of_others = _failures(chunk, output)
    has_results = result.is_by_item and isinstance(result.value, list)
    results = iter(result.value if has_results else ())
    for item in range(chunk.item_count):
        error = errors.get(item)
        given = next(results, None) if error is None or not error.is_dropped else None
        if error is not None:
            yield ItemOutcome(item, ItemState.FAILED, error=failure_of(error))
        elif of_others is not None:
            yield ItemOutcome(item, ItemState.FAILED, error=of_others)
        else:
            yield ItemOutcome(item, ItemState.SUCCEEDED, given)


def _held_items(chunk: ChunkRecord, output: ChunkOutput) -> Iterator[ItemOutcome]:
    """The items of a chunk that is held: with the error that it is held for where they failed."""
    errors, of_others = _failures(chunk, output)
    for item in range(chunk.item_count):
        failure = failure_of(errors[item]) if item in errors else of_others
        yield ItemOutcome(item, ItemState.HELD, error=failure)


def failed_items(chunk: ChunkData) -> Iterator[tuple[int, Any, Failure]]:
    """Each item that failed or was left out, in order: its position, the item itself, and why."""
    errors, of_others = _failures(chunk.record, chunk.output)
    for item, value in enumerate(_decode(chunk.items.decode())):
        error = errors.get(item)
        failure = of_others if error is None else failure_of(error)
        if failure is not None:
            yield item, value, failure


def _failures(
    chunk: ChunkRecord, output: ChunkOutput
) -> tuple[dict[int, ItemError], Failure | None]:
    """The items that have a failure of their own, and that of all others, where these failed too.

    They did in a chunk that failed as a whole, and where a chunk processor has made something
    else of the items, which then stand and fall together.
    """
    errors = {error.item: error for error in output.item_errors if not error.is_derived}
    have_all_failed = chunk.state is ChunkState.FAILED or chunk.items_failed == chunk.item_count
    return errors, chunk.error if have_all_failed else None


def failure_of(error: ItemError) -> Failure:
    """An item's error as a failure."""
    return Failure(
        type=error.type,
        message=error.message,
        retryable=not error.is_final and not error.is_dropped,
        traceback=error.traceback,
    )
