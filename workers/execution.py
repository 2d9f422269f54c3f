"""Runs a processor over one chunk: items, time limit, failures, the result as JSON text.

Knows nothing of Temporal or the ledger. What each item gave, or why it failed, is kept
item by item, so that the next attempt runs only the items that have to be repeated.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_jsonable_python
from temporalio.exceptions import ApplicationError

from fanfold.contract import json_values
from fanfold.contract.failures import Failure, FailureType
from fanfold.contract.job_spec import RetrySpec
from fanfold.ledger.records import Attempt, ChunkOutput, ItemError
from fanfold.processing import ItemDropped, ProcessorContext, ValidationError
from fanfold.workers.processor import Processor
from fanfold.workers.threads import OutOfTime, run_in_thread, within

# Whatever user code raises is its failure, also where it wants to end the process.
_USER_ERRORS = (Exception, SystemExit, KeyboardInterrupt)

LONGEST_WAIT_SECONDS = 30 * 24 * 3600.0
"""The longest wait between attempts, whoever asks for it; the server refuses endless timers."""


@dataclass(slots=True)
class Outcome:
    """What an attempt came to: a result, or a failure with what its items gave."""

    output: ChunkOutput
    failure: Failure | None = None
    items_failed: int = 0
    """Of a failure, how many of the chunk's items it means."""
    retry_seconds: float | None = None
    """Of a failure, the wait before the next attempt where the processor asked for one."""


@dataclass(slots=True)
class _ItemRun:
    """Results and errors by item position, filled in as the items are run."""

    items: list[Any]
    results: dict[int, Any] = field(default_factory=dict)
    errors: dict[int, Failure] = field(default_factory=dict)
    retry_seconds: float | None = None
    """The longest wait that an item asked for."""
    dropped: dict[int, str] = field(default_factory=dict)

    @classmethod
    def resumed(cls, items: list[Any], checkpoint: ChunkOutput) -> "_ItemRun":
        """A run that goes on from what an earlier attempt left."""
        run = cls(items)
        if not checkpoint.item_errors:
            return run
        failed = {error.item for error in checkpoint.item_errors}
        run.dropped = {e.item: e.message for e in checkpoint.item_errors if e.is_dropped}
        if checkpoint.body:
            earlier = json_values.decode(checkpoint.body)
            run.results = {i: value for i, value in enumerate(earlier) if i not in failed}
        return run

    def item_errors(self, stage: int) -> tuple[ItemError, ...]:
        """Each item that failed or was dropped, in order."""
        failed = [
            ItemError(item=index, type=failure.type, message=failure.message, stage=stage)
            for index, failure in self.errors.items()
        ]
        dropped = [
            ItemError(
                item=index,
                type=ItemDropped.__name__,
                message=message,
                stage=stage,
                is_dropped=True,
            )
            for index, message in self.dropped.items()
        ]
        return tuple(sorted(failed + dropped, key=lambda error: error.item))

    @property
    def open_items(self) -> list[int]:
        """Positions of the items still to be run."""
        done = self.results.keys() | self.dropped.keys()
        return [index for index in range(len(self.items)) if index not in done]

    @contextmanager
    def noting(self, index: int, retry: RetrySpec) -> Iterator[None]:
        """Keep what an exception of this item means; the others go on."""
        try:
            yield
        except ItemDropped as dropped:
            self.dropped[index] = str(dropped)
        except _USER_ERRORS as error:
            self.errors[index] = failure_of(error, retry)
            wait = wait_asked_for(error)
            if wait is not None:
                self.retry_seconds = max(wait, self.retry_seconds or 0.0)


async def execute(
    processor: Processor,
    *,
    attempt: Attempt,
    options: dict[str, Any],
    retry: RetrySpec,
    timeout_seconds: float,
    max_result_bytes: int,
) -> Outcome:
    """Run the attempt; every way it can fail is an Outcome. Raises CancelledError only."""
    value = json_values.decode(attempt.input)
    if not processor.takes_items:
        return await _execute_chunk(
            processor, value, attempt, options, retry, timeout_seconds, max_result_bytes
        )
    if not isinstance(value, list):
        message = f"'{processor.name}' takes items, but the stage before gave no array"
        return failed_whole(attempt, Failure(type=FailureType.INVALID_RESULT, message=message))
    run = _ItemRun.resumed(value, attempt.checkpoint)
    await _run_items(processor, run, attempt, options, retry, timeout_seconds)
    return _items_outcome(run, attempt, max_result_bytes)


def failed_whole(attempt: Attempt, failure: Failure) -> Outcome:
    """The outcome of an attempt that failed for all items at once."""
    output = ChunkOutput(item_errors=attempt.dropped_earlier)
    return Outcome(output, failure=failure, items_failed=attempt.item_count)


def failure_of(error: BaseException, retry: RetrySpec) -> Failure:
    """The failure that an exception from user code stands for."""
    kind, is_final = type(error).__name__, isinstance(error, ValidationError)
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - user classes may raise anything
        message = "the exception has no words"
    if isinstance(error, ApplicationError):
        kind, message, is_final = error.type or kind, error.message, error.non_retryable
    return Failure(
        type=kind,
        message=message or kind,
        retryable=not is_final and kind not in retry.non_retryable,
    )


def wait_asked_for(error: BaseException) -> float | None:
    """The seconds until the next attempt that the error itself names: a service's Retry-After."""
    if isinstance(error, ApplicationError) and error.next_retry_delay is not None:
        return min(max(0.0, error.next_retry_delay.total_seconds()), LONGEST_WAIT_SECONDS)
    return None


