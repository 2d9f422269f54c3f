"""A recorded job as JSON.

Results are put into the answer as the JSON text that the ledger holds. They are never
parsed here: that costs nothing, and they leave exactly as they were recorded.
"""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from fanfold.answers.views import (
    ChunkCountsView,
    CompensateView,
    ErrorGroupView,
    FailureView,
    ItemCountsView,
    JobCountsView,
    JobFailureView,
    JobSummary,
    LinksView,
    ProgressView,
    RetryView,
    StageView,
    ToleranceView,
)
from fanfold.contract.failures import Failure
from fanfold.contract.job_spec import (
    JobSpec,
    Order,
    RetrySpec,
    StageSpec,
    ToleranceRule,
    ToleranceSpec,
)
from fanfold.contract.names import job_workflow_id
from fanfold.contract.states import JobState
from fanfold.ledger.records import JobRecord, now_ms


def job_summary(job: JobRecord, workflows_url: str | None) -> JobSummary:
    """The summary of a job as recorded."""
    spec, controls, counts = job.spec, job.controls, job.counts
    judged = counts.items_succeeded + counts.items_failed
    # A job made of jobs may have no processor itself.
    stage = spec.stages[0] if spec.stages and not spec.is_staged else None
    given = stage or StageSpec(processor="")
    address = f"/jobs/{job.id}"
    return JobSummary(
        id=job.id,
        name=controls.name,
        parent=job.place.parent,
        path=job.place.path,
        state=job.state,
        run=job.run,
        execution=spec.execution,
        processor=stage.processor if stage else None,
        options=dict(stage.options) if stage else None,
        stages=[_stage(stage) for stage in spec.stages] if spec.is_staged else None,
        reducer=spec.reducer,
        order=spec.order,
        max_jobs=_max_jobs(spec),
        input="previous" if spec.has_previous_input else None,
        when=spec.when,
        compensate=CompensateView(**_step(spec.compensate)) if spec.compensate else None,
        chunk_size=spec.chunk_size,
        item_key=spec.item_key,
        max_concurrency=controls.max_concurrency,
        retry=_retry(spec.retry or given.retry),
        chunk_timeout_seconds=spec.chunk_timeout_seconds or given.timeout_seconds,
        tolerated_failures=_tolerance(controls.tolerated_failures),
        max_per_second=controls.max_per_second,
        priority=controls.priority,
        start_at=_moment(controls.start_at),
        deadline_seconds=controls.deadline_seconds,
        on_failure=spec.on_failure,
        hold_timeout_seconds=spec.hold_timeout_seconds,
        retention_hours=controls.retention_hours,
        jobs=_jobs(job),
        chunks=ChunkCountsView(
            total=job.total_chunks,
            pending=counts.pending,
            running=counts.running,
            succeeded=counts.succeeded,
            partially_succeeded=counts.partially_succeeded,
            failed=counts.failed,
            cancelled=counts.cancelled,
            held=counts.held,
        ),
        items=ItemCountsView(
            total=job.total_items, succeeded=counts.items_succeeded, failed=counts.items_failed
        ),
        success_rate=counts.items_succeeded / judged if judged else None,
        progress=_progress(job),
        errors=[
            ErrorGroupView(
                type=group.type,
                message=group.message,
                count=group.count,
                first_index=group.first_index,
                first_item=group.first_item,
                first_job=group.first_job,
            )
            for group in job.errors
        ],
        error=_job_failure(job),
        labels=dict(controls.labels),
        created_at=moment(job.created_at),
        started_at=_moment(job.started_at),
        finished_at=_moment(job.finished_at),
        links=LinksView(
            self=address,
            children=f"{address}/children",
            results=f"{address}/results",
            jobs=f"{address}/jobs" if job.is_parent or job.jobs else None,
            temporal_ui=_temporal_ui(job, workflows_url),
        ),
    )


def job_json(job: JobRecord, result: bytes | None, workflows_url: str | None) -> bytes:
    """The JSON text of a JobView."""
    head = job_summary(job, workflows_url).model_dump_json().encode()
    return with_fields(head, {"result": result})


