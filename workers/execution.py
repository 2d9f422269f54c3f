"""Runs a processor over one chunk: items, time limit, failures, the result as JSON text.

Knows nothing of Temporal, and of the ledger only what it holds. What each item gave, or why
it failed, is kept item by item: another attempt runs only the items whose failure it may
help, and what goes on, to the next stage or into the result, are the items that succeeded.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from fanfold.contract import json_values
from fanfold.contract.failures import Failure, FailureType
from fanfold.contract.job_spec import StageSpec
from fanfold.ledger.records import ChunkOutput, ItemError, placed
from fanfold.processing import ProcessorContext
from fanfold.workers.item_run import ItemRun, Settled, Task
from fanfold.workers.processor import Processor
from fanfold.workers.results import Unusable, encode
from fanfold.workers.threads import OutOfTime, run_in_thread, within
from fanfold.workers.user_errors import USER_ERRORS, failure_of, wait_asked_for


class End(Enum):
    """What an attempt at a stage comes to."""

    DONE = "done"
    """The chunk goes on, though items of it may have failed."""
    AGAIN = "again"
    """Another attempt may help."""
    FAILED = "failed"
    """Nothing of the chunk goes on."""


@dataclass(slots=True)
class Outcome:
    """What an attempt came to."""

    end: End
    output: ChunkOutput
    """The result, or the next stage's input; before another attempt, what the items gave."""
    failure: Failure | None = None
    """That of the chunk, or of its first item that failed, at any stage."""
    retry_seconds: float | None = None
    """The wait before the next attempt where the processor asked for one."""
    failed_here: Failure | None = None
    """Of this stage: that of the chunk, or of its first item that failed."""
    items_failed_here: int = 0


async def execute(processor: Processor, options: dict[str, Any], task: Task) -> Outcome:
    """Run the attempt; every way it can fail is an Outcome. Raises CancelledError only."""
    value = json_values.decode(task.attempt.input)
    if not processor.takes_items:
        if task.attempt.stage == 0:
            # All its items run: a redrive kept what they gave without this stage.
            task = replace(task, attempt=replace(task.attempt, kept=None))
        return await _execute_chunk(processor, value, options, task)
    if not isinstance(value, list):
        message = f"'{processor.name}' takes items, but the stage before gave no array"
        return failed_whole(task, Failure(type=FailureType.INVALID_RESULT, message=message))
    run = ItemRun.resumed(value, task)
    run = await _run_items(processor, run, options, task)
    return _items_outcome(run, task)


def not_executed(task: Task, failure: Failure, processor: Processor | None = None) -> Outcome:
    """The outcome of an attempt that could run nothing: items keep what they gave before."""
    if not task.attempt.checkpoint.item_errors and task.attempt.kept is None:
        takes_items = processor is not None and processor.takes_items
        return failed_whole(task, failure, by_item=takes_items and not task.attempt.is_derived)
    run = ItemRun.resumed(json_values.decode(task.attempt.input), task)
    for place in run.open_places:
        run.fail(place, failure)
    return _items_outcome(run, task)


def passed_through(task: Task) -> Outcome:
    """The outcome where the stage is not for the chunk, which goes on as it came."""
    attempt = task.attempt
    errors, is_derived = attempt.earlier_errors, attempt.is_derived
    has_places = any(not each.is_dropped for each in placed(errors, is_derived=is_derived))
    if attempt.kept is None and not (task.is_last_stage and has_places):
        output = ChunkOutput(body=attempt.input, item_errors=errors, by_item=not is_derived)
        if task.is_last_stage:
            return _outcome(End.DONE, output, task)
        return Outcome(End.DONE, output, failure=_first_failure(errors))
    # It is to hold other items too: those that failed before, or do not run again.
    run = ItemRun.resumed(json_values.decode(attempt.input), task)
    run.results, run.errors = dict(enumerate(run.values)), {}
    if task.is_last_stage:
        return _items_outcome(run, task)
    body = _array(json_values.encode(value) for value in run.values)
    output = ChunkOutput(body=body, item_errors=errors, by_item=True)
    return Outcome(End.DONE, output, failure=_first_failure(errors))


