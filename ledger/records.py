"""What the ledger gives back: a job, a chunk, an attempt, as recorded.

Times are milliseconds since 1970-01-01 UTC. Inputs and results are JSON text in
bytes, never parsed here, so they leave exactly as they came.
"""

import json
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from fanfold.contract.failures import Failure
from fanfold.contract.job_spec import Controls, JobSpec
from fanfold.contract.names import JobId, TenantId
from fanfold.contract.reading import known_fields
from fanfold.contract.states import ChunkState, JobState
from fanfold.ledger.database import Row

NO_ERRORS = "[]"
"""The JSON text of no item errors."""


def now_ms() -> int:
    """The time now, in milliseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class ChunkCounts:
    """Chunks by state, and items by outcome; the states add up to the job's total."""

    pending: int = 0
    running: int = 0
    succeeded: int = 0
    partially_succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    held: int = 0
    items_succeeded: int = 0
    items_failed: int = 0
    """Those that were left out on purpose among them."""
    items_dropped: int = 0
    """Left out on purpose, which fails no chunk and no job."""

    @property
    def open(self) -> int:
        """Chunks that are still to be run, or run."""
        return self.pending + self.running

    @property
    def items_at_fault(self) -> int:
        """Items that failed, and were not left out on purpose."""
        return self.items_failed - self.items_dropped


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Failed items with the same error type and message."""

    type: str
    message: str
    count: int
    first_index: int
    first_item: int = 0
    """The position in that chunk."""
    first_job: str | None = None
    """Of a job made of jobs: the job of that chunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewChunk:
    """A chunk to be recorded: how many items, and their JSON array as text."""

    item_count: int
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyKey:
    """The client's key for a request, and the hash that tells its body from another."""

    key: str
    body_hash: bytes


@dataclass(frozen=True, slots=True)
class Stop:
    """Which rule stopped a job while it ran, and at which chunk."""

    rule: str
    index: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a job stands in a job made of jobs; most are alone."""

    parent: JobId | None = None
    root: JobId | None = None
    """The one that nothing is above; None where the job is that itself."""
    path: str | None = None
    """The names from below the root to it, with slashes."""
    position: int = 0
    """Its number in the tree: a job comes before those it is made of."""
    last_position: int = 0
    """Of the last one below it."""
    sub_jobs: int = 0
    """How many jobs it was recorded with."""
    has_compensation: bool = False
    compensates_run: int = 0
    """Of a job that compensates its parent: which run of it."""

    @property
    def name(self) -> str | None:
        """Its name among the sub-jobs of its parent."""
        return self.path.rpartition("/")[2] if self.path else None

    @property
    def may_have_jobs(self) -> bool:
        """Whether there may be jobs below it."""
        return self.last_position > self.position


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A job as recorded, with its counts as of one moment."""

    id: JobId
    state: JobState
    run: int
    revision: int
    """Rises with every change of the job itself, not with those of its chunks."""
    spec: JobSpec
    controls: Controls
    total_chunks: int
    total_items: int
    created_at: int
    started_at: int | None
    finished_at: int | None
    error: Failure | None
    stop: Stop | None
    """Of a job that failed because of its tolerance."""
    counts: ChunkCounts
    errors: tuple[ErrorGroup, ...]
    place: Place = field(default_factory=Place)
    jobs: Mapping[JobState, int] | None = None
    """Its direct sub-jobs by state; None where it has none."""

    @property
    def is_parent(self) -> bool:
        """Whether it is made of jobs, and has no chunks itself."""
        return self.place.sub_jobs > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemError:
    """An item that failed, or was left out."""

    item: int
    """Its position in the chunk, as it was submitted; see `is_derived`."""
    type: str
    message: str
    stage: int = 0
    is_dropped: bool = False
    """True when the processor left the item out on purpose, which fails no chunk."""
    is_final: bool = False
    """Whether another attempt would not help."""
    is_derived: bool = False
    """True where a chunk processor has made other items of those that were submitted; then
    `item` is the position among these."""
    is_remade: bool = False
    """True where a later chunk processor has made something else of these in their turn, so
    that nothing which came after has a place for them."""
    key: Any = None
    """The item's own key, where the job names a field for it."""
    traceback: str = ""
    """The last frames of the user's code; of some items of an attempt only."""

    def as_json(self) -> dict[str, Any]:
        """What is not as usual, as a JSON object."""
        defaults = {each.name: each.default for each in fields(self)}
        return {name: value for name, value in asdict(self).items() if value != defaults[name]}


