"""A processor that says when to try again is tried again then, not when its job would have."""

import datetime as dt
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from fanfold.contract.job_spec import JobSpec, RetrySpec, StageSpec
from fanfold.ledger.connect import Ledger
from fanfold.ledger.records import BlockRun
from fanfold.workers.attempts import Attempts
from fanfold.workers.processor import Processor
from tests.ledger.jobs_recorded import begun, ours, running


def busy(item: Any) -> Any:
    raise ApplicationError(str(item), next_retry_delay=dt.timedelta(seconds=90))


def broken(item: Any) -> Any:
    raise OSError(item)


@pytest.mark.parametrize(("function", "seconds"), [(busy, 90), (broken, 45)])
async def test_the_wait_is_recorded_with_the_attempt(
    ledger: Ledger, function: Any, seconds: float
) -> None:
    retry = RetrySpec(initial_interval_seconds=45)
    spec = JobSpec(stages=(StageSpec(processor=function.__name__, retry=retry),))
    job_id = await running(ledger, spec=spec)
    attempts = Attempts(ledger, {function.__name__: Processor(function)}, max_result_bytes=100)

    terms = await ours(ledger).jobs.terms(job_id)
    assert terms is not None
    ending = await attempts.run(await begun(ledger, job_id), terms)
    await ours(ledger).work.record(ending.script)

    assert ending.retry_seconds == seconds
    outlook = await ours(ledger).work.outlook(job_id, BlockRun(block=1, number=1), limit=1)
    assert outlook.due_in_seconds is not None
    assert seconds - 30 < outlook.due_in_seconds <= seconds
