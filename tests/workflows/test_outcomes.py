"""What jobs and chunks come to, and what is recorded of it."""

from datetime import timedelta

import pytest
from temporalio.client import WorkflowExecutionStatus

from contract.failures import FailureType
from contract.job_spec import RetrySpec, StageSpec
from contract.states import ChunkState, JobState
from tests.workflows.running import ONE_ATTEMPT, QUICK, Fanfold, event_names

pytestmark = pytest.mark.anyio

ODD_SUCCEED = StageSpec(processor="double", options={"fail_if_divisible_by": 2}, retry=ONE_ATTEMPT)
HOURS_OF_BACKOFF = StageSpec(
    processor="double",
    options={"fail_attempts": 2},
    retry=RetrySpec(max_attempts=3, initial_interval_seconds=3600, max_interval_seconds=10_800),
)


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
        assert await fanfold.status(fanfold.child(job, 0)) is WorkflowExecutionStatus.COMPLETED
        assert await fanfold.status(fanfold.child(job, 1)) is WorkflowExecutionStatus.FAILED
    assert row.state is JobState.PARTIALLY_SUCCEEDED
    assert (row.counts.succeeded, row.counts.failed) == (3, 2)
    assert [group.message for group in row.errors] == [
        "Simulated failure for value 2",
        "Simulated failure for value 4",
    ]
    assert [entry["result"] for entry in await fanfold.result(job)] == [[2], [6], [10]]


async def test_a_job_whose_chunks_all_fail_fails(fanfold: Fanfold) -> None:
    job = await fanfold.record([[2], [4]], ODD_SUCCEED)
    async with fanfold.working():
        handle = await fanfold.start(job)
        row = await fanfold.finished(handle)
        # In Temporal the job did its work: that it failed is its result, not a failure.
        assert await fanfold.status(handle) is WorkflowExecutionStatus.COMPLETED
    assert row.state is JobState.FAILED
    assert row.error is not None
    assert row.error.type == FailureType.ALL_CHUNKS_FAILED
    assert await fanfold.result(job) is None


@pytest.mark.parametrize("start", [{}, QUICK], ids=["regular", "quick"])
async def test_hours_of_backoff_pass_and_every_attempt_counts(
    fanfold: Fanfold, start: dict[str, int]
) -> None:
    job = await fanfold.record([[1], [2]], HOURS_OF_BACKOFF)
    async with fanfold.working():
        begun = await fanfold.environment.get_current_time()
        row = await fanfold.run(job, **start)
        ended = await fanfold.environment.get_current_time()
    assert row.state is JobState.SUCCEEDED
    assert [chunk.attempts for chunk in await fanfold.chunks(job)] == [3, 3]
    assert ended - begun >= timedelta(hours=1 + 2)


async def test_a_chunk_fails_after_the_attempts_it_was_given(fanfold: Fanfold) -> None:
    stage = StageSpec(
        processor="double",
        options={"fail_attempts": 9},
        retry=RetrySpec(max_attempts=4, initial_interval_seconds=600, max_interval_seconds=600),
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
        names = await event_names(fanfold.child(job, 0))
    assert names.count("ActivityTaskScheduled") == 3
    assert await fanfold.result(job) == [{"index": 0, "result": [4]}, {"index": 1, "result": [8]}]
    assert (row.counts.items_succeeded, row.counts.items_failed) == (2, 1)


async def test_no_stage_follows_a_failed_one(fanfold: Fanfold) -> None:
    job = await fanfold.record([[2]], ODD_SUCCEED, StageSpec(processor="double"))
    async with fanfold.working():
        await fanfold.run(job)
        names = await event_names(fanfold.child(job, 0))
    assert names.count("ActivityTaskScheduled") == 1
    assert await fanfold.chunk_states(job) == [ChunkState.FAILED]


async def test_no_wait_is_longer_than_the_longest(fanfold: Fanfold) -> None:
    retry = RetrySpec(max_attempts=2, initial_interval_seconds=3600, max_interval_seconds=60)
    job = await fanfold.record(
        [[1]], StageSpec(processor="double", options={"fail_attempts": 1}, retry=retry)
    )
    async with fanfold.working():
        row = await fanfold.run(job)
        events = (await fanfold.child(job, 0).fetch_history()).events
    assert row.state is JobState.SUCCEEDED
    took = events[-1].event_time.ToDatetime() - events[0].event_time.ToDatetime()
    assert timedelta(seconds=60) <= took < timedelta(seconds=120)
