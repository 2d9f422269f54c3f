"""The attempts at a chunk, as they are shown: every one that failed, and the last one.

What workers write is a row for each attempt that failed, of a series (one stage in one run)
the newest MAX_KEPT, and one for the last attempt where it succeeded and was not the only one.
So a chunk that succeeds at once costs nothing. The rest is told here: from the chunk itself,
and from the numbers, which have no gaps but those of attempts that were lost with their worker.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from fanfold.contract.failures import Failure, FailureType
from fanfold.contract.names import JobId
from fanfold.contract.states import AttemptState, ChunkState
from fanfold.ledger.database import Row
from fanfold.ledger.records import failure_of
from fanfold.ledger.tenancy import JOB_IS_OURS, OfTenant
from fanfold.ledger.transitions import JUDGED_CHUNK

MAX_KEPT = 100
"""Of a series that is longer, only so many attempts are kept, the newest."""

_LOST = Failure(type=FailureType.WORKER_LOST, message="the worker was lost", retryable=True)
_ENDED_WITHOUT_A_WORD = (ChunkState.RUNNING, ChunkState.CANCELLED)
"""The states of a chunk whose newest attempt is under way, or was stopped with its job."""

_CHUNK = (
    "SELECT state, run, stage, stage_attempts, error_type, error_message, error_retryable, "
    "error_traceback, started_at, finished_at FROM chunks "
    "WHERE job_id = ? AND tenant = ? AND idx = ?"
)
_ATTEMPTS = (
    "SELECT run, stage, number, state, error_type, error_message, error_retryable, "
    "NULL AS error_traceback, started_at, finished_at FROM attempts "
    f"WHERE job_id = ? AND idx = ? AND {JOB_IS_OURS}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """An attempt that has ended."""

    run: int
    """The job's run in which it was made."""
    stage: int
    number: int
    """1 for the first attempt at the stage in this run."""
    state: AttemptState
    error: Failure | None = None
    started_at: int | None = None
    """Null where nobody could write it down, as for `finished_at`."""
    finished_at: int | None = None


@dataclass(frozen=True, slots=True)
class AttemptHistory:
    """The attempts at a chunk, oldest first."""

    attempts: tuple[AttemptRecord, ...]
    omitted: int
    """How many more failed, which are not kept."""


class Attempts(OfTenant):
    """Operations on attempts that have ended. Every method raises LedgerUnavailable."""

    async def of_chunk(self, job_id: JobId, index: int) -> AttemptHistory | None:
        """The attempts at a chunk; None where the job has none of that index."""
        # The chunk first: an attempt that ends in between is then known to both, and not lost.
        chunks = await self._database.read(_CHUNK, (job_id, self._tenant, index))
        if not chunks:
            return None
        rows = await self._database.read(_ATTEMPTS, (job_id, index, job_id, self._tenant))
        return _history(chunks[0], rows)


@dataclass(slots=True)
class _Series:
    """The attempts at one stage in one run, by their numbers."""

    run: int
    stage: int
    kept: dict[int, AttemptRecord] = field(default_factory=dict)
    ended: int = 0
    """The highest number of those that have ended, as far as the chunk tells."""
    is_unrecorded: bool = False
    """Whether the release before ran it, which kept no attempts: none is known to be lost."""

    @property
    def last(self) -> int:
        return max(self.ended, *self.kept) if self.kept else self.ended

    def shown(self) -> list[AttemptRecord]:
        """Those that are kept, and those that were lost among the newest."""
        first = self.last if self.is_unrecorded else max(1, self.last - MAX_KEPT + 1)
        numbers = sorted({*self.kept, *range(first, self.last + 1)})
        return [self.kept.get(number) or self._lost(number) for number in numbers]

    def add_from(self, chunk: Row) -> None:
        """Take what the chunk, which is in this series, tells of its newest attempt."""
        number, state = chunk["stage_attempts"], ChunkState.read(chunk["state"])
        self.ended = number
        if not number or number in self.kept:
            return
        is_judged = state in (*JUDGED_CHUNK, ChunkState.HELD)
        error = failure_of(chunk) if is_judged else None
        if state in _ENDED_WITHOUT_A_WORD or (error and error.type == FailureType.WORKER_LOST):
            # Nothing ran after the last one allowed was lost: the number is of no attempt.
            self.ended -= 1
        elif is_judged:
            self.is_unrecorded = not self.kept
            is_only = (self.run, self.stage, number) == (1, 0, 1)
            self.kept[number] = AttemptRecord(
                run=self.run,
                stage=self.stage,
                number=number,
                state=AttemptState.FAILED if error else AttemptState.SUCCEEDED,
                error=error,
                started_at=chunk["started_at"] if is_only else None,
                finished_at=chunk["finished_at"],
            )

    def _lost(self, number: int) -> AttemptRecord:
        return AttemptRecord(
            run=self.run,
            stage=self.stage,
            number=number,
            state=AttemptState.FAILED,
            error=_LOST,
        )


def _history(chunk: Row, rows: Iterable[Row]) -> AttemptHistory:
    all_series: dict[tuple[int, int], _Series] = {}

    def series(run: int, stage: int) -> _Series:
        return all_series.setdefault((run, stage), _Series(run, stage))

    for row in rows:
        record = _record(row)
        series(record.run, record.stage).kept[record.number] = record
    series(chunk["run"], chunk["stage"]).add_from(chunk)
    attempts: list[AttemptRecord] = []
    for key in sorted(all_series):
        attempts += all_series[key].shown()
    total = sum(each.last for each in all_series.values())
    return AttemptHistory(tuple(attempts), omitted=total - len(attempts))


def _record(row: Row) -> AttemptRecord:
    return AttemptRecord(
        run=row["run"],
        stage=row["stage"],
        number=row["number"],
        state=AttemptState.read(row["state"]),
        error=failure_of(row),
        started_at=row["started_at"],
        finished_at=row["finished_at"],
    )
