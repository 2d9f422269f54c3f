"""Starts SubmitJob as people do: by the command line of Temporal, or from a workflow of theirs."""

import asyncio
import json
import uuid
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from fanfold.contract.names import SUBMIT_JOB, JobId
from fanfold.contract.settings import WorkerSettings
from fanfold.contract.states import JobState
from tests.ledger.jobs_recorded import ours
from tests.workflows.running import PATIENCE_SECONDS, Fanfold, Handle, binary, until

QUEUE: str = WorkerSettings.model_fields["submit_queue"].default
BODY: dict[str, Any] = {"items": [1, 2, 3], "chunk_size": 2, "processor": "double"}
GATED: dict[str, Any] = {"items": [0, 1], "chunk_size": 1, "processor": "gate"}


@workflow.defn
class OfAUser:
    """A workflow of a user's own, one step of which is a job."""

    @workflow.run
    async def run(self, body: dict[str, Any]) -> Any:
        """What the job gave."""
        job = await workflow.execute_child_workflow(SUBMIT_JOB, body, task_queue=QUEUE)
        return [job["state"], job["result"]]


async def submit(fanfold: Fanfold, *body: Any, client: Client | None = None) -> Handle:
    """Start SubmitJob with this input."""
    return await (client or fanfold.client).start_workflow(
        SUBMIT_JOB, args=body, id=f"submission-{uuid.uuid4().hex}", task_queue=QUEUE
    )


async def finished(handle: Handle) -> dict[str, Any]:
    """The job as SubmitJob gives it back."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        job: dict[str, Any] = await handle.result()
    return job


async def failure_of(handle: Handle) -> ApplicationError:
    """What SubmitJob failed with."""
    with pytest.raises(WorkflowFailureError) as raised:
        await finished(handle)
    assert isinstance(raised.value.cause, ApplicationError)
    return raised.value.cause


async def job_of(handle: Handle) -> JobId:
    """The id of the job that SubmitJob has recorded."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            memo = await (await handle.describe()).memo()
            if "job" in memo:
                return JobId(memo["job"])
            await asyncio.sleep(0.01)


async def until_state(fanfold: Fanfold, job_id: JobId, state: JobState) -> None:
    """Wait until the job is in this state."""

    async def is_reached() -> bool:
        return await ours(fanfold.ledger).jobs.state(job_id) is state

    await until(is_reached)


async def temporal(fanfold: Fanfold, *arguments: str) -> Any:
    """Run the command line of Temporal; what it prints, which is JSON."""
    process = await asyncio.create_subprocess_exec(
        binary("temporal"),
        *arguments,
        *("--address", fanfold.client.service_client.config.target_host, "--output", "json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return json.loads(printed)
