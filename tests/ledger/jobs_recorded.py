"""Jobs for the tests: recorded, opened, with chunks brought to the state a test needs."""

import secrets
from collections.abc import Mapping, Sequence

from fanfold.contract.failures import Failure
from fanfold.contract.job_spec import Controls, Execution, JobSpec, StageSpec
from fanfold.contract.names import DEFAULT_TENANT, JobId, TenantId, new_job_id
from fanfold.contract.states import JobState
from fanfold.ledger import outcomes
from fanfold.ledger.connect import Ledger, TenantLedger
from fanfold.ledger.recording import NewJob
from fanfold.ledger.records import Attempt, ChunkOutput, IdempotencyKey, JobRecord, NewChunk
from fanfold.ledger.starting import Places

BROKEN = Failure(type="Broken", message="it broke", retryable=True)
NOTHING = ChunkOutput()


def new_token() -> int:
    """A token that no other call has, for a call that begins an attempt.

    Drawn, as workers draw theirs: a claim uses those that follow its own as well, one a chunk.
    """
    return secrets.randbits(61)


def a_spec(*, stages: int = 1) -> JobSpec:
    return JobSpec(
        stages=tuple(StageSpec(processor=f"stage_{number}") for number in range(stages)),
        is_staged=stages > 1,
        execution=Execution.WORKFLOW,
    )


def labelled(labels: Mapping[str, str]) -> Controls:
    return Controls(max_concurrency=10, labels=labels)


def chunks_of(sizes: Sequence[int]) -> list[NewChunk]:
    """One chunk of so many items for each size; each item is its chunk's index."""
    return [
        NewChunk(item_count=size, body=b"[" + b",".join([b"%d" % index] * size) + b"]")
        for index, size in enumerate(sizes)
    ]


def ours(ledger: Ledger) -> TenantLedger:
    """The ledger as the one tenant has it."""
    return ledger.of(DEFAULT_TENANT)


def new_job(
    job_id: str,
    *,
    spec: JobSpec | None = None,
    controls: Controls | None = None,
    key: IdempotencyKey | None = None,
    keep_ms: int | None = None,
) -> NewJob:
    return NewJob(
        id=JobId(job_id),
        spec=spec or a_spec(),
        controls=controls or Controls(max_concurrency=10),
        key=key,
        keep_ms=keep_ms,
    )


async def record(
    ledger: Ledger,
    sizes: Sequence[int] = (1,),
    *,
    spec: JobSpec | None = None,
    controls: Controls | None = None,
    tenant: TenantId = DEFAULT_TENANT,
    key: IdempotencyKey | None = None,
    job_id: str | None = None,
    keep_ms: int | None = None,
) -> JobId:
    """Record a job with chunks of these sizes; its id."""
    job = new_job(
        job_id or new_job_id(),
        spec=spec,
        controls=controls,
        key=key,
        keep_ms=keep_ms,
    )
    await ledger.of(tenant).recording.record(job, chunks_of(sizes))
    return job.id


async def running(
    ledger: Ledger,
    sizes: Sequence[int] = (1,),
    *,
    spec: JobSpec | None = None,
    controls: Controls | None = None,
) -> JobId:
    """Record and open a job."""
    job_id = await record(ledger, sizes, spec=spec, controls=controls)
    assert await ours(ledger).jobs.open(job_id) == (True, JobState.RUNNING)
    return job_id


async def found(ledger: Ledger, job_id: JobId) -> JobRecord:
    job = await ours(ledger).jobs.find(job_id)
    assert job is not None
    return job


async def begun(
    ledger: Ledger, job_id: JobId, index: int = 0, stage: int = 0, *, run: int = 1
) -> Attempt:
    """Begin an attempt, which has to be allowed."""
    attempt = await ours(ledger).work.begin(job_id, index, stage, job_run=run, token=new_token())
    assert isinstance(attempt, Attempt)
    return attempt


async def succeed(
    ledger: Ledger, job_id: JobId, index: int, body: bytes = b"[1]", *, run: int = 1
) -> None:
    attempt = await begun(ledger, job_id, index, run=run)
    await ours(ledger).work.record(outcomes.succeeded(attempt, ChunkOutput(body=body)))


async def fail(
    ledger: Ledger, job_id: JobId, index: int, failure: Failure = BROKEN, *, run: int = 1
) -> None:
    attempt = await begun(ledger, job_id, index, run=run)
    await ours(ledger).work.record(outcomes.failed(attempt, failure, ChunkOutput()))


async def hold(ledger: Ledger, job_id: JobId, index: int, output: ChunkOutput = NOTHING) -> Attempt:
    """Let a chunk end held; its last attempt."""
    attempt = await begun(ledger, job_id, index)
    await ours(ledger).work.record(outcomes.held(attempt, BROKEN, output))
    return attempt


async def closed(
    ledger: Ledger, job_id: JobId, state: JobState = JobState.SUCCEEDED, result: bytes | None = None
) -> None:
    """Close a job, whose open chunks are cancelled."""
    run = (await found(ledger, job_id)).run
    await ours(ledger).jobs.open(job_id, run)
    await ours(ledger).closing.settle(job_id, run)
    assert await ours(ledger).closing.close(job_id, state, error=None, result=result, run=run)


MANY_PLACES = Places(1000)


async def claimed_starts(
    ledger: Ledger, *, places: Places = MANY_PLACES, limit: int = 100
) -> list[JobId]:
    """Claim jobs to start, as a gateway does; their ids."""
    return [job.id for job in (await ledger.starting.to_start(places, limit=limit)).jobs]
