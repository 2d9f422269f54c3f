"""Doubles numbers; fails on demand, to try out failures, retries and delays."""

import asyncio
import random
from typing import Annotated

from pydantic import Field, StrictFloat, StrictInt
from temporalio.exceptions import ApplicationError

from fanfold.processing import ProcessorContext, example

Seconds = Annotated[float, Field(ge=0, le=3600)]


@example(
    {
        "chunks": [[1], [2], [3], [4], [5]],
        "options": {"fail_if_divisible_by": 2},
        "retry": {"max_attempts": 1},
        "reducer": "collect",
    }
)
async def double(
    item: StrictInt | StrictFloat,
    *,
    context: ProcessorContext,
    fail_if_divisible_by: Annotated[int, Field(ge=1)] | None = None,
    fail_probability: Annotated[float, Field(ge=0, le=1)] = 0.0,
    fail_attempts: Annotated[int, Field(ge=0)] = 0,
    delay_seconds: Annotated[
        list[Seconds],
        Field(min_length=2, max_length=2, json_schema_extra={"x-ascending": True}),
    ]
    | None = None,
    seed: int = 0,
) -> int | float:
    """Give back twice the number, after simulated delays and failures.

    `fail_if_divisible_by` fails such numbers, `fail_probability` a share of them
    (repeatably, by `seed`), `fail_attempts` the first so many attempts;
    `delay_seconds: [1, 5]` waits a random time between the two.
    """
    is_random = delay_seconds is not None or fail_probability > 0
    place = f"{seed}/{context.chunk_index}/{context.item_index}/{context.attempt}"
    # To make one takes longer than all else here.
    dice = random.Random(place) if is_random else None  # noqa: S311 - repeatable on purpose
    if dice is not None and delay_seconds is not None:
        await asyncio.sleep(dice.uniform(*delay_seconds))
    if context.attempt <= fail_attempts:
        raise ApplicationError(f"Simulated failure of attempt {context.attempt}")
    if fail_if_divisible_by is not None and item % fail_if_divisible_by == 0:
        raise ApplicationError(f"Simulated failure for value {item}")
    if dice is not None and dice.random() < fail_probability:
        raise ApplicationError(f"Random failure for value {item}")
    return item * 2
