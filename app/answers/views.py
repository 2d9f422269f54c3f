"""The JSON of jobs and children, as the HTTP contract has it.

Results are put into the answer as the JSON text that the ledger holds. They are never
parsed here: that costs nothing, and they leave exactly as they were recorded.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from fanfold.contract.failures import Failure
from fanfold.contract.plan import workflow_id_of
from fanfold.contract.states import ChunkState, JobState
from fanfold.ledger.catalog import CatalogEntry
from fanfold.ledger.records import ChunkOutput, ChunkRecord, JobRecord, now_ms


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


Moment = Annotated[
    datetime,
    PlainSerializer(_iso, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A time in UTC, to the millisecond."""


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class ChunkCountsView(_View):
    """Chunks by state; the states add up to the total, always."""

    total: int
    pending: int
    running: int
    succeeded: int
    failed: int
    cancelled: int


class ItemCountsView(_View):
    """Items of finished chunks by outcome."""

    total: int
    succeeded: int
    failed: int


class ProgressView(_View):
    """How far the job is, and how fast."""

    percent: float
    chunks_per_second: float | None
    eta_seconds: int | None


class ErrorGroupView(_View):
    """Failed chunks with the same error."""

    type: str
    message: str
    count: int
    first_index: int


class FailureView(_View):
    """Why something failed."""

    type: str
    message: str
    retryable: bool


class LinksView(_View):
    """Where to go from here."""

    self: str
    children: str
    results: str
    temporal_ui: str | None


class JobSummary(_View):
    """A job without its result, as listings have it."""

    id: str
    name: str | None
    state: JobState
    run: int
    execution: str
    processor: str | None = Field(description="Null where the job has stages.")
    stages: list[str] | None = Field(description="The stages' processors, where it has them.")
    reducer: str | None
    chunks: ChunkCountsView
    items: ItemCountsView
    success_rate: float | None = Field(
        description="succeeded / (succeeded + failed) chunks; null before the first outcome."
    )
    progress: ProgressView
    errors: list[ErrorGroupView] = Field(description="The most frequent failures, at most 20.")
    error: FailureView | None = Field(description="Why the job failed as a whole.")
    labels: dict[str, str]
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    links: LinksView


class JobView(JobSummary):
    """A job."""

    model_config = ConfigDict(title="Job")

    result: Any = Field(description="What the reducer made of the surviving chunks' results.")


class JobPageView(_View):
    """A page of jobs, newest first."""

    model_config = ConfigDict(title="JobPage")

    jobs: list[JobSummary]
    next_cursor: str | None = Field(default=None, description="Absent on the last page.")


class PartView(_View):
    """A part of a job's items, as stored."""

    model_config = ConfigDict(title="Part")

    part: int
    items: int
    chunks: int


class ItemErrorView(_View):
    """An item that failed, or that the processor left out."""

    item: int = Field(description="Position among the items of the chunk that reached the stage.")
    stage: int = Field(description="The stage; 0 for the first or only one.")
    type: str
    message: str


class ChildHead(_View):
    """A child's fields but for those that hold data."""

    index: int
    state: ChunkState
    item_count: int
    attempts: int
    error: FailureView | None
    item_errors: list[ItemErrorView]
    workflow_id: str = Field(
        description="The workflow that runs it: its own, or in activity mode that of its block, "
        "which is its job's or a shard's."
    )
    started_at: Moment | None
    finished_at: Moment | None
    duration_seconds: float | None


class ChildView(ChildHead):
    """A child: one chunk of a job."""

    model_config = ConfigDict(title="Child")

    result: Any = Field(description="What the processor gave; null unless it succeeded.")
    partial_result: Any = Field(
        description="Of a chunk that did not succeed: what its items gave, in order, null for each "
        "that failed. Null where no item succeeded."
    )


class ChildPageView(_View):
    """A page of children in index order."""

    model_config = ConfigDict(title="ChildPage")

    children: list[ChildView]
    next_cursor: str | None = Field(default=None, description="Absent on the last page.")


class CatalogEntryView(_View):
    """A processor or reducer that the workers know."""

    model_config = ConfigDict(title="CatalogEntry")

    name: str
    description: str
    options_schema: dict[str, Any] = Field(description="JSON schema of the options.")
    example: dict[str, Any] | None = Field(
        description="A job that uses it, ready to be POSTed; null where its author has to give "
        "one, with `@example`."
    )


class ProcessorView(CatalogEntryView):
    """A processor that the workers know."""

    model_config = ConfigDict(title="Processor")

    takes: Literal["item", "chunk"] | None = Field(
        description="What it is called with: `item`, once for each item, or `chunk`, once with "
        "the list of the chunk's items. Null where a worker of an earlier release published it."
    )
    item_schema: dict[str, Any] | None = Field(
        description="JSON schema of an item, by which `check_items` checks; null where the "
        "processor declares none."
    )


