"""The scenarios of scripts/record_histories.py that are about SubmitJob, and what runs them."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle

from fanfold.contract.names import DEFAULT_TENANT, JOB_WORKFLOW, SUBMIT_JOB, JobId, job_task_queue
from fanfold.contract.settings import WorkerSettings
from fanfold.contract.wire import JobInput, JobRef
from fanfold.ledger.connect import Ledger
from scripts.history_files import write
from scripts.history_recorder import HISTORIES, Recorder

Handle = WorkflowHandle[Any, Any]

_WAITS: Mapping[str, Any] = {"items": [0], "processor": "wait_at_zero"}
_SOON = timedelta(seconds=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A body to submit, and what is done to its job meanwhile."""

    name: str
    body: Mapping[str, Any]
    starts_in: timedelta | None = None
    disturb: Callable[["Submitter", Handle], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True)
class Submitter:
    """Runs SubmitJob and writes its histories."""

    client: Client
    ledger: Ledger
    recorder: Recorder
    queue: str = field(default=WorkerSettings.model_fields["submit_queue"].default)

    async def record(self, submission: Submission) -> None:
        """Run it to its end, and write the history."""
        self.recorder.begin()
        body = dict(submission.body)
        if submission.starts_in is not None:
            body["start_at"] = (datetime.now(UTC) + submission.starts_in).isoformat()
        handle: WorkflowHandle[Any, Any] = await self.client.start_workflow(
            SUBMIT_JOB, body, id=f"submission-{submission.name}", task_queue=self.queue
        )
        if submission.disturb is not None:
            await submission.disturb(self, handle)
        with suppress(WorkflowFailureError):  # refused or cancelled, as the scenario has it
            await handle.result()
        history = json.loads((await handle.fetch_history()).to_json())
        write(HISTORIES / f"{SUBMIT_JOB}__{submission.name}.json", history)

    async def cancel(self, handle: Handle) -> None:
        """Cancel it while its job runs."""
        await self.recorder.is_waiting.wait()
        await handle.cancel()

    async def cancel_before(self, handle: Handle) -> None:
        """Cancel it before its job has begun."""
        await self._job_of(handle)
        await handle.cancel()

    async def terminate_job(self, handle: Handle) -> None:
        """Do what somebody could do to its job in Temporal's own UI."""
        await self.recorder.is_waiting.wait()
        job_id = await self._job_of(handle)
        await self.client.get_workflow_handle(job_id).terminate("by hand")

    async def start_first(self, handle: Handle) -> None:
        """Be a gateway that is quicker to start its job."""
        job_id = await self._job_of(handle)
        job = await self.ledger.of(DEFAULT_TENANT).jobs.find(job_id)
        if job is None:
            raise LookupError(job_id)
        ref = JobRef(id=job_id, tenant=DEFAULT_TENANT, ledger=self.ledger.id)
        await self.client.start_workflow(
            JOB_WORKFLOW,
            JobInput.of(ref, job.total_chunks, job.spec, job.controls),
            id=job_id,
            task_queue=job_task_queue(self.ledger.id),
        )
        await asyncio.sleep(_SOON.total_seconds() + 1)
        self.recorder.may_go_on.set()

    async def _job_of(self, handle: Handle) -> JobId:
        while True:
            memo = await (await handle.describe()).memo()
            if "job" in memo:
                return JobId(memo["job"])
            await asyncio.sleep(0.02)


SUBMISSIONS = [
    Submission(name="submitted", body={"items": [1, 2], "processor": "double", "reducer": "sum"}),
    Submission(name="refused", body={"itmes": [1], "processor": "double"}),
    Submission(name="cancelled", body=_WAITS, disturb=Submitter.cancel),
    Submission(
        name="cancelled_before_its_time",
        body=_WAITS,
        starts_in=timedelta(days=1),
        disturb=Submitter.cancel_before,
    ),
    Submission(name="job_terminated", body=_WAITS, disturb=Submitter.terminate_job),
    Submission(
        name="job_terminated_and_undone",
        body={
            "items": [1, 0],
            "chunk_size": 1,
            "processor": "wait_at_zero",
            "max_concurrency": 1,
            "compensate": {"processor": "double"},
        },
        disturb=Submitter.terminate_job,
    ),
    Submission(
        name="gateway_was_quicker", body=_WAITS, starts_in=_SOON, disturb=Submitter.start_first
    ),
]
