"""The gateway's side of Temporal: starts jobs, cancels them, closes those without a workflow.

Any gateway does so for any recorded job, and all of it may be repeated without harm. So
nothing depends on the process that took the request, or on Temporal being up just then.
"""

import asyncio
from datetime import timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from fanfold.app.loops.job_checks import JobChecks
from fanfold.app.loops.job_starts import JobStarts
from fanfold.app.temporal.calls import CallRefused, NoSuchWorkflow, TemporalUnavailable, call
from fanfold.contract.names import chunk_task_queue, job_task_queue
from fanfold.ledger.connect import Ledger

_PROBE_TIMEOUT = timedelta(seconds=2)


class Orchestration:
    """Brings about in Temporal what the ledger says: two loops, and checks for readiness."""

    def __init__(
        self, client: Client, ledger: Ledger, *, max_running_jobs: int, interval_seconds: float
    ) -> None:
        """Take the client, which may be a lazy one, the bound, and how often to look."""
        self._client = client
        self._task_queues = (job_task_queue(ledger.id), chunk_task_queue(ledger.id))
        # Two loops, so that neither holds up the other.
        self._starts = JobStarts(
            client,
            ledger,
            max_running=max_running_jobs,
            interval_seconds=interval_seconds,
        )
        self._checks = JobChecks(
            client,
            ledger,
            on_lost=self._starts.kick,
            interval_seconds=interval_seconds,
        )

    def kick(self) -> None:
        """Look now: a job was just recorded."""
        self._starts.kick()

    def kick_cancel(self) -> None:
        """Look now: a job is to be cancelled."""
        self._checks.kick()

    async def run(self) -> None:
        """Look when kicked, and every interval, until cancelled."""
        await asyncio.gather(self._starts.run(), self._checks.run())

    async def check_temporal(self) -> None:
        """Raises TemporalUnavailable unless Temporal answers."""
        await call(self._client.service_client.check_health(timeout=_PROBE_TIMEOUT, retry=False))

    async def queues_without_worker(self) -> list[str]:
        """The task queues that no worker has polled lately; raises TemporalUnavailable."""
        idle: list[str] = []
        for queue in self._task_queues:
            asked = self._client.workflow_service.describe_task_queue(
                DescribeTaskQueueRequest(
                    namespace=self._client.namespace,
                    task_queue=TaskQueue(name=queue),
                    task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
                ),
                timeout=_PROBE_TIMEOUT,
            )
            try:
                answer = await call(asked)
            except (CallRefused, NoSuchWorkflow) as error:  # no such namespace, perhaps
                raise TemporalUnavailable(str(error)) from error
            if not answer.pollers:
                idle.append(queue)
        return idle
