"""The gateway's loops on a real server: what is recorded happens, each job on its own."""

import logging
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from fanfold.contract.failures import FailureType
from fanfold.contract.job_spec import StageSpec
from fanfold.contract.states import JobState
from fanfold.contract.wire import JobInput
from fanfold.devstack.running import free_ports
from fanfold.ledger.starting import Places
from tests.ledger.jobs_recorded import chunks_of, claimed_starts, new_job, ours
from tests.ledger.raw_sql import rows
from tests.workflows.gate import Gate
from tests.workflows.gateways import gateway
from tests.workflows.running import Fanfold, until

pytestmark = pytest.mark.anyio

DOUBLE = StageSpec(processor="double")
MANY = 1000


@pytest.fixture
def fanfold(fanfold_on_dev_server: Fanfold) -> Fanfold:
    """The time-skipping server has no namespaces, and answers a cancel differently."""
    return fanfold_on_dev_server


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    """Where the ledger of `fanfold` is."""
    return f"sqlite:///{tmp_path / 'ledger.db'}"


async def until_job(fanfold: Fanfold, job: JobInput, state: JobState) -> None:
    async def is_reached() -> bool:
        return (await fanfold.row(job.job.id)).state is state

    await until(is_reached)


async def until_logged(caplog: pytest.LogCaptureFixture, text: str) -> None:
    async def is_logged() -> bool:
        return text in caplog.text

    await until(is_logged)


