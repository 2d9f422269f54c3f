"""SubmitJob, disturbed: cancelled, terminated, without a place, without its worker."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.common import RawValue, WorkflowIDConflictPolicy
from temporalio.exceptions import CancelledError

from fanfold.contract.names import (
    DEFAULT_TENANT,
    JOB_WORKFLOW,
    JobId,
    job_id_of,
    job_task_queue,
)
from fanfold.contract.settings import WorkerSettings
from fanfold.contract.states import JobState
from fanfold.contract.wire import JobInput, JobRef
from fanfold.ledger.connect import connect
from fanfold.ledger.records import now_ms
from fanfold.ledger.redriving import Selection
from fanfold.ledger.run_again import Redrive
from fanfold.ledger.starting import CLAIM_MS, Places
from fanfold.workers.activities.submissions import SubmissionActivities
from tests.ledger.jobs_recorded import claimed_starts, ours
from tests.ledger.raw_sql import rows
from tests.workflows.gate import Gate
from tests.workflows.gateways import gateway
from tests.workflows.running import Fanfold, Handle, until
from tests.workflows.submitting import (
    BODY,
    GATED,
    failure_of,
    finished,
    job_of,
    submit,
    until_state,
)

pytestmark = pytest.mark.anyio

FAR_OFF = {**BODY, "start_at": "2999-01-01T00:00:00Z"}
MANY = 20


@pytest.fixture
def fanfold(fanfold_on_dev_server: Fanfold) -> Fanfold:
    """The real server: the time-skipping one ends workflows otherwise."""
    return fanfold_on_dev_server


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    """Where the ledger of `fanfold` is."""
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@asynccontextmanager
async def one_that_runs(fanfold: Fanfold, gate: Gate) -> AsyncIterator[tuple[Handle, JobId]]:
    """SubmitJob with a job of two chunks, both of which are inside the gate."""
    async with fanfold.working(gate.gate), gate:
        handle = await submit(fanfold, GATED)
        await gate.until_inside(0, 1)
        yield handle, await job_of(handle)


async def ends_cancelled(handle: Handle) -> None:
    with pytest.raises(WorkflowFailureError) as raised:
        await finished(handle)
    assert isinstance(raised.value.cause, CancelledError)


async def has_none_open(fanfold: Fanfold) -> bool:
    """Whether no workflow is left open."""
    query = "ExecutionStatus = 'Running'"
    return (await fanfold.client.count_workflows(query)).count == 0


# --- its end ---------------------------------------------------------------------------


async def test_a_cancelled_submission_ends_cancelled_once_its_job_is(fanfold: Fanfold) -> None:
    gate = Gate()
    async with one_that_runs(fanfold, gate) as (handle, job_id):
        gate.let_go(0)
        await gate.until_inside(1)
        await handle.cancel()
        await ends_cancelled(handle)
        assert (await fanfold.row(job_id)).state is JobState.CANCELLED
        await until(lambda: has_none_open(fanfold))
    assert (await fanfold.row(job_id)).counts.succeeded == 1


async def test_a_submission_that_is_cancelled_before_its_job_begins_closes_it(
    fanfold: Fanfold,
) -> None:
    async with fanfold.working():
        handle = await submit(fanfold, FAR_OFF)
        job_id = await job_of(handle)
        await handle.cancel()
        await ends_cancelled(handle)
    row = await fanfold.row(job_id)
    assert (row.state, row.counts.cancelled) == (JobState.CANCELLED, row.total_chunks)


async def test_submissions_that_are_cancelled_at_once_leave_nothing_running(
    fanfold: Fanfold,
) -> None:
    """Many: in one of four, the cancellation and the start come to the same workflow task."""
    gate = Gate()
    async with gate:
        handles = [await submit(fanfold, GATED) for _ in range(MANY)]
        for handle in handles:
            await handle.cancel()
        async with fanfold.working(gate.gate):
            await asyncio.gather(*map(ends_cancelled, handles))
            await until(lambda: has_none_open(fanfold))
    found = await ours(fanfold.ledger).jobs.page(state=None, labels={}, before=None, limit=MANY + 1)
    assert [row.state for row in found] == [JobState.CANCELLED] * MANY


async def test_a_job_that_is_cancelled_by_itself_is_given_back(fanfold: Fanfold) -> None:
    async with one_that_runs(fanfold, Gate()) as (handle, job_id), gateway(fanfold):
        await ours(fanfold.ledger).jobs.request_cancel(job_id)
        job = await finished(handle)
    assert (job["state"], job["error"]) == ("cancelled", None)


async def test_a_job_whose_submission_is_terminated_is_cancelled(fanfold: Fanfold) -> None:
    async with one_that_runs(fanfold, Gate()) as (handle, job_id):
        await handle.terminate("by hand")
        await until_state(fanfold, job_id, JobState.CANCELLED)
        await until(lambda: has_none_open(fanfold))


async def test_a_job_whose_workflow_is_terminated_is_closed_without_a_gateway(
    fanfold: Fanfold,
) -> None:
    async with one_that_runs(fanfold, Gate()) as (handle, job_id):
        await fanfold.client.get_workflow_handle(job_id).terminate("by hand")
        job = await finished(handle)
    assert job["state"] == "failed"
    assert job["error"]["type"] == "JobClosedOutside"
    assert "was terminated outside Fanfold" in job["error"]["message"]


async def test_a_workflow_that_takes_the_place_of_the_jobs_own_is_waited_for(
    fanfold: Fanfold,
) -> None:
    """So a gateway adopts jobs of the release before."""
    gate = Gate()
    async with one_that_runs(fanfold, gate) as (handle, job_id):
        row = await fanfold.row(job_id)
        ref = JobRef(id=job_id, tenant=DEFAULT_TENANT, ledger=fanfold.ledger.id)
        given = JobInput.of(ref, row.total_chunks, row.spec, row.controls)
        old = await fanfold.client.get_workflow_handle(job_id).describe()
        await fanfold.client.start_workflow(
            JOB_WORKFLOW,
            dataclasses.replace(given, replaced_run=old.run_id),
            id=job_id,
            task_queue=job_task_queue(fanfold.ledger.id),
            id_conflict_policy=WorkflowIDConflictPolicy.TERMINATE_EXISTING,
        )
        await gate.until_begun(4)
        gate.open()
        assert (await finished(handle))["state"] == "succeeded"


async def test_a_paused_job_keeps_its_submission_waiting(fanfold: Fanfold) -> None:
    gate = Gate()
    async with one_that_runs(fanfold, gate) as (handle, job_id), gateway(fanfold):
        steering = ours(fanfold.ledger).steering
        assert await steering.pause(job_id)
        gate.open()
        await until_state(fanfold, job_id, JobState.PAUSED)
        assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
        await steering.resume(job_id)
        assert (await finished(handle))["state"] == "succeeded"


async def test_the_end_of_its_own_run_is_shown_of_a_job_that_is_redriven(
    fanfold: Fanfold,
) -> None:
    async with fanfold.working():
        job = await finished(await submit(fanfold, {**BODY, "reducer": "sum"}))
    row = await fanfold.row(JobId(job["id"]))
    redriving = ours(fanfold.ledger).redriving
    selected = await redriving.select(row.id, Selection(indexes=(0,)))
    redrive = Redrive(spec=row.spec, controls=row.controls, selected=selected)
    assert await redriving.redrive(row, redrive)
    activities = SubmissionActivities(
        fanfold.ledger, DEFAULT_TENANT, WorkerSettings(), Places(1), workflows_url=None
    )
    ref = JobRef(id=row.id, tenant=DEFAULT_TENANT, ledger=fanfold.ledger.id)
    shown = (await activities.show_job(ref)).payload.data
    assert b'"run":1' in shown
    assert b'"state":"succeeded"' in shown
    assert await activities.await_job(ref) == JobState.PENDING, "its own run has ended"
    await activities.cancel_job(ref)
    assert (await fanfold.row(row.id)).state is JobState.PENDING, "the next run goes on"


async def test_a_job_that_is_deleted_at_its_end_fails_its_submission(
    fanfold: Fanfold, ledger_url: str
) -> None:
    gate = Gate()
    async with one_that_runs(fanfold, gate) as (handle, job_id):
        rows(ledger_url, f"DELETE FROM jobs WHERE id = '{job_id}'")
        gate.open()
        failure = await failure_of(handle)
    assert failure.type == "JobDeleted"
    assert job_id in failure.message


# --- places, and gateways --------------------------------------------------------------


async def test_no_gateway_starts_the_job_of_a_submission_that_lives(fanfold: Fanfold) -> None:
    async with fanfold.working(), gateway(fanfold):
        job = await finished(await submit(fanfold, BODY))
    assert (await parent_of(fanfold, job["id"])).startswith("submission-")


async def test_a_gateway_starts_a_job_whose_submission_died_before_it_did(
    fanfold: Fanfold, ledger_url: str
) -> None:
    activities = SubmissionActivities(
        fanfold.ledger, DEFAULT_TENANT, WorkerSettings(), Places(1), workflows_url=None
    )
    payload = (await fanfold.client.data_converter.encode([BODY]))[0]
    job_id = job_id_of(now_ms(), 7)
    submitted = await activities.record_job(RawValue(payload), job_id)
    assert submitted.job.id == job_id
    assert await activities.record_job(RawValue(payload), job_id) == submitted, "it finds its own"
    assert await claimed_starts(fanfold.ledger) == []
    rows(ledger_url, f"UPDATE jobs SET claimed_until = claimed_until - {CLAIM_MS}")
    async with fanfold.working(), gateway(fanfold):
        await until_state(fanfold, job_id, JobState.SUCCEEDED)


@pytest.mark.parametrize("has_gateway", [True, False], ids=["gateway", "no gateway"])
async def test_a_submission_waits_for_a_place(fanfold: Fanfold, has_gateway: bool) -> None:
    gate = Gate()
    async with fanfold.working(gate.gate, max_running_jobs=1), gate:
        first = await submit(fanfold, GATED)
        await gate.until_inside(0, 1)
        second = await submit(fanfold, BODY)
        waiting = await job_of(second)
        assert (await fanfold.row(waiting)).state is JobState.PENDING
        if has_gateway:
            async with gateway(fanfold, max_running_jobs=1):
                gate.open()
                job = await finished(second)
        else:
            gate.open()
            job = await finished(second)
        assert job["state"] == (await finished(first))["state"] == "succeeded"


@pytest.mark.parametrize("is_cancelled", [True, False], ids=["cancelled", "to its end"])
async def test_a_job_that_a_gateway_was_quicker_to_start_is_waited_for(
    fanfold: Fanfold, is_cancelled: bool
) -> None:
    gate = Gate()
    async with fanfold.working(gate.gate, max_running_jobs=1), gate:
        await submit(fanfold, GATED)
        await gate.until_inside(0, 1)
        handle = await submit(fanfold, GATED)
        job_id = await job_of(handle)
        async with gateway(fanfold, max_running_jobs=2):
            await until_state(fanfold, job_id, JobState.RUNNING)
        assert await parent_of(fanfold, job_id) == ""
        if is_cancelled:
            await handle.cancel()
            await ends_cancelled(handle)
            assert (await fanfold.row(job_id)).state is JobState.CANCELLED
        else:
            gate.open()
            assert (await finished(handle))["state"] == "succeeded"


async def parent_of(fanfold: Fanfold, job_id: JobId) -> str:
    """The id of the workflow that has started that of the job."""
    history = await fanfold.client.get_workflow_handle(job_id).fetch_history()
    started = history.events[0].workflow_execution_started_event_attributes
    return started.parent_workflow_execution.workflow_id


# --- workers that go, and others --------------------------------------------------------


async def test_a_submission_goes_on_with_another_worker(fanfold: Fanfold) -> None:
    gate = Gate()
    async with gate:
        async with fanfold.working(gate.gate):
            handle = await submit(fanfold, GATED)
            await gate.until_inside(0, 1)
        async with fanfold.working(gate.gate, client=await fanfold.another_client()):
            gate.open()
            job = await finished(handle)
    assert job["state"] == "succeeded"
    (row,) = await ours(fanfold.ledger).jobs.page(state=None, labels={}, before=None, limit=2)
    assert row.id == job["id"]


async def test_a_worker_of_another_ledger_goes_on_with_a_submission_where_it_was(
    fanfold: Fanfold, tmp_path: Path
) -> None:
    gate, elsewhere = Gate(), tmp_path / "elsewhere.db"
    async with gate, connect(f"sqlite:///{elsewhere}") as other:
        async with fanfold.working(gate.gate):
            handle = await submit(fanfold, GATED)
            await gate.until_inside(0, 1)
        # Now the workflow has a worker, and its job has none. That one stops in the middle of what
        # a cancellation waits for.
        async with fanfold.working(gate.gate, ledger=other, client=await fanfold.another_client()):
            await handle.cancel()

            async def is_heard() -> bool:
                return len((await handle.describe()).raw_description.pending_activities) == 1

            await until(is_heard)
        async with fanfold.working(gate.gate, client=await fanfold.another_client()):
            await ends_cancelled(handle)
        assert await ours(other).jobs.page(state=None, labels={}, before=None, limit=1) == []
    (row,) = await ours(fanfold.ledger).jobs.page(state=None, labels={}, before=None, limit=2)
    assert row.state is JobState.CANCELLED
