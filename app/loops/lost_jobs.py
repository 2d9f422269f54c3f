"""Ends jobs whose workflows are gone: terminated in Temporal, say, or too old for it to know."""

import contextlib
import dataclasses
import logging
from typing import Final

from temporalio.client import Client, WorkflowExecutionDescription
from temporalio.common import Priority, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from fanfold.app.temporal.calls import RPC_TIMEOUT, call
from fanfold.contract.names import JOB_WORKFLOW, job_task_queue, job_workflow_id
from fanfold.contract.states import JobState
from fanfold.contract.wire import JobInput, JobRef
from fanfold.ledger.connect import Ledger
from fanfold.ledger.lost import close_as_it_stands
from fanfold.ledger.starting import UnfinishedJob

_log = logging.getLogger("fanfold.gateway")

_UNDOES: Final = "undoes"
"""In the memo of a workflow that was started to undo what a job did, and to close it."""


class LostJobs:
    """Ends jobs that no workflow ends any more."""

    def __init__(self, client: Client, ledger: Ledger) -> None:
        """Take the client and the ledger whose jobs these are."""
        self._client = client
        self._ledger = ledger

    async def end(
        self, job: UnfinishedJob, why: str, found: WorkflowExecutionDescription | None = None
    ) -> None:
        """Close the job; `found` is what there was of its workflow.

        Where something may have to be undone first, another workflow does both. Only once: where
        that one was terminated too, the job is closed as it stands.
        """
        tenant = self._ledger.of(job.tenant)
        was_undoing = found is not None and await found.memo_value(_UNDOES, default=False)
        if job.has_begun and not was_undoing and await tenant.compensating.may_be_due(job.id):
            await self._undo(job, why)
            return
        is_cancelled = job.state is JobState.CANCELLING
        if not is_cancelled:
            _log.warning("closing job %s: %s", job.id, why)
        await close_as_it_stands(tenant, job.id, job.run, is_cancelled=is_cancelled, why=why)

    async def _undo(self, job: UnfinishedJob, why: str) -> None:
        row = await self._ledger.of(job.tenant).jobs.find(job.id)
        if row is None or row.run != job.run:
            return
        ref = JobRef(id=job.id, tenant=job.tenant, ledger=self._ledger.id, run=job.run)
        given = JobInput.of(ref, row.total_chunks, row.spec, row.controls)
        _log.warning("undoing what job %s did: %s", job.id, why)
        # Somebody else may have started it just now.
        with contextlib.suppress(WorkflowAlreadyStartedError):
            await call(
                self._client.start_workflow(
                    JOB_WORKFLOW,
                    dataclasses.replace(given, lost=why),
                    id=job_workflow_id(job.id, job.run),
                    task_queue=job_task_queue(self._ledger.id),
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                    memo={_UNDOES: True},
                    priority=Priority(priority_key=row.controls.priority, fairness_key=job.id),
                    rpc_timeout=RPC_TIMEOUT,
                )
            )
