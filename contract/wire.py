"""What travels through Temporal: ids, ranges, limits and counts, never data.

One input and one output a workflow or activity, so that a field can be added without
breaking what is already running: changes are additive and have defaults. Each takes
some hundred bytes and another hundred a stage, whatever the size of the job.
"""

from dataclasses import dataclass, field
from typing import Self

from fanfold.contract.job_spec import (
    Controls,
    Execution,
    JobSpec,
    Order,
    StageSpec,
)
from fanfold.contract.names import JobId, TenantId
from fanfold.contract.plan import TUNING, Range, Tuning
from fanfold.contract.states import ChunkState


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRef:
    """Which job, of which tenant, in which ledger."""

    id: JobId
    tenant: TenantId
    ledger: str
    """The ledger's own id: part of the names of its task queues."""
    run: int = 1
    """The job's run. What is still under way of an earlier one has no effect on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """What the engine has to know of a stage: how long an attempt may take."""

    timeout_seconds: float

    @classmethod
    def of(cls, stage: StageSpec) -> Self:
        """The plan of a stage of a job spec."""
        return cls(timeout_seconds=stage.timeout_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast the job's chunks have been so far, which decides how the next ones are run."""

    quick_streak: int = 0
    """So many chunks have been quick, one after another: see Tuning.quick_seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInput:
    """Input of JobWorkflow."""

    job: JobRef
    total_chunks: int
    max_concurrency: int
    stages: list[StagePlan]
    execution: Execution = Execution.WORKFLOW
    has_reducer: bool = True
    pace: Pace = field(default_factory=Pace)
    tuning: Tuning = field(default_factory=Tuning)
    replaced_run: str | None = None
    """The run of this workflow that this one was started in place of."""
    max_jobs: int = 0
    """Of a job made of jobs: how many of these run at a time; 0 of any other."""
    is_sequence: bool = False
    """Whether they run one after another."""
    is_in_order: bool = False
    """Whether no chunk begins while one before it waits for another attempt."""
    has_compensation: bool = False
    """Whether what it did may have to be undone."""
    lost: str | None = None
    """Why the workflow that ran this job is gone: this one undoes what it did, and closes it."""

    @classmethod
    def of(cls, job: JobRef, total_chunks: int, spec: JobSpec, controls: Controls) -> Self:
        """The input of a job's workflow."""
        return cls(
            job=job,
            total_chunks=total_chunks,
            max_concurrency=controls.max_concurrency,
            stages=[StagePlan.of(stage) for stage in spec.stages],
            execution=spec.execution,
            has_reducer=spec.reducer is not None,
            tuning=TUNING,
            max_jobs=spec.max_jobs if spec.order is not None else 0,
            is_sequence=spec.order is Order.SEQUENCE,
            is_in_order=spec.is_in_order,
            has_compensation=spec.compensate is not None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacedRun:
    """Input of the activity that ends what a replaced run of a job's workflow had started."""

    job: JobRef
    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PageInput:
    """Input of the activity that plans: which chunks come after `after` and are still open."""

    job: JobRef
    after: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Chunks without a final outcome, in index order."""

    ranges: list[Range]
    is_last: bool
    """Whether there are none after these."""


NOTHING = Page(ranges=[], is_last=True)
"""The page of a job that has no chunks to plan: they are claimed, or those of its sub-jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTerms:
    """What a job's workflow goes by, as of now. Output of the activity that looks."""

    max_concurrency: int
    is_paced: bool = False
    """Whether starts of chunks wait for their turns."""
    deadline_in_seconds: float | None = None
    is_over: bool = False
    """Whether nothing more is to be started: it drains, or no chunk is open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedJob:
    """Output of the activity that opens a job."""

    may_run: bool
    """False where it was cancelled before it began."""
    page: Page
    is_resting: bool = False
    """Whether it is paused: the workflow waits until it is told of a change."""
    terms: JobTerms | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardInput:
    """Input of ShardWorkflow."""

    job: JobRef
    number: int
    slots: int
    """How many of the job's chunks this shard may have in flight; it may be lent more."""
    open_chunks: int
    """How many chunks there are for it at most."""
    stages: list[StagePlan]
    execution: Execution
    ranges: list[Range] = field(default_factory=list)
    """Its chunks in workflow mode. In activity mode its blocks claim theirs in the ledger."""
    pace: Pace = field(default_factory=Pace)
    tuning: Tuning = field(default_factory=Tuning)
    is_paced: bool = False
    """See JobTerms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardOutcome:
    """Output of ShardWorkflow."""

    pace: Pace
    is_tolerance_exceeded: bool = False
    is_refused: bool = False
    """Whether it ended since the job is paused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotsReturned:
    """From a shard to its job: slots that it has no use for now, and how many it wants."""

    shard: int
    slots: int
    wanted: int = 0
    """How many slots more than it has it could use at once."""
    is_full: bool = False
    """Whether its history is full: another shard has to go on."""
    left: list[Range] = field(default_factory=list)
    """In workflow mode, once it is full: the chunks that it does not start any more."""
    number: int = 0
    """Counts what the shard has sent. Signals overtake one another, and of one that was
    overtaken only the slots are news: how many are wanted, a later one has said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotsLent:
    """From a job to its shard: so many more chunks may be in flight."""

    slots: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardChange:
    """From a job to its shard: what controls have changed."""

    slots_recalled: int = 0
    """So many slots more are to be returned, as they come free."""
    is_paced: bool = False
    """See JobTerms."""
    is_over: bool = False
    """See JobTerms."""
    number: int = 0
    """Counts the changes. Of one that was overtaken by a later one, only the slots are news."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NarrowedBlocks:
    """Input of the activity that lets blocks have fewer lanes than they were started with."""

    job: JobRef
    lanes: list[tuple[int, int]]
    """Blocks, and how many lanes each of them has from now on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnsInput:
    """Input of the activity that takes turns to start chunks."""

    job: JobRef
    wanted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """Chunks that may start now: output of the activity that takes turns, and waits for them."""

    count: int
    more_in_seconds: float = 0.0
    """When to ask for more."""
    is_unlimited: bool = False
    """Whether they need no turns any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockInput:
    """Input of the activity that runs a block of chunks."""

    job: JobRef
    block: int
    """See `fanfold.contract.plan.block_id`."""
    lanes: int
    """How many chunks may run at a time: so many slots the block was lent."""
    seconds: float
    """See Tuning.block_seconds."""
    patience_seconds: float
    """See Tuning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSlotsReturned:
    """From a block that makes way to its shard: so many of its lanes have ended."""

    block: int
    slots: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockOutcome:
    """Output of the activity that runs a block of chunks."""

    more_in_seconds: float | None = None
    """When there is something to do for another block; None where nothing is left for one."""
    is_tolerance_exceeded: bool = False
    is_refused: bool = False
    """Whether it ended since the job is paused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkInput:
    """Input of ChunkWorkflow."""

    job: JobRef
    index: int
    stages: list[StagePlan]
    stage: int = 0
    """Where to begin: the stages before are done."""
    is_due: bool = False
    """Whether the parent has waited for the time of the next attempt."""
    is_quick: bool = False
    """Whether the job's chunks have been quick so far: see Tuning.quick_seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkOutcome:
    """Output of ChunkWorkflow, and of the activity that runs a stage."""

    state: ChunkState
    """`pending` where another attempt is due later."""
    seconds: float = 0.0
    """How long the processor ran; of several stages, the longest."""
    is_refused: bool = False
    """Whether no attempt may begin now, since the job is paused."""
    retry_seconds: float = 0.0
    """How much later another attempt is due."""
    stage: int = 0
    """The stage that is to be tried again."""
    is_tolerance_exceeded: bool = False
    """Whether the job bears no more failures, as of this outcome."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageInput:
    """Input of the activity that runs one stage of one chunk."""

    job: JobRef
    index: int
    stage: int
    is_due: bool = False
    """Whether the time of the next attempt has come, whatever the worker's clock says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LostChunks:
    """Chunks whose outcome no activity could write, for the parent to record."""

    job: JobRef
    reason: str
    index: int | None = None
    """None: every chunk of the job that has no outcome."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseJob:
    """Input of the activity that folds and closes a job."""

    job: JobRef
    limit: int
    """How many chunks to plan where some have no outcome yet."""
    is_cancelled: bool = False
    is_tolerance_exceeded: bool = False
    is_deadline_exceeded: bool = False
    lost: str | None = None
    """See JobInput."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedJob:
    """Output of the activity that closes a job: its state, or what is left to do first."""

    state: str | None
    left: int = 0
    """How many chunks have no outcome."""
    page: Page | None = None
    is_resting: bool = False
    """Whether it is paused, or waits with held chunks only: see OpenedJob."""
    again_in_seconds: float | None = None
    """Of one that waits: when that is over by itself."""
    compensations: list[JobInput] = field(default_factory=list)
    """Jobs that are to be run first, one after another: they undo what has succeeded."""


TOLERANCE_EXCEEDED = "tolerance exceeded"
"""Detail of a chunk's failure that says: with it, the job bears no more of them."""

RECORDED = "recorded"
"""Detail of a chunk's failure that says: its outcome is in the ledger already."""
