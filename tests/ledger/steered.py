"""Jobs and chunks in the states that controls meet, and what is seen of them."""

from fanfold.contract.names import DEFAULT_TENANT, JobId, new_job_id
from fanfold.contract.states import JobState
from fanfold.ledger.connect import Ledger
from fanfold.ledger.records import BlockRun, ChunkOutput, ItemError
from fanfold.ledger.starting import UnfinishedJob
from fanfold.ledger.steering import Steering
from tests.ledger.jobs_recorded import (
    closed,
    found,
    hold,
    new_job,
    ours,
    record,
)
from tests.ledger.trees import grown, leaf, sequence
from tests.ledger.twice import WrittenTwice

RUN = BlockRun(block=1, number=1)
DONE = ChunkOutput(body=b"[1]", by_item=True)
HALF = ChunkOutput(
    body=b"[7,null]", item_errors=(ItemError(item=1, type="T", message="m"),), by_item=True
)


async def in_state(ledger: Ledger, state: JobState) -> JobId:
    """A job of one chunk in this state."""
    if state is JobState.RECEIVING:
        job_id = new_job_id()
        await ours(ledger).recording.record(new_job(job_id), None)
        return job_id
    if state is JobState.SKIPPED:  # which only a sub-job may be
        tree = await grown(ledger, sequence(first=leaf(1), skipped=leaf(1)))
        await ours(ledger).sub_jobs.skip(tree["skipped"])
        return tree["skipped"]
    job_id = await record(ledger)
    if state is JobState.PENDING:
        return job_id
    await ours(ledger).jobs.open(job_id)
    if state is JobState.PAUSED:
        await ours(ledger).steering.pause(job_id)
    elif state is JobState.WAITING:
        await hold(ledger, job_id, 0)
        await ours(ledger).closing.wait(job_id)
    elif state in (JobState.CANCELLING, JobState.CANCELLED):
        await ours(ledger).jobs.request_cancel(job_id)
    if state.is_terminal:
        await closed(ledger, job_id, state)
    return job_id


async def state_of(ledger: Ledger, job_id: JobId) -> JobState:
    return (await found(ledger, job_id)).state


async def chunk_states(ledger: Ledger, job_id: JobId) -> list[str]:
    return [str(one.state) for one in await ours(ledger).chunks.page(job_id, after=-1, limit=99)]


async def bodies(ledger: Ledger, job_id: JobId) -> list[bytes]:
    return [output.body async for _, output in ours(ledger).chunks.stream(job_id)]


async def to_check(ledger: Ledger, job_id: JobId) -> UnfinishedJob:
    """The job as a gateway finds it that is to compare it at once."""
    jobs = await ledger.starting.to_check(unchecked_since=1, limit=99)
    await ledger.starting.mark_checked(jobs)
    (job,) = [job for job in jobs if job.id == job_id]
    return job


def twice(ledger: Ledger) -> Steering:
    return Steering(WrittenTwice(ledger.database), DEFAULT_TENANT)
