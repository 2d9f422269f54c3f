"""The composition root of a worker process: `fanfold worker`, or this module itself."""

import asyncio
import gc
import logging
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from datetime import timedelta

import uvloop
from temporalio.client import Client
from temporalio.worker import (
    PollerBehaviorAutoscaling,
    UnsandboxedWorkflowRunner,
    Worker,
    WorkflowRunner,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from fanfold.contract import settings, temporal
from fanfold.contract.json_values import allow_long_integers
from fanfold.contract.names import DEFAULT_TENANT, chunk_task_queue, job_task_queue
from fanfold.contract.plan import HEARTBEAT_INTERVAL
from fanfold.ledger.connect import Ledger, connect
from fanfold.ledger.database import LedgerFailure, LedgerUnavailable
from fanfold.ledger.starting import Places
from fanfold.workers import logs
from fanfold.workers.activities.block import BlockActivities
from fanfold.workers.activities.chunk import ChunkActivities
from fanfold.workers.activities.job import JobActivities
from fanfold.workers.activities.replaced import end_replaced
from fanfold.workers.activities.sub_jobs import SubJobActivities
from fanfold.workers.activities.submissions import SubmissionActivities
from fanfold.workers.attempts import Attempts
from fanfold.workers.publishing import publish_again
from fanfold.workers.registry import CannotLoad, Registry
from fanfold.workers.worker_slots import WorkerSlots
from fanfold.workers.workflows.chunk import ChunkWorkflow
from fanfold.workers.workflows.job import JobWorkflow
from fanfold.workers.workflows.shard import ShardWorkflow
from fanfold.workers.workflows.submission import SubmitJob

_log = logging.getLogger("fanfold.worker")

# Few: workflow code holds the interpreter, and each step of it has two seconds from when
# it is handed out, so more of them at once only wait for each other.
_WORKFLOW_THREADS = 8


def build_workers(
    client: Client, ledger: Ledger, registry: Registry, given: settings.WorkerSettings
) -> list[Worker]:
    """The workers of a process: for jobs, for chunks, for `SubmitJob`, a task queue each."""
    job_activities = JobActivities(
        ledger, registry.reducers, max_result_bytes=given.max_job_result_bytes
    )
    sub_job_activities = SubJobActivities(ledger, given)
    submission_activities = SubmissionActivities(
        ledger,
        DEFAULT_TENANT,  # there is one tenant yet
        given,
        Places(given.max_running_jobs),
        temporal.workflows_url(given.temporal_ui_url, client),
    )
    attempts = Attempts(
        ledger,
        registry.processors,
        max_result_bytes=given.max_chunk_result_bytes,
        keeps_tracebacks=given.keep_tracebacks,
    )
    chunk_activities = ChunkActivities(
        ledger, attempts, shutdown_grace_seconds=given.shutdown_grace_seconds
    )
    block_activities = BlockActivities(ledger, attempts, WorkerSlots(given.worker_slots))
    runner: WorkflowRunner = (
        SandboxedWorkflowRunner() if given.workflow_sandbox else UnsandboxedWorkflowRunner()
    )
    grace = timedelta(seconds=given.shutdown_grace_seconds)
    pollers = PollerBehaviorAutoscaling(minimum=1, maximum=20, initial=2)
    jobs = Worker(
        client,
        task_queue=job_task_queue(ledger.id),
        workflows=[JobWorkflow, ShardWorkflow],
        activities=[
            job_activities.open_job,
            job_activities.look_at_job,
            job_activities.narrow_blocks,
            job_activities.take_turns,
            job_activities.plan_page,
            job_activities.record_lost,
            job_activities.close_job,
            sub_job_activities.plan_jobs,
            sub_job_activities.plan_next_job,
            sub_job_activities.close_lost_job,
            submission_activities.record_job,
            submission_activities.claim_job,
            submission_activities.await_job,
            submission_activities.cancel_job,
            submission_activities.show_job,
            end_replaced,
        ],
        workflow_runner=runner,
        max_concurrent_workflow_tasks=_WORKFLOW_THREADS,
        workflow_task_poller_behavior=pollers,
        activity_task_poller_behavior=pollers,
        graceful_shutdown_timeout=grace,
    )
    chunks = Worker(
        client,
        task_queue=chunk_task_queue(ledger.id),
        workflows=[ChunkWorkflow],
        activities=[chunk_activities.run_stage, block_activities.run_block],
        workflow_runner=runner,
        # A workflow task lasts as long as the local activity in it.
        max_concurrent_workflow_tasks=given.worker_slots + _WORKFLOW_THREADS,
        workflow_task_executor=ThreadPoolExecutor(_WORKFLOW_THREADS, "workflow"),
        max_concurrent_activities=given.worker_slots,
        max_concurrent_local_activities=given.worker_slots,
        workflow_task_poller_behavior=pollers,
        activity_task_poller_behavior=pollers,
        graceful_shutdown_timeout=grace,
        max_heartbeat_throttle_interval=HEARTBEAT_INTERVAL,
    )
    submissions = Worker(
        client,
        task_queue=given.submit_queue,
        workflows=[SubmitJob],
        activities=[submission_activities.name_ledger],
        no_remote_activities=True,  # the others are for the workers of one ledger
        workflow_runner=runner,
        max_concurrent_workflow_tasks=_WORKFLOW_THREADS,
        workflow_task_poller_behavior=pollers,
        graceful_shutdown_timeout=grace,
    )
    return [jobs, chunks, submissions]


async def run(given: settings.WorkerSettings) -> None:
    """Work until SIGTERM or SIGINT, then finish or hand back what is running."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    registry = Registry(given.processors)
    async with AsyncExitStack() as stack:
        ledger = await stack.enter_async_context(connect(given.ledger))
        entries = registry.entries()
        await ledger.catalog.publish(entries)
        publishing = asyncio.create_task(publish_again(ledger.catalog, entries))
        stack.callback(publishing.cancel)
        client = await _connect_patiently(stopping)
        if client is None:
            return
        for worker in build_workers(client, ledger, registry, given):
            await stack.enter_async_context(worker)
        # What is there now stays: it is not looked through again and again for garbage.
        gc.freeze()
        _log.info(
            "worker %d is ready, on the ledger %s: %s",
            os.getpid(),
            ledger.id,
            ", ".join(sorted(registry.processors)),
        )
        await stopping.wait()
        _log.info("worker %d is stopping", os.getpid())


async def _connect_patiently(stopping: asyncio.Event) -> Client | None:
    """A connected client; waits for a Temporal that is not there yet. None when stopped."""
    while not stopping.is_set():
        try:
            return await temporal.connect()
        except RuntimeError as error:
            _log.warning("Temporal cannot be reached, trying again: %s", error)
            try:
                await asyncio.wait_for(stopping.wait(), timeout=1)
            except TimeoutError:
                continue
    return None


def main() -> int:
    """Run one worker process; the exit code."""
    logs.configure()
    allow_long_integers()
    try:
        uvloop.run(run(settings.load(settings.WorkerSettings)))
    except (settings.InvalidSettings, CannotLoad) as error:
        sys.stderr.write(f"fanfold worker: {error}\n")
        return settings.EXIT_BAD_SETTINGS
    except (LedgerUnavailable, LedgerFailure) as error:
        sys.stderr.write(f"fanfold worker: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
