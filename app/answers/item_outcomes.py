"""What became of each item of a chunk, told from the chunk's state, its result and item errors."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fanfold.contract.failures import Failure
from fanfold.contract.states import WITH_RESULT, ChunkState, ItemState
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
    errors = {error.item: error for error in output.item_errors if not error.is_derived}
    falls = chunk.state is ChunkState.FAILED or _has_derived_failures(output)
    has_results = result.is_by_item and isinstance(result.value, list)
    results = iter(result.value if has_results else ())
    for item in range(chunk.item_count):
        error = errors.get(item)
        given = next(results, None) if error is None or not error.is_dropped else None
        if error is not None:
            yield ItemOutcome(item, ItemState.FAILED, error=failure_of(error))
        elif falls:
            yield ItemOutcome(item, ItemState.FAILED, error=chunk.error)
        else:
            yield ItemOutcome(item, ItemState.SUCCEEDED, given)


def _held_items(chunk: ChunkRecord, output: ChunkOutput) -> Iterator[ItemOutcome]:
    """The items of a chunk that is held: with the error that it is held for where they failed."""
    errors = {error.item: error for error in output.item_errors if not error.is_derived}
    # Without an output it has failed as a whole.
    falls = not output.body or _has_derived_failures(output)
    for item in range(chunk.item_count):
        error = failure_of(errors[item]) if item in errors else chunk.error if falls else None
        yield ItemOutcome(item, ItemState.HELD, error=error)


def _has_derived_failures(output: ChunkOutput) -> bool:
    return any(error.is_derived and not error.is_dropped for error in output.item_errors)


def failure_of(error: ItemError) -> Failure:
    """An item's error as a failure."""
    return Failure(
        type=error.type,
        message=error.message,
        retryable=not error.is_final and not error.is_dropped,
        traceback=error.traceback,
    )
