"""An attempt at a stage with a condition: whether it runs, and what passes through it."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from fanfold.contract.failures import FailureType
from fanfold.contract.job_spec import StageSpec
from fanfold.ledger.records import Attempt, ItemError
from fanfold.workers.execution import End, Outcome
from fanfold.workers.item_run import Task
from fanfold.workers.processor import Processor
from fanfold.workers.stage_conditions import outcome_without_running
from tests.unit.attempted import an_attempt

NEVER = "`false`"
TEXT = b'[1.50, 1e2, {"b" : "\\u00e9", "a": 12345678901234567890123, "a": 1}]'
GONE = ItemError(item=1, type="T", message="bad")
DROPPED = ItemError(item=2, type="ItemDropped", message="not wanted", is_dropped=True)


def upper(item: str) -> str:
    return item.upper()


def decided(
    attempt: Attempt,
    when: str | None = NEVER,
    *,
    is_last_stage: bool = True,
    max_result_bytes: int = 1000,
) -> Outcome | None:
    task = Task(
        attempt=attempt,
        stage=StageSpec(processor="upper", when=when),
        is_last_stage=is_last_stage,
        max_result_bytes=max_result_bytes,
    )
    return asyncio.run(outcome_without_running(task, Processor(upper)))


def passed(attempt: Attempt, **given: Any) -> Outcome:
    outcome = decided(attempt, **given)
    assert outcome is not None
    assert outcome.end is End.DONE
    return outcome


@pytest.mark.parametrize("when", [None, "`true`", "first == 'a' && length(items) == `2`"])
def test_a_stage_runs_without_a_condition_and_where_it_is_true(when: str | None) -> None:
    assert decided(an_attempt(["a", "b"]), when) is None


@pytest.mark.parametrize("is_last_stage", [True, False])
@pytest.mark.parametrize("stage", [0, 1])
def test_what_passes_is_the_text_that_was_there(stage: int, *, is_last_stage: bool) -> None:
    attempt = replace(an_attempt([1, 2, 3], stage=stage), input=TEXT)
    output = passed(attempt, is_last_stage=is_last_stage).output
    assert (output.body, output.item_errors, output.by_item) == (TEXT, (), True)


def test_items_that_are_gone_have_their_places_in_a_result_only() -> None:
    attempt = an_attempt(["a", "d"], stage=1, earlier_errors=(GONE, DROPPED))
    for is_last_stage, body in ((True, ["a", None, "d"]), (False, ["a", "d"])):
        outcome = passed(attempt, is_last_stage=is_last_stage)
        assert json.loads(outcome.output.body) == body
        assert outcome.output.item_errors == (GONE, DROPPED)
        assert outcome.failure is not None
        assert (outcome.failure.type, outcome.failed_here) == ("T", None)


def test_what_is_made_of_the_items_stays_so() -> None:
    for value in ({"count": 3}, [1, 2], "text"):
        output = passed(an_attempt(value, stage=1, by_item=False)).output
        assert (json.loads(output.body), output.by_item) == (value, False)


def test_only_a_result_has_a_limit() -> None:
    attempt = an_attempt(["a" * 1000])
    assert passed(attempt, is_last_stage=False).output.body == attempt.input
    outcome = decided(attempt)
    assert outcome is not None
    assert outcome.failure is not None
    assert (outcome.end, outcome.failure.type) == (End.FAILED, FailureType.INVALID_RESULT)


@pytest.mark.parametrize(
    ("value", "when"),
    [
        ([], "first == `null` && items == `[]`"),
        ({"n": 1}, "first.n == `1` && length(items) == `1`"),
        ([[1], 2], "first == `[1]` && items[1] == `2`"),
        (None, "items == `[null]`"),
    ],
)
def test_a_condition_is_over_the_items_and_the_first(value: Any, when: str) -> None:
    assert decided(an_attempt(value, stage=1), when) is None


def test_a_failure_of_a_long_condition_says_why_first() -> None:
    when = f"first.amount == '{'x' * 800}' || first"
    outcome = decided(an_attempt(["a"], stage=3), when)
    assert outcome is not None
    assert outcome.end is End.FAILED
    assert outcome.failed_here is not None
    failure = outcome.failed_here
    assert (failure.type, failure.retryable) == (FailureType.CONDITION_FAILED, False)
    assert failure.message.startswith(
        "'when' of stage 3, 'upper', cannot be decided: it gives a string, where a condition "
        "gives true or false: first.amount == 'xxx"
    )
    assert len(failure.message) == 500


def test_nobody_waits_for_a_long_decision() -> None:
    """Of a second or so."""
    attempt = an_attempt([{"n": n} for n in range(100_000)])
    task = Task(
        attempt=attempt,
        stage=StageSpec(processor="upper", when="length(items[?n < `0`]) > `1`"),
        is_last_stage=True,
        max_result_bytes=10**8,
    )

    async def turns_of_others() -> int:
        deciding = asyncio.ensure_future(outcome_without_running(task, Processor(upper)))
        turns = 0
        while not deciding.done():
            await asyncio.sleep(0.001)
            turns += 1
        assert await deciding is not None
        return turns

    assert asyncio.run(turns_of_others()) > 10
