"""Starts the workflows of recorded jobs, up to the bound on running jobs."""

import logging
import time
from datetime import timedelta

from temporalio.client import Client
from temporalio.common import Priority, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from fanfold.app.loops.each_apart import EachApart
from fanfold.app.loops.rounds import Rounds
from fanfold.app.temporal.calls import RPC_TIMEOUT, TemporalUnavailable, call
from fanfold.contract.names import JOB_WORKFLOW, job_task_queue, job_workflow_id
from fanfold.contract.wire import JobInput, JobRef
from fanfold.ledger.connect import Ledger
from fanfold.ledger.database import LedgerUnavailable
from fanfold.ledger.starting import PendingStart, Places

_log = logging.getLogger("fanfold.gateway")

_UNAVAILABLE = (TemporalUnavailable, LedgerUnavailable)
_AT_ONCE = 20
_TRY_AGAIN_AFTER = timedelta(seconds=10)
# While jobs wait for a place, the ledger is asked this often, or less often where that
# would take more than this share of the time.
_PLACES_PAUSE_SECONDS = 0.05
_PLACES_SHARE = 0.1


class JobStarts:
    """A loop that starts jobs."""

    def __init__(
        self, client: Client, ledger: Ledger, *, max_running: int, interval_seconds: float
    ) -> None:
        """Take how many jobs may run at a time, and how often to look."""
        self._client = client
        self._ledger_id = ledger.id
        self._starting = ledger.starting
        self._places = Places(max_running)
        self._each = EachApart("starting job", unavailable=_UNAVAILABLE)
        self._rounds = Rounds(
            self._look,
            "starting jobs",
            unavailable=_UNAVAILABLE,
            interval_seconds=interval_seconds,
        )

    def kick(self) -> None:
        """Look now: a job was recorded."""
        self._rounds.kick()

    async def run(self) -> None:
        """Look when kicked, at every interval, and for places while jobs wait for one."""
        await self._rounds.run()

    async def _look(self) -> float | None:
        looked = time.monotonic()
        turn = await self._starting.to_start(self._places, limit=_AT_ONCE)
        took = time.monotonic() - looked
        attempted = await self._each.attempt(turn.jobs, self._start, lambda job: job.id)
        await self._starting.release([job.id for job in attempted.done])
        await self._starting.forget_workflow([job.id for job in attempted.unreached])
        await self._starting.forget_workflow(
            [job.id for job in attempted.failed],
            wait_ms=_TRY_AGAIN_AFTER // timedelta(milliseconds=1),
        )
        if attempted.unavailable is not None:
            raise attempted.unavailable
        if turn.jobs:
            return 0  # there may be more
        if turn.are_some_held_back:
            return max(_PLACES_PAUSE_SECONDS, took / _PLACES_SHARE)
        return None

    async def _start(self, job: PendingStart) -> None:
        ref = JobRef(id=job.id, tenant=job.tenant, ledger=self._ledger_id, run=job.run)
        started = self._client.start_workflow(
            # By name: the gateway does not import the workers' code.
            JOB_WORKFLOW,
            JobInput.of(ref, job.total_chunks, job.spec, job.controls),
            id=job_workflow_id(job.id, job.run),
            task_queue=job_task_queue(self._ledger_id),
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            # All that it starts inherits this.
            priority=Priority(priority_key=job.controls.priority, fairness_key=job.id),
            rpc_timeout=RPC_TIMEOUT,
        )
        try:
            await call(started)
        except WorkflowAlreadyStartedError:
            _log.info("job %s had been started already", job.id)
