"""The end of a job whose workflow is gone, where no other one is to see to it."""

from fanfold.contract.failures import closed_outside
from fanfold.contract.names import JobId
from fanfold.contract.states import JobState
from fanfold.ledger.connect import TenantLedger


async def close_as_it_stands(
    ledger: TenantLedger, job_id: JobId, run: int, *, is_cancelled: bool, why: str
) -> JobState:
    """Close a job in this run, with all below it; the state that it then has.

    `is_cancelled`: whether its cancellation was asked for. Raises LedgerUnavailable.
    """
    await ledger.compensating.hand_over(job_id)
    await ledger.closing.settle_below(job_id)
    await ledger.closing.settle(job_id, run)
    state = JobState.CANCELLED if is_cancelled else JobState.FAILED
    failure = None if is_cancelled else closed_outside(why)
    await ledger.closing.close(job_id, state, error=failure, run=run)
    return state
