"""Compares unfinished jobs with their workflows; cancels, closes or restarts them."""

import logging
from collections.abc import Callable

from temporalio.client import Client, WorkflowExecutionStatus

from fanfold.app.loops.adoption import Adoption
from fanfold.app.loops.each_apart import EachApart
from fanfold.app.loops.lost_jobs import LostJobs
from fanfold.app.loops.rounds import Rounds
from fanfold.app.temporal.calls import RPC_TIMEOUT, NoSuchWorkflow, TemporalUnavailable, call
from fanfold.contract.names import CHANGED, job_workflow_id
from fanfold.contract.states import JobState
from fanfold.ledger.connect import Ledger
from fanfold.ledger.database import LedgerUnavailable
from fanfold.ledger.records import now_ms
from fanfold.ledger.starting import UnfinishedJob

_log = logging.getLogger("fanfold.gateway")

_UNAVAILABLE = (TemporalUnavailable, LedgerUnavailable)
_AT_ONCE = 20
# How often a job is compared with its workflow. A job whose workflow was terminated in
# Temporal's own UI stays running, or cancelling, this long at most.
_CHECK_AGAIN_AFTER_MS = 5_000

_OPEN = {WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.CONTINUED_AS_NEW}


class JobChecks:
    """A loop that compares jobs with their workflows."""

    def __init__(
        self,
        client: Client,
        ledger: Ledger,
        *,
        on_lost: Callable[[], None],
        interval_seconds: float,
    ) -> None:
        """Take what to call where a job has to be started again, and how often to look."""
        self._client = client
        self._starting = ledger.starting
        self._adoption = Adoption(client, ledger)
        self._lost = LostJobs(client, ledger)
        self._on_lost = on_lost
        self._each = EachApart("checking job", unavailable=_UNAVAILABLE)
        self._rounds = Rounds(
            self._look,
            "checking and cancelling jobs",
            unavailable=_UNAVAILABLE,
            interval_seconds=interval_seconds,
        )

    def kick(self) -> None:
        """Look now: a job is to be cancelled."""
        self._rounds.kick()

    async def run(self) -> None:
        """Look when kicked, and every interval, until cancelled."""
        await self._rounds.run()

    async def _look(self) -> float | None:
        jobs = await self._starting.to_check(
            unchecked_since=now_ms() - _CHECK_AGAIN_AFTER_MS, limit=_AT_ONCE
        )
        attempted = await self._each.attempt(jobs, self._check, lambda job: job.id)
        await self._starting.mark_checked(attempted.done + attempted.failed)
        await self._starting.release([job.id for job in attempted.unreached])
        if attempted.unavailable is not None:
            raise attempted.unavailable
        return 0 if jobs else None  # there may be more

    async def _check(self, job: UnfinishedJob) -> None:
        handle = self._client.get_workflow_handle(job_workflow_id(job.id, job.run))
        try:
            description = await call(handle.describe(rpc_timeout=RPC_TIMEOUT))
        except NoSuchWorkflow:
            await self._miss(job)
            return
        except ValueError:
            return  # paused in Temporal, a status that this SDK cannot read
        if description.status is not None and description.status not in _OPEN:
            how = description.status.name.lower().replace("_", " ")
            await self._lost.end(job, f"its workflow was {how} outside Fanfold", description)
        elif await call(self._adoption.adopt(job.tenant, description)):
            return  # a job that is being cancelled ends as soon as it is opened
        elif job.state is JobState.CANCELLING and not job.is_draining:
            # Again at every check: finding out whether an earlier one arrived would cost more.
            await call(handle.cancel(rpc_timeout=RPC_TIMEOUT))
        elif not job.is_told:
            await call(handle.signal(CHANGED, rpc_timeout=RPC_TIMEOUT))
            await self._starting.mark_told(job)

    async def _miss(self, job: UnfinishedJob) -> None:
        """Temporal has no such workflow."""
        if not job.has_begun and job.state is not JobState.CANCELLING:
            # Also one that is paused: whoever was to start it did not come to it.
            await self._starting.forget_workflow([job.id])
            self._on_lost()
        else:
            await self._lost.end(job, "its workflow is no longer known to Temporal")
