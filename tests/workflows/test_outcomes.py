"""What jobs and chunks come to, and what is recorded of it."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from temporalio.client import WorkflowExecutionStatus

from fanfold.contract.failures import FailureType
from fanfold.contract.job_spec import RetrySpec, StageSpec
from fanfold.contract.states import ChunkState, JobState
from fanfold.processing import ProcessorContext
from tests.workflows.gate import Gate
from tests.workflows.running import (
    CHILDREN,
    ONE_ATTEMPT,
    QUICK_CHILDREN,
    SHARDS,
    Fanfold,
    Shape,
    event_names,
    until,
)

pytestmark = pytest.mark.anyio

ODD_SUCCEED = StageSpec(processor="double", options={"fail_if_divisible_by": 2}, retry=ONE_ATTEMPT)
HOURS_OF_BACKOFF = StageSpec(
    processor="double",
    options={"fail_attempts": 2},
    retry=RetrySpec(max_attempts=3, initial_interval_seconds=3600, max_interval_seconds=10_800),
)


@pytest.fixture
def fanfold(fanfold: Fanfold, shape: Shape) -> Fanfold:
    return fanfold.shaped(shape)


async def test_a_job_whose_chunks_all_succeed_succeeds(fanfold: Fanfold) -> None:
    job = await fanfold.record([[1], [2, 3]], StageSpec(processor="double"))
    async with fanfold.working():
        handle = await fanfold.start(job)
        row = await fanfold.finished(handle)
        assert await handle.result() == JobState.SUCCEEDED
    assert row.state is JobState.SUCCEEDED
    assert row.finished_at is not None
    assert (row.counts.succeeded, row.counts.items_succeeded) == (2, 3)
    assert await fanfold.result(job) == [
        {"index": 0, "result": [2]},
        {"index": 1, "result": [4, 6]},
    ]


async def test_failed_chunks_leave_the_others_their_results(fanfold: Fanfold) -> None:
    job = await fanfold.record([[1], [2], [3], [4], [5]], ODD_SUCCEED)
    async with fanfold.working():
        row = await fanfold.run(job)
    assert row.state is JobState.PARTIALLY_SUCCEEDED
    assert (row.counts.succeeded, row.counts.failed) == (3, 2)
    assert [group.message for group in row.errors] == [
        "Simulated failure for value 2",
        "Simulated failure for value 4",
    ]
    assert [entry["result"] for entry in await fanfold.result(job)] == [[2], [6], [10]]


@pytest.mark.parametrize("shape", [CHILDREN, SHARDS], ids=["children", "shards"])
async def test_a_child_ends_as_its_chunk_does(fanfold: Fanfold) -> None:
    job = await fanfold.record([[1], [2]], ODD_SUCCEED)
    async with fanfold.working():
        await fanfold.run(job)
        assert await fanfold.status(fanfold.child(job, 0)) is WorkflowExecutionStatus.COMPLETED
        assert await fanfold.status(fanfold.child(job, 1)) is WorkflowExecutionStatus.FAILED


async def test_a_job_whose_chunks_all_fail_fails(fanfold: Fanfold) -> None:
    job = await fanfold.record([[2], [4]], ODD_SUCCEED)
    async with fanfold.working():
        handle = await fanfold.start(job)
        row = await fanfold.finished(handle)
        # In Temporal the job did its work: that it failed is its result, not a failure.
        assert await fanfold.status(handle) is WorkflowExecutionStatus.COMPLETED
    assert row.state is JobState.FAILED
    assert row.error is not None
    assert row.error.type == FailureType.ALL_ITEMS_FAILED
    assert await fanfold.result(job) is None


@pytest.mark.parametrize(
    "shape",
    [CHILDREN, QUICK_CHILDREN, SHARDS],
    ids=["children", "quick", "shards"],
)
async def test_hours_of_backoff_pass_and_every_attempt_counts(fanfold: Fanfold) -> None:
    """As children; blocks go by the clock of their workers, which no server skips."""
    job = await fanfold.record([[1], [2], [3]], HOURS_OF_BACKOFF)
    async with fanfold.working():
        begun = await fanfold.environment.get_current_time()
        row = await fanfold.run(job)
        ended = await fanfold.environment.get_current_time()
    assert row.state is JobState.SUCCEEDED
    assert [chunk.attempts for chunk in await fanfold.chunks(job)] == [3, 3, 3]
    assert ended - begun >= timedelta(hours=1 + 2)


async def test_a_chunk_fails_after_the_attempts_it_was_given(fanfold: Fanfold) -> None:
    stage = StageSpec(
        processor="double",
        options={"fail_attempts": 9},
        retry=RetrySpec(max_attempts=4, initial_interval_seconds=0.3, backoff_coefficient=1),
    )
    job = await fanfold.record([[1]], stage)
    async with fanfold.working():
        await fanfold.run(job)
    (chunk,) = await fanfold.chunks(job)
    assert (chunk.state, chunk.attempts) == (ChunkState.FAILED, 4)
    assert chunk.error is not None
    assert chunk.error.message == "Simulated failure of attempt 4"


async def test_each_stage_takes_what_the_one_before_gave(fanfold: Fanfold) -> None:
    job = await fanfold.record(
        [[1, -1], [2]],
        StageSpec(processor="validate", options={"rules": [{"minimum": 0}], "on_invalid": "drop"}),
        StageSpec(processor="double"),
        StageSpec(processor="double"),
    )
    async with fanfold.working():
        row = await fanfold.run(job)
    assert await fanfold.result(job) == [{"index": 0, "result": [4]}, {"index": 1, "result": [8]}]
    assert (row.counts.items_succeeded, row.counts.items_failed) == (2, 1)


@pytest.mark.parametrize("shape", [CHILDREN], ids=["children"])
async def test_each_stage_of_a_child_is_an_activity_of_its_own(fanfold: Fanfold) -> None:
    job = await fanfold.record([[1]], *[StageSpec(processor="double")] * 3)
    async with fanfold.working():
        await fanfold.run(job)
        names = await event_names(fanfold.child(job, 0))
    assert names.count("ActivityTaskScheduled") == 3
    assert await fanfold.result(job) == [{"index": 0, "result": [8]}]


async def test_a_failed_stage_is_repeated_without_the_ones_before_it(fanfold: Fanfold) -> None:
    called: list[int] = []

    def note(item: int) -> int:
        called.append(item)
        return item + 1

    retry = RetrySpec(max_attempts=3, initial_interval_seconds=0.3)
    failing = StageSpec(processor="double", options={"fail_attempts": 2}, retry=retry)
    job = await fanfold.record([[1], [5]], StageSpec(processor="note"), failing)
    async with fanfold.working(note):
        await fanfold.run(job)
    assert sorted(called) == [1, 5]
    assert [entry["result"] for entry in await fanfold.result(job)] == [[4], [12]]
    assert [chunk.attempts for chunk in await fanfold.chunks(job)] == [3, 3]


async def test_no_stage_follows_a_failed_one(fanfold: Fanfold) -> None:
    called: list[int] = []

    def note(item: int) -> int:
        called.append(item)
        return item

    job = await fanfold.record([[2]], ODD_SUCCEED, StageSpec(processor="note"))
    async with fanfold.working(note):
        await fanfold.run(job)
    assert called == []
    assert await fanfold.chunk_states(job) == [ChunkState.FAILED]


async def test_no_wait_is_longer_than_the_longest(fanfold: Fanfold) -> None:
    retry = RetrySpec(max_attempts=2, initial_interval_seconds=3600, max_interval_seconds=0.5)
    job = await fanfold.record(
        [[1]], StageSpec(processor="double", options={"fail_attempts": 1}, retry=retry)
    )
    async with fanfold.working():
        handle = await fanfold.start(job)
        row = await fanfold.finished(handle)
        events = (await handle.fetch_history()).events
    assert row.state is JobState.SUCCEEDED
    took = events[-1].event_time.ToDatetime() - events[0].event_time.ToDatetime()
    assert timedelta(seconds=0.5) <= took < timedelta(seconds=30)


async def test_a_chunk_that_takes_too_long_is_ended_and_tried_again(fanfold: Fanfold) -> None:
    async def slow_at_first(item: int, *, context: ProcessorContext) -> int:
        if context.attempt == 1:
            await asyncio.Event().wait()
        return item

    stage = StageSpec(
        processor="slow_at_first",
        timeout_seconds=0.1,
        retry=RetrySpec(max_attempts=2, initial_interval_seconds=0.3),
    )
    once = replace(stage, retry=ONE_ATTEMPT)
    job, doomed = await fanfold.record([[1], [2]], stage), await fanfold.record([[1]], once)
    async with fanfold.working(slow_at_first):
        row = await fanfold.run(job)
        failed = await fanfold.run(doomed)
    assert row.state is JobState.SUCCEEDED
    assert [chunk.attempts for chunk in await fanfold.chunks(job)] == [2, 2]
    assert failed.errors[0].type == FailureType.TIMEOUT


async def test_a_chunk_that_waits_for_its_next_attempt_is_pending(fanfold: Fanfold) -> None:
    gate = Gate()
    stage = StageSpec(
        processor="double", options={"fail_attempts": 1}, retry=RetrySpec(max_attempts=2)
    )
    job = await fanfold.record([[1]], stage)
    held = await fanfold.record([[0]], StageSpec(processor="gate"))
    async with fanfold.working(gate.gate), gate:
        # While a chunk of another job runs, time is not skipped.
        await fanfold.start(held)
        await gate.until_inside(0)
        handle = await fanfold.start(job)

        async def has_failed_once() -> bool:
            (chunk,) = await fanfold.chunks(job)
            return (chunk.state, chunk.attempts) == (ChunkState.PENDING, 1)

        await until(has_failed_once)
        gate.open()
        row = await fanfold.finished(handle)
    assert row.state is JobState.SUCCEEDED


@pytest.mark.parametrize(("chunks", "width"), [(1, 1), (1, 50), (7, 1), (7, 3), (3, 500)])
async def test_any_number_of_chunks_fits_any_window(
    fanfold: Fanfold, chunks: int, width: int
) -> None:
    job = await fanfold.record(
        [[value] for value in range(chunks)], StageSpec(processor="double"), max_concurrency=width
    )
    async with fanfold.working():
        row = await fanfold.run(job)
    assert row.state is JobState.SUCCEEDED
    assert [entry["result"] for entry in await fanfold.result(job)] == [
        [2 * value] for value in range(chunks)
    ]
    assert {chunk.attempts for chunk in await fanfold.chunks(job)} == {1}
