"""What workflows and activities tell each other of the jobs that a job is made of."""

from dataclasses import dataclass

from fanfold.contract.wire import JobInput, JobRef


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanJobs:
    """Input of the activities that plan: which sub-jobs come next."""

    job: JobRef
    after: int = -1
    """The position that they come after, where they run in parallel."""
    limit: int = 1
    """0: only whether there is a reason to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedJob:
    """A sub-job to be started."""

    position: int
    given: JobInput


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedJobs:
    """Sub-jobs that have not ended, in order."""

    jobs: list[PlannedJob]
    is_last: bool
    """Whether there are none after these."""
    is_refused: bool = False
    """Whether none may start now, since the job is paused."""
    is_tolerance_exceeded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LostJob:
    """Input of the activity that closes a job whose workflow did not do so."""

    job: JobRef
    reason: str
    is_given_up: bool = False
    """Whether nothing is to be undone first: the workflow that was to do that is gone too."""