async def _execute_chunk(
    processor: Processor,
    value: Any,  # noqa: ANN401 - any JSON value
    attempt: Attempt,
    options: dict[str, Any],
    retry: RetrySpec,
    timeout_seconds: float,
    max_result_bytes: int,
) -> Outcome:
    arguments = options | _context_argument(processor, attempt, 0)
    try:
        chunk = processor.check_data(value)
        if processor.is_async:
            result = await within(
                processor.function(chunk, **arguments), timeout_seconds=timeout_seconds
            )
        else:
            result = await run_in_thread(
                lambda: processor.function(chunk, **arguments), timeout_seconds=timeout_seconds
            )
        body = _encode(result)
    except _Unusable as error:
        failure = Failure(type=FailureType.INVALID_RESULT, message=str(error))
        return failed_whole(attempt, failure)
    except OutOfTime:
        return failed_whole(attempt, _timeout(processor, timeout_seconds, retry))
    except _USER_ERRORS as error:
        outcome = failed_whole(attempt, failure_of(error, retry))
        outcome.retry_seconds = wait_asked_for(error)
        return outcome
    if len(body) > max_result_bytes:
        return failed_whole(attempt, _too_large(len(body), max_result_bytes))
    return Outcome(ChunkOutput(body=body, item_errors=attempt.dropped_earlier))


async def _run_items(
    processor: Processor,
    run: _ItemRun,
    attempt: Attempt,
    options: dict[str, Any],
    retry: RetrySpec,
    timeout_seconds: float,
) -> None:
    def call(index: int) -> Any:  # noqa: ANN401 - a JSON value or an awaitable of one
        arguments = options | _context_argument(processor, attempt, index)
        return processor.function(processor.check_data(run.items[index]), **arguments)

    def run_all() -> None:
        results = run.results
        for index in run.open_items:
            with run.noting(index, retry):
                results[index] = call(index)

    async def run_all_async() -> None:
        for index in run.open_items:
            with run.noting(index, retry):
                run.results[index] = await call(index)

    try:
        if processor.is_async:
            await within(run_all_async(), timeout_seconds=timeout_seconds)
        else:
            await run_in_thread(run_all, timeout_seconds=timeout_seconds)
    except OutOfTime:
        failure = _timeout(processor, timeout_seconds, retry)
        # The thread may not have ended yet: what it still does is no part of this attempt.
        run.results = dict(run.results)
        for index in run.open_items:
            run.errors.setdefault(index, failure)


def _items_outcome(run: _ItemRun, attempt: Attempt, max_result_bytes: int) -> Outcome:
    texts = _item_texts(run)
    item_errors = attempt.dropped_earlier + run.item_errors(attempt.stage)
    places = range(len(run.items)) if run.errors else sorted(texts)
    body = b"[" + b",".join(texts.get(place, b"null") for place in places) + b"]"
    if len(body) > max_result_bytes:
        return failed_whole(attempt, _too_large(len(body), max_result_bytes))
    if not run.errors:
        return Outcome(ChunkOutput(body=body, item_errors=item_errors))
    first = run.errors[min(run.errors)]
    return Outcome(
        ChunkOutput(body=body if texts else b"", item_errors=item_errors),
        failure=Failure(
            type=first.type,
            message=first.message,
            retryable=any(failure.retryable for failure in run.errors.values()),
        ),
        items_failed=len(item_errors),
        retry_seconds=run.retry_seconds,
    )


def _item_texts(run: _ItemRun) -> dict[int, bytes]:
    """The items' results as JSON text; one that cannot be is an error of its item."""
    texts: dict[int, bytes] = {}
    for index, result in run.results.items():
        try:
            texts[index] = _encode(result)
        except _Unusable as error:
            run.errors[index] = Failure(type=FailureType.INVALID_RESULT, message=str(error))
    return texts


class _Unusable(Exception):
    """A result that is not JSON; the message says why."""


def _encode(result: Any) -> bytes:  # noqa: ANN401 - what user code returned
    try:
        try:
            return json_values.encode(result)
        except TypeError:
            # Dates, dataclasses, pydantic models and such have one obvious JSON form.
            return json_values.encode(to_jsonable_python(result))
    except json_values.UnstorableValue as error:
        place = "".join(f"[{step!r}]" for step in error.path)
        raise _Unusable(f"the result{place} {error}") from None
    except Exception as error:  # noqa: BLE001 - user objects may raise anything when serialized
        raise _Unusable(f"the result is not JSON: {error}") from None


def _too_large(size: int, limit: int) -> Failure:
    message = (
        f"the result takes {size} bytes of JSON text; "
        f"at most {limit} are allowed (FANFOLD_MAX_CHUNK_RESULT_BYTES)"
    )
    return Failure(type=FailureType.INVALID_RESULT, message=message)


def _timeout(processor: Processor, seconds: float, retry: RetrySpec) -> Failure:
    message = f"'{processor.name}' did not finish within {seconds:g} seconds"
    return Failure(
        type=FailureType.TIMEOUT,
        message=message,
        retryable=FailureType.TIMEOUT not in retry.non_retryable,
    )


def _context_argument(
    processor: Processor, attempt: Attempt, item_index: int
) -> dict[str, ProcessorContext]:
    if processor.context_parameter is None:
        return {}
    context = ProcessorContext(
        job_id=attempt.job_id,
        chunk_index=attempt.index,
        attempt=attempt.number,
        item_index=item_index,
    )
    return {processor.context_parameter: context}
