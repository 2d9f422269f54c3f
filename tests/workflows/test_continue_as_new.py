"""A job of many chunks goes on in fresh histories: nothing is lost, nothing runs twice."""

from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowExecutionStatus, WorkflowHistory

import workers.workflows.job
from contract.failures import FailureType
from contract.job_spec import StageSpec, ToleranceSpec
from contract.names import DEFAULT_TENANT, chunk_workflow_id
from contract.states import JobState
from contract.wire import JobInput
from tests.workflows.gate import Gate
from tests.workflows.running import ONE_ATTEMPT, Fanfold, Handle

pytestmark = pytest.mark.anyio

DOUBLE = StageSpec(processor="double")
ODD_SUCCEED = StageSpec(processor="double", options={"fail_if_divisible_by": 2}, retry=ONE_ATTEMPT)


@pytest.fixture(autouse=True)
def short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of a few children each. The sandbox would import the module anew: it stays off."""
    monkeypatch.setattr(workers.workflows.job, "MAX_EVENTS_IN_A_RUN", 25)
    # Regular activities hear of a cancellation sooner than local ones.
    monkeypatch.setattr(workers.workflows.job, "QUICK_SAMPLE", 1_000)


async def runs_of(fanfold: Fanfold, handle: Handle) -> list[WorkflowHistory]:
    """The history of every run, the first one first."""
    histories: list[WorkflowHistory] = []
    run_id = handle.first_execution_run_id
    while run_id:
        one = fanfold.client.get_workflow_handle(handle.id, run_id=run_id)
        histories.append(await one.fetch_history())
        last = histories[-1].events[-1]
        run_id = last.workflow_execution_continued_as_new_event_attributes.new_execution_run_id
    return histories


def started_children(history: WorkflowHistory) -> list[str]:
    initiated = EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED
    return [
        event.start_child_workflow_execution_initiated_event_attributes.workflow_id
        for event in history.events
        if event.event_type == initiated
    ]


async def input_of(fanfold: Fanfold, history: WorkflowHistory) -> Any:
    payloads = history.events[0].workflow_execution_started_event_attributes.input.payloads
    (given,) = await fanfold.client.data_converter.decode(payloads, [JobInput])
    return given


async def test_every_chunk_is_started_once_over_all_runs(fanfold: Fanfold) -> None:
    job = await fanfold.record([[n] for n in range(20)], DOUBLE, max_concurrency=3)
    async with fanfold.working(sandbox=False):
        handle = await fanfold.start(job)
        row = await fanfold.finished(handle)
        histories = await runs_of(fanfold, handle)
    assert len(histories) >= 3
    started = [child for history in histories for child in started_children(history)]
    assert started == [chunk_workflow_id(job.job_id, index) for index in range(20)]
    assert row.state is JobState.SUCCEEDED
    assert [chunk.attempts for chunk in await fanfold.chunks(job)] == [1] * 20


async def test_counts_go_on_from_run_to_run(fanfold: Fanfold) -> None:
    job = await fanfold.record([[n] for n in range(20)], ODD_SUCCEED, max_concurrency=2)
    async with fanfold.working(sandbox=False):
        handle = await fanfold.start(job)
        row = await fanfold.finished(handle)
        given = await input_of(fanfold, (await runs_of(fanfold, handle))[-1])
    assert given.next_index == given.succeeded + given.failed
    assert given.succeeded > 0
    assert given.failed > 0
    assert (row.counts.succeeded, row.counts.failed) == (10, 10)


async def test_the_tolerance_counts_over_all_runs(fanfold: Fanfold) -> None:
    tolerance = ToleranceSpec(count=7)  # more than one run of these can fail
    job = await fanfold.record(
        [[n] for n in range(40)], ODD_SUCCEED, max_concurrency=1, tolerated_failures=tolerance
    )
    async with fanfold.working(sandbox=False):
        handle = await fanfold.start(job)
        row = await fanfold.finished(handle)
        histories = await runs_of(fanfold, handle)
    assert max(len(started_children(history)) for history in histories) < 7
    assert row.error is not None
    assert row.error.type == FailureType.TOLERANCE_EXCEEDED
    assert (row.counts.failed, row.counts.succeeded, row.counts.cancelled) == (8, 7, 25)


async def test_no_run_leaves_a_child_open(fanfold: Fanfold) -> None:
    job = await fanfold.record([[n] for n in range(12)], DOUBLE, max_concurrency=4)
    async with fanfold.working(sandbox=False):
        handle = await fanfold.start(job)
        await fanfold.finished(handle)
        for history in await runs_of(fanfold, handle):
            kinds = [event.event_type for event in history.events]
            initiated = EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED
            completed = EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED
            assert kinds.count(initiated) == kinds.count(completed)


async def test_a_later_run_can_be_cancelled(fanfold_on_dev_server: Fanfold) -> None:
    fanfold, gate = fanfold_on_dev_server, Gate()
    job = await fanfold.record(
        [[n] for n in range(20)], StageSpec(processor="gate"), max_concurrency=2
    )
    gate.let_go(*range(10))
    async with fanfold.working(gate.gate, sandbox=False), gate:
        handle = await fanfold.start(job)
        await gate.until_inside(10, 11)
        assert len(await runs_of(fanfold, handle)) >= 2
        await fanfold.ledger.jobs.request_cancel(job.job_id, DEFAULT_TENANT)
        await fanfold.client.get_workflow_handle(job.job_id).cancel()
        row = await fanfold.finished(handle)
        assert await fanfold.status(handle) is WorkflowExecutionStatus.CANCELED
    assert row.state is JobState.CANCELLED
    assert (row.counts.succeeded, row.counts.cancelled) == (10, 10)
