"""What is refused of a job that is made of jobs, and of one that is a part of another."""

from fanfold.app.http import errors
from fanfold.app.services import Services
from fanfold.contract.states import JobState
from fanfold.intake.faults import Fault
from fanfold.ledger.records import JobRecord

_OF_CHUNKS = ("max_concurrency", "max_per_second")
"""Limits that chunks go by, and so jobs that have some."""


def refuse_without_chunks(job: JobRecord) -> None:
    """Raise NotOfThisJob where the job is made of jobs: of it there are no children."""
    if job.is_parent:
        detail = (
            "The job is made of jobs, and has no children itself: ask one of these. "
            f"GET /jobs/{job.id}/jobs lists them."
        )
        raise errors.NotOfThisJob("job_has_no_chunks", detail)


def refuse_limits_of_chunks(job: JobRecord, changed: set[str]) -> None:
    """Raise NotOfThisJob where the job is made of jobs, and one of these fields is for chunks."""
    asked = [name for name in _OF_CHUNKS if name in changed]
    if job.is_parent and asked:
        detail = (
            f"The job is made of jobs, and has no chunks itself: change {' and '.join(asked)} of "
            f"these. GET /jobs/{job.id}/jobs lists them."
        )
        what = "goes with chunks, which only its sub-jobs have: give it to them"
        faults = tuple(Fault(f"/{name}", what) for name in asked)
        raise errors.NotOfThisJob("job_has_no_chunks", detail, faults)


def refuse_part(job: JobRecord, what: str) -> None:
    """Raise NotOfThisJob where the job is a part of another, with which alone this goes."""
    if job.place.root is not None:
        detail = f"The job is a part of {job.place.root}: {what} that job as a whole."
        raise errors.NotOfThisJob("job_is_part_of_another", detail)


async def refuse_while_receiving(services: Services, job: JobRecord) -> None:
    """Raise NotInThisState where the job is a part of one that still gets its data."""
    root = job.place.root
    if root is not None and await services.tenant.jobs.state(root) is JobState.RECEIVING:
        detail = (
            f"The job is a part of {root}, which still receives its data: seal or cancel that "
            "first."
        )
        raise errors.NotInThisState("job_receiving", detail)
