"""The activity that ends what a replaced workflow of a job has left behind."""

import contextlib
from collections.abc import Iterator

from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from fanfold.contract.names import CHUNK_WORKFLOW, END_REPLACED
from fanfold.contract.wire import ReplacedRun


@activity.defn(name=END_REPLACED)
async def end_replaced(given: ReplacedRun) -> None:
    """Terminate the shards and chunks that a replaced run of a job's workflow had started.

    They were asked to cancel when it ended, but perhaps no worker is left that could do
    so; and while they are open, no others of their ids can be started.
    """
    await _end_children(activity.client(), given.job.id, given.run)


async def _end_children(client: Client, workflow_id: str, run_id: str | None = None) -> None:
    with _unless_gone():
        # What a closed workflow waited for stays in its description.
        found = await client.get_workflow_handle(workflow_id, run_id=run_id).describe()
        for child in found.raw_description.pending_children:
            with _unless_gone():
                # Of that chain of runs only, whichever of them is open now.
                await client.get_workflow_handle(
                    child.workflow_id, first_execution_run_id=child.run_id
                ).terminate(reason="its job goes on in another release of Fanfold")
            if child.workflow_type_name != CHUNK_WORKFLOW:
                # After its end, so that it starts no more of them meanwhile.
                await _end_children(client, child.workflow_id)


@contextlib.contextmanager
def _unless_gone() -> Iterator[None]:
    try:
        yield
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
