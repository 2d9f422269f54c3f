"""Runs attempts at chunks and decides what they come to: the same in both executions.

Knows the ledger, not Temporal. Which attempt is next, and when, is the caller's part.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from fanfold.contract.failures import Failure, FailureType
from fanfold.contract.job_spec import RetrySpec, StageSpec
from fanfold.contract.wire import JobRef
from fanfold.ledger import outcomes
from fanfold.ledger.connect import Ledger
from fanfold.ledger.database import LedgerFailure, LedgerUnavailable
from fanfold.ledger.jobs import Terms
from fanfold.ledger.outcomes import Script
from fanfold.ledger.records import Attempt, ChunkOutput
from fanfold.ledger.work import Work
from fanfold.processing import ValidationError
from fanfold.workers.execution import Outcome, execute, failed_whole
from fanfold.workers.processor import Processor

Answer = TypeVar("Answer")
Given = ParamSpec("Given")

_REMEMBERED_JOBS = 1000
# What a failing ledger is told of in the log: first soon, then less and less often.
_FIRST_WARNING_SECONDS = 1.0
_LONGEST_SILENCE_SECONDS = 300.0

_log = logging.getLogger("fanfold.worker")


class NoSuchJob(Exception):
    """The ledger has no job of this id (any more)."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What an attempt came to, and the script that records it."""

    script: Script
    failure: Failure | None = None
    retry_seconds: float | None = None
    """Of a failure after which another attempt is due: how much later."""
    seconds: float = 0.0
    """How long the attempt took."""

    @property
    def is_final(self) -> bool:
        """Whether the chunk has failed for good."""
        return self.failure is not None and self.retry_seconds is None


class Attempts:
    """Runs attempts with the processors of this worker."""

    def __init__(
        self, ledger: Ledger, processors: Mapping[str, Processor], *, max_result_bytes: int
    ) -> None:
        """Take what they depend on."""
        self._ledger = ledger
        self._processors = processors
        self._max_result_bytes = max_result_bytes
        self._terms: dict[JobRef, Terms] = {}

    async def terms(self, job: JobRef, *, revision: int = 0) -> Terms:
        """What the job was asked to do, at this revision or a later one.

        Remembered, since every chunk of the job asks for it. Raises NoSuchJob.
        """
        known = self._terms.get(job)
        if known is None or known.revision < revision:
            known = await self._ledger.of(job.tenant).jobs.terms(job.id)
            if known is None:
                raise NoSuchJob(job.id)
            if len(self._terms) >= _REMEMBERED_JOBS:
                self._terms.pop(next(iter(self._terms)))
            self._terms[job] = known
        return known

    async def run(self, attempt: Attempt, terms: Terms) -> Ending:
        """Run the attempt to its ending, which is not recorded yet. Raises CancelledError only."""
        spec = terms.spec
        stage = spec.stages[attempt.stage]
        limit = stage.retry.max_attempts
        if attempt.number > limit:
            # The last one that was allowed ended without a word; its worker died.
            message = f"the worker was lost in attempt {limit} of {limit}"
            lost = Failure(type=FailureType.WORKER_LOST, message=message)
            return Ending(outcomes.given_up(attempt, lost), lost)
        started = time.monotonic()
        outcome = await self._execute(attempt, stage)
        seconds = time.monotonic() - started
        failure = outcome.failure
        if failure is None:
            record = outcomes.advanced
            if spec.is_last_stage(attempt.stage):
                record = outcomes.succeeded
            return Ending(record(attempt, outcome.output), seconds=seconds)
        if failure.retryable and attempt.number < limit:
            wait = outcome.retry_seconds
            if wait is None:
                wait = retry_seconds(stage.retry, attempt.number)
            return Ending(
                outcomes.put_off(attempt, outcome.output, seconds=wait),
                failure,
                retry_seconds=wait,
                seconds=seconds,
            )
        script = outcomes.failed(
            attempt, failure, outcome.output, items_failed=outcome.items_failed
        )
        return Ending(script, failure, seconds=seconds)

    async def record(self, work: Work, attempt: Attempt, script: Script) -> Failure | None:
        """Record what became of an attempt, however long the ledger is away.

        Where the ledger refuses what the chunk gave, the chunk has failed, for the reason
        given back.
        """
        try:
            await persistently(work.record, script)
        except LedgerFailure as error:
            _log.error("chunk %d of job %s: %s", attempt.index, attempt.job_id, error)
            message = "the ledger refuses to store what the chunk gave; a worker's log says why"
            failure = Failure(type=FailureType.INVALID_RESULT, message=message)
            given_up = outcomes.failed(
                attempt, failure, ChunkOutput(), items_failed=attempt.item_count
            )
            await persistently(work.record, given_up)
            return failure
        return None

    async def is_tolerance_exceeded(self, job: JobRef, terms: Terms) -> bool:
        """Whether the job bears no more failures, by the outcomes recorded so far."""
        tolerance = terms.controls.tolerated_failures
        if tolerance is None:
            return False
        succeeded, failed = await self._ledger.of(job.tenant).jobs.outcome_counts(job.id)
        return tolerance.is_exceeded(succeeded=succeeded, failed=failed, final=False)

    async def _execute(self, attempt: Attempt, stage: StageSpec) -> Outcome:
        processor = self._processors.get(stage.processor)
        if processor is None:
            message = (
                f"this worker knows no processor '{stage.processor}'; "
                "FANFOLD_PROCESSORS must name it for every worker"
            )
            failure = Failure(type=FailureType.UNKNOWN_PROCESSOR, message=message)
            return failed_whole(attempt, failure)
        try:
            options = processor.check_options(stage.options)
        except ValidationError as error:
            failure = Failure(type=FailureType.INVALID_OPTIONS, message=str(error))
            return failed_whole(attempt, failure)
        return await execute(
            processor,
            attempt=attempt,
            options=options,
            retry=stage.retry,
            timeout_seconds=stage.timeout_seconds,
            max_result_bytes=self._max_result_bytes,
        )


def retry_seconds(retry: RetrySpec, attempts: int) -> float:
    """The wait after so many attempts: Temporal's own rule, initial * coefficient^(attempts-1)."""
    try:
        wait = retry.initial_interval_seconds * retry.backoff_coefficient ** (attempts - 1)
    except OverflowError:
        return retry.max_interval_seconds
    return min(wait, retry.max_interval_seconds)


async def persistently(
    write: Callable[Given, Awaitable[Answer]], *arguments: Given.args, **named: Given.kwargs
) -> Answer:
    """Repeat a write until the ledger takes it: what was worked out must not be lost.

    The write may have been done each time that it failed, so it has to be repeatable. Says
    so in the log, at growing intervals. Raises whatever means that it can never succeed.
    """
    wait_seconds, started = 0.1, time.monotonic()
    warn_at = started + _FIRST_WARNING_SECONDS
    while True:
        try:
            answer = await write(*arguments, **named)
        except LedgerUnavailable as error:
            now = time.monotonic()
            if now >= warn_at:
                _log.warning("a write waits for the ledger since %.0f s: %s", now - started, error)
                warn_at = now + min(2 * (now - started), _LONGEST_SILENCE_SECONDS)
            await asyncio.sleep(wait_seconds)
            wait_seconds = min(wait_seconds * 2, 5.0)
        else:
            if warn_at > started + _FIRST_WARNING_SECONDS:
                _log.info("the ledger takes writes again")
            return answer
