"""Takes over jobs that the release before has started (docs/decisions/0018-adoption.md).

A release can only replay its own workflows, so its workers poll task queues of their own.
What the release before has started is on other queues, and stops once the last of its
workers is gone.
"""

import dataclasses
import logging
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client, WorkflowExecutionDescription
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from fanfold.contract.names import JOB_WORKFLOW, JobId, TenantId, job_task_queue
from fanfold.contract.wire import JobInput, JobRef
from fanfold.ledger.connect import Ledger

_log = logging.getLogger("fanfold.gateway")

_RPC_TIMEOUT = timedelta(seconds=5)
# The server holds a poll for a minute, and names those who polled for five.
_POLLED_LATELY = timedelta(seconds=70)


class Adoption:
    """Replaces workflows of the release before by workflows of this one."""

    def __init__(self, client: Client, ledger: Ledger) -> None:
        """Take the client and the ledger whose jobs these are."""
        self._client = client
        self._ledger = ledger
        self._task_queue = job_task_queue(ledger.id)

    async def adopt(self, tenant: TenantId, found: WorkflowExecutionDescription) -> bool:
        """Replace a job's open workflow if the release before started it; whether it was.

        Only once a worker of this release is there: until then those of the release before
        may still work on it. Raises RPCError.
        """
        if found.task_queue == self._task_queue or not await self._has_worker():
            return False
        job = await self._ledger.of(tenant).jobs.find(JobId(found.id))
        if job is None:
            return False
        ref = JobRef(id=job.id, tenant=tenant, ledger=self._ledger.id)
        given = JobInput.of(ref, job.total_chunks, job.spec, job.controls)
        try:
            # The server ends the one and starts the other in one step. A gateway that looked
            # in between would close the job as one whose workflow was closed outside Fanfold.
            await self._client.start_workflow(
                JOB_WORKFLOW,
                dataclasses.replace(given, replaced_run=found.run_id),
                id=job.id,
                task_queue=self._task_queue,
                id_conflict_policy=WorkflowIDConflictPolicy.TERMINATE_EXISTING,
                # Not where it has completed meanwhile: then the job is closed.
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
                rpc_timeout=_RPC_TIMEOUT,
            )
        except WorkflowAlreadyStartedError:
            return False
        _log.info("job %s, started by the release before, goes on in this one", job.id)
        return True

    async def _has_worker(self) -> bool:
        answer = await self._client.workflow_service.describe_task_queue(
            DescribeTaskQueueRequest(
                namespace=self._client.namespace,
                task_queue=TaskQueue(name=self._task_queue),
                task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
            ),
            timeout=_RPC_TIMEOUT,
        )
        polled_after = datetime.now(UTC) - _POLLED_LATELY
        return any(
            poller.last_access_time.ToDatetime(tzinfo=UTC) > polled_after
            for poller in answer.pollers
        )
