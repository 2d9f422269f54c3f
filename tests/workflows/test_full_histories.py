"""No history grows with its job: a full one starts nothing more, and another goes on."""

import pytest
from temporalio.client import WorkflowExecutionStatus

from fanfold.contract.failures import FailureType
from fanfold.contract.job_spec import RetrySpec, StageSpec, ToleranceSpec
from fanfold.contract.states import JobState
from tests.ledger.jobs_recorded import ours
from tests.workflows.gate import Gate
from tests.workflows.running import (
    CHILDREN,
    FULL_SHARDS,
    ONE_ATTEMPT,
    SHARDS,
    Fanfold,
    Shape,
    event_names,
    until,
)

pytestmark = pytest.mark.anyio

DOUBLE = StageSpec(processor="double")
ODD_SUCCEED = StageSpec(processor="double", options={"fail_if_divisible_by": 2}, retry=ONE_ATTEMPT)
MAX_EVENTS = 30
FULL_JOB = CHILDREN.tuned(max_events=MAX_EVENTS)
"""The job's own history is full after some children; then it has shards."""
FULL_LARGE_SHARDS = SHARDS.tuned(max_events=MAX_EVENTS, shard_chunks=20)
ALL_SHAPES = pytest.mark.parametrize(
    "shape", [FULL_JOB, FULL_LARGE_SHARDS, FULL_SHARDS], ids=["job", "shards", "blocks"]
)


@pytest.fixture
def fanfold(fanfold_on_dev_server: Fanfold, shape: Shape) -> Fanfold:
    """The real server, which hands signals and new shards over as it will in production."""
    return fanfold_on_dev_server.shaped(shape)


@ALL_SHAPES
async def test_every_chunk_runs_once_over_all_histories(fanfold: Fanfold) -> None:
    job = await fanfold.record(
        [[n, 0.02] for n in range(60)], StageSpec(processor="double"), max_concurrency=4
    )
    async with fanfold.working():
        handle = await fanfold.start(job)
        row = await fanfold.finished(handle)
        names = await event_names(handle)
    assert row.state is JobState.SUCCEEDED
    assert [entry["result"] for entry in await fanfold.result(job)] == [
        [2 * n, 0.04] for n in range(60)
    ]
    assert [chunk.attempts for chunk in await fanfold.chunks(job)] == [1] * 60
    assert names.count("WorkflowExecutionContinuedAsNew") == 0


@ALL_SHAPES
async def test_the_tolerance_counts_over_all_histories(fanfold: Fanfold) -> None:
    tolerance = ToleranceSpec(count=12)
    job = await fanfold.record(
        [[n] for n in range(60)], ODD_SUCCEED, max_concurrency=1, tolerated_failures=tolerance
    )
    async with fanfold.working():
        row = await fanfold.run(job)
    assert row.error is not None
    assert row.error.type == FailureType.TOLERANCE_EXCEEDED
    assert (row.counts.failed, row.counts.succeeded, row.counts.cancelled) == (13, 12, 35)


@pytest.mark.parametrize("shape", [FULL_JOB, FULL_LARGE_SHARDS], ids=["job", "shards"])
async def test_no_history_is_much_longer_than_it_may_be(fanfold: Fanfold) -> None:
    job = await fanfold.record([[n] for n in range(60)], DOUBLE, max_concurrency=4)
    async with fanfold.working():
        handle = await fanfold.start(job)
        await fanfold.finished(handle)
        first_shard = await event_names(fanfold.shard(job, 0))
        of_job = await event_names(handle)
    # What was in flight when it was full, nine events for each at worst.
    assert len(first_shard) <= MAX_EVENTS + 4 * 9 + 10
    if fanfold.shape is FULL_JOB:
        assert of_job.count("StartChildWorkflowExecutionInitiated") < 60


@pytest.mark.parametrize("shape", [FULL_LARGE_SHARDS, FULL_SHARDS], ids=["shards", "blocks"])
async def test_a_chunk_that_takes_long_in_a_full_history_holds_up_no_other(
    fanfold: Fanfold,
) -> None:
    gate = Gate()
    job = await fanfold.record(
        [[n] for n in range(40)], StageSpec(processor="gate"), max_concurrency=2
    )
    async with fanfold.working(gate.gate), gate:
        handle = await fanfold.start(job)
        gate.let_go(*range(1, 40))

        async def are_all_others_done() -> bool:
            return (await fanfold.row(job.job.id)).counts.succeeded == 39

        await until(are_all_others_done)
        assert gate.inside == {0}
        gate.open()
        row = await fanfold.finished(handle)
    assert row.state is JobState.SUCCEEDED
    assert sorted(gate.begun) == list(range(40))


@ALL_SHAPES
async def test_a_job_is_cancelled_in_whichever_history_it_is(fanfold: Fanfold) -> None:
    gate = Gate()
    job = await fanfold.record(
        [[n] for n in range(40)], StageSpec(processor="gate"), max_concurrency=2
    )
    async with fanfold.working(gate.gate), gate:
        handle = await fanfold.start(job)
        gate.let_go(*range(30))  # in which order they come depends on which history was full

        async def are_stuck() -> bool:
            return len(gate.inside) == 2 and min(gate.inside) >= 30

        await until(are_stuck)
        done = (await fanfold.row(job.job.id)).counts.succeeded
        await ours(fanfold.ledger).jobs.request_cancel(job.job.id)
        await handle.cancel()
        row = await fanfold.finished(handle)
        assert await fanfold.status(handle) is WorkflowExecutionStatus.CANCELED
    assert row.state is JobState.CANCELLED
    assert not gate.inside
    assert (row.counts.succeeded, row.counts.cancelled) == (done, 40 - done)


@ALL_SHAPES
async def test_what_waits_for_its_next_attempt_is_offered_again(fanfold: Fanfold) -> None:
    retry = RetrySpec(max_attempts=4, initial_interval_seconds=0.3, backoff_coefficient=1)
    stage = StageSpec(processor="double", options={"fail_attempts": 3}, retry=retry)
    job = await fanfold.record([[n] for n in range(8)], stage, max_concurrency=4)
    async with fanfold.working():
        # A history of some events for each of 32 attempts: half a minute on a busy machine.
        row = await fanfold.finished(await fanfold.start(job), patience_seconds=100)
    assert row.state is JobState.SUCCEEDED
    assert [chunk.attempts for chunk in await fanfold.chunks(job)] == [4] * 8
