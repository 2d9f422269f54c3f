"""Failures that cross the wire: their type names, and the record of one."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

# Long enough for a sentence with a value in it; short enough for a Temporal payload
# (under 1 KB) and for a listing of a thousand children.
MAX_MESSAGE_CHARACTERS = 500


class FailureType(StrEnum):
    """Types that Fanfold itself gives a failure; a processor's own is its exception's name."""

    TIMEOUT = "TimeoutError"
    """The processor did not finish an attempt within its time limit."""
    WORKER_LOST = "WorkerLost"
    """The worker died, or lost contact, in the last attempt the chunk was allowed."""
    UNKNOWN_PROCESSOR = "UnknownProcessor"
    """No worker knows the processor under this name."""
    UNKNOWN_REDUCER = "UnknownReducer"
    """No worker knows the reducer under this name."""
    INVALID_OPTIONS = "InvalidOptions"
    """The options do not fit what the processor or reducer declares."""
    INVALID_RESULT = "InvalidResult"
    """The processor gave back something that is not JSON; or the result is over the size limit."""
    CHUNK_CLOSED_OUTSIDE = "ChunkClosedOutside"
    """The chunk's workflow was terminated, cancelled or failed outside Fanfold."""
    JOB_CLOSED_OUTSIDE = "JobClosedOutside"
    """The job's workflow was terminated, or is gone, outside Fanfold."""
    NEVER_SEALED = "NeverSealed"
    """The job waited for its data, and was not sealed in time."""
    TOLERANCE_EXCEEDED = "ToleranceExceeded"
    """More items failed than the job's tolerated_failures allow."""
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    """The job ran for longer than its deadline_seconds."""
    ALL_ITEMS_FAILED = "AllItemsFailed"
    """No item succeeded."""
    ALL_JOBS_FAILED = "AllJobsFailed"
    """None of these succeeded."""
    SEQUENCE_FAILED = "SequenceFailed"
    """One came to nothing, and the one after it has no `when`."""
    CONDITION_FAILED = "ConditionFailed"
    """The expression of `when` cannot be worked out over what there was."""
    INVALID_INPUT = "InvalidInput"
    """What the sub-job before gave cannot be the items of this one."""
    FOLD_FAILED = "FoldFailed"
    """The reducer raised an error, or its result is over the size limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a chunk, an item or a job failed, as recorded and as answered over HTTP."""

    type: str
    message: str
    retryable: bool = False
    traceback: str = ""
    """The last frames of the user's code; empty where none is to blame, or none is kept."""

    def __post_init__(self) -> None:
        """Make the text storable everywhere: no NUL, no lone surrogate, bounded."""
        object.__setattr__(self, "type", printable(self.type)[:100] or "Error")
        object.__setattr__(self, "message", printable(self.message))

    def as_json(self) -> dict[str, Any]:
        """The failure as the JSON object that `error` holds over HTTP."""
        return {"type": self.type, "message": self.message, "retryable": self.retryable}


def printable(text: str, *, max_characters: int = MAX_MESSAGE_CHARACTERS) -> str:
    """`text` without what PostgreSQL or UTF-8 cannot hold, cut to a bounded length."""
    clean = text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\x00", "\\x00")
    if len(clean) > max_characters:
        return clean[: max_characters - 1] + "…"
    return clean


def closed_outside(why: str) -> Failure:
    """The failure of a job whose workflow is gone, since `why`."""
    return Failure(
        type=FailureType.JOB_CLOSED_OUTSIDE,
        message=f"the job was closed because {why}; finished results are kept",
    )
