"""An attempt at a chunk that a redrive has selected: some items run, the others keep theirs."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from fanfold.contract.failures import Failure, FailureType
from fanfold.contract.job_spec import StageSpec
from fanfold.ledger.records import Attempt, ChunkOutput, ItemError, KeptOutput
from fanfold.processing import ItemDropped, ProcessorContext, ValidationError
from fanfold.workers.execution import End, Outcome, not_executed
from fanfold.workers.item_run import Settled, Task
from tests.unit.attempted import an_attempt, outcome_of

T = ItemError(item=1, type="T", message="first", is_final=True)
U = ItemError(item=3, type="U", message="second")
DROPPED = ItemError(item=1, type="ItemDropped", message="not needed", is_dropped=True)
WHOLE = Failure(type="WorkerLost", message="it was lost", retryable=True)
IN_PART = ChunkOutput(body=b'["A",null,"C",null]', item_errors=(T, U), by_item=True)


def again(
    items: Sequence[Any],
    output: ChunkOutput = IN_PART,
    *,
    items_again: set[int] | None = None,
    failure: Failure | None = None,
    **given: Any,
) -> Attempt:
    """A first attempt in the second run."""
    chosen = None if items_again is None else frozenset(items_again)
    kept = KeptOutput(output=output, items_again=chosen, failure=failure)
    attempt = an_attempt(list(items), **given)
    return replace(attempt, run=2, is_again=True, kept=kept)


def run(attempt: Attempt, **given: Any) -> tuple[Outcome, list[Any]]:
    """The outcome, and the items that ran."""
    seen: list[Any] = []

    def upper(item: Any) -> Any:
        seen.append(item)
        if item == "bad":
            raise ValidationError("is bad")
        if item == "flaky":
            raise OSError("try again")
        if item == "drop":
            raise ItemDropped("not wanted")
        return item.upper()

    return asyncio.run(outcome_of(upper, attempt, **given)), seen


def result(outcome: Outcome) -> Any:
    return json.loads(outcome.output.body)


def errors(outcome: Outcome) -> list[tuple[int, str]]:
    return sorted((error.item, error.type) for error in outcome.output.item_errors)


def test_only_what_did_not_succeed_runs_and_the_result_has_all_in_order() -> None:
    outcome, seen = run(again(["a", "b", "c", "d"]))
    assert seen == ["b", "d"]
    assert outcome.end is End.DONE
    assert result(outcome) == ["A", "B", "C", "D"]
    assert (outcome.failure, outcome.output.item_errors, outcome.output.by_item) == (None, (), True)


def test_only_the_items_that_are_named_run_and_the_others_keep_their_errors() -> None:
    outcome, seen = run(again(["a", "b", "c", "d"], items_again={3}))
    assert seen == ["d"]
    assert result(outcome) == ["A", None, "C", "D"]
    assert outcome.output.item_errors == (T,)
    assert outcome.failure == Failure(type="T", message="first", retryable=False)


def test_an_item_that_succeeded_runs_again_where_it_is_named() -> None:
    outcome, seen = run(again(["x", "b", "c", "d"], items_again={0}))
    assert seen == ["x"]
    assert result(outcome) == ["X", None, "C", None]
    assert errors(outcome) == [(1, "T"), (3, "U")]


def test_what_fails_again_has_its_new_error_and_loses_nothing_of_the_others() -> None:
    outcome, _ = run(again(["a", "bad", "c", "d"]))
    assert (outcome.end, result(outcome)) == (End.DONE, ["A", None, "C", "D"])
    assert errors(outcome) == [(1, "ValidationError")]
    outcome, _ = run(again(["a", "bad", "c", "bad"]))
    assert (outcome.end, result(outcome)) == (End.DONE, ["A", None, "C", None])
    assert errors(outcome) == [(1, "ValidationError"), (3, "ValidationError")]


def test_the_items_keep_their_positions_in_the_chunk() -> None:
    seen: list[tuple[str, int, int]] = []

    def tell(item: str, *, context: ProcessorContext) -> str:
        seen.append((item, context.item_index, context.attempt))
        return item

    asyncio.run(outcome_of(tell, again(["a", "b", "c", "d"])))
    assert seen == [("b", 1, 1), ("d", 3, 1)]


@pytest.mark.parametrize(
    ("items", "expected", "left"),
    [
        (["a", "b", "c"], ["A", "B", "C"], []),
        (["a", "drop", "c"], ["A", "C"], [(1, "ItemDropped")]),
        (["a", "bad", "c"], ["A", None, "C"], [(1, "ValidationError")]),
    ],
)
def test_an_item_that_was_left_out_had_no_place_and_runs_again(
    items: list[str], expected: list[Any], left: list[tuple[int, str]]
) -> None:
    kept = ChunkOutput(body=b'["A","C"]', item_errors=(DROPPED,), by_item=True)
    outcome, seen = run(again(items, kept))
    assert seen == [items[1]]
    assert (outcome.end, result(outcome), errors(outcome)) == (End.DONE, expected, left)


def test_an_item_that_was_left_out_stays_so_where_another_is_named() -> None:
    kept = ChunkOutput(body=b'["A",null]', item_errors=(DROPPED, replace(T, item=2)), by_item=True)
    outcome, seen = run(again(["a", "b", "c"], kept, items_again={2}))
    assert seen == ["c"]
    assert (result(outcome), errors(outcome)) == (["A", "C"], [(1, "ItemDropped")])
    assert outcome.failure is None


def test_of_a_chunk_that_failed_as_a_whole_all_items_run() -> None:
    outcome, seen = run(again(["a", "b"], ChunkOutput(by_item=True), failure=WHOLE))
    assert (seen, result(outcome)) == (["a", "b"], ["A", "B"])


def test_of_a_chunk_that_failed_as_a_whole_those_not_named_have_failed_as_it_did() -> None:
    kept = ChunkOutput(item_errors=(T,), by_item=True)
    outcome, seen = run(again(["a", "b", "c"], kept, items_again={2}, failure=WHOLE))
    assert seen == ["c"]
    assert result(outcome) == [None, None, "C"]
    assert errors(outcome) == [(0, "WorkerLost"), (1, "T")]
    assert [error.is_final for error in outcome.output.item_errors if error.item == 0] == [False]


def test_where_nothing_succeeds_at_all_the_chunk_has_failed() -> None:
    kept = ChunkOutput(item_errors=(T,), by_item=True)
    outcome, _ = run(again(["bad", "b"], kept, items_again={0}))
    assert outcome.end is End.FAILED
    assert errors(outcome) == [(0, "ValidationError"), (1, "T")]


def test_before_another_attempt_only_what_ran_is_kept_and_is_gone_on_from() -> None:
    attempt = again(["a", "flaky", "c", "d"])
    first, seen = run(attempt)
    assert (first.end, result(first)) == (End.AGAIN, [None, "D"])
    assert errors(first) == [(1, "OSError")]
    later = replace(attempt, number=2, checkpoint=first.output)
    later = replace(later, input=b'["a","good","c","d"]')
    last, seen = run(later)
    assert seen == ["good"]
    assert (last.end, result(last)) == (End.DONE, ["A", "GOOD", "C", "D"])


def test_a_result_too_large_with_what_ran_is_what_there_was_before() -> None:
    outcome, _ = run(again(["a", "b" * 50, "c", "d" * 50]), max_result_bytes=60)
    assert (outcome.end, result(outcome)) == (End.DONE, ["A", None, "C", None])
    assert errors(outcome) == [(1, "InvalidResult"), (3, "InvalidResult")]
    assert outcome.failure is not None
    assert outcome.failure.type == FailureType.INVALID_RESULT


def test_an_attempt_that_can_run_nothing_leaves_what_there_was() -> None:
    attempt = again(["a", "b", "c", "d"], items_again={1})
    stage = StageSpec(processor="p")
    task = Task(attempt=attempt, stage=stage, is_last_stage=True, max_result_bytes=999)
    outcome = not_executed(task, Failure(type="UnknownProcessor", message="no such one"))
    assert (outcome.end, result(outcome)) == (End.DONE, ["A", None, "C", None])
    assert errors(outcome) == [(1, "UnknownProcessor"), (3, "U")]


# --- stages -----------------------------------------------------------------------------------


def test_only_what_runs_again_goes_on_to_the_next_stage() -> None:
    outcome, seen = run(again(["a", "b", "c", "d"]), is_last_stage=False)
    assert seen == ["b", "d"]
    assert (outcome.end, result(outcome), outcome.output.item_errors) == (End.DONE, ["B", "D"], ())


def test_the_last_stage_brings_them_together_again() -> None:
    attempt = replace(again(["b", "d"], stage=1), item_count=4)
    outcome, seen = run(attempt)
    assert seen == ["b", "d"]
    assert (outcome.end, result(outcome)) == (End.DONE, ["A", "B", "C", "D"])


def test_what_failed_at_an_earlier_stage_of_this_run_has_its_place() -> None:
    gone = ItemError(item=1, type="Early", message="m", is_final=True)
    attempt = replace(again(["d"], stage=1, earlier_errors=(gone,)), item_count=4)
    outcome, seen = run(attempt)
    assert seen == ["d"]
    assert (outcome.end, result(outcome)) == (End.DONE, ["A", None, "C", "D"])
    assert errors(outcome) == [(1, "Early")]


def test_where_all_that_ran_failed_before_the_last_stage_there_is_what_there_was() -> None:
    first, _ = run(again(["a", "bad", "c", "bad"]), is_last_stage=False)
    assert (first.end, result(first)) == (End.DONE, [])
    assert errors(first) == [(1, "ValidationError"), (3, "ValidationError")]
    attempt = again([], stage=1, earlier_errors=first.output.item_errors)
    outcome, seen = run(replace(attempt, item_count=4))
    assert seen == []
    assert (outcome.end, result(outcome)) == (End.DONE, ["A", None, "C", None])


def test_what_an_item_left_out_at_an_earlier_stage_has_no_place() -> None:
    attempt = replace(again(["d"], stage=1, earlier_errors=(DROPPED,)), item_count=4)
    outcome, _ = run(attempt)
    assert (result(outcome), errors(outcome)) == (["A", "C", "D"], [(1, "ItemDropped")])


# --- what does not run ------------------------------------------------------------------------


def test_results_are_kept_to_the_byte_as_a_worker_wrote_them() -> None:
    texts = [b"1.5", b"null", '"\u00fc"'.encode(), b"123456789012345678901234567890"]
    kept = ChunkOutput(body=b"[" + b",".join(texts) + b"]", item_errors=(T,), by_item=True)
    settled = Settled.of(again([0] * 4, kept))
    assert [item for item in range(4) if item in settled] == [0, 2, 3]
    assert settled.results == {item: texts[item] for item in (0, 2, 3)}


def test_without_a_redrive_nothing_is_settled() -> None:
    settled = Settled.of(an_attempt([1, 2]))
    assert (settled.results, settled.errors) == ({}, {})
    assert 0 not in settled


def test_a_chunk_processor_runs_with_all_items_whatever_there_was() -> None:
    def count(chunk: list[str]) -> int:
        return len(chunk)

    attempt = replace(again(["a", "b", "c", "d"]), kept=None)
    outcome = asyncio.run(outcome_of(count, attempt))
    assert (outcome.end, outcome.output.body) == (End.DONE, b"4")
