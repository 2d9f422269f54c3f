"""Runs a processor over one chunk, as a worker does for one attempt."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

from fanfold.contract.job_spec import RetrySpec, StageSpec
from fanfold.contract.json_values import encode
from fanfold.contract.names import DEFAULT_TENANT, JobId
from fanfold.ledger.records import Attempt, ChunkOutput, ItemError
from fanfold.workers.execution import Outcome, execute
from fanfold.workers.item_run import Task
from fanfold.workers.processor import Processor

ENOUGH_SECONDS = 30.0


def an_attempt(
    value: Any,
    *,
    number: int = 1,
    stage: int = 0,
    index: int = 0,
    earlier_errors: tuple[ItemError, ...] = (),
    checkpoint: ChunkOutput | None = None,
    by_item: bool | None = None,
) -> Attempt:
    return Attempt(
        tenant=DEFAULT_TENANT,
        job_id=JobId("job_1"),
        index=index,
        stage=stage,
        number=number,
        fence=number,
        item_count=(len(value) if isinstance(value, list) else 1) + len(earlier_errors),
        input=encode(value),
        revision=1,
        earlier_errors=earlier_errors,
        by_item=(stage > 0 or None) if by_item is None else by_item,
        checkpoint=checkpoint or ChunkOutput(),
    )


async def outcome_of(
    function: Callable[..., Any],
    attempt: Attempt,
    *,
    retry: RetrySpec | None = None,
    timeout_seconds: float = ENOUGH_SECONDS,
    max_result_bytes: int = 1024 * 1024,
    is_last_stage: bool = True,
    keys: Sequence[Any] | None = None,
    keeps_tracebacks: bool = False,
    **options: Any,
) -> Outcome:
    processor = Processor(function)
    stage = StageSpec(
        processor=processor.name, retry=retry or RetrySpec(), timeout_seconds=timeout_seconds
    )
    task = Task(
        attempt=attempt,
        stage=stage,
        is_last_stage=is_last_stage,
        keys=keys,
        max_result_bytes=max_result_bytes,
        keeps_tracebacks=keeps_tracebacks,
    )
    return await execute(processor, processor.check_options(options), task)


def attempted(function: Callable[..., Any], value: Any, **given: Any) -> Outcome:
    """The outcome of a first attempt at a chunk of these items."""
    return asyncio.run(outcome_of(function, an_attempt(value), **given))


def result_of(function: Callable[..., Any], value: Any, **options: Any) -> Any:
    """What the chunk's result is, once it succeeded."""
    outcome = attempted(function, value, **options)
    assert outcome.failure is None, outcome.failure
    return json.loads(outcome.output.body)


def failure_of(function: Callable[..., Any], value: Any, **options: Any) -> tuple[str, str]:
    """Type and message of the chunk's failure."""
    outcome = attempted(function, value, **options)
    assert outcome.failure is not None, outcome.output
    return outcome.failure.type, outcome.failure.message