def placed(errors: Iterable[ItemError], *, is_derived: bool) -> list[ItemError]:
    """Those whose positions are among the submitted items, or the ones last made of them."""
    return [each for each in errors if each.is_derived == is_derived and not each.is_remade]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRecord:
    """A chunk as recorded, without its data."""

    index: int
    state: ChunkState
    item_count: int
    items_failed: int
    attempts: int
    error: Failure | None
    started_at: int | None
    finished_at: int | None
    result_bytes: int
    by_item: bool | None
    """Whether each place of the result is an item's; None where that is not known."""
    block: int | None
    """In activity mode, the block that it ran in last."""
    stage: int
    stage_attempts: int
    """How many attempts there were at its stage, in its run."""
    run: int
    """The job's run in which it ran last, or is to run."""
    resolved_by: str | None
    """Who has given its result, where it was no processor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkOutput:
    """What an attempt at a chunk left behind: a result, and which items failed.

    By item, the body is an array in the order of the items. Of a result, those that were
    left out have no place in it, and those that failed are null. Of an attempt that is
    followed by another, every item that reached the stage has a place.
    """

    body: bytes = b""
    item_errors: tuple[ItemError, ...] = ()
    by_item: bool | None = None
    """Whether each place of the body is an item's."""

    @property
    def failed_places(self) -> list[int]:
        """Of a result: the places that are null, since the items that they are of failed."""
        errors = placed(self.item_errors, is_derived=not self.by_item)
        dropped = sorted(error.item for error in errors if error.is_dropped)
        failed = sorted(error.item for error in errors if not error.is_dropped)
        return [item - bisect_left(dropped, item) for item in failed]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptOutput:
    """What a chunk that runs again has given before, by item: some of these do not run again."""

    output: ChunkOutput
    items_again: frozenset[int] | None
    """The positions of the items that run again; None for those that did not succeed."""
    failure: Failure | None
    """Of the chunk: that of items that have none of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The right to run a stage of a chunk once; only its holder may record the outcome."""

    job_id: JobId
    tenant: TenantId
    index: int
    stage: int
    number: int
    """1 for the first attempt at the stage that counts."""
    fence: int
    """Rises with every attempt, and with whatever else takes the chunk away from its holder."""
    item_count: int
    input: bytes
    revision: int
    """The job's, as of the attempt's beginning."""
    by_item: bool | None = None
    """Whether each place of the input is an item's; None at the first stage."""
    earlier_errors: tuple[ItemError, ...] = ()
    """Items that failed, or were left out, at earlier stages."""
    checkpoint: ChunkOutput = field(default_factory=ChunkOutput)
    """What the items gave in an earlier attempt at this stage."""
    run: int = 1
    """The job's."""
    begun_at: int = field(default=0, compare=False)
    """When this was asked for: of the same attempt, asked for again, it is another time."""
    is_again: bool = False
    """Whether a redrive has selected the chunk, which has no outcome since."""
    noted_before: int = 0
    """How many attempts at the stage the ledger has of before, in the same run."""
    kept: "KeptOutput | None" = None
    """Of a chunk of which only some items run again: what they have given before."""
    is_one_too_many: bool = False
    """Whether it runs nothing, and does not count: the last one allowed ended without a word."""

    @property
    def is_derived(self) -> bool:
        """Whether a chunk processor has made the input of the items that were submitted."""
        # At a later stage, what the release before has recorded does not say.
        return self.stage > 0 and not self.by_item


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRun:
    """A run of a block of chunks; once there is a later one, it begins no further chunk."""

    block: int
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAttempt:
    """Why a stage of a chunk may not run now: where its chunk and job stand."""

    chunk_state: ChunkState
    job_state: JobState
    stage: int
    error: Failure | None
    due_in_seconds: float
    """Of a chunk that waits for its next attempt: how much longer."""


def key_of(item: Any, name: str) -> Any:  # noqa: ANN401 - any JSON value
    """The item's own key, in the field of this name; None where it has none."""
    return item.get(name) if isinstance(item, dict) else None


def failure_of(chunk: Row) -> Failure | None:
    """Why the chunk of this row failed; None where it has not."""
    if chunk["error_type"] is None:
        return None
    return Failure(
        type=chunk["error_type"],
        message=chunk["error_message"],
        retryable=bool(chunk["error_retryable"]),
        traceback=chunk["error_traceback"] or "",
    )


def output_of(body: bytes, item_errors: str, by_item: int | None) -> ChunkOutput:
    """The output in a result's body and item_errors, of a chunk that is so `by_item`."""
    return ChunkOutput(
        body=bytes(body),
        item_errors=item_errors_of(item_errors),
        by_item=None if by_item is None else bool(by_item),
    )


def item_errors_of(text: str) -> tuple[ItemError, ...]:
    """The item errors in the JSON text of a result."""
    if text == NO_ERRORS:
        return ()
    return tuple(ItemError(**known_fields(ItemError, error)) for error in json.loads(text))
