"""The shape of a job's JSON, as the HTTP contract has it."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from fanfold.contract.job_spec import Execution, OnFailure, Order, ToleranceRule
from fanfold.contract.states import JobState


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


Moment = Annotated[
    datetime,
    PlainSerializer(_iso, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A time in UTC, to the millisecond."""


class View(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(frozen=True)


class ChunkCountsView(View):
    """Chunks by state; the states add up to the total, always."""

    total: int
    pending: int
    running: int
    succeeded: int
    partially_succeeded: int
    failed: int
    cancelled: int
    held: int = Field(description="Kept for a person: items of them failed for good.")


class JobCountsView(View):
    """The jobs that a job is made of, or was compensated by, by state."""

    total: int
    pending: int
    running: int
    paused: int
    waiting: int
    cancelling: int
    succeeded: int
    partially_succeeded: int
    failed: int
    cancelled: int
    skipped: int


class ItemCountsView(View):
    """Items of finished chunks by outcome; those that were left out count as failed."""

    total: int
    succeeded: int
    failed: int


class ProgressView(View):
    """How far the job is, and how fast."""

    percent: float
    chunks_per_second: float | None
    eta_seconds: int | None


class ErrorGroupView(View):
    """Failed items with the same error."""

    type: str
    message: str
    count: int
    first_index: int = Field(description="The chunk of the first of them.")
    first_item: int = Field(description="Its position in that chunk.")
    first_job: str | None = Field(
        description="Of a job made of jobs: the one of them that this chunk is of."
    )


class FailureView(View):
    """Why something failed."""

    type: str
    message: str
    retryable: bool


class JobFailureView(FailureView):
    """Why a job failed as a whole."""

    rule: ToleranceRule | None = Field(
        description="Which limit of `tolerated_failures` it was past; null of any other failure."
    )
    index: int | None = Field(
        description="The chunk at which it was stopped; null where that was told at the end only."
    )


class LinksView(View):
    """Where to go from here."""

    self: str
    children: str
    results: str
    jobs: str | None = Field(description="Of a job made of jobs: these.")
    temporal_ui: str | None


class RetryView(View):
    """How failed attempts are repeated."""

    max_attempts: int
    initial_interval_seconds: float
    backoff_coefficient: float
    max_interval_seconds: float
    non_retryable: list[str]


class CompensateView(View):
    """What undoes what a job's chunks did."""

    processor: str
    options: dict[str, Any]
    retry: RetryView
    timeout_seconds: float


class StageView(CompensateView):
    """One step that every chunk runs through."""

    when: str | None = Field(description="The chunks that run through it; null: all.")


class ToleranceView(View):
    """How many failed items the job bears; of a job made of jobs, how many of these."""

    count: int | None
    percent: float | None
    min_sample: int
    consecutive: int | None


class JobSummary(View):
    """A job without its result, as listings have it."""

    id: str
    name: str | None
    parent: str | None = Field(description="The job that it is a part of.")
    path: str | None = Field(
        description="Where it is among all that its tree is made of: names, with slashes between. "
        "Null where it is no part of another job."
    )
    state: JobState
    run: int = Field(description="1, and one more with every redrive of the finished job.")
    execution: str
    processor: str | None = Field(
        description="Null where the job has stages, or is made of jobs that each have their own."
    )
    options: dict[str, Any] | None = Field(description="Null where `processor` is.")
    stages: list[StageView] | None = Field(description="Null where the job has one processor.")
    reducer: str | None
    order: Order | None = Field(
        description="Of a job made of jobs: how these follow each other. Null of any other."
    )
    max_jobs: int | None = Field(
        description="Of a job made of jobs: most of these at a time. Null of any other."
    )
    input: Literal["previous"] | None = Field(
        description="`previous` where its items are the result of the sub-job before it."
    )
    when: str | None = Field(
        description="Of a sub-job in a sequence: the condition without which it is skipped."
    )
    compensate: CompensateView | None = Field(
        description="What undoes its succeeded chunks, where they come to nothing."
    )
    chunk_size: int | None = Field(description="Null where the job came in chunks.")
    item_key: str | None = Field(description="The field of each item that is its key.")
    max_concurrency: int
    max_per_second: float | None = Field(description="Null: no limit.")
    priority: int = Field(description="From 1, which goes first, to 5.")
    start_at: Moment | None
    deadline_seconds: float | None
    retry: RetryView
    chunk_timeout_seconds: float
    tolerated_failures: ToleranceView | None
    on_failure: OnFailure
    hold_timeout_seconds: float | None
    retention_hours: float | None = Field(description="Null: as long as the gateway keeps jobs.")
    jobs: JobCountsView | None = Field(
        description="Its direct sub-jobs. Null where it has none, and of an earlier run."
    )
    chunks: ChunkCountsView = Field(
        description="Of a job made of jobs, as `items` and `errors`: of all of these."
    )
    items: ItemCountsView
    success_rate: float | None = Field(
        description="succeeded / (succeeded + failed) items; null before the first outcome."
    )
    progress: ProgressView
    errors: list[ErrorGroupView] = Field(description="The most frequent failures, at most 20.")
    error: JobFailureView | None = Field(description="Why the job failed as a whole.")
    labels: dict[str, str]
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    links: LinksView


class JobView(JobSummary):
    """A job."""

    model_config = ConfigDict(title="Job")

    result: Any = Field(
        description="What the reducer made of the results of the items that succeeded."
    )


class JobPageView(View):
    """A page of jobs: newest first, or in the order in which another job names them."""

    model_config = ConfigDict(title="JobPage")

    jobs: list[JobSummary]
    next_cursor: str | None = Field(default=None, description="Absent on the last page.")


class ExtentView(View):
    """What a job would be that was not recorded."""

    model_config = ConfigDict(title="Extent")

    valid: Literal[True]
    chunks: int
    items: int
    execution: Execution = Field(description="Of a job without its data what it asks for.")
    largest_chunk_bytes: int = Field(description="Its JSON text.")
    jobs: int | None = Field(
        default=None, description="How many jobs it is made of, in all; null of any other job."
    )


class PartView(View):
    """A part of a job's items, as stored."""

    model_config = ConfigDict(title="Part")

    part: int
    items: int
    chunks: int