async def test_jobs_that_cannot_be_started_keep_no_other_from_start_check_or_cancel(
    fanfold: Fanfold, ledger_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    unreadable = await fanfold.record([[1]], DOUBLE)
    rows(ledger_url, f"UPDATE jobs SET spec = 'no JSON' WHERE id = '{unreadable.job.id}'")
    too_long = "job_" + "x" * 2_000
    await ours(fanfold.ledger).recording.record(new_job(too_long), chunks_of([1]))
    good = await fanfold.record([[1]], DOUBLE)
    gone = await fanfold.record([[1]], DOUBLE)
    await ours(fanfold.ledger).jobs.open(gone.job.id)
    unwanted = await fanfold.record([[1]], DOUBLE)
    await ours(fanfold.ledger).jobs.request_cancel(unwanted.job.id)
    rows(ledger_url, "UPDATE jobs SET checked_at = 1")
    async with fanfold.working(), gateway(fanfold):
        await until_job(fanfold, good, JobState.SUCCEEDED)
        await until_job(fanfold, gone, JobState.FAILED)
        await until_job(fanfold, unwanted, JobState.CANCELLED)
    state = await ours(fanfold.ledger).jobs.state(unreadable.job.id)
    assert state is JobState.PENDING
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 2, "each once, however often it was tried"
    assert f"starting job {unreadable.job.id} failed" in caplog.text
    assert "INVALID_ARGUMENT" in caplog.text
    assert "cancel the job with DELETE" in caplog.text


async def test_a_namespace_that_is_not_there_closes_no_job(
    fanfold: Fanfold, ledger_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    target = fanfold.client.service_client.config.target_host
    elsewhere = await Client.connect(target, namespace="nowhere")
    under_way = await fanfold.record([[1]], DOUBLE)
    waiting = await fanfold.record([[1]], DOUBLE)
    await ours(fanfold.ledger).jobs.open(under_way.job.id)
    rows(ledger_url, "UPDATE jobs SET checked_at = 1")
    async with gateway(fanfold, client=elsewhere):
        await until_logged(caplog, f"starting job {waiting.job.id}")
        await until_logged(caplog, f"checking job {under_way.job.id}")
    assert "TEMPORAL_NAMESPACE" in caplog.text
    assert (await fanfold.row(under_way.job.id)).state is JobState.RUNNING
    assert (await fanfold.row(waiting.job.id)).state is JobState.PENDING


async def test_without_temporal_jobs_wait_and_nothing_stays_claimed(
    fanfold: Fanfold, caplog: pytest.LogCaptureFixture
) -> None:
    nobody = await Client.connect(f"127.0.0.1:{free_ports(1)[0]}", lazy=True)
    job = await fanfold.record([[1]], DOUBLE)
    unwanted = await fanfold.record([[1]], DOUBLE)
    await ours(fanfold.ledger).jobs.request_cancel(unwanted.job.id)
    async with gateway(fanfold, client=nobody):
        await until_logged(caplog, "starting jobs has to wait")
        await until_logged(caplog, "checking and cancelling jobs has to wait")

        async def is_to_be_started() -> bool:
            return await claimed_starts(fanfold.ledger) == [job.job.id]

        await until(is_to_be_started)
        await fanfold.ledger.starting.forget_workflow([job.job.id])
    async with fanfold.working(), gateway(fanfold):
        await until_job(fanfold, job, JobState.SUCCEEDED)
        await until_job(fanfold, unwanted, JobState.CANCELLED)


async def test_a_job_terminated_in_temporal_and_then_cancelled_becomes_cancelled(
    fanfold: Fanfold,
) -> None:
    gate = Gate()
    job = await fanfold.record([[0], [1]], StageSpec(processor="gate"))
    async with fanfold.working(gate.gate), gate:
        handle = await fanfold.start(job)
        await gate.until_inside(0, 1)
        await handle.terminate("by hand")
        await ours(fanfold.ledger).jobs.request_cancel(job.job.id)
        async with gateway(fanfold):
            await until_job(fanfold, job, JobState.CANCELLED)
    row = await fanfold.row(job.job.id)
    assert (row.error, row.counts.cancelled) == (None, 2)


async def test_a_job_terminated_after_its_cancellation_was_delivered_becomes_cancelled(
    fanfold: Fanfold, ledger_url: str
) -> None:
    """Without a worker the workflow never hears of the cancellation."""
    job = await fanfold.record([[0]], DOUBLE)
    handle = await fanfold.start(job)
    await claimed_starts(fanfold.ledger)
    await ours(fanfold.ledger).jobs.request_cancel(job.job.id)
    rows(ledger_url, "UPDATE jobs SET claimed_until = 0")

    async def is_delivered() -> bool:
        events = (await handle.fetch_history()).events
        return any(
            event.HasField("workflow_execution_cancel_requested_event_attributes")
            for event in events
        )

    async with gateway(fanfold):
        await until(is_delivered)
        await handle.terminate("by hand")
        await until_job(fanfold, job, JobState.CANCELLED)


async def test_a_job_terminated_in_temporal_is_closed(fanfold: Fanfold) -> None:
    gate = Gate()
    job = await fanfold.record([[0]], StageSpec(processor="gate"))
    async with fanfold.working(gate.gate), gate, gateway(fanfold):
        await gate.until_inside(0)
        await fanfold.client.get_workflow_handle(job.job.id).terminate("by hand")
        await until_job(fanfold, job, JobState.FAILED)
    error = (await fanfold.row(job.job.id)).error
    assert error is not None
    assert error.type == FailureType.JOB_CLOSED_OUTSIDE


async def test_a_job_that_a_dead_gateway_was_to_start_is_started(
    fanfold: Fanfold, ledger_url: str
) -> None:
    job = await fanfold.record([[1]], DOUBLE)
    assert await claimed_starts(fanfold.ledger) == [job.job.id]
    rows(ledger_url, "UPDATE jobs SET claimed_until = 1, checked_at = 1")
    async with fanfold.working(), gateway(fanfold):
        await until_job(fanfold, job, JobState.SUCCEEDED)


async def test_when_a_job_ends_the_next_one_starts_without_waiting_for_the_interval(
    fanfold: Fanfold,
) -> None:
    gate = Gate()
    held = await fanfold.record([[0]], StageSpec(processor="gate"))
    async with (
        fanfold.working(gate.gate),
        gate,
        gateway(fanfold, max_running_jobs=1, interval_seconds=3600) as loops,
    ):
        await gate.until_inside(0)
        following = [await fanfold.record([[1]], DOUBLE) for _ in range(3)]
        loops.kick()

        async def are_waiting() -> bool:
            turn = await fanfold.ledger.starting.to_start(Places(1), limit=10)
            return turn.are_some_held_back

        await until(are_waiting)
        assert (await fanfold.row(following[0].job.id)).state is JobState.PENDING
        gate.open()
        for job in (held, *following):
            await until_job(fanfold, job, JobState.SUCCEEDED)


async def test_two_gateways_run_every_job_and_refuse_none_of_each_others_starts(
    fanfold: Fanfold, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    jobs = [await fanfold.record([[1]], DOUBLE) for _ in range(60)]
    async with (
        fanfold.working(sandbox=False),
        gateway(fanfold, max_running_jobs=10),
        gateway(fanfold, max_running_jobs=10),
    ):
        for job in jobs:
            await until_job(fanfold, job, JobState.SUCCEEDED)
    assert "started already" not in caplog.text
    handle = fanfold.client.get_workflow_handle(jobs[0].job.id)
    assert await fanfold.status(handle) is WorkflowExecutionStatus.COMPLETED