def failed_whole(
    task: Task, failure: Failure, *, by_item: bool = False, retry_seconds: float | None = None
) -> Outcome:
    """The outcome of an attempt that failed for all items at once."""
    end, errors = End.FAILED, _errors_before(task)
    if failure.retryable and not task.is_last_attempt:
        end, errors = End.AGAIN, task.attempt.earlier_errors
    output = ChunkOutput(item_errors=errors, by_item=by_item)
    return Outcome(end, output, failure=failure, retry_seconds=retry_seconds, failed_here=failure)


# --- a chunk as a whole -------------------------------------------------------------------


async def _execute_chunk(
    processor: Processor,
    value: Any,  # noqa: ANN401 - any JSON value
    options: dict[str, Any],
    task: Task,
) -> Outcome:
    arguments = options | _context_argument(processor, task, item=0, key=None)
    limit = task.stage.timeout_seconds
    try:
        chunk = processor.check_data(value)
        if processor.is_async:
            result = await within(processor.function(chunk, **arguments), timeout_seconds=limit)
        else:
            result = await run_in_thread(
                lambda: processor.function(chunk, **arguments), timeout_seconds=limit
            )
        body = encode(result)
    except Unusable as error:
        failure = Failure(type=FailureType.INVALID_RESULT, message=str(error))
        return failed_whole(task, failure)
    except OutOfTime:
        return failed_whole(task, _timeout(processor, task.stage))
    except USER_ERRORS as error:
        failure = failure_of(error, task.stage.retry, keeps_traceback=task.keeps_tracebacks)
        return failed_whole(task, failure, retry_seconds=wait_asked_for(error))
    errors = tuple(
        replace(error, is_remade=True) if error.is_derived else error
        for error in _errors_before(task)
    )
    output = ChunkOutput(body=body, item_errors=errors, by_item=False)
    return _outcome(End.DONE, output, task)


# --- item by item -------------------------------------------------------------------------


async def _run_items(
    processor: Processor, run: ItemRun, options: dict[str, Any], task: Task
) -> ItemRun:
    """Run the items that are open; what became of them until the time was over."""

    def call(place: int) -> Any:  # noqa: ANN401 - a JSON value or an awaitable of one
        context = _context_argument(processor, task, item=run.items_at[place], key=run.key(place))
        return processor.function(processor.check_data(run.values[place]), **options, **context)

    def run_all() -> None:
        for place in run.open_places:
            with run.noting(place):
                run.results[place] = call(place)

    async def run_all_async() -> None:
        for place in run.open_places:
            with run.noting(place):
                run.results[place] = await call(place)

    limit = task.stage.timeout_seconds
    try:
        if processor.is_async:
            await within(run_all_async(), timeout_seconds=limit)
        else:
            await run_in_thread(run_all, timeout_seconds=limit)
    except OutOfTime:
        # The thread may not have ended yet: what it still does is no part of this attempt.
        in_time = replace(run, results=dict(run.results), errors=dict(run.errors))
        failure = _timeout(processor, task.stage)
        for place in in_time.open_places:
            in_time.fail(place, failure)
        return in_time
    return run


