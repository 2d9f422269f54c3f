"""The moves between the states of jobs, and of chunks, as data.

The conditions in the ledger's SQL are made from them, and so is what the gateway refuses;
docs/job-states.md, with its diagrams and tables, is compared with them by a test. A state
that is written anywhere is written by one of these moves.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from fanfold.contract.states import ChunkState, JobState, State

OfState = TypeVar("OfState", JobState, ChunkState)


class By(StrEnum):
    """Who makes a move."""

    GATEWAY = "gateway"
    WORKER = "worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move(Generic[OfState]):
    """One way from some states into another."""

    before: tuple[OfState, ...] = ()
    """Empty where the job or chunk did not exist before."""
    after: OfState
    by: tuple[By, ...]
    what: str
    """What happens, as the diagram says it."""

    @property
    def change(self) -> str:
        """The assignment in an UPDATE."""
        return f"state = '{self.after}'"

    @property
    def condition(self) -> str:
        """The condition on the state before, for a WHERE."""
        return in_states(self.before)


def in_states(states: Iterable[State]) -> str:
    """The SQL condition that a row is in one of these states.

    Spelt out, with the states in their own order: so a database sees which of its partial
    indexes hold the rows.
    """
    texts = [f"'{state}'" for state in states]
    return f"state = {texts[0]}" if len(texts) == 1 else f"state IN ({', '.join(texts)})"


UNFINISHED = (
    JobState.PENDING,
    JobState.RUNNING,
    JobState.PAUSED,
    JobState.WAITING,
    JobState.CANCELLING,
)
"""The states of a job that has a workflow, or is to get one."""
FINISHED = (
    JobState.SUCCEEDED,
    JobState.PARTIALLY_SUCCEEDED,
    JobState.FAILED,
    JobState.CANCELLED,
    JobState.SKIPPED,
)
_BEFORE_CANCEL = (JobState.PENDING, JobState.RUNNING, JobState.PAUSED, JobState.WAITING)

RECORD = Move(
    after=JobState.PENDING, by=(By.GATEWAY, By.WORKER), what="POST, or SubmitJob, committed"
)
RECEIVE = Move(after=JobState.RECEIVING, by=(By.GATEWAY,), what="POST with a source")
SEAL = Move(before=(JobState.RECEIVING,), after=JobState.PENDING, by=(By.GATEWAY,), what="seal")
DISCARD = Move(
    before=(JobState.RECEIVING,), after=JobState.CANCELLED, by=(By.GATEWAY,), what="DELETE"
)
GIVE_UP = Move(
    before=(JobState.RECEIVING,),
    after=JobState.FAILED,
    by=(By.GATEWAY,),
    what="not sealed in time",
)
OPEN = Move(
    before=(JobState.PENDING,),
    after=JobState.RUNNING,
    by=(By.WORKER,),
    what="a worker opens it",
)
PAUSE = Move(
    before=(JobState.PENDING, JobState.RUNNING),
    after=JobState.PAUSED,
    by=(By.GATEWAY,),
    what="pause",
)
RESUME = Move(before=(JobState.PAUSED,), after=JobState.RUNNING, by=(By.GATEWAY,), what="resume")
RESUME_UNBEGUN = Move(
    before=(JobState.PAUSED,),
    after=JobState.PENDING,
    by=(By.GATEWAY,),
    what="resume, where it never began",
)
WAIT = Move(
    before=(JobState.RUNNING,),
    after=JobState.WAITING,
    by=(By.WORKER,),
    what="only held chunks are left",
)
GO_ON = Move(
    before=(JobState.WAITING,),
    after=JobState.RUNNING,
    by=(By.GATEWAY, By.WORKER),
    what="release, redrive, or its last held chunk is resolved",
)
REDRIVE = Move(
    before=FINISHED, after=JobState.PENDING, by=(By.GATEWAY,), what="redrive, in the next run"
)
CANCEL = Move(
    before=_BEFORE_CANCEL,
    after=JobState.CANCELLING,
    by=(By.GATEWAY, By.WORKER),
    what="DELETE, or SubmitJob is cancelled",
)
SKIP = Move(
    before=(JobState.PENDING, JobState.PAUSED),
    after=JobState.SKIPPED,
    by=(By.WORKER,),
    what="a sub-job whose condition is not met",
)
STOP_WITH_PARENT = Move(
    before=_BEFORE_CANCEL,
    after=JobState.CANCELLED,
    by=(By.WORKER, By.GATEWAY),
    what="its workflow was cancelled outside Fanfold, or the job above it is stopped",
)
CLOSE_CANCELLED = Move(
    before=(JobState.CANCELLING,),
    after=JobState.CANCELLED,
    by=(By.WORKER, By.GATEWAY),
    what="all chunks have settled",
)

JOB_MOVES: tuple[Move[JobState], ...] = (
    RECORD,
    RECEIVE,
    SEAL,
    DISCARD,
    GIVE_UP,
    OPEN,
    PAUSE,
    RESUME,
    RESUME_UNBEGUN,
    WAIT,
    GO_ON,
    REDRIVE,
    Move(
        before=(JobState.RUNNING,),
        after=JobState.SUCCEEDED,
        by=(By.WORKER,),
        what="no item failed",
    ),
    Move(
        before=(JobState.RUNNING,),
        after=JobState.PARTIALLY_SUCCEEDED,
        by=(By.WORKER,),
        what="some items failed, tolerated",
    ),
    Move(
        before=(JobState.RUNNING,),
        after=JobState.FAILED,
        by=(By.WORKER,),
        what="no item succeeded, too many failed, the fold failed, or its deadline passed",
    ),
    Move(
        before=(JobState.PAUSED, JobState.WAITING),
        after=JobState.FAILED,
        by=(By.WORKER,),
        what="too many failed, or its deadline passed",
    ),
    CANCEL,
    SKIP,
    CLOSE_CANCELLED,
    Move(
        before=_BEFORE_CANCEL,
        after=JobState.FAILED,
        by=(By.GATEWAY, By.WORKER),
        what="its workflow was closed outside Fanfold",
    ),
    STOP_WITH_PARENT,
)

OPEN_CHUNK = (ChunkState.PENDING, ChunkState.RUNNING)
"""The states of a chunk without an outcome."""

JUDGED_CHUNK = (ChunkState.SUCCEEDED, ChunkState.PARTIALLY_SUCCEEDED, ChunkState.FAILED)
"""The states of a chunk whose items have succeeded or failed."""

FINISHED_CHUNK = (*JUDGED_CHUNK, ChunkState.CANCELLED)

UNSUCCESSFUL_CHUNK = (
    ChunkState.PARTIALLY_SUCCEEDED,
    ChunkState.FAILED,
    ChunkState.CANCELLED,
    ChunkState.HELD,
)
UNSUCCESSFUL = f"(items_failed > 0 OR {in_states([ChunkState.CANCELLED])})"
"""The condition of the index of chunks of which something went wrong.