def job_summary(job: JobRecord, workflows_url: str | None) -> JobSummary:
    """The summary of a job as recorded."""
    spec, counts = job.spec, job.counts
    judged = counts.succeeded + counts.failed
    address = f"/jobs/{job.id}"
    return JobSummary(
        id=job.id,
        name=job.controls.name,
        state=job.state,
        run=job.run,
        execution=spec.execution,
        processor=None if spec.is_staged else spec.stages[0].processor,
        stages=[stage.processor for stage in spec.stages] if spec.is_staged else None,
        reducer=spec.reducer,
        chunks=ChunkCountsView(
            total=job.total_chunks,
            pending=counts.pending,
            running=counts.running,
            succeeded=counts.succeeded,
            failed=counts.failed,
            cancelled=counts.cancelled,
        ),
        items=ItemCountsView(
            total=job.total_items, succeeded=counts.items_succeeded, failed=counts.items_failed
        ),
        success_rate=counts.succeeded / judged if judged else None,
        progress=_progress(job),
        errors=[
            ErrorGroupView(
                type=group.type,
                message=group.message,
                count=group.count,
                first_index=group.first_index,
            )
            for group in job.errors
        ],
        error=_failure(job.error),
        labels=dict(job.controls.labels),
        created_at=_moment(job.created_at),
        started_at=_moment(job.started_at) if job.started_at is not None else None,
        finished_at=_moment(job.finished_at) if job.finished_at is not None else None,
        links=LinksView(
            self=address,
            children=f"{address}/children",
            results=f"{address}/results",
            temporal_ui=f"{workflows_url}/{job.id}" if workflows_url else None,
        ),
    )


def job_json(job: JobRecord, result: bytes | None, workflows_url: str | None) -> bytes:
    """The JSON text of a JobView."""
    head = job_summary(job, workflows_url).model_dump_json().encode()
    return _with_fields(head, {"result": result})


def child_json(job: JobRecord, chunk: ChunkRecord, output: ChunkOutput) -> bytes:
    """The JSON text of a ChildView."""
    duration_ms = (
        chunk.finished_at - chunk.started_at
        if chunk.finished_at is not None and chunk.started_at is not None
        else None
    )
    head = ChildHead(
        index=chunk.index,
        state=chunk.state,
        item_count=chunk.item_count,
        attempts=chunk.attempts,
        error=_failure(chunk.error),
        item_errors=[
            ItemErrorView(
                item=error.item, stage=error.stage, type=error.type, message=error.message
            )
            for error in output.item_errors
        ],
        workflow_id=workflow_id_of(job.id, job.spec.execution, chunk.index, chunk.block),
        started_at=_moment(chunk.started_at) if chunk.started_at is not None else None,
        finished_at=_moment(chunk.finished_at) if chunk.finished_at is not None else None,
        duration_seconds=duration_ms / 1000 if duration_ms is not None else None,
    )
    is_success = chunk.state is ChunkState.SUCCEEDED
    return _with_fields(
        head.model_dump_json().encode(),
        {
            "result": output.body if is_success else None,
            "partial_result": output.body if not is_success else None,
        },
    )


def catalog_entry(entry: CatalogEntry) -> CatalogEntryView:
    """A catalog entry for clients."""
    return CatalogEntryView(
        name=entry.name,
        description=entry.description,
        options_schema=entry.options_schema,
        example=entry.example,
    )


def processor(entry: CatalogEntry) -> ProcessorView:
    """A processor's catalog entry for clients."""
    return ProcessorView(
        **catalog_entry(entry).model_dump(), takes=entry.takes, item_schema=entry.item_schema
    )


def etag(job: JobRecord) -> str:
    """Changes whenever the job does; not with its rate and ETA, which change by themselves."""
    counts = job.counts
    revision = (
        job.revision,
        counts.running,
        counts.succeeded,
        counts.failed,
        counts.cancelled,
        counts.items_failed,
    )
    return f'W/"{"-".join(map(str, revision))}"'


def _with_fields(head: bytes, fields: dict[str, bytes | None]) -> bytes:
    """The JSON object with fields of ready JSON text added; None and an empty text are null."""
    added = b"".join(
        b',"%b":%b' % (name.encode(), text or b"null") for name, text in fields.items()
    )
    return head[:-1] + added + b"}"


def _progress(job: JobRecord) -> ProgressView:
    counts = job.counts
    finished = counts.succeeded + counts.failed + counts.cancelled
    open_chunks = counts.pending + counts.running
    rate: float | None = None
    processed = counts.succeeded + counts.failed
    if job.started_at is not None and processed:
        elapsed_ms = max((job.finished_at or now_ms()) - job.started_at, 1)
        rate = processed * 1000 / elapsed_ms
    is_going = rate is not None and not job.state.is_terminal
    return ProgressView(
        percent=round(100 * finished / job.total_chunks, 1) if job.total_chunks else 0.0,
        chunks_per_second=round(rate, 1) if rate is not None else None,
        eta_seconds=round(open_chunks / rate) if is_going and rate else None,
    )


def _failure(failure: Failure | None) -> FailureView | None:
    if failure is None:
        return None
    return FailureView(type=failure.type, message=failure.message, retryable=failure.retryable)


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
