"""Scripts over several jobs that are written as a whole, or not at all.

A script is no conversation: its statements do without each other's answers. One over a single
job has the same condition in each of them; one over many fails, where it does not find all of
them as they were.
"""

from collections.abc import Iterable, Sequence

from fanfold.contract.names import JobId
from fanfold.ledger.database import Batch, Value


def fail_unless(condition: str, rows: Iterable[tuple[JobId, Sequence[Value]]]) -> Batch:
    """Has the whole script fail, with UniqueViolation, where a job does not meet the condition.

    Each row is any job that is below another one, which has something that cannot be inserted
    again, and the parameters of the condition.
    """
    return Batch(
        "INSERT INTO job_ancestors (job_id, ancestor_id) SELECT job_id, ancestor_id FROM "
        f"job_ancestors WHERE job_id = ? AND NOT EXISTS (SELECT 1 FROM jobs WHERE {condition})",
        [(witness, *parameters) for witness, parameters in rows],
    )
