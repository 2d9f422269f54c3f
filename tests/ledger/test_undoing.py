"""What the ledger promises of jobs that undo things: in order, and ended by nothing above them."""

from fanfold.contract import json_values
from fanfold.contract.job_spec import Controls, JobSpec, Order, StageSpec
from fanfold.contract.names import new_job_id
from fanfold.contract.states import JobState
from fanfold.ledger import outcomes
from fanfold.ledger.compensating import Due
from fanfold.ledger.connect import Ledger
from fanfold.ledger.recording import NewJob, NewSubJob
from fanfold.ledger.records import Attempt, BlockRun, ChunkOutput, JobRecord, NewChunk
from fanfold.ledger.starting import Places
from tests.ledger.jobs_recorded import BROKEN, begun, new_token, ours, running, succeed

RUN = BlockRun(block=7, number=1)


async def undoing(ledger: Ledger) -> tuple[JobRecord, JobRecord]:
    """A job of one sub-job that has begun, and the compensation of that, just recorded."""
    undo = StageSpec(processor="undo")
    part = NewSubJob(
        id=new_job_id(),
        name="part",
        spec=JobSpec(stages=(StageSpec(processor="double"),), compensate=undo),
        controls=Controls(),
        data=[NewChunk(item_count=1, body=json_values.encode([value])) for value in (1, 2)],
    )
    root = NewJob(
        id=new_job_id(),
        spec=JobSpec(stages=(), order=Order.PARALLEL),
        controls=Controls(),
        jobs=[part],
    )
    one = ours(ledger)
    await one.recording.record(root, ())
    for job_id in (root.id, part.id):
        await one.jobs.open(job_id)
    for index in (0, 1):
        await succeed(ledger, part.id, index)
    await one.compensating.record(Due(part.id, 1))
    found = await one.jobs.find(root.id)
    (compensation,) = await one.sub_jobs.compensations(root.id)
    recorded = await one.jobs.find(compensation.id)
    assert found is not None
    assert recorded is not None
    return found, recorded


async def test_it_goes_on_where_all_above_it_is_ended(ledger: Ledger) -> None:
    """Where whoever was to run it is gone, gateways start it."""
    root, undo = await undoing(ledger)
    await ours(ledger).compensating.hand_over(root.id)
    await ours(ledger).closing.settle_below(root.id)
    assert await ours(ledger).jobs.state(undo.id) is JobState.PENDING
    (start,) = (await ledger.starting.to_start(Places(10), limit=10)).jobs
    assert start.id == undo.id


async def test_nothing_is_claimed_while_what_comes_before_waits(ledger: Ledger) -> None:
    _, undo = await undoing(ledger)
    one = ours(ledger)
    await one.jobs.open(undo.id)

    async def claimed() -> list[Attempt]:
        return await one.work.claim_some(
            undo.id, RUN, job_run=1, token=new_token(), count=1, is_in_order=True
        )

    attempt = await begun(ledger, undo.id, 0)
    await one.work.record(outcomes.put_off(attempt, BROKEN, ChunkOutput(), seconds=0))
    (attempt,) = await claimed()
    assert attempt.index == 0
    await one.work.record(outcomes.put_off(attempt, BROKEN, ChunkOutput(), seconds=60))
    assert await claimed() == []
    outlook = await one.work.outlook(undo.id, RUN, limit=5, is_in_order=True)
    assert outlook.ready == 0


async def test_a_job_with_something_to_undo_is_not_closed_over_a_cancellation(
    ledger: Ledger,
) -> None:
    job_id = await running(ledger)
    await succeed(ledger, job_id, 0)
    assert await ours(ledger).jobs.request_cancel(job_id)
    closing = ours(ledger).closing
    succeeded = JobState.SUCCEEDED
    assert not await closing.close(job_id, succeeded, error=None, unless_cancelled=True)
    assert await ours(ledger).jobs.state(job_id) is JobState.CANCELLING
    assert await closing.close(job_id, succeeded, error=None)
    assert await ours(ledger).jobs.state(job_id) is JobState.CANCELLED
