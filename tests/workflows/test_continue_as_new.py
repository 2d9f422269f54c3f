"""A shard of many chunks goes on in fresh histories: nothing is lost, nothing runs twice."""

from dataclasses import replace

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowExecutionStatus, WorkflowHistory

import workers.workflows.blocks
import workers.workflows.children
import workers.workflows.shard
from contract.failures import FailureType
from contract.job_spec import RetrySpec, StageSpec, ToleranceSpec
from contract.names import DEFAULT_TENANT, chunk_workflow_id
from contract.states import ChunkState, JobState
from contract.wire import ShardInput, indexes_of
from tests.workflows.gate import Gate
from tests.workflows.running import BLOCKS, ONE_ATTEMPT, SHARDS, Fanfold, Shape

pytestmark = pytest.mark.anyio

DOUBLE = StageSpec(processor="double")
ODD_SUCCEED = StageSpec(processor="double", options={"fail_if_divisible_by": 2}, retry=ONE_ATTEMPT)
ONE_SHARD = replace(SHARDS, shard_chunks=1000)


@pytest.fixture(autouse=True)
def short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of a few children each. The sandbox would import the module anew: it stays off."""
    monkeypatch.setattr(workers.workflows.shard, "MAX_EVENTS_IN_A_RUN", 25)
    # Regular activities hear of a cancellation sooner than local ones.
    monkeypatch.setattr(workers.workflows.children, "QUICK_SAMPLE", 1_000)


@pytest.fixture
def shape() -> Shape:
    return ONE_SHARD


@pytest.fixture
def fanfold(fanfold: Fanfold, shape: Shape) -> Fanfold:
    return fanfold.shaped(shape)


def count(history: WorkflowHistory, event: "EventType.ValueType") -> int:
    return sum(one.event_type == event for one in history.events)


def started_children(history: WorkflowHistory) -> list[str]:
    initiated = EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED
    return [
        event.start_child_workflow_execution_initiated_event_attributes.workflow_id
        for event in history.events
        if event.event_type == initiated
    ]


async def input_of(fanfold: Fanfold, history: WorkflowHistory) -> ShardInput:
    payloads = history.events[0].workflow_execution_started_event_attributes.input.payloads
    (given,) = await fanfold.client.data_converter.decode(payloads, [ShardInput])
    assert isinstance(given, ShardInput)
    return given


async def test_every_chunk_is_started_once_over_all_runs(fanfold: Fanfold) -> None:
    job = await fanfold.record([[n] for n in range(20)], DOUBLE, max_concurrency=3)
    async with fanfold.working(sandbox=False):
        row = await fanfold.run(job)
        histories = await fanfold.runs_of_shard(job, 0)
    assert len(histories) >= 3
    started = [child for history in histories for child in started_children(history)]
    assert started == [chunk_workflow_id(job.job_id, index) for index in range(20)]
    assert row.state is JobState.SUCCEEDED
    assert [chunk.attempts for chunk in await fanfold.chunks(job)] == [1] * 20


async def test_a_run_is_given_what_is_left(fanfold: Fanfold) -> None:
    job = await fanfold.record([[n] for n in range(20)], ODD_SUCCEED, max_concurrency=2)
    async with fanfold.working(sandbox=False):
        row = await fanfold.run(job)
        histories = await fanfold.runs_of_shard(job, 0)
        given = [await input_of(fanfold, history) for history in histories]
    begun = 0
    for history, shard in zip(histories, given, strict=True):
        assert (shard.first, shard.count, shard.width) == (begun, 20 - begun, 2)
        begun += len(started_children(history))
    assert (row.counts.succeeded, row.counts.failed) == (10, 10)


async def test_the_tolerance_counts_over_all_runs(fanfold: Fanfold) -> None:
    tolerance = ToleranceSpec(count=7)  # more than one run of these can fail
    job = await fanfold.record(
        [[n] for n in range(40)], ODD_SUCCEED, max_concurrency=1, tolerated_failures=tolerance
    )
    async with fanfold.working(sandbox=False):
        row = await fanfold.run(job)
        histories = await fanfold.runs_of_shard(job, 0)
    assert max(len(started_children(history)) for history in histories) < 7
    assert row.error is not None
    assert row.error.type == FailureType.TOLERANCE_EXCEEDED
    assert (row.counts.failed, row.counts.succeeded, row.counts.cancelled) == (8, 7, 25)


async def test_no_run_leaves_a_child_open(fanfold: Fanfold) -> None:
    job = await fanfold.record([[n] for n in range(12)], DOUBLE, max_concurrency=4)
    async with fanfold.working(sandbox=False):
        await fanfold.run(job)
        histories = await fanfold.runs_of_shard(job, 0)
    assert len(histories) >= 2
    for history in histories:
        assert len(started_children(history)) == count(
            history, EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED
        )


@pytest.mark.parametrize("shape", [ONE_SHARD, BLOCKS], ids=["children", "blocks"])
async def test_a_later_run_can_be_cancelled(
    fanfold_on_dev_server: Fanfold, shape: Shape, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers.workflows.blocks, "BLOCK_CHUNKS", 1)
    fanfold, gate = fanfold_on_dev_server.shaped(shape), Gate()
    job = await fanfold.record(
        [[n] for n in range(20)], StageSpec(processor="gate"), max_concurrency=1
    )
    gate.let_go(*range(10))
    async with fanfold.working(gate.gate, sandbox=False), gate:
        handle = await fanfold.start(job)
        await gate.until_inside(10)
        assert len(await fanfold.runs_of_shard(job, 0)) >= 2
        await fanfold.ledger.jobs.request_cancel(job.job_id, DEFAULT_TENANT)
        await handle.cancel()
        row = await fanfold.finished(handle)
        assert await fanfold.status(handle) is WorkflowExecutionStatus.CANCELED
        assert await fanfold.status(fanfold.shard(job, 0)) is WorkflowExecutionStatus.CANCELED
    assert row.state is JobState.CANCELLED
    assert (row.counts.succeeded, row.counts.cancelled) == (10, 10)


@pytest.mark.parametrize("shape", [BLOCKS], ids=["blocks"])
async def test_what_is_put_off_goes_along_with_its_time_and_nothing_is_open(
    fanfold: Fanfold,
) -> None:
    stage = StageSpec(
        processor="double",
        options={"fail_attempts": 6},
        retry=RetrySpec(
            max_attempts=7, initial_interval_seconds=3600, max_interval_seconds=100_000
        ),
    )
    job = await fanfold.record([[n] for n in range(8)], stage, max_concurrency=4)
    async with fanfold.working(sandbox=False):
        begun = await fanfold.environment.get_current_time()
        row = await fanfold.run(job)
        ended = await fanfold.environment.get_current_time()
        histories = await fanfold.runs_of_shard(job, 0)
        given = [await input_of(fanfold, history) for history in histories]
    assert row.state is JobState.SUCCEEDED
    assert [chunk.attempts for chunk in await fanfold.chunks(job)] == [7] * 8
    waited = sum(min(3600 * 2**attempt, 100_000) for attempt in range(6))
    assert (ended - begun).total_seconds() >= waited
    assert len(histories) >= 2
    for history in histories:
        assert len(history.events) <= 25 + 20
        scheduled = count(history, EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
        assert scheduled == count(history, EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED)
    for shard in given[1:]:
        assert shard.count == 0
        carried = [index for group in shard.put_off for index in indexes_of(group.ranges)]
        assert sorted(carried) == list(range(8))
    waits = [group.seconds for shard in given for group in shard.put_off]
    assert min(waits) >= 0
    assert max(waits) > 3600


@pytest.mark.parametrize("shape", [replace(BLOCKS, shard_chunks=8)], ids=["blocks"])
async def test_slots_that_were_lent_on_are_not_taken_back(
    fanfold: Fanfold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers.workflows.blocks, "BLOCK_WIDTH", 1)

    def fail_at_zero(item: int) -> int:
        if item == 0:
            raise ConnectionError("not now")
        return item

    retry = RetrySpec(max_attempts=20, initial_interval_seconds=60)
    job = await fanfold.record(
        [[n] for n in range(24)],
        StageSpec(processor="fail_at_zero", retry=retry),
        max_concurrency=8,
    )
    async with fanfold.working(fail_at_zero, sandbox=False):
        await fanfold.run(job)
        histories = await fanfold.runs_of_shard(job, 0)
        widths = [(await input_of(fanfold, history)).width for history in histories]
    assert len(histories) >= 2
    released = EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED
    assert count(histories[0], released) > 0
    assert widths == [widths[0], *[1] * (len(widths) - 1)]
    assert widths[0] > 1
    failed, *others = await fanfold.chunks(job)
    assert (failed.state, failed.attempts) == (ChunkState.FAILED, 20)
    assert {chunk.attempts for chunk in others} == {1}
