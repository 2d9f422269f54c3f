"""What the gateway answers, as the client's own types.

A newer gateway may send more: fields that are not named here are kept, as attributes too, and
states that are not named here are members of their own. What an older gateway does not send yet
has a default. `model_dump(mode="json", exclude_unset=True)` gives back what was sent.
"""

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, PlainSerializer

Moment = Annotated[
    AwareDatetime,
    PlainSerializer(
        lambda moment: moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        return_type=str,
        when_used="json",
    ),
]
"""A time, which is written again as it was read: in UTC, to the millisecond."""


class _State(StrEnum):
    """A state, which a newer gateway may have invented."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        unknown = str.__new__(cls, value)
        unknown._name_, unknown._value_ = value.upper(), value
        return unknown


class JobState(_State):
    """Where a job stands."""

    RECEIVING = "receiving"
    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    WAITING = "waiting"
    """Only held chunks are left, and what becomes of them is for a person to say."""
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    PARTIALLY_SUCCEEDED = "partially_succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    """Of a sub-job in a sequence: its condition was not met."""


class ChildState(_State):
    """Where a child, one chunk of a job, stands."""

    PENDING = "pending"
    RUNNING = "running"
    HELD = "held"
    """It failed, and is kept for a person to decide on."""
    SUCCEEDED = "succeeded"
    PARTIALLY_SUCCEEDED = "partially_succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ItemState(_State):
    """Where an item stands: where its chunk does, until that is finished."""

    PENDING = "pending"
    RUNNING = "running"
    HELD = "held"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINISHED = frozenset(
    {
        JobState.SUCCEEDED,
        JobState.PARTIALLY_SUCCEEDED,
        JobState.FAILED,
        JobState.CANCELLED,
        JobState.SKIPPED,
    }
)


class Answer(BaseModel):
    """Anything the gateway answers."""

    model_config = ConfigDict(extra="allow", frozen=True)


class ChunkCounts(Answer):
    """Chunks by state."""

    total: int
    pending: int
    running: int
    succeeded: int
    partially_succeeded: int = 0
    failed: int
    cancelled: int
    held: int = 0

    @property
    def finished(self) -> int:
        """Chunks that will not change any more."""
        return self.succeeded + self.partially_succeeded + self.failed + self.cancelled


class JobCounts(Answer):
    """The sub-jobs of a job by state."""

    total: int
    pending: int = 0
    running: int = 0
    paused: int = 0
    waiting: int = 0
    cancelling: int = 0
    succeeded: int = 0
    partially_succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    skipped: int = 0

    @property
    def finished(self) -> int:
        """Sub-jobs that will not change any more by themselves."""
        ended = self.succeeded + self.partially_succeeded + self.failed
        return ended + self.cancelled + self.skipped


class ItemCounts(Answer):
    """Items of finished chunks by outcome."""

    total: int
    succeeded: int
    failed: int


class Progress(Answer):
    """How far and how fast."""

    percent: float
    chunks_per_second: float | None
    eta_seconds: int | None


class ErrorGroup(Answer):
    """Failures with the same error."""

    type: str
    message: str
    count: int
    first_index: int
    """The chunk where it was first seen."""
    first_item: int | None = None
    """The item's position in that chunk."""
    first_job: str | None = None
    """Of a job made of jobs: the one of them that this chunk is of."""


class Failure(Answer):
    """Why something failed."""

    type: str
    message: str
    retryable: bool


class JobFailure(Failure):
    """Why a job failed as a whole."""

    rule: str | None = None
    """Of `tolerated_failures` what was broken: count, percent or consecutive."""
    index: int | None = None
    """The chunk at which the job was stopped; None where it was told at the end only."""


class ItemError(Answer):
    """An item that failed, or that the processor left out."""

    item: int
    """Its position in the chunk."""
    stage: int = 0
    type: str
    message: str
    key: Any = None
    """The item's own key, where the job names one as `item_key`."""
    traceback: str | None = None
    """The last frames of the processor's code, where it was kept."""


class Links(Answer):
    """Addresses of what belongs to a job."""

    self: str
    children: str
    results: str
    jobs: str | None = None
    """None where there are no sub-jobs."""
    temporal_ui: str | None


