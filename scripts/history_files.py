"""Histories as files, and one of other code, which today's must not replay."""

import json
import sys
from pathlib import Path
from typing import Any

from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from fanfold.contract.names import CHUNK_WORKFLOW, DEFAULT_TENANT, JobId
from fanfold.contract.states import ChunkState
from fanfold.contract.wire import ChunkInput, ChunkOutcome, JobRef


@workflow.defn(name=CHUNK_WORKFLOW)
class ChunkWorkflowThatSleepsFirst:
    """What ChunkWorkflow might have been: today's must not replay its history."""

    @workflow.run
    async def run(self, _: ChunkInput) -> ChunkOutcome:
        """Sleep, and be done."""
        await workflow.sleep(0.01)
        return ChunkOutcome(state=ChunkState.SUCCEEDED)


async def record_one_that_must_fail(client: Client, path: Path) -> None:
    """Record a history of a ChunkWorkflow that does something else than today's."""
    async with Worker(
        client,
        task_queue="another-chunk-workflow",
        workflows=[ChunkWorkflowThatSleepsFirst],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        handle = await client.start_workflow(
            CHUNK_WORKFLOW,
            ChunkInput(
                job=JobRef(id=JobId("job_another"), tenant=DEFAULT_TENANT, ledger="another"),
                index=0,
                stages=[],
            ),
            id="job_another/c0000000",
            task_queue="another-chunk-workflow",
        )
        await handle.result()
        history = json.loads((await handle.fetch_history()).to_json())
    write(path, history)


def write(path: Path, history: dict[str, Any]) -> None:
    """Write a history, an event a line, with nothing in it of the machine that recorded it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    events = ",\n".join(json.dumps(scrubbed(event), sort_keys=True) for event in history["events"])
    path.write_text(f'{{"events": [\n{events}\n]}}\n')
    sys.stdout.write(f"{path.stem}: {len(history['events'])} events\n")


def scrubbed(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """The value without stack traces: they hold the paths of the machine they come from."""
    if isinstance(value, dict):
        return {key: scrubbed(child) for key, child in value.items() if key != "stackTrace"}
    if isinstance(value, list):
        return [scrubbed(child) for child in value]
    return value
