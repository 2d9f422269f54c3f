"""How long an item processor's chunk waits for its next attempt, where items ask for a time."""

import asyncio
import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from fanfold.intake.job_request import JobRequest
from fanfold.processing import RetryLater
from fanfold.workers.execution import End
from fanfold.workers.user_errors import LONGEST_WAIT_SECONDS
from tests.unit.attempted import attempted


def asking(item: Any) -> Any:
    return _asked(item)


async def asking_async(item: Any) -> Any:
    await asyncio.sleep(0)
    return _asked(item)


def _asked(item: Any) -> Any:
    """Fails, and asks for so many seconds until the next attempt; None asks for nothing."""
    if item == "good":
        return item
    if item is None:
        raise ApplicationError("later")
    if item > 1:
        raise RetryLater(item)
    raise ApplicationError("later", next_retry_delay=dt.timedelta(seconds=item))


@pytest.mark.parametrize("function", [asking, asking_async])
@pytest.mark.parametrize(
    ("items", "seconds"),
    [
        (["good", 0.25], 0.25),
        ([2, None, 30.5, "good", 3], 30.5),
        ([0], 0),
        ([None, None], None),
        ([-1], 0),
    ],
)
def test_the_longest_wait_that_an_item_asks_for_is_kept(
    function: Callable[..., Any], items: list[Any], seconds: float | None
) -> None:
    assert attempted(function, items).retry_seconds == seconds


def test_an_item_that_failed_for_good_asks_for_no_wait() -> None:
    def asking_in_vain(item: float) -> Any:
        if item == 0:
            raise OSError("flaky")
        wait = dt.timedelta(seconds=item)
        raise ApplicationError("for good", non_retryable=True, next_retry_delay=wait)

    outcome = attempted(asking_in_vain, [0, 3600])
    assert (outcome.end, outcome.retry_seconds) == (End.AGAIN, None)


def test_a_wait_without_end_is_cut_to_the_longest_that_a_job_may_ask_for() -> None:
    def endless(item: Any) -> Any:
        if item:
            raise RetryLater(float("inf"))
        raise ApplicationError("later", next_retry_delay=dt.timedelta.max)

    assert attempted(endless, [0]).retry_seconds == LONGEST_WAIT_SECONDS
    assert attempted(endless, [1]).retry_seconds == LONGEST_WAIT_SECONDS
    job = {"processor": "p", "items": [1], "retry": {"max_interval_seconds": LONGEST_WAIT_SECONDS}}
    assert JobRequest.model_validate(job).retry.max_interval_seconds == LONGEST_WAIT_SECONDS


def test_items_that_succeed_in_the_end_ask_for_nothing() -> None:
    assert attempted(asking, ["good"]).retry_seconds is None