class Job(Answer):
    """A job. `result` is None in listings, which leave it out."""

    id: str
    name: str | None
    parent: str | None = None
    """The job that it is a part of."""
    path: str | None = None
    """Where it is in its tree: the names from below the root to it, with slashes."""
    state: JobState
    run: int = 1
    """Counts up with each redrive."""
    execution: str | None = None
    processor: str | None = None
    stages: list[Any] | None = None
    options: dict[str, Any] | None = None
    reducer: str | None = None
    order: str | None = None
    """Of a job made of jobs: "parallel" or "sequence". None of any other."""
    max_jobs: int | None = None
    """Most sub-jobs at a time."""
    input: str | None = None
    """"previous" where its items are the result of the sub-job before it."""
    when: str | None = None
    """The condition without which a sub-job of a sequence is skipped."""
    compensate: dict[str, Any] | None = None
    """What undoes its chunks, where they come to nothing."""
    retry: dict[str, Any] | None = None
    max_concurrency: int | None = None
    max_per_second: float | None = None
    """Most starts of chunks a second."""
    priority: int = 3
    """1 goes first, 5 last."""
    start_at: Moment | None = None
    deadline_seconds: float | None = None
    """From its start; then it fails."""
    on_failure: str = "record"
    """Or "hold": a chunk with no attempt left waits for a person."""
    hold_timeout_seconds: float | None = None
    retention_hours: float | None = None
    """How long it is kept after its end; None where the gateway's setting holds."""
    chunk_size: int | None = None
    chunk_timeout_seconds: float | None = None
    tolerated_failures: dict[str, Any] | None = None
    item_key: str | None = None
    jobs: JobCounts | None = None
    """Its direct sub-jobs; None where it has none."""
    chunks: ChunkCounts
    """Of a job made of jobs, as `items` and `errors`: of all of these."""
    items: ItemCounts
    success_rate: float | None
    progress: Progress
    errors: list[ErrorGroup]
    error: JobFailure | None
    labels: dict[str, str]
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    links: Links
    result: Any = None

    @property
    def is_finished(self) -> bool:
        """Whether the job is in a terminal state."""
        return self.state in FINISHED


class Child(Answer):
    """One chunk of a job, with what came of it."""

    job: str | None = None
    """Where a job made of jobs was asked for: the one of them that it is of."""
    path: str | None = None
    """And the path of that."""
    index: int
    state: ChildState
    item_count: int
    attempts: int
    """Over all runs."""
    run: int = 1
    """The job's run in which it ran last."""
    resolved_by: str | None = None
    """"client" where its result was given by hand."""
    error: Failure | None
    traceback: str | None = None
    """The last frames of the processor's code, where it raised an exception."""
    item_errors: list[ItemError]
    workflow_id: str
    started_at: Moment | None
    finished_at: Moment | None
    duration_seconds: float | None
    result: Any = None


class Item(Answer):
    """One item of a job, with what came of it."""

    job: str | None = None
    """Where a job made of jobs was asked for: the one of them that it is of."""
    path: str | None = None
    """And the path of that."""
    index: int
    """The chunk it is in."""
    item: int
    """Its position in the chunk."""
    key: Any = None
    """Its own key, where the job names one as `item_key`."""
    state: ItemState
    value: Any = None
    """The item as it was submitted."""
    result: Any = None
    """What it gave; None where a chunk processor has made one result of all."""
    error: Failure | None = None
    """Why it failed, or was left out."""


class FailedItem(Answer):
    """An item that failed or was left out, as it was submitted: ready to be corrected."""

    job: str | None = None
    """Where a job made of jobs was asked for: the one of them that it is of."""
    path: str | None = None
    """And the path of that."""
    index: int
    """The chunk it is in."""
    item: int
    """Its position in the chunk."""
    key: Any = None
    """Its own key, where the job names one as `item_key`."""
    value: Any
    """The item as it was submitted."""
    error: Failure | None = None
    """Why it failed, or was left out."""


class Attempt(Answer):
    """One run of a stage of a chunk."""

    run: int = 1
    stage: int = 0
    number: int
    """Counts from 1 at each stage of each run."""
    state: str
    """succeeded or failed."""
    error: Failure | None
    started_at: Moment | None
    """None where its worker was lost."""
    finished_at: Moment | None


class Attempts(Answer):
    """What became of the attempts at a chunk, oldest first: all that failed, and the last one."""

    attempts: list[Attempt]
    omitted: int = 0
    """Of a long series the oldest are not kept: how many."""


class DryRun(Answer):
    """What would become of a job: nothing of it was recorded."""

    valid: bool
    chunks: int
    items: int
    execution: str
    largest_chunk_bytes: int
    jobs: int | None = None
    """How many sub-jobs there would be in all; None of a job that is made of none."""


class Part(Answer):
    """A part of a job's items, as stored."""

    part: int
    items: int
    chunks: int


class CatalogEntry(Answer):
    """A processor or reducer that the workers know."""

    name: str
    description: str
    options_schema: dict[str, Any]
    """JSON schema of the options."""
    item_schema: dict[str, Any] | None = None
    """JSON schema of an item, where a processor declares one."""
    example: dict[str, Any] | None = None
    """A job that uses it, ready to be submitted."""