def _items_outcome(run: ItemRun, task: Task) -> Outcome:
    texts, attempt = _item_texts(run), task.attempt
    if not (run.errors or attempt.earlier_errors or attempt.kept):  # as of most chunks
        body = _array(texts[place] for place in range(len(run.values)))
        return _outcome(End.DONE, ChunkOutput(body=body, by_item=not run.is_derived), task)
    here = tuple(error for _, error in sorted(run.errors.items()))
    failed = [error for error in here if not error.is_dropped]
    errors, by_item = attempt.earlier_errors + here, not run.is_derived
    settled = run.settled
    gone = placed((*errors, *settled.errors.values()), is_derived=run.is_derived)
    if not task.is_last_attempt and any(not error.is_final for error in failed):
        places = range(len(run.values))
        body = _array(texts.get(place, b"null") for place in places) if texts else b""
        output = ChunkOutput(body=body, item_errors=errors, by_item=by_item)
        outcome = _outcome(End.AGAIN, output, task)
        outcome.retry_seconds = run.retry_seconds
    elif not (texts or settled.results) and not all(error.is_dropped for error in gone):
        output = ChunkOutput(item_errors=(*errors, *settled.errors.values()), by_item=by_item)
        outcome = _outcome(End.FAILED, output, task)
    else:
        # By position: those that failed have a place in a result, and do not go on.
        given = {run.items_at[place]: text for place, text in texts.items()}
        if task.is_last_stage:
            errors = (*errors, *settled.errors.values())
            given |= {error.item: b"null" for error in gone if not error.is_dropped}
            given |= settled.results
        body = _array(given[item] for item in sorted(given))
        if len(body) > task.max_result_bytes and settled.results and texts:
            # What there was before fits; what came of this run does not.
            too_large = _too_large(len(body), task.max_result_bytes)
            for place in texts:
                run.fail(place, too_large)
            run.results.clear()
            return _items_outcome(run, task)
        output = ChunkOutput(body=body, item_errors=errors, by_item=by_item)
        outcome = _outcome(End.DONE, output, task)
    if failed and not outcome.failed_here:
        outcome.failed_here = _first_failure(failed)
        outcome.items_failed_here = len(failed)
    return outcome


def _outcome(end: End, output: ChunkOutput, task: Task) -> Outcome:
    if len(output.body) > task.max_result_bytes:
        failure = _too_large(len(output.body), task.max_result_bytes)
        return failed_whole(task, failure, by_item=bool(output.by_item))
    return Outcome(end, output, failure=_first_failure(output.item_errors))


def _errors_before(task: Task) -> tuple[ItemError, ...]:
    """Of the items that have not reached the stage: also of those that do not run again."""
    return (*task.attempt.earlier_errors, *Settled.of(task.attempt).errors.values())


def _first_failure(errors: Sequence[ItemError]) -> Failure | None:
    """That of the first item that failed, and was not left out.

    Where something failed that a chunk processor has made of the items, the first of that:
    it is why those count as failed that have no failure of their own.
    """
    failed = [error for error in errors if not error.is_dropped]
    if not failed:
        return None
    first = min(failed, key=lambda error: (not error.is_derived, not error.is_remade, error.item))
    return Failure(
        type=first.type,
        message=first.message,
        retryable=not first.is_final,
        traceback=first.traceback,
    )


def _item_texts(run: ItemRun) -> dict[int, bytes]:
    """The items' results as JSON text; one that cannot be is an error of its item."""
    texts: dict[int, bytes] = {}
    for place, result in run.results.items():
        try:
            texts[place] = encode(result)
        except Unusable as error:
            run.fail(place, Failure(type=FailureType.INVALID_RESULT, message=str(error)))
    return texts


def _array(texts: Iterable[bytes]) -> bytes:
    return b"[" + b",".join(texts) + b"]"


# --- in both ------------------------------------------------------------------------------


def _too_large(size: int, limit: int) -> Failure:
    message = (
        f"the result takes {size} bytes of JSON text; "
        f"at most {limit} are allowed (FANFOLD_MAX_CHUNK_RESULT_BYTES)"
    )
    return Failure(type=FailureType.INVALID_RESULT, message=message)


def _timeout(processor: Processor, stage: StageSpec) -> Failure:
    message = f"'{processor.name}' did not finish within {stage.timeout_seconds:g} seconds"
    return Failure(
        type=FailureType.TIMEOUT,
        message=message,
        retryable=FailureType.TIMEOUT not in stage.retry.non_retryable,
    )


def _context_argument(
    processor: Processor,
    task: Task,
    *,
    item: int,
    key: Any,  # noqa: ANN401 - any JSON value
) -> dict[str, ProcessorContext]:
    if processor.context_parameter is None:
        return {}
    attempt = task.attempt
    context = ProcessorContext(
        job_id=attempt.job_id,
        chunk_index=attempt.index,
        attempt=attempt.number,
        item_index=item,
        item_key=key,
        stage=attempt.stage,
        run=task.run,
    )
    return {processor.context_parameter: context}
