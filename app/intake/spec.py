"""The spec and the controls of a requested job, with every default filled in."""

from typing import Final

from fanfold.app.intake.items.cutting import DEFAULT_CHUNK_SIZE
from fanfold.app.intake.job_request import JobRequest, Retry
from fanfold.contract.job_spec import (
    Controls,
    Execution,
    JobSpec,
    RetrySpec,
    StageSpec,
    ToleranceSpec,
)

# Up to here a child workflow for each chunk costs less than it shows; see docs/size.md.
AUTO_WORKFLOW_CHUNKS: Final = 200


def resolve_execution(requested: str, chunk_count: int) -> Execution:
    """How the chunks of a job of this size are run: "auto" is decided here."""
    if requested != Execution.AUTO:
        return Execution(requested)
    return Execution.WORKFLOW if chunk_count <= AUTO_WORKFLOW_CHUNKS else Execution.ACTIVITY


def to_spec(request: JobRequest, execution: Execution) -> JobSpec:
    """The job without its data, every default filled in."""
    retry, is_staged = _retry_spec(request.retry), request.stages is not None
    limit = request.chunk_timeout_seconds
    if request.stages is None:
        stages: tuple[StageSpec, ...] = (
            StageSpec(
                processor=request.processor or "",
                options=request.options or {},
                retry=retry,
                timeout_seconds=limit,
            ),
        )
    else:
        stages = tuple(
            StageSpec(
                processor=stage.processor,
                options=stage.options,
                retry=_retry_spec(stage.retry) if stage.retry else retry,
                timeout_seconds=stage.timeout_seconds or limit,
            )
            for stage in request.stages
        )
    return JobSpec(
        stages=stages,
        is_staged=is_staged,
        reducer=request.reducer,
        execution=execution,
        chunk_size=None if request.chunks is not None else request.chunk_size or DEFAULT_CHUNK_SIZE,
        max_chunk_bytes=request.max_chunk_bytes,
        item_key=request.item_key,
        retry=retry if is_staged else None,
        chunk_timeout_seconds=limit if is_staged else None,
    )


def to_controls(request: JobRequest) -> Controls:
    """What of the job may change while it runs."""
    tolerated = request.tolerated_failures
    return Controls(
        name=request.name,
        labels=request.labels,
        max_concurrency=request.max_concurrency,
        tolerated_failures=ToleranceSpec(**tolerated.model_dump()) if tolerated else None,
    )


def _retry_spec(retry: Retry) -> RetrySpec:
    return RetrySpec(
        **retry.model_dump(exclude={"non_retryable"}), non_retryable=tuple(retry.non_retryable)
    )
