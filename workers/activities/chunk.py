"""The activity that runs one stage of one chunk, and records what came of it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import NoReturn

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from contract.failures import Failure, FailureType
from contract.job_spec import JobSpec, StageSpec
from contract.names import RUN_STAGE
from contract.states import ChunkState
from contract.wire import HEARTBEAT_INTERVAL, RECORDED, ChunkOutcome, StageInput
from ledger.connect import Ledger
from ledger.database import LedgerUnavailable
from ledger.records import Attempt, NoAttempt
from workers.execution import Outcome, execute, failed_whole
from workers.processor import Processor, ValidationError

_REMEMBERED_SPECS = 1000


class ChunkActivities:
    """Runs chunks with the processors of this worker."""

    def __init__(
        self,
        ledger: Ledger,
        processors: Mapping[str, Processor],
        *,
        max_result_bytes: int,
        shutdown_grace_seconds: float,
    ) -> None:
        """Take what the activities depend on."""
        self._ledger = ledger
        self._processors = processors
        self._max_result_bytes = max_result_bytes
        self._shutdown_grace_seconds = shutdown_grace_seconds
        self._specs: dict[str, JobSpec] = {}

    @activity.defn(name=RUN_STAGE)
    async def run_stage(self, given: StageInput) -> ChunkOutcome:
        """Run a stage, unless that is done already; what became of it.

        Raises ApplicationError: retryable where another attempt is due, else with the
        detail RECORDED, once the failure is in the ledger.
        """
        begun = await self._ledger.chunks.begin_attempt(given.job_id, given.index, given.stage)
        if begun is None:
            raise ApplicationError("there is no such chunk", type="NoSuchChunk", non_retryable=True)
        if isinstance(begun, NoAttempt):
            return _answer_without_running(begun, given)
        spec = await self._spec(given.job_id)
        stage = spec.stages[given.stage]
        if begun.number > stage.retry.max_attempts:
            raise await self._give_up(begun, stage)
        started = time.monotonic()
        async with _heartbeats():
            try:
                async with _ended_with_the_worker(self._shutdown_grace_seconds):
                    outcome = await self._attempt(begun, stage)
            except asyncio.CancelledError:
                if activity.is_worker_shutdown():
                    await self._hand_back(begun)
                raise
            if outcome.failure is not None:
                await self._record_failure(begun, outcome, outcome.failure, stage)
            await self._record_success(begun, outcome, is_last=_is_last(given, spec))
        return ChunkOutcome(state=ChunkState.SUCCEEDED, seconds=time.monotonic() - started)

    async def _attempt(self, attempt: Attempt, stage: StageSpec) -> Outcome:
        processor = self._processors.get(stage.processor)
        if processor is None:
            return _failed(
                attempt,
                FailureType.UNKNOWN_PROCESSOR,
                f"this worker knows no processor '{stage.processor}'; "
                "FANFOLD_PROCESSORS must name it for every worker",
            )
        try:
            options = processor.check_options(stage.options)
        except ValidationError as error:
            return _failed(attempt, FailureType.INVALID_OPTIONS, str(error))
        return await execute(
            processor,
            attempt=attempt,
            options=options,
            retry=stage.retry,
            timeout_seconds=stage.timeout_seconds,
            max_result_bytes=self._max_result_bytes,
        )

    async def _record_success(self, attempt: Attempt, outcome: Outcome, *, is_last: bool) -> None:
        chunks = self._ledger.chunks
        if is_last:
            await _persistently(lambda: chunks.record_success(attempt, outcome.output))
        else:
            await _persistently(lambda: chunks.advance(attempt, outcome.output))

    async def _record_failure(
        self, attempt: Attempt, outcome: Outcome, failure: Failure, stage: StageSpec
    ) -> NoReturn:
        chunks = self._ledger.chunks
        if failure.retryable and attempt.number < stage.retry.max_attempts:
            if outcome.output.item_errors:
                await _persistently(lambda: chunks.save_checkpoint(attempt, outcome.output))
            raise ApplicationError(
                failure.message, type=failure.type, category=ApplicationErrorCategory.BENIGN
            )
        await _persistently(
            lambda: chunks.record_failure(attempt, failure, outcome.output, outcome.items_failed)
        )
        raise _recorded(failure)

    async def _give_up(self, attempt: Attempt, stage: StageSpec) -> ApplicationError:
        """Record that the last allowed attempt ended without a word; its worker died."""
        limit = stage.retry.max_attempts
        message = f"the worker was lost in attempt {limit} of {limit}"
        failure = Failure(type=FailureType.WORKER_LOST, message=message)
        await self._ledger.chunks.give_up(attempt, failure)
        return _recorded(failure)

    async def _hand_back(self, attempt: Attempt) -> None:
        await self._ledger.chunks.hand_back(attempt)
        raise ApplicationError(
            "the worker is stopping; another takes the chunk over",
            type="WorkerStopping",
            category=ApplicationErrorCategory.BENIGN,
            # Past the local retry threshold of ChunkWorkflow: a shorter wait would be the
            # stopping worker's own, which would then take the chunk up again.
            next_retry_delay=timedelta(milliseconds=200),
        )

    async def _spec(self, job_id: str) -> JobSpec:
        """The job's spec, remembered: every chunk of the job asks for it."""
        if job_id not in self._specs:
            spec = await self._ledger.jobs.spec(job_id)
            if spec is None:
                raise ApplicationError("there is no such job", type="NoSuchJob", non_retryable=True)
            if len(self._specs) >= _REMEMBERED_SPECS:
                self._specs.pop(next(iter(self._specs)))
            self._specs[job_id] = spec
        return self._specs[job_id]


