"""What travels through Temporal: ids, ranges, limits and counts, never data.

One input and one output a workflow or activity, so that a field can be added without
breaking what is already running: changes are additive and have defaults. Each takes
some hundred bytes and another hundred a stage, whatever the size of the job.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self

from contract.job_spec import Execution, JobSpec, StageSpec
from contract.names import chunk_workflow_id, shard_workflow_id
from contract.states import ChunkState

Range = tuple[int, int]
"""Consecutive chunks: the index of the first, and how many they are."""


def ranges_of(indexes: Iterable[int]) -> list[Range]:
    """The indexes as ranges, in ascending order: what travels grows with the gaps only."""
    ranges: list[Range] = []
    for index in sorted(indexes):
        first, count = ranges[-1] if ranges else (index, 0)
        if ranges and index == first + count:
            ranges[-1] = first, count + 1
        else:
            ranges.append((index, 1))
    return ranges


def indexes_of(ranges: Iterable[Range]) -> list[int]:
    """The indexes in the ranges."""
    return [index for first, count in ranges for index in range(first, first + count)]


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """What the engine has to know of a stage: how long and how soon again."""

    timeout_seconds: float
    initial_interval_seconds: float
    backoff_coefficient: float
    max_interval_seconds: float

    @classmethod
    def of(cls, stage: StageSpec) -> Self:
        """The plan of a stage of a job spec."""
        return cls(
            timeout_seconds=stage.timeout_seconds,
            initial_interval_seconds=stage.retry.initial_interval_seconds,
            backoff_coefficient=stage.retry.backoff_coefficient,
            max_interval_seconds=stage.retry.max_interval_seconds,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast the job's chunks have been so far, which decides how the next ones are run."""

    quick_streak: int = 0
    """So many chunks have been quick, one after another: see QUICK_SECONDS."""
    chunk_seconds: float | None = None
    """How long a chunk takes, as last seen; None before the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PutOff:
    """Chunks whose next attempt is due so many seconds later."""

    ranges: list[Range]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInput:
    """Input of JobWorkflow."""

    job_id: str
    total_chunks: int
    max_concurrency: int
    stages: list[StagePlan]
    execution: Execution = Execution.WORKFLOW
    shard_chunks: int = 0
    """How many chunks a shard has; 0 where the job starts its chunks itself."""
    pace: Pace = field(default_factory=Pace)

    @classmethod
    def of(cls, job_id: str, total_chunks: int, spec: JobSpec) -> Self:
        """The input of a job's workflow."""
        return cls(
            job_id=job_id,
            total_chunks=total_chunks,
            max_concurrency=spec.max_concurrency,
            stages=[StagePlan.of(stage) for stage in spec.stages],
            execution=spec.execution,
            shard_chunks=shard_chunks(spec.execution, total_chunks),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardInput:
    """Input of ShardWorkflow; a continued run starts at `first` with what is left to do."""

    job_id: str
    number: int
    first: int
    count: int
    width: int
    """How many of the job's chunks this shard may have in flight."""
    stages: list[StagePlan]
    execution: Execution
    has_successors: bool = False
    """Whether other shards wait for the slots that this one does not need any more."""
    pace: Pace = field(default_factory=Pace)
    put_off: list[PutOff] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardOutcome:
    """Output of ShardWorkflow."""

    pace: Pace
    is_tolerance_exceeded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotsReleased:
    """From a shard to its job: so many slots that it has no more use for."""

    shard: int
    slots: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockInput:
    """Input of the activity that runs a block of chunks."""

    job_id: str
    ranges: list[Range]
    width: int
    """How many of the chunks may run at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockOutcome:
    """Output of the activity that runs a block of chunks."""

    put_off: list[PutOff]
    chunk_seconds: float | None = None
    """How long a chunk took, on the average; None where none ran."""
    is_tolerance_exceeded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkInput:
    """Input of ChunkWorkflow."""

    job_id: str
    index: int
    stages: list[StagePlan]
    is_quick: bool = False
    """Whether the job's chunks have been quick so far: see QUICK_SECONDS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkOutcome:
    """Output of ChunkWorkflow, and of the activity that runs a stage."""

    state: ChunkState
    seconds: float = 0.0
    """How long the processor ran; of several stages, the longest."""
    is_tolerance_exceeded: bool = False
    """Whether the job bears no more failures, as of this outcome."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageInput:
    """Input of the activity that runs one stage of one chunk."""

    job_id: str
    index: int
    stage: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LostChunk:
    """A chunk whose outcome no activity could write, for the parent to record."""

    job_id: str
    index: int
    reason: str
    count: int = 1
    """How many chunks from `index` on; of them, those without an outcome."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseJob:
    """Input of the activity that folds and closes a job."""

    job_id: str
    is_cancelled: bool = False
    is_tolerance_exceeded: bool = False


def shard_chunks(execution: Execution, total_chunks: int) -> int:
    """How many chunks each shard of a job has; 0 where it needs none."""
    if execution is Execution.WORKFLOW and total_chunks <= MAX_CHUNKS_WITHOUT_SHARDS:
        return 0
    return max(SHARD_CHUNKS[execution], math.ceil(total_chunks / MAX_SHARDS))


def workflow_id_of(job_id: str, execution: Execution, total_chunks: int, index: int) -> str:
    """The id of the workflow that runs a chunk: its own, or in activity mode its shard's."""
    if execution is Execution.ACTIVITY:
        return shard_workflow_id(job_id, index // shard_chunks(execution, total_chunks))
    return chunk_workflow_id(job_id, index)


MAX_CHUNKS_WITHOUT_SHARDS = 500
"""Up to here a job starts its children itself: 3 to 4 events each, 9 at worst, of the
10,000 that a history should have at most."""

SHARD_CHUNKS = {Execution.WORKFLOW: 500, Execution.ACTIVITY: 2_000}
"""So many chunks a shard has, unless that made more shards than MAX_SHARDS."""

MAX_SHARDS = 250
"""Each is a child of the job's workflow, with up to ten events and some signals."""

SHARDS_AT_ONCE = 4
"""While one drains, the others go on; more of them only divide the window more finely."""

BLOCK_WIDTH = 4
"""So many chunks of a block run at a time, or more where that made too many blocks."""

MAX_BLOCKS_AT_ONCE = 20
"""Most blocks of a shard that run at a time, for as many workers to share in it."""

BLOCK_CHUNKS = 200
"""Most chunks in a block. An activity costs the server as much as a hundred rows cost the
ledger."""

FIRST_BLOCK_CHUNKS = 25
"""So many a block has while nobody knows how long a chunk takes."""

BLOCK_SECONDS = 10.0
"""A block of slower chunks has fewer of them: what one worker has taken on is soon done."""


HEARTBEAT_TIMEOUT = timedelta(seconds=10)
"""A worker that has not been heard of for this long is lost, and its chunk starts again."""

HEARTBEAT_INTERVAL = timedelta(seconds=2)
"""How often a running chunk tells that it is alive, and hears whether it is cancelled."""

TIMEOUT_SLACK = timedelta(seconds=60)
"""The activity ends an attempt itself, at its time limit, and records that. The server's
own limit is this much later: it only ends what the worker no longer can."""

QUICK_SECONDS = 0.5
"""While a job's chunks take no longer than this, they run as local activities, which cost
the server half as much (docs/decisions/0003-quick-chunks.md)."""

QUICK_SAMPLE = 5
"""So many chunks of a job have to be quick, one after another, before it is believed."""

TOLERANCE_EXCEEDED = "tolerance exceeded"
"""Detail of a chunk's failure that says: with it, the job bears no more of them."""

RECORDED = "recorded"
"""Detail of a chunk's failure that says: its outcome is in the ledger already."""
