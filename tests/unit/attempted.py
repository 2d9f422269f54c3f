"""Runs a processor over one chunk, as a worker does for one attempt."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from fanfold.contract.job_spec import RetrySpec
from fanfold.contract.json_values import encode
from fanfold.contract.names import DEFAULT_TENANT, JobId
from fanfold.ledger.records import Attempt, ChunkOutput, ItemError
from fanfold.workers.execution import Outcome, execute
from fanfold.workers.processor import Processor

ENOUGH_SECONDS = 30.0


def an_attempt(
    value: Any,
    *,
    number: int = 1,
    stage: int = 0,
    index: int = 0,
    dropped_earlier: tuple[ItemError, ...] = (),
    checkpoint: ChunkOutput | None = None,
) -> Attempt:
    return Attempt(
        tenant=DEFAULT_TENANT,
        job_id=JobId("job_1"),
        index=index,
        stage=stage,
        number=number,
        fence=number,
        item_count=(len(value) if isinstance(value, list) else 1) + len(dropped_earlier),
        input=encode(value),
        revision=1,
        dropped_earlier=dropped_earlier,
        checkpoint=checkpoint or ChunkOutput(),
    )


async def outcome_of(
    function: Callable[..., Any],
    attempt: Attempt,
    *,
    retry: RetrySpec | None = None,
    timeout_seconds: float = ENOUGH_SECONDS,
    max_result_bytes: int = 1024 * 1024,
    **options: Any,
) -> Outcome:
    processor = Processor(function)
    return await execute(
        processor,
        attempt=attempt,
        options=processor.check_options(options),
        retry=retry or RetrySpec(),
        timeout_seconds=timeout_seconds,
        max_result_bytes=max_result_bytes,
    )


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
