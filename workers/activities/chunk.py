"""The activity that runs one stage of one chunk, and records what came of it."""

import asyncio
import secrets

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from fanfold.contract.failures import Failure
from fanfold.contract.names import RUN_STAGE
from fanfold.contract.states import WITH_RESULT, ChunkState, JobState
from fanfold.contract.wire import RECORDED, TOLERANCE_EXCEEDED, ChunkOutcome, StageInput
from fanfold.ledger import outcomes
from fanfold.ledger.connect import Ledger
from fanfold.ledger.jobs import Terms
from fanfold.ledger.records import Attempt, NoAttempt
from fanfold.ledger.transitions import OPEN_CHUNK
from fanfold.workers.activities.lifeline import (
    ChildWatch,
    ended_with_the_worker,
    handed_over,
    heartbeats,
)
from fanfold.workers.attempts import Attempts, NoSuchJob, persistently

# A chunk that is due so soon is waited for here: its workflow was started a little early,
# or ending it and starting it again would take as long.
WAITED_FOR_SECONDS = 0.25
_TOKEN_BITS = 62


class ChunkActivities:
    """Runs chunks that have a workflow of their own."""

    def __init__(
        self, ledger: Ledger, attempts: Attempts, *, shutdown_grace_seconds: float
    ) -> None:
        """Take what the activity depends on."""
        self._ledger = ledger
        self._attempts = attempts
        self._watch = ChildWatch(ledger)
        self._shutdown_grace_seconds = shutdown_grace_seconds

    @activity.defn(name=RUN_STAGE)
    async def run_stage(self, given: StageInput) -> ChunkOutcome:
        """Run a stage, unless that is done already; what became of it.

        Raises ApplicationError with the detail RECORDED where the chunk has failed for good
        and that is in the ledger.
        """
        try:
            terms = await self._attempts.terms(given.job)
        except NoSuchJob:
            raise ApplicationError(
                "there is no such job", type="NoSuchJob", non_retryable=True
            ) from None
        async with heartbeats():
            while True:
                begun = await self._begin(given)
                if isinstance(begun, NoAttempt):
                    return _answer_without_running(begun, given)
                if begun.revision > terms.revision:
                    terms = await persistently(
                        self._attempts.terms, given.job, revision=begun.revision
                    )
                outcome = await self._run(begun, given, terms)
                if (
                    outcome.state is not ChunkState.PENDING
                    or outcome.retry_seconds > WAITED_FOR_SECONDS
                    # Its next start needs a turn, which the parent takes.
                    or terms.controls.max_per_second is not None
                ):
                    return outcome

    async def _begin(self, given: StageInput) -> Attempt | NoAttempt:
        """An attempt, also one that is due very soon, or why there is none."""
        is_due = False
        while True:
            begun = await persistently(
                self._ledger.of(given.job.tenant).work.begin,
                given.job.id,
                given.index,
                given.stage,
                token=secrets.randbits(_TOKEN_BITS),
                is_due=is_due,
                job_run=given.job.run,
            )
            if begun is None:
                raise ApplicationError(
                    "there is no such chunk", type="NoSuchChunk", non_retryable=True
                )
            if (
                isinstance(begun, NoAttempt)
                and begun.job_state is JobState.RUNNING
                and begun.chunk_state is ChunkState.PENDING
                and begun.stage == given.stage
                and begun.due_in_seconds > 0
                and (given.is_due or begun.due_in_seconds <= WAITED_FOR_SECONDS)
            ):
                # A parent that has waited starts the chunk a little early, no more.
                await asyncio.sleep(min(begun.due_in_seconds, WAITED_FOR_SECONDS))
                is_due = True
                continue
            return begun

    async def _run(self, attempt: Attempt, given: StageInput, terms: Terms) -> ChunkOutcome:
        work = self._ledger.of(given.job.tenant).work
        with self._watch.over(given.job, given.index) as watched:
            try:
                async with ended_with_the_worker(self._shutdown_grace_seconds):
                    ending = await self._attempts.run(attempt, terms)
            except asyncio.CancelledError:
                if watched.has_ended_it():
                    await self._attempts.record(work, attempt, outcomes.cancelled(attempt))
                    return ChunkOutcome(state=ChunkState.CANCELLED)
                if activity.is_worker_shutdown():
                    await self._attempts.record(work, attempt, outcomes.handed_back(attempt))
                    raise handed_over() from None
                raise
        refused = await self._attempts.record(work, attempt, ending.whole_script)
        is_exceeded = await persistently(
            self._attempts.is_tolerance_exceeded, given.job, terms, index=given.index
        )
        final = refused or (ending.failure if ending.state is ChunkState.FAILED else None)
        if final is not None:
            raise _recorded(final, is_tolerance_exceeded=is_exceeded)
        return ChunkOutcome(
            state=ending.state,
            seconds=ending.seconds,
            retry_seconds=ending.retry_seconds,
            stage=given.stage,
            is_tolerance_exceeded=is_exceeded,
        )


def _answer_without_running(found: NoAttempt, given: StageInput) -> ChunkOutcome:
    """What an earlier run of this activity would have answered, had it been heard."""
    if found.chunk_state is ChunkState.FAILED and found.error is not None:
        raise _recorded(found.error)
    if found.stage > given.stage:
        return ChunkOutcome(state=ChunkState.SUCCEEDED)
    if found.chunk_state in WITH_RESULT or found.chunk_state is ChunkState.HELD:
        return ChunkOutcome(state=found.chunk_state)
    if found.job_state is JobState.PAUSED and found.chunk_state in OPEN_CHUNK:
        return ChunkOutcome(state=ChunkState.PENDING, is_refused=True, stage=given.stage)
    if found.job_state is JobState.RUNNING and found.due_in_seconds > 0:
        return ChunkOutcome(
            state=ChunkState.PENDING, retry_seconds=found.due_in_seconds, stage=given.stage
        )
    return ChunkOutcome(state=ChunkState.CANCELLED)


def _recorded(failure: Failure, *, is_tolerance_exceeded: bool = False) -> ApplicationError:
    details = [RECORDED, TOLERANCE_EXCEEDED] if is_tolerance_exceeded else [RECORDED]
    return ApplicationError(
        failure.message,
        *details,
        type=failure.type,
        non_retryable=True,
        category=ApplicationErrorCategory.BENIGN,
    )
