"""The states of jobs and chunks. docs/job-states.md draws how they follow each other."""

from enum import StrEnum


class JobState(StrEnum):
    """Where a job stands; the last four are terminal and never change again."""

    RECEIVING = "receiving"
    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    PARTIALLY_SUCCEEDED = "partially_succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """True once nothing about the job can change any more."""
        return self in _TERMINAL_JOB_STATES


class ChunkState(StrEnum):
    """Where a chunk stands; the last three are terminal and never change again."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """True once the chunk's outcome is recorded."""
        return self not in {ChunkState.PENDING, ChunkState.RUNNING}


_TERMINAL_JOB_STATES = frozenset(
    {JobState.SUCCEEDED, JobState.PARTIALLY_SUCCEEDED, JobState.FAILED, JobState.CANCELLED}
)
