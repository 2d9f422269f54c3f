"""What the ledger gives back: a job, a chunk, an attempt, as recorded.

Times are milliseconds since 1970-01-01 UTC. Inputs and results are JSON text in
bytes, never parsed here, so they leave exactly as they came.
"""

import json
import time
from dataclasses import dataclass, field

from fanfold.contract.failures import Failure
from fanfold.contract.job_spec import Controls, JobSpec
from fanfold.contract.names import JobId, TenantId
from fanfold.contract.reading import known_fields
from fanfold.contract.states import ChunkState, JobState
from fanfold.ledger.database import Row


def now_ms() -> int:
    """The time now, in milliseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class ChunkCounts:
    """Chunks by state, and items by outcome; the states add up to the job's total."""

    pending: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    items_succeeded: int = 0
    items_failed: int = 0


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Failed chunks with the same error type and message."""

    type: str
    message: str
    count: int
    first_index: int


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
    counts: ChunkCounts
    errors: tuple[ErrorGroup, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemError:
    """An item that failed, by its position among the items that reached the stage."""

    item: int
    type: str
    message: str
    stage: int = 0
    is_dropped: bool = False
    """True when the processor left the item out on purpose, which fails no chunk."""


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
    block: int | None
    """In activity mode, the block that it ran in last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkOutput:
    """What a chunk left behind: its result, or of a failed one what its items gave."""

    body: bytes = b""
    item_errors: tuple[ItemError, ...] = ()


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
    dropped_earlier: tuple[ItemError, ...] = ()
    """Items that earlier stages left out."""
    checkpoint: ChunkOutput = field(default_factory=ChunkOutput)
    """What the items gave in an earlier attempt at this stage."""


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


def failure_of(chunk: Row) -> Failure | None:
    """Why the chunk of this row failed; None where it has not."""
    if chunk["error_type"] is None:
        return None
    return Failure(
        type=chunk["error_type"],
        message=chunk["error_message"],
        retryable=bool(chunk["error_retryable"]),
    )


def output_of(body: bytes, item_errors: str) -> ChunkOutput:
    """The output in a result's body and item_errors."""
    return ChunkOutput(
        body=bytes(body),
        item_errors=tuple(
            ItemError(**known_fields(ItemError, error)) for error in json.loads(item_errors)
        ),
    )
