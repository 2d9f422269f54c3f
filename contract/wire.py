"""What travels through Temporal: ids, ranges, limits and counts, never data.

One input and one output a workflow or activity, so that a field can be added without
breaking what is already running: changes are additive and have defaults. Each takes
some hundred bytes and another hundred a stage, whatever the size of the job.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from contract.job_spec import JobSpec, StageSpec, ToleranceSpec
from contract.states import ChunkState


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
class JobInput:
    """Input of JobWorkflow; a continued run starts at `next_index` with the counts so far."""

    job_id: str
    total_chunks: int
    max_concurrency: int
    stages: list[StagePlan]
    tolerance: ToleranceSpec | None = None
    next_index: int = 0
    succeeded: int = 0
    failed: int = 0
    quick_streak: int = 0

    @classmethod
    def of(cls, job_id: str, total_chunks: int, spec: JobSpec) -> Self:
        """The input for a job's first run."""
        return cls(
            job_id=job_id,
            total_chunks=total_chunks,
            max_concurrency=spec.max_concurrency,
            stages=[StagePlan.of(stage) for stage in spec.stages],
            tolerance=spec.tolerated_failures,
        )


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


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseJob:
    """Input of the activity that folds and closes a job."""

    job_id: str
    is_cancelled: bool = False
    is_tolerance_exceeded: bool = False


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

RECORDED = "recorded"
"""Detail of a chunk's failure that says: its outcome is in the ledger already."""
