"""Blocks run as a worker runs them, with a ledger and no server."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from temporalio.testing import ActivityEnvironment

from fanfold.contract.job_spec import (
    Controls,
    Execution,
    JobSpec,
    StageSpec,
)
from fanfold.contract.names import DEFAULT_TENANT, JobId, new_job_id
from fanfold.contract.wire import BlockInput, BlockOutcome, JobRef
from fanfold.ledger.connect import Ledger
from fanfold.ledger.recording import NewJob
from fanfold.ledger.records import ChunkRecord, NewChunk
from fanfold.workers.activities.block import BlockActivities
from fanfold.workers.attempts import Attempts
from fanfold.workers.processor import Processor
from fanfold.workers.registry import Registry
from fanfold.workers.worker_slots import WorkerSlots
from tests.ledger.jobs_recorded import ours


def worker(ledger: Ledger, *processors: Callable[..., Any], slots: int = 50) -> BlockActivities:
    """What a worker process has of its own."""
    registry = Registry()
    for function in processors:
        registry.processors[function.__name__] = Processor(function)
    attempts = Attempts(ledger, registry.processors, max_result_bytes=1024)
    return BlockActivities(ledger, attempts, WorkerSlots(slots))


async def running_job(ledger: Ledger, chunks: int, *stages: StageSpec) -> JobId:
    spec = JobSpec(stages=stages, is_staged=len(stages) > 1, execution=Execution.ACTIVITY)
    job_id = new_job_id()
    bodies = [NewChunk(item_count=1, body=b"[%d]" % index) for index in range(chunks)]
    job = NewJob(id=job_id, spec=spec, controls=Controls())
    await ours(ledger).recording.record(job, bodies)
    await ours(ledger).jobs.open(job_id)
    return job_id


def block(ledger: Ledger, job_id: JobId, *, lanes: int, number: int = 1) -> BlockInput:
    ref = JobRef(id=job_id, tenant=DEFAULT_TENANT, ledger=ledger.id)
    return BlockInput(job=ref, block=number, lanes=lanes, seconds=20.0, patience_seconds=5.0)


def begin(
    activities: BlockActivities, given: BlockInput, *, attempt: int = 1
) -> tuple[ActivityEnvironment, "asyncio.Future[BlockOutcome]"]:
    """Start the activity; its environment, which can cancel it, and its outcome."""
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, attempt=attempt)
    return environment, asyncio.ensure_future(environment.run(activities.run_block, given))


async def chunks_of(ledger: Ledger, job_id: JobId) -> list[ChunkRecord]:
    return await ours(ledger).chunks.page(job_id, after=-1, limit=1000)