SQLite takes the index where this stands word for word.
"""

_RUNNING_CHUNK = (ChunkState.RUNNING,)

BEGIN = Move(
    before=(ChunkState.PENDING,),
    after=ChunkState.RUNNING,
    by=(By.WORKER,),
    what="an attempt begins",
)
TAKE_BACK = Move(
    before=_RUNNING_CHUNK,
    after=ChunkState.PENDING,
    by=(By.WORKER,),
    what="it waits for its next attempt, or is taken back from its worker",
)
SUCCEED = Move(
    before=_RUNNING_CHUNK,
    after=ChunkState.SUCCEEDED,
    by=(By.WORKER,),
    what="the last stage is done, no item failed",
)
SUCCEED_PARTIALLY = Move(
    before=_RUNNING_CHUNK,
    after=ChunkState.PARTIALLY_SUCCEEDED,
    by=(By.WORKER,),
    what="the last stage is done, some items failed",
)
FAIL = Move(
    before=_RUNNING_CHUNK,
    after=ChunkState.FAILED,
    by=(By.WORKER,),
    what="no attempt is left, or none would help",
)
LOSE = Move(
    before=OPEN_CHUNK,
    after=ChunkState.FAILED,
    by=(By.WORKER,),
    what="its workflow was closed outside Fanfold",
)
SETTLE = Move(
    before=OPEN_CHUNK,
    after=ChunkState.CANCELLED,
    by=(By.WORKER, By.GATEWAY),
    what="its job is stopped",
)

HOLD = Move(
    before=_RUNNING_CHUNK,
    after=ChunkState.HELD,
    by=(By.WORKER,),
    what="no attempt is left, or none would help, and the job holds",
)
GIVE_UP_HELD = Move(
    before=(ChunkState.HELD,),
    after=ChunkState.FAILED,
    by=(By.GATEWAY, By.WORKER),
    what="released, or its job is stopped: no item succeeded",
)
GIVE_UP_HELD_IN_PART = Move(
    before=(ChunkState.HELD,),
    after=ChunkState.PARTIALLY_SUCCEEDED,
    by=(By.GATEWAY, By.WORKER),
    what="released, or its job is stopped: some items succeeded",
)
RESOLVE = Move(
    before=(ChunkState.HELD,),
    after=ChunkState.SUCCEEDED,
    by=(By.GATEWAY,),
    what="a client gives the result",
)
CANCEL_CHILD = Move(
    before=(ChunkState.PENDING, ChunkState.HELD),
    after=ChunkState.CANCELLED,
    by=(By.GATEWAY,),
    what="DELETE of this child",
)
CANCEL_RUNNING_CHILD = Move(
    before=_RUNNING_CHUNK,
    after=ChunkState.CANCELLED,
    by=(By.WORKER,),
    what="DELETE of this child, heard",
)
RUN_AGAIN = Move(
    before=(*FINISHED_CHUNK, ChunkState.HELD),
    after=ChunkState.PENDING,
    by=(By.GATEWAY,),
    what="selected by a redrive",
)
RESTORE = tuple(
    Move(
        before=OPEN_CHUNK,
        after=state,
        by=(By.WORKER, By.GATEWAY),
        what="stopped before it came to anything in this run: as it was",
    )
    for state in (*FINISHED_CHUNK, ChunkState.HELD)
)
"""A chunk that was selected by a redrive, and does not run after all, is again what it was."""

CHUNK_MOVES: tuple[Move[ChunkState], ...] = (
    Move(
        after=ChunkState.PENDING, by=(By.GATEWAY, By.WORKER), what="POST, or SubmitJob, committed"
    ),
    BEGIN,
    Move(
        before=_RUNNING_CHUNK,
        after=ChunkState.RUNNING,
        by=(By.WORKER,),
        what="a stage is done, or another attempt begins",
    ),
    TAKE_BACK,
    SUCCEED,
    SUCCEED_PARTIALLY,
    FAIL,
    LOSE,
    SETTLE,
    HOLD,
    GIVE_UP_HELD,
    GIVE_UP_HELD_IN_PART,
    RESOLVE,
    CANCEL_CHILD,
    CANCEL_RUNNING_CHILD,
    RUN_AGAIN,
    *RESTORE,
)


def may_close(state: JobState) -> tuple[JobState, ...]:
    """The states in which a job with a workflow may be closed with this outcome.

    Also one that is being cancelled, which then ends cancelled, whatever was reached.
    """
    allowed = {before for move in JOB_MOVES if move.after is state for before in move.before}
    allowed.update(CLOSE_CANCELLED.before)
    return tuple(before for before in UNFINISHED if before in allowed)