def _is_last(given: StageInput, spec: JobSpec) -> bool:
    return given.stage == len(spec.stages) - 1


def _answer_without_running(found: NoAttempt, given: StageInput) -> ChunkOutcome:
    """What an earlier run of this activity would have answered, had it been heard."""
    if found.chunk_state is ChunkState.FAILED and found.error is not None:
        raise _recorded(found.error)
    if found.chunk_state is ChunkState.SUCCEEDED or found.stage > given.stage:
        return ChunkOutcome(state=ChunkState.SUCCEEDED)
    return ChunkOutcome(state=ChunkState.CANCELLED)


def _failed(attempt: Attempt, kind: FailureType, message: str) -> Outcome:
    return failed_whole(attempt, Failure(type=kind, message=message))


def _recorded(failure: Failure) -> ApplicationError:
    return ApplicationError(
        failure.message,
        RECORDED,
        type=failure.type,
        non_retryable=True,
        category=ApplicationErrorCategory.BENIGN,
    )


@asynccontextmanager
async def _heartbeats() -> AsyncIterator[None]:
    """Tell the server that this chunk is alive; that is also how a cancellation is heard."""
    if activity.info().is_local:  # the SDK keeps the workflow task alive instead
        yield
        return

    async def beat() -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_INTERVAL.total_seconds())
            activity.heartbeat()

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()


@asynccontextmanager
async def _ended_with_the_worker(grace_seconds: float) -> AsyncIterator[None]:
    """Cancel the attempt when the worker has been stopping for longer than its grace.

    The SDK does that for regular activities; for a local one a stopping worker waits for ever.
    """
    attempt = asyncio.current_task()
    if attempt is None or not activity.info().is_local:
        yield
        return

    async def end() -> None:
        await activity.wait_for_worker_shutdown()
        await asyncio.sleep(grace_seconds)
        attempt.cancel()

    ending = asyncio.create_task(end())
    try:
        yield
    finally:
        ending.cancel()


async def _persistently(write: Callable[[], Awaitable[None]]) -> None:
    """Repeat a write until the ledger takes it: what was worked out must not be lost."""
    wait_seconds = 0.1
    while True:
        try:
            return await write()
        except LedgerUnavailable:
            await asyncio.sleep(wait_seconds)
            wait_seconds = min(wait_seconds * 2, 5.0)
