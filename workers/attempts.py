"""Runs attempts at chunks and decides what they come to: the same in both executions.

Knows the ledger, not Temporal. Which attempt is next, and when, is the caller's part.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ParamSpec, TypeVar

from fanfold.contract import json_values
from fanfold.contract.failures import Failure, FailureType
from fanfold.contract.job_spec import OnFailure, RetrySpec, StageSpec
from fanfold.contract.states import WITH_RESULT, ChunkState
from fanfold.contract.wire import JobRef
from fanfold.ledger import outcomes
from fanfold.ledger.connect import Ledger
from fanfold.ledger.database import LedgerFailure, LedgerUnavailable
from fanfold.ledger.jobs import Terms
from fanfold.ledger.outcomes import Plain, Script
from fanfold.ledger.records import Attempt, ChunkOutput, Stop, key_of
from fanfold.ledger.restoring import restore_attempt
from fanfold.ledger.transitions import JUDGED_CHUNK
from fanfold.ledger.work import Work
from fanfold.processing import ValidationError
from fanfold.workers import logs
from fanfold.workers.execution import End, Outcome, execute, not_executed
from fanfold.workers.item_run import Task
from fanfold.workers.processor import Processor
from fanfold.workers.stage_conditions import outcome_without_running

Answer = TypeVar("Answer")
Given = ParamSpec("Given")

_REMEMBERED_JOBS = 1000
# What a failing ledger is told of in the log: first soon, then less and less often.
_FIRST_WARNING_SECONDS = 1.0
_LONGEST_SILENCE_SECONDS = 300.0

_log = logging.getLogger("fanfold.worker")


class NoSuchJob(Exception):
    """The ledger has no job of this id (any more)."""


@dataclass(slots=True, kw_only=True)
class Ending:
    """What an attempt came to, and the script that records it."""

    state: ChunkState
    """`pending` where another attempt is due; of a stage that is done, `succeeded`, or where it
    was the last one and items failed, `partially_succeeded`; `held` for `failed` and
    `partially_succeeded` of a job that holds."""
    script: Script = ()
    plain: Plain | None = None
    """Of a success that is written together with others: it has no script of its own."""
    failure: Failure | None = None
    """Of an attempt that failed."""
    retry_seconds: float = 0.0
    """How much later another attempt is due."""
    seconds: float = 0.0
    """How long the attempt took."""

    @property
    def whole_script(self) -> Script:
        """What records it alone."""
        return self.script if self.plain is None else outcomes.succeeded_together([self.plain])

    @property
    def is_stage_done(self) -> bool:
        """Whether the chunk goes on."""
        return self.state in WITH_RESULT


class Attempts:
    """Runs attempts with the processors of this worker."""

    def __init__(
        self,
        ledger: Ledger,
        processors: Mapping[str, Processor],
        *,
        max_result_bytes: int,
        keeps_tracebacks: bool = True,
    ) -> None:
        """Take what they depend on."""
        self._ledger = ledger
        self._processors = processors
        self._max_result_bytes = max_result_bytes
        self._keeps_tracebacks = keeps_tracebacks
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
        stage = terms.spec.stages[attempt.stage]
        with logs.running(
            attempt.job_id, chunk=attempt.index, stage=attempt.stage, attempt=attempt.number
        ):
            started = time.monotonic()
            task = await self._task(attempt, stage, terms)
            processor = self._processors.get(stage.processor)
            outcome = await outcome_without_running(task, processor)
            if outcome is None:
                if attempt.number > stage.retry.max_attempts:
                    attempt = replace(attempt, is_one_too_many=True)
                outcome = await _outcome(attempt, task, processor)
            ending = _ending(attempt, stage, outcome, terms, is_last_stage=task.is_last_stage)
            ending.seconds = time.monotonic() - started
            if outcome.failed_here is not None:
                _log.warning("%s", _in_words(attempt, stage, outcome, ending))
        return ending

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
            kept = ChunkOutput(item_errors=attempt.earlier_errors)
            given_up = outcomes.failed(attempt, failure, kept)
            if attempt.kept is not None:
                # What its items gave in an earlier run is in the ledger, and stays there.
                given_up = restore_attempt(attempt)
            await persistently(work.record, given_up)
            return failure
        return None

    async def is_tolerance_exceeded(self, job: JobRef, terms: Terms, *, index: int) -> bool:
        """Whether the job bears no more failures, by the outcomes recorded so far.

        The first that finds it so, after the chunk `index`, notes that for the job's end.
        """
        tolerance = terms.controls.tolerated_failures
        if tolerance is None:
            return False
        ledger = self._ledger.of(job.tenant)
        succeeded, failed, in_a_row = await ledger.jobs.outcome_counts(job.id)
        rule = tolerance.exceeded_rule(
            succeeded=succeeded, failed=failed, in_a_row=in_a_row, final=False
        )
        if rule is not None:
            await ledger.closing.stop(job.id, Stop(rule, index))
        return rule is not None

    async def _task(self, attempt: Attempt, stage: StageSpec, terms: Terms) -> Task:
        if attempt.is_derived:
            # What was kept is of the items that were submitted.
            attempt = replace(attempt, kept=None)
        return Task(
            attempt=attempt,
            stage=stage,
            is_last_stage=terms.spec.is_last_stage(attempt.stage),
            run=terms.run,
            keys=await self._keys(attempt, terms.spec.item_key),
            max_result_bytes=self._max_result_bytes,
            keeps_tracebacks=self._keeps_tracebacks,
        )

    async def _keys(self, attempt: Attempt, item_key: str | None) -> list[Any] | None:
        """The keys of the chunk's items, as they were submitted, by the field of this name.

        None as well where the job was removed meanwhile, and what the attempt gives is not kept.
        """
        if item_key is None:
            return None
        submitted: bytes | None = attempt.input
        if attempt.stage > 0:
            chunks = self._ledger.of(attempt.tenant).chunks
            submitted = await persistently(chunks.items, attempt.job_id, attempt.index)
        if submitted is None:
            return None
        return [key_of(item, item_key) for item in json_values.decode(submitted)]


async def _outcome(attempt: Attempt, task: Task, processor: Processor | None) -> Outcome:
    stage = task.stage
    if attempt.is_one_too_many:
        # The last one that was allowed ended without a word; its worker died.
        limit = stage.retry.max_attempts
        message = f"the worker was lost in attempt {limit} of {limit}"
        failure = Failure(type=FailureType.WORKER_LOST, message=message)
        return not_executed(task, failure, processor)
    if processor is None:
        message = (
            f"this worker knows no processor '{stage.processor}'; "
            "FANFOLD_PROCESSORS must name it for every worker"
        )
        failure = Failure(type=FailureType.UNKNOWN_PROCESSOR, message=message)
        return not_executed(task, failure)
    try:
        options = processor.check_options(stage.options)
    except ValidationError as error:
        failure = Failure(type=FailureType.INVALID_OPTIONS, message=str(error))
        return not_executed(task, failure, processor)
    return await execute(processor, options, task)


def _ending(
    attempt: Attempt, stage: StageSpec, outcome: Outcome, terms: Terms, *, is_last_stage: bool
) -> Ending:
    """What the outcome means for the chunk."""
    ending = _outcome_ending(attempt, stage, outcome, terms, is_last_stage=is_last_stage)
    tolerance = terms.controls.tolerated_failures
    if tolerance is None or tolerance.consecutive is None or ending.state not in JUDGED_CHUNK:
        return ending
    if ending.is_stage_done and not is_last_stage:
        return ending
    is_failed = ending.state is ChunkState.FAILED
    counted = outcomes.counted_in_a_row(attempt, outcome.output, is_failed=is_failed)
    return replace(ending, script=(*ending.whole_script, *counted), plain=None)


def _outcome_ending(
    attempt: Attempt, stage: StageSpec, outcome: Outcome, terms: Terms, *, is_last_stage: bool
) -> Ending:
    output, failure = outcome.output, outcome.failure
    if outcome.end is End.AGAIN:
        wait = outcome.retry_seconds
        if wait is None:
            wait = retry_seconds(stage.retry, attempt.number)
        script = outcomes.put_off(attempt, _of(outcome), output, seconds=wait)
        return Ending(script=script, state=ChunkState.PENDING, failure=failure, retry_seconds=wait)
    if outcome.end is End.DONE and not is_last_stage:
        return Ending(script=outcomes.advanced(attempt, output), state=ChunkState.SUCCEEDED)
    if outcome.end is End.DONE and failure is None:
        if outcomes.is_plain(attempt, output):
            return Ending(state=ChunkState.SUCCEEDED, plain=Plain(attempt, output))
        return Ending(script=outcomes.succeeded(attempt, output), state=ChunkState.SUCCEEDED)
    if failure is None:
        raise AssertionError("a chunk that failed has a failure")
    state, record = ChunkState.PARTIALLY_SUCCEEDED, outcomes.succeeded_partially
    if outcome.end is End.FAILED:
        state, record = ChunkState.FAILED, outcomes.failed
    if terms.spec.on_failure is OnFailure.HOLD:
        state, record = ChunkState.HELD, outcomes.held
    final = failure if outcome.end is End.FAILED else None
    return Ending(script=record(attempt, failure, output), state=state, failure=final)


def _of(outcome: Outcome) -> Failure:
    """The failure of an attempt that is followed by another."""
    failure = outcome.failed_here or outcome.failure
    if failure is None:
        raise AssertionError("an attempt that failed has a failure")
    return failure


def _in_words(attempt: Attempt, stage: StageSpec, outcome: Outcome, ending: Ending) -> str:
    """The line in the log for an attempt in which something failed."""
    failure, limit = outcome.failed_here, stage.retry.max_attempts
    what = f"{failure.type}: {' '.join(failure.message.split())}" if failure else ""
    if outcome.items_failed_here:
        of_all = "" if attempt.is_derived else f" of {attempt.item_count}"
        what = f"{outcome.items_failed_here}{of_all} items failed, the first with {what}"
    if ending.state is ChunkState.PENDING:
        then = f"tried again in {ending.retry_seconds:g} s"
    else:
        then = "the others go on" if ending.is_stage_done else "failed for good"
    return f"attempt {min(attempt.number, limit)} of {limit}: {what}; {then}"


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
