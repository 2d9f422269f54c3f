"""An item processor's attempt: each item for itself, and no more work than is open."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from fanfold.contract.failures import Failure
from fanfold.contract.job_spec import RetrySpec, StageSpec
from fanfold.ledger.records import ChunkOutput, ItemError
from fanfold.processing import ItemDropped, ProcessorContext, ValidationError
from fanfold.workers.execution import End, Outcome, not_executed
from fanfold.workers.item_run import Task
from fanfold.workers.processor import Processor
from tests.unit.attempted import an_attempt, attempted, outcome_of

Function = Callable[..., Any]


def picky(item: Any) -> Any:
    return _picked(item)


async def picky_async(item: Any) -> Any:
    await asyncio.sleep(0)
    return _picked(item)


def _picked(item: Any) -> Any:
    raised = {
        "bad": ValidationError("is bad"),
        "flaky": OSError("try again"),
        "drop": ItemDropped("not wanted"),
        "named": ApplicationError("by its name", type="Named"),
        "final": ApplicationError("for good", non_retryable=True),
        "silent": KeyError(),
    }
    if item in raised:
        raise raised[item]
    return [item]


BAD = ItemError(item=1, type="ValidationError", message="is bad", is_final=True)
FLAKY = ItemError(item=3, type="OSError", message="try again")
DROPPED = ItemError(item=4, type="ItemDropped", message="not wanted", is_dropped=True)
KINDS = pytest.mark.parametrize("function", [picky, picky_async])


def failure(outcome: Outcome) -> tuple[str, str, bool]:
    assert outcome.failure is not None
    return outcome.failure.type, outcome.failure.message, outcome.failure.retryable


@KINDS
def test_the_result_is_the_array_of_the_items_results(function: Function) -> None:
    outcome = attempted(function, ["a", None, 3])
    output = ChunkOutput(body=b'[["a"],[null],[3]]', by_item=True)
    assert outcome == Outcome(End.DONE, output)


@KINDS
def test_items_that_failed_are_tried_again_and_the_others_keep_what_they_gave(
    function: Function,
) -> None:
    outcome = attempted(function, ["a", "bad", "b", "flaky"])
    assert outcome.end is End.AGAIN
    assert json.loads(outcome.output.body) == [["a"], None, ["b"], None]
    assert outcome.output.item_errors == (BAD, FLAKY)
    assert outcome.items_failed_here == 2
    assert failure(outcome) == ("ValidationError", "is bad", False)


@KINDS
def test_in_the_last_attempt_the_items_that_succeeded_are_the_result(function: Function) -> None:
    attempt = an_attempt(["a", "bad", "b", "flaky", "drop"], number=3)
    outcome = asyncio.run(outcome_of(function, attempt))
    assert outcome.end is End.DONE
    assert json.loads(outcome.output.body) == [["a"], None, ["b"], None]
    assert outcome.output.item_errors == (BAD, FLAKY, DROPPED)
    assert outcome.output.failed_places == [1, 3]
    assert failure(outcome) == ("ValidationError", "is bad", False)


@KINDS
def test_where_no_item_succeeded_the_chunk_has_failed(function: Function) -> None:
    outcome = attempted(function, ["drop", "bad", "final"])
    assert (outcome.end, outcome.output.body) == (End.FAILED, b"")
    assert [error.item for error in outcome.output.item_errors] == [0, 1, 2]


@KINDS
def test_a_chunk_is_worth_another_attempt_while_one_of_its_items_is(function: Function) -> None:
    assert attempted(function, ["bad", "final"]).end is End.FAILED
    assert attempted(function, ["bad", "final", "flaky"]).end is End.AGAIN
    assert attempted(function, ["bad", "final", "a"]).end is End.DONE


@KINDS
def test_only_the_items_that_succeeded_go_on_to_the_next_stage(function: Function) -> None:
    outcome = attempted(function, ["a", "bad", "drop", "b"], is_last_stage=False)
    assert outcome.end is End.DONE
    assert json.loads(outcome.output.body) == [["a"], ["b"]]
    assert [(error.item, error.is_dropped) for error in outcome.output.item_errors] == [
        (1, False),
        (2, True),
    ]


@KINDS
def test_the_result_has_a_place_for_those_that_failed_at_an_earlier_stage(
    function: Function,
) -> None:
    earlier = (BAD, replace(DROPPED, item=0))
    attempt = an_attempt(["a", "bad", "drop", "b"], stage=1, number=3, earlier_errors=earlier)
    outcome = asyncio.run(outcome_of(function, attempt))
    # Six were submitted: the first and the fifth were left out.
    assert json.loads(outcome.output.body) == [None, ["a"], None, ["b"]]
    assert [error.item for error in outcome.output.item_errors] == [1, 0, 3, 4]
    assert outcome.output.failed_places == [0, 2]


@KINDS
def test_what_a_chunk_processor_has_made_are_other_items(function: Function) -> None:
    attempt = an_attempt(["a", "bad"], stage=1, number=3, by_item=False, earlier_errors=(BAD,))
    outcome = asyncio.run(outcome_of(function, attempt))
    assert json.loads(outcome.output.body) == [["a"], None]
    assert outcome.output.by_item is False
    assert outcome.output.item_errors == (BAD, replace(BAD, stage=1, is_derived=True))
    assert outcome.output.failed_places == [1]


@KINDS
def test_the_result_has_a_place_for_what_was_made_and_failed_or_was_left_out_before(
    function: Function,
) -> None:
    made = (replace(BAD, item=0, is_derived=True), replace(DROPPED, item=2, is_derived=True))
    earlier = (BAD, replace(made[0], item=3, is_remade=True), *made)
    attempt = an_attempt(["a", "b"], stage=2, by_item=False, earlier_errors=earlier)
    outcome = asyncio.run(outcome_of(function, attempt))
    # Four were made: the first failed, and the third was left out.
    assert json.loads(outcome.output.body) == [None, ["a"], ["b"]]
    assert outcome.output.failed_places == [0]


@KINDS
def test_where_one_failed_and_the_others_are_left_out_later_the_chunk_has_failed(
    function: Function,
) -> None:
    attempt = an_attempt(["drop", "drop"], stage=1, earlier_errors=(BAD,))
    outcome = asyncio.run(outcome_of(function, attempt))
    assert (outcome.end, outcome.output.body) == (End.FAILED, b"")
    assert failure(outcome) == ("ValidationError", "is bad", False)


@KINDS
def test_a_failure_of_what_was_made_of_the_items_is_the_chunks(function: Function) -> None:
    attempt = an_attempt(["flaky", "a"], stage=1, number=3, by_item=False, earlier_errors=(BAD,))
    outcome = asyncio.run(outcome_of(function, attempt))
    # It is why those have failed that have no failure of their own.
    assert failure(outcome) == ("OSError", "try again", True)


def test_an_item_that_failed_for_good_never_runs_twice() -> None:
    calls: list[Any] = []

    def counting(item: Any) -> Any:
        calls.append(item)
        return _picked(item)

    items = ["a", "bad", "flaky", "final", "named"]
    retry = RetrySpec(non_retryable=("Named",))
    first = asyncio.run(outcome_of(counting, an_attempt(items), retry=retry))
    attempt = an_attempt(items, number=2, checkpoint=first.output)
    second = asyncio.run(outcome_of(counting, attempt, retry=retry))
    assert calls == [*items, "flaky"]
    assert second.output == first.output
    assert second.end is End.AGAIN


@KINDS
def test_a_dropped_item_is_left_out_and_fails_nothing(function: Function) -> None:
    outcome = attempted(function, ["drop", "a", "drop"])
    assert outcome.failure is None
    assert json.loads(outcome.output.body) == [["a"]]
    assert [(e.item, e.type, e.message, e.is_dropped) for e in outcome.output.item_errors] == [
        (0, "ItemDropped", "not wanted", True),
        (2, "ItemDropped", "not wanted", True),
    ]


@KINDS
def test_a_chunk_of_which_everything_is_dropped_succeeds_with_nothing(function: Function) -> None:
    outcome = attempted(function, ["drop", "drop"])
    assert (outcome.failure, outcome.output.body) == (None, b"[]")
    assert len(outcome.output.item_errors) == 2


@KINDS
@pytest.mark.parametrize(
    ("item", "kind", "message", "retryable"),
    [
        ("bad", "ValidationError", "is bad", False),
        ("flaky", "OSError", "try again", True),
        ("named", "Named", "by its name", True),
        ("final", "ApplicationError", "for good", False),
        ("silent", "KeyError", "KeyError", True),
    ],
)
def test_an_exception_becomes_a_failure_of_its_name(
    function: Function, item: str, kind: str, message: str, *, retryable: bool
) -> None:
    assert failure(attempted(function, [item])) == (kind, message, retryable)


@KINDS
@pytest.mark.parametrize(("item", "kind"), [("flaky", "OSError"), ("named", "Named")])
def test_the_job_may_say_which_failures_are_final(function: Function, item: str, kind: str) -> None:
    retry = RetrySpec(non_retryable=("Other", kind))
    assert failure(attempted(function, [item], retry=retry))[2] is False
    assert failure(attempted(function, [item], retry=RetrySpec(non_retryable=("Other",))))[2]


@KINDS
def test_the_next_attempt_runs_only_the_items_that_failed(function: Function) -> None:
    first = attempted(function, ["a", "flaky", "drop", "b"])
    calls: list[Any] = []

    def counting(item: Any) -> Any:
        calls.append(item)
        return f"second {item}"

    attempt = an_attempt(["a", "flaky", "drop", "b"], number=2, checkpoint=first.output)
    second = asyncio.run(outcome_of(counting, attempt))
    assert calls == ["flaky"]
    assert second.failure is None
    assert json.loads(second.output.body) == [["a"], "second flaky", ["b"]]
    assert [error.item for error in second.output.item_errors] == [2]


@KINDS
def test_an_attempt_after_one_in_which_nothing_succeeded_comes_to_the_same(
    function: Function,
) -> None:
    first = attempted(function, ["flaky", "bad"])
    assert first.output.body == b""
    attempt = an_attempt(["flaky", "bad"], number=2, checkpoint=first.output)
    again = asyncio.run(outcome_of(function, attempt))
    assert again.output == first.output
    assert again.end is End.AGAIN


def test_an_attempt_that_can_run_nothing_keeps_what_items_gave_before() -> None:
    items = ["a", "bad", "flaky"]
    first = attempted(picky, items)
    lost = Failure(type="WorkerLost", message="gone")
    stage = StageSpec(processor="picky")
    attempt = an_attempt(items, number=4, checkpoint=first.output)
    task = Task(attempt=attempt, stage=stage, is_last_stage=True, max_result_bytes=1000)
    outcome = not_executed(task, lost)
    assert outcome.end is End.DONE
    assert json.loads(outcome.output.body) == [["a"], None, None]
    assert [error.type for error in outcome.output.item_errors] == [
        "ValidationError",
        "WorkerLost",
    ]
    nothing_before = replace(task, attempt=an_attempt(items, number=4))
    outcome = not_executed(nothing_before, lost, Processor(picky))
    assert (outcome.end, outcome.output) == (End.FAILED, ChunkOutput(by_item=True))
    derived = replace(task, attempt=an_attempt(items, number=4, stage=1, by_item=False))
    assert not_executed(derived, lost, Processor(picky)).output.by_item is False
    assert not_executed(nothing_before, lost).output.by_item is False


def test_keys_are_those_of_the_items_as_they_were_submitted() -> None:
    def keyed(item: str, *, context: ProcessorContext) -> Any:
        if item == "bad":
            raise ValidationError("is bad")
        return [item, context.item_key, context.item_index, context.stage]

    attempt = an_attempt(["a", "bad"], stage=1, number=2, earlier_errors=(replace(BAD, item=0),))
    outcome = asyncio.run(outcome_of(keyed, attempt, keys=["k0", 17, None]))
    assert json.loads(outcome.output.body) == [None, ["a", 17, 1, 1], None]
    assert [(error.item, error.key) for error in outcome.output.item_errors] == [
        (0, None),
        (2, None),
    ]


def test_an_item_that_is_not_what_the_annotation_wants_fails_alone() -> None:
    def half(item: int) -> float:
        return item / 2

    outcome = attempted(half, [4, "x", 2])
    assert failure(outcome) == (
        "ValidationError",
        "the value: must be an integer, not a string",
        False,
    )
    assert json.loads(outcome.output.body) == [2.0, None, 1.0]


def test_a_stage_that_takes_items_needs_an_array() -> None:
    outcome = attempted(picky, {"a": 1})
    assert failure(outcome) == (
        "InvalidResult",
        "'picky' takes items, but the stage before gave no array",
        False,
    )


def test_each_item_is_told_where_it_is() -> None:
    def where(item: str, *, context: ProcessorContext) -> list[Any]:
        where = [context.job_id, context.chunk_index, context.item_index, context.attempt]
        return [item, *where, context.idempotency_key]

    attempt = an_attempt(["a", "b"], number=3, index=7)
    outcome = asyncio.run(outcome_of(where, attempt))
    assert json.loads(outcome.output.body) == [
        ["a", "job_1", 7, 0, 3, "job_1/7/0/0"],
        ["b", "job_1", 7, 1, 3, "job_1/7/1/0"],
    ]


def test_options_reach_the_processor() -> None:
    def add(item: int, *, amount: int, times: int = 2) -> int:
        return item + amount * times

    assert attempted(add, [1], amount=3).output.body == b"[7]"


@pytest.mark.parametrize("error", [SystemExit("leaving"), KeyboardInterrupt()])
def test_an_item_that_wants_to_end_the_process_fails_its_chunk(error: BaseException) -> None:
    def leaving(item: int) -> int:
        if item == 2:
            raise error
        return item

    kind, message, _ = failure(attempted(leaving, [1, 2, 3]))
    assert type(error).__name__ in f"{kind} {message}"


def test_an_exception_that_cannot_be_put_into_words_is_a_failure_too() -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise ValueError("no words")

    def failing(item: int) -> int:
        raise Unspeakable(item)

    assert failure(attempted(failing, [1]))[0] == "Unspeakable"
