"""The gateway's side of Temporal: the only module in `app` that speaks to it.

Whatever was recorded is carried out from here, by any gateway: workflows of recorded
jobs are started, cancellations delivered, jobs whose workflow was closed outside
Fanfold closed. All of it may be repeated without harm, so nothing depends on the
process that took the request staying alive, or on Temporal being up at that moment.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from app.adoption import Adoption
from app.rounds import Rounds
from contract.failures import Failure, FailureType
from contract.names import JOB_WORKFLOW, JobId, TenantId, chunk_task_queue, job_task_queue
from contract.states import JobState
from contract.wire import JobInput, JobRef
from ledger.connect import Ledger
from ledger.database import LedgerUnavailable
from ledger.records import PendingStart, now_ms

Answer = TypeVar("Answer")
Entry = TypeVar("Entry")

_log = logging.getLogger("fanfold.gateway")

_RPC_TIMEOUT = timedelta(seconds=5)
_AT_ONCE = 20
_STARTS_A_ROUND = 200
_CHECKS_A_ROUND = 100
# A running job is compared with its workflow this often: the longest that a job
# terminated in Temporal's own UI stays running here.
_CHECK_AGAIN_AFTER_MS = 5_000

_OPEN = {WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.CONTINUED_AS_NEW}


class TemporalUnavailable(Exception):
    """Temporal cannot be reached right now."""


class Orchestration:
    """Carries out what the ledger says has to happen in Temporal."""

    def __init__(self, client: Client, ledger: Ledger, *, interval_seconds: float) -> None:
        """Take the client, which may be a lazy one, and how often to look."""
        self._client = client
        self._ledger = ledger
        self._jobs = ledger.jobs
        self._adoption = Adoption(client, ledger)
        self._rounds = Rounds(
            self._look,
            "starting and checking jobs",
            unavailable=(TemporalUnavailable, LedgerUnavailable),
            interval_seconds=interval_seconds,
        )

    def kick(self) -> None:
        """Look now: something was just recorded."""
        self._rounds.kick()

    async def run(self) -> None:
        """Look when kicked, and every interval, until cancelled."""
        await self._rounds.run()

    async def check_temporal(self) -> None:
        """Raises TemporalUnavailable unless Temporal answers."""
        await self._call(
            self._client.service_client.check_health(timeout=timedelta(seconds=2), retry=False)
        )

    async def queues_without_worker(self) -> list[str]:
        """The task queues that no worker has polled lately; raises TemporalUnavailable."""
        idle: list[str] = []
        for queue in (job_task_queue(self._ledger.id), chunk_task_queue(self._ledger.id)):
            answer = await self._call(
                self._client.workflow_service.describe_task_queue(
                    DescribeTaskQueueRequest(
                        namespace=self._client.namespace,
                        task_queue=TaskQueue(name=queue),
                        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
                    ),
                    timeout=timedelta(seconds=2),
                )
            )
            if not answer.pollers:
                idle.append(queue)
        return idle

    async def _look(self) -> None:
        await self._each(await self._jobs.to_start(_STARTS_A_ROUND), self._start)
        checked_before = now_ms() - _CHECK_AGAIN_AFTER_MS
        await self._each(
            await self._jobs.to_check(unchecked_since=checked_before, limit=_CHECKS_A_ROUND),
            self._check,
        )

    async def _each(
        self, entries: Sequence[Entry], do: Callable[[Entry], Coroutine[Any, Any, None]]
    ) -> None:
        """Do all, some at once; raises the first error, with the rest left for the next round."""
        for start in range(0, len(entries), _AT_ONCE):
            await asyncio.gather(*(do(entry) for entry in entries[start : start + _AT_ONCE]))

    async def _start(self, job: PendingStart) -> None:
        try:
            await self._call(
                self._client.start_workflow(
                    # By name: which code runs is the workers' affair.
                    JOB_WORKFLOW,
                    JobInput.of(self._ref(job), job.total_chunks, job.spec, job.controls),
                    id=job.id,
                    task_queue=job_task_queue(self._ledger.id),
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    rpc_timeout=_RPC_TIMEOUT,
                )
            )
        except WorkflowAlreadyStartedError:
            _log.info("job %s was started by another gateway", job.id)
        await self._jobs.mark_workflow_started(job.id)

    def _ref(self, job: PendingStart) -> JobRef:
        return JobRef(id=JobId(job.id), tenant=TenantId(job.tenant), ledger=self._ledger.id)

    async def _check(self, entry: tuple[str, JobState]) -> None:
        job_id, state = entry
        if state is JobState.CANCELLING:
            await self._cancel(job_id)
            return
        handle = self._client.get_workflow_handle(job_id)
        try:
            description = await self._call(handle.describe(rpc_timeout=_RPC_TIMEOUT))
        except RPCError:  # there is no such workflow
            if state is JobState.PENDING:
                await self._jobs.forget_workflow(job_id)
                self.kick()
            else:
                await self._close_failed(job_id, "its workflow is no longer known to Temporal")
            return
        except ValueError:
            return  # paused in Temporal's own way, a status that this SDK cannot read
        if description.status is not None and description.status not in _OPEN:
            how = description.status.name.lower().replace("_", " ")
            await self._close_failed(job_id, f"its workflow was {how} outside Fanfold")
            return
        await self._call(self._adoption.adopt(description))

    async def _cancel(self, job_id: str) -> None:
        """Deliver a cancellation, again if need be; close what has no workflow to do it."""
        handle = self._client.get_workflow_handle(job_id)
        try:
            await self._call(handle.cancel(rpc_timeout=_RPC_TIMEOUT))
            description = await self._call(handle.describe(rpc_timeout=_RPC_TIMEOUT))
            if description.status in _OPEN:
                await self._call(self._adoption.adopt(description))
        except RPCError:  # never started, or closed already
            await self._ledger.closing.settle(job_id)
            await self._ledger.closing.close(job_id, JobState.CANCELLED, error=None)

    async def _close_failed(self, job_id: str, why: str) -> None:
        _log.warning("closing job %s: %s", job_id, why)
        await self._ledger.closing.settle(job_id)
        failure = Failure(
            type=FailureType.JOB_CLOSED_OUTSIDE,
            message=f"the job was closed because {why}; finished results are kept",
        )
        await self._ledger.closing.close(job_id, JobState.FAILED, error=failure)

    async def _call(self, call: Awaitable[Answer]) -> Answer:
        """The call's answer; raises TemporalUnavailable, or RPCError for a NOT_FOUND."""
        try:
            return await call
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise
            raise TemporalUnavailable(f"Temporal: {error.message}") from error
        except RuntimeError as error:  # a lazy client that cannot connect
            raise TemporalUnavailable(f"Temporal: {error}") from error
