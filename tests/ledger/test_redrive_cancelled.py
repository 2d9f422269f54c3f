"""A chunk that a redrive runs again, and that a client cancels while it runs: nothing is lost."""

from collections.abc import Callable

import pytest

from fanfold.ledger import outcomes
from fanfold.ledger.connect import Ledger
from fanfold.ledger.outcomes import Script
from fanfold.ledger.records import Attempt
from tests.ledger.jobs_recorded import BROKEN, NOTHING, ours
from tests.ledger.redriven import (
    FAILED,
    PARTIAL,
    SUCCEEDED,
    begun_again,
    ended,
    opened,
    outputs,
    redrive,
)

ENDS: dict[str, Callable[[Attempt], Script]] = {
    "put off": lambda attempt: outcomes.put_off(attempt, BROKEN, NOTHING, seconds=0),
    "handed back": outcomes.handed_back,
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("index", [SUCCEEDED, FAILED, PARTIAL])
async def test_it_is_what_it_was_before_though_its_attempt_ended_first(
    ledger: Ledger, index: int, end: str
) -> None:
    job_id = await ended(ledger)
    before = await outputs(ledger, job_id)
    assert await redrive(ledger, job_id, index)
    await opened(ledger, job_id)
    attempt = await begun_again(ledger, job_id, index)
    await ours(ledger).steering.cancel_child(job_id, index)

    await ours(ledger).work.record(ENDS[end](attempt))
    for _ in range(2):
        await ours(ledger).closing.cancel_children(job_id)

    assert await outputs(ledger, job_id) == before
