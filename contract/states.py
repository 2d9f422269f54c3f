"""The states of jobs and chunks. docs/job-states.md draws how they follow each other."""

from enum import StrEnum
from typing import Self


class State(StrEnum):
    """A state, which another release may have written."""

    @classmethod
    def read(cls, text: str) -> Self:
        """The state of that name; one that this release does not know is shown as it is.

        So a listing holds what a later release has recorded. An unknown state is none of
        the members, and not taken for terminal.
        """
        try:
            return cls(text)
        except ValueError:
            unknown = str.__new__(cls, text)
            unknown._name_, unknown._value_ = text.upper(), text
            return unknown


class JobState(State):
    """Where a job stands; the last five are terminal: only a redrive changes them."""

    RECEIVING = "receiving"
    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    WAITING = "waiting"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    PARTIALLY_SUCCEEDED = "partially_succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    """Of a sub-job in a sequence: its condition was not met."""

    @property
    def is_terminal(self) -> bool:
        """True once nothing about the job changes any more by itself."""
        return self in _TERMINAL_JOB_STATES


class ChunkState(State):
    """Where a chunk stands; the last four are terminal: only a redrive changes them."""

    PENDING = "pending"
    RUNNING = "running"
    HELD = "held"
    SUCCEEDED = "succeeded"
    PARTIALLY_SUCCEEDED = "partially_succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """True once the chunk's outcome is recorded."""
        return self in _TERMINAL_CHUNK_STATES


_TERMINAL_JOB_STATES = frozenset(
    {
        JobState.SUCCEEDED,
        JobState.PARTIALLY_SUCCEEDED,
        JobState.FAILED,
        JobState.CANCELLED,
        JobState.SKIPPED,
    }
)


class ItemState(State):
    """Where an item stands: where its chunk does, until that is finished."""

    PENDING = "pending"
    RUNNING = "running"
    HELD = "held"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class AttemptState(State):
    """How an attempt at a chunk ended."""

    FAILED = "failed"
    SUCCEEDED = "succeeded"


WITH_RESULT = (ChunkState.SUCCEEDED, ChunkState.PARTIALLY_SUCCEEDED)
"""The states of a chunk that has a result."""
_TERMINAL_CHUNK_STATES = frozenset({*WITH_RESULT, ChunkState.FAILED, ChunkState.CANCELLED})
