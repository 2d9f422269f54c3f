"""The spec and the controls of a requested job, with every default filled in."""

from collections.abc import Sequence
from typing import Final

from fanfold.contract.job_spec import (
    Controls,
    Execution,
    JobSpec,
    OnFailure,
    RetrySpec,
    StageSpec,
    ToleranceSpec,
)
from fanfold.intake.cutting import DEFAULT_CHUNK_SIZE
from fanfold.intake.job_request import JobRequest, Retry, Stage, ToleratedFailures

# Up to here a child workflow for each chunk costs less than it shows; see docs/size.md.
AUTO_WORKFLOW_CHUNKS: Final = 200


def resolve_execution(requested: str, chunk_count: int) -> Execution:
    """How the chunks of a job of this size are run: "auto" is decided here."""
    if requested != Execution.AUTO:
        return Execution(requested)
    return Execution.WORKFLOW if chunk_count <= AUTO_WORKFLOW_CHUNKS else Execution.ACTIVITY


def to_spec(request: JobRequest, execution: Execution) -> JobSpec:
    """The job without its data, every default filled in."""
    retry, is_staged = to_retry(request.retry), request.stages is not None
    limit = request.chunk_timeout_seconds
    return JobSpec(
        stages=to_stages(request.steps, retry, limit),
        is_staged=is_staged,
        reducer=request.reducer,
        execution=execution,
        chunk_size=None if request.chunks is not None else request.chunk_size or DEFAULT_CHUNK_SIZE,
        max_chunk_bytes=request.max_chunk_bytes,
        item_key=request.item_key,
        retry=retry if is_staged else None,
        chunk_timeout_seconds=limit if is_staged else None,
        check_items=request.check_items,
        on_failure=OnFailure(request.on_failure),
        hold_timeout_seconds=request.hold_timeout_seconds,
    )


def to_controls(request: JobRequest) -> Controls:
    """What of the job may change while it runs."""
    return Controls(
        name=request.name,
        labels=request.labels,
        max_concurrency=request.max_concurrency,
        tolerated_failures=to_tolerance(request.tolerated_failures),
        max_per_second=request.max_per_second,
        priority=request.priority,
        start_at=request.start_at,
        deadline_seconds=request.deadline_seconds,
        retention_hours=request.retention_hours,
    )


def to_stages(given: Sequence[Stage], retry: RetrySpec, limit: float) -> tuple[StageSpec, ...]:
    """The stages; those that do not say have this retry and this time limit."""
    return tuple(
        StageSpec(
            processor=stage.processor,
            options=stage.options,
            retry=to_retry(stage.retry) if stage.retry else retry,
            timeout_seconds=stage.timeout_seconds or limit,
        )
        for stage in given
    )


def to_tolerance(tolerated: ToleratedFailures | None) -> ToleranceSpec | None:
    """How many failed items the job bears."""
    return ToleranceSpec(**tolerated.model_dump()) if tolerated else None


def keep_ms(controls: Controls) -> int | None:
    """How long the job asks to be kept once it has finished."""
    return round(controls.retention_hours * 3_600_000) if controls.retention_hours else None


def to_retry(retry: Retry) -> RetrySpec:
    """How failed attempts are repeated."""
    return RetrySpec(
        **retry.model_dump(exclude={"non_retryable"}), non_retryable=tuple(retry.non_retryable)
    )
