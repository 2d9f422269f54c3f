"""What the gateway has to carry out: jobs to start, jobs to compare with Temporal."""

from contract.names import DEFAULT_TENANT
from contract.states import JobState
from ledger.connect import Ledger
from ledger.records import PendingStart, now_ms
from tests.ledger.jobs_recorded import a_spec, closed, found, labelled, record, running

EVERY_TIME = 1 << 60


async def test_recorded_jobs_are_to_be_started_oldest_first(ledger: Ledger) -> None:
    spec = a_spec(stages=2)
    controls = labelled({"a": "b"})
    for job_id in ("job_2", "job_1", "job_3"):
        await record(ledger, [1, 1], job_id=job_id, spec=spec, controls=controls)
    waiting = await ledger.jobs.to_start(10)
    assert waiting == [
        PendingStart(id=job_id, tenant=DEFAULT_TENANT, total_chunks=2, spec=spec, controls=controls)
        for job_id in ("job_1", "job_2", "job_3")
    ]
    assert [job.id for job in await ledger.jobs.to_start(2)] == ["job_1", "job_2"]


async def test_a_job_whose_workflow_exists_is_not_started_again(ledger: Ledger) -> None:
    job_id = await record(ledger)
    await ledger.jobs.mark_workflow_started(job_id)
    assert await ledger.jobs.to_start(10) == []
    assert await ledger.jobs.state(job_id, DEFAULT_TENANT) is JobState.PENDING


async def test_a_job_that_a_worker_opened_is_not_started_again(ledger: Ledger) -> None:
    await running(ledger)
    assert await ledger.jobs.to_start(10) == []


async def test_a_job_cancelled_before_its_start_is_never_started(ledger: Ledger) -> None:
    job_id = await record(ledger)
    await ledger.jobs.request_cancel(job_id, DEFAULT_TENANT)
    assert await ledger.jobs.to_start(10) == []


async def test_a_job_whose_workflow_was_lost_before_it_began_is_started_again(
    ledger: Ledger,
) -> None:
    job_id = await record(ledger)
    await ledger.jobs.mark_workflow_started(job_id)
    await ledger.jobs.forget_workflow(job_id)
    assert [job.id for job in await ledger.jobs.to_start(10)] == [job_id]


async def test_a_job_that_began_keeps_its_workflow(ledger: Ledger) -> None:
    job_id = await running(ledger)
    await ledger.jobs.forget_workflow(job_id)
    assert await ledger.jobs.to_start(10) == []
    assert (job_id, JobState.RUNNING) in await ledger.jobs.to_check(
        unchecked_since=EVERY_TIME, limit=10
    )


async def test_only_unfinished_jobs_with_a_workflow_are_compared(ledger: Ledger) -> None:
    await record(ledger)
    started = await record(ledger)
    await ledger.jobs.mark_workflow_started(started)
    under_way = await running(ledger)
    finished = await running(ledger)
    await closed(ledger, finished)
    to_check = await ledger.jobs.to_check(unchecked_since=EVERY_TIME, limit=10)
    assert dict(to_check) == {started: JobState.PENDING, under_way: JobState.RUNNING}


async def test_a_job_just_compared_is_left_alone_for_a_while(ledger: Ledger) -> None:
    job_id = await running(ledger)
    soon = now_ms() + 60_000
    assert await ledger.jobs.to_check(unchecked_since=soon, limit=10) == [
        (job_id, JobState.RUNNING)
    ]
    checked_before = (await found(ledger, job_id)).created_at
    assert await ledger.jobs.to_check(unchecked_since=checked_before, limit=10) == []
    assert len(await ledger.jobs.to_check(unchecked_since=soon, limit=10)) == 1


async def test_jobs_are_compared_in_turns(ledger: Ledger) -> None:
    job_ids = {await running(ledger) for _ in range(3)}
    compared = set()
    for _ in range(3):
        ((job_id, _),) = await ledger.jobs.to_check(unchecked_since=EVERY_TIME, limit=1)
        compared.add(job_id)
        # The clock the ledger goes by counts milliseconds.
        moment = now_ms()
        while now_ms() == moment:
            pass
    assert compared == job_ids


async def test_jobs_being_cancelled_come_first_and_every_time(ledger: Ledger) -> None:
    first = await running(ledger)
    cancelling = await record(ledger)
    await ledger.jobs.request_cancel(cancelling, DEFAULT_TENANT)
    for _ in range(2):
        ((job_id, state),) = await ledger.jobs.to_check(unchecked_since=EVERY_TIME, limit=1)
        assert (job_id, state) == (cancelling, JobState.CANCELLING)
    both = await ledger.jobs.to_check(unchecked_since=EVERY_TIME, limit=10)
    assert [job_id for job_id, _ in both] == [cancelling, first]
    assert await ledger.jobs.to_check(unchecked_since=0, limit=10) == [
        (cancelling, JobState.CANCELLING)
    ]
    await closed(ledger, cancelling, JobState.CANCELLED)
    assert await ledger.jobs.to_check(unchecked_since=0, limit=10) == []