def etag(job: JobRecord) -> str:
    """Changes whenever the job does; not with its rate and ETA, which change by themselves."""
    counts = job.counts
    revision = (
        job.revision,
        counts.running,
        counts.succeeded,
        counts.partially_succeeded,
        counts.failed,
        counts.cancelled,
        counts.held,
        counts.items_failed,
        # While a job runs its failures are grouped somewhat later than they are counted.
        sum(group.count for group in job.errors),
        *((job.jobs.get(state, 0) for state in JobState) if job.jobs else ()),
    )
    return f'W/"{"-".join(map(str, revision))}"'


def with_fields(head: bytes, fields: dict[str, bytes | None]) -> bytes:
    """The JSON object with fields of ready JSON text added; None and an empty text are null."""
    added = b"".join(
        b',"%b":%b' % (name.encode(), text or b"null") for name, text in fields.items()
    )
    return head[:-1] + added + b"}"


def _progress(job: JobRecord) -> ProgressView:
    counts = job.counts
    processed = counts.succeeded + counts.partially_succeeded + counts.failed
    # Held ones are neither: what becomes of them is for a person to say.
    finished = processed + counts.cancelled
    open_chunks = counts.pending + counts.running
    rate: float | None = None
    if job.started_at is not None and processed:
        elapsed_ms = max((job.finished_at or now_ms()) - job.started_at, 1)
        rate = processed * 1000 / elapsed_ms
    is_going = rate is not None and not job.state.is_terminal
    return ProgressView(
        percent=round(100 * finished / job.total_chunks, 1) if job.total_chunks else 0.0,
        chunks_per_second=round(rate, 1) if rate is not None else None,
        eta_seconds=round(open_chunks / rate) if is_going and rate else None,
    )


def _retry(retry: RetrySpec) -> RetryView:
    return RetryView.model_validate(asdict(retry))


def _stage(stage: StageSpec) -> StageView:
    return StageView(**_step(stage), when=stage.when)


def _step(stage: StageSpec) -> dict[str, Any]:
    return {
        "processor": stage.processor,
        "options": dict(stage.options),
        "retry": _retry(stage.retry),
        "timeout_seconds": stage.timeout_seconds,
    }


def _max_jobs(spec: JobSpec) -> int | None:
    if spec.order is None:
        return None
    return 1 if spec.order is Order.SEQUENCE else spec.max_jobs


def _jobs(job: JobRecord) -> JobCountsView | None:
    if job.jobs is None:
        return None
    counts = dict.fromkeys(JobCountsView.model_fields, 0)
    counts |= {str(state): count for state, count in job.jobs.items()}
    return JobCountsView.model_validate(counts | {"total": sum(job.jobs.values())})


def _tolerance(tolerance: ToleranceSpec | None) -> ToleranceView | None:
    return ToleranceView.model_validate(asdict(tolerance)) if tolerance else None


def failure_view(failure: Failure | None) -> FailureView | None:
    """A failure for clients."""
    if failure is None:
        return None
    return FailureView(type=failure.type, message=failure.message, retryable=failure.retryable)


def _job_failure(job: JobRecord) -> JobFailureView | None:
    if job.error is None:
        return None
    rule, index = (job.stop.rule, job.stop.index) if job.stop else ("", None)
    return JobFailureView(
        type=job.error.type,
        message=job.error.message,
        retryable=job.error.retryable,
        # A deadline stops a job too, and is no rule of its tolerance.
        rule=ToleranceRule(rule) if rule in set(ToleranceRule) else None,
        index=index,
    )


def _temporal_ui(job: JobRecord, workflows_url: str | None) -> str | None:
    if not workflows_url:
        return None
    return f"{workflows_url}/{quote(job_workflow_id(job.id, job.run), safe='')}"


def _moment(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else moment(milliseconds)


def moment(milliseconds: int) -> datetime:
    """The time so many milliseconds after 1970-01-01 UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
