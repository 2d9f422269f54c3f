"""How a job's workflow begins that was started in place of another one."""

import asyncio
from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from fanfold.contract.names import END_REPLACED
    from fanfold.contract.plan import HEARTBEAT_TIMEOUT
    from fanfold.contract.wire import JobRef, ReplacedRun
    from fanfold.workers.workflows.calls import LEDGER_RETRY

_TIMEOUT = timedelta(minutes=5)


async def end_replaced(job: JobRef, run: str) -> None:
    """End all that a replaced run had started; returns once nothing of it goes on.

    When cancelled, raises CancelledError once all is ended.
    """
    ending = asyncio.ensure_future(
        workflow.execute_activity(
            END_REPLACED,
            ReplacedRun(job=job, run=run),
            start_to_close_timeout=_TIMEOUT,
            retry_policy=LEDGER_RETRY,
        )
    )
    is_cancelled = False
    while not ending.done():
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            is_cancelled = True
    if is_cancelled:
        raise asyncio.CancelledError
    # A worker hears with its next heartbeat that its chunks are taken away. Were one begun
    # anew before that, its two attempts would count as one after the other.
    await asyncio.sleep(HEARTBEAT_TIMEOUT.total_seconds())
