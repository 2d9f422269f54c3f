"""The activity that runs one stage of one chunk, and records what came of it."""

import asyncio

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from contract.failures import Failure
from contract.names import RUN_STAGE
from contract.states import ChunkState
from contract.wire import RECORDED, TOLERANCE_EXCEEDED, ChunkOutcome, StageInput
from ledger import outcomes
from ledger.chunks import Chunks
from ledger.records import NoAttempt
from workers.activities.lifeline import ended_with_the_worker, handed_over, heartbeats
from workers.attempts import Attempts, NoSuchJob, persistently


class ChunkActivities:
    """Runs chunks that have a workflow of their own."""

    def __init__(
        self, chunks: Chunks, attempts: Attempts, *, shutdown_grace_seconds: float
    ) -> None:
        """Take what the activity depends on."""
        self._chunks = chunks
        self._attempts = attempts
        self._shutdown_grace_seconds = shutdown_grace_seconds

    @activity.defn(name=RUN_STAGE)
    async def run_stage(self, given: StageInput) -> ChunkOutcome:
        """Run a stage, unless that is done already; what became of it.

        Raises ApplicationError: retryable where another attempt is due, else with the
        detail RECORDED, once the failure is in the ledger.
        """
        try:
            spec = await self._attempts.spec(given.job_id)
        except NoSuchJob:
            raise ApplicationError(
                "there is no such job", type="NoSuchJob", non_retryable=True
            ) from None
        begun = await self._chunks.begin_attempt(given.job_id, given.index, given.stage)
        if begun is None:
            raise ApplicationError("there is no such chunk", type="NoSuchChunk", non_retryable=True)
        if isinstance(begun, NoAttempt):
            return _answer_without_running(begun, given)
        async with heartbeats():
            try:
                async with ended_with_the_worker(self._shutdown_grace_seconds):
                    ending = await self._attempts.run(begun, spec)
            except asyncio.CancelledError:
                if activity.is_worker_shutdown():
                    await self._chunks.record(outcomes.handed_back(begun))
                    raise handed_over() from None
                raise
            await persistently(self._chunks.record, ending.script)
            is_exceeded = await persistently(
                self._attempts.is_tolerance_exceeded, given.job_id, spec
            )
        if ending.failure is None:
            return ChunkOutcome(
                state=ChunkState.SUCCEEDED,
                seconds=ending.seconds,
                is_tolerance_exceeded=is_exceeded,
            )
        if ending.is_final:
            raise _recorded(ending.failure, is_tolerance_exceeded=is_exceeded)
        raise ApplicationError(
            ending.failure.message,
            type=ending.failure.type,
            category=ApplicationErrorCategory.BENIGN,
        )


def _answer_without_running(found: NoAttempt, given: StageInput) -> ChunkOutcome:
    """What an earlier run of this activity would have answered, had it been heard."""
    if found.chunk_state is ChunkState.FAILED and found.error is not None:
        raise _recorded(found.error)
    if found.chunk_state is ChunkState.SUCCEEDED or found.stage > given.stage:
        return ChunkOutcome(state=ChunkState.SUCCEEDED)
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
