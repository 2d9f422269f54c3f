"""Whether a job made of jobs bears what became of these."""

from fanfold.contract.job_spec import ToleranceRule
from fanfold.contract.names import JobId
from fanfold.contract.states import JobState
from fanfold.ledger.connect import TenantLedger
from fanfold.ledger.jobs import Terms


async def is_past_tolerance(
    ledger: TenantLedger, job_id: JobId, terms: Terms, *, final: bool
) -> ToleranceRule | None:
    """The rule that the job is past, at which sub-jobs count; None where it bears them."""
    tolerance = terms.controls.tolerated_failures
    if tolerance is None:
        return None
    states = await ledger.sub_jobs.states_by_end(job_id)
    failed = states.count(JobState.FAILED)
    longest = streak = 0
    for state in states:
        streak = streak + 1 if state is JobState.FAILED else 0
        longest = max(longest, streak)
    return tolerance.exceeded_rule(
        succeeded=len(states) - failed, failed=failed, in_a_row=longest, final=final
    )
