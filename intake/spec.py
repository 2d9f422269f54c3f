"""The spec and the controls of a requested job, with all defaults and what it inherits."""

from collections.abc import Sequence

from fanfold.contract.job_spec import (
    DEFAULT_MAX_JOBS,
    Controls,
    Execution,
    JobSpec,
    OnFailure,
    Order,
    RetrySpec,
    StageSpec,
    ToleranceSpec,
)
from fanfold.contract.plan import execution_of
from fanfold.intake.cutting import DEFAULT_CHUNK_SIZE
from fanfold.intake.job_request import (
    Compensate,
    JobRequest,
    Retry,
    Stage,
    SubJobRequest,
    ToleratedFailures,
)
from fanfold.intake.tree import Node


def resolve_execution(requested: str, chunk_count: int | None) -> Execution:
    """How the chunks of a job of this size are run: "auto" is decided here.

    By the chunks of all the jobs that a job is made of. None where that is not known yet.
    """
    if requested != Execution.AUTO or chunk_count is None:
        return Execution(requested)
    return execution_of(chunk_count)


def to_spec(node: Node, execution: Execution) -> JobSpec:
    """The job without its data, every default filled in."""
    whole, is_staged = node.whole, node.whole.stages is not None
    retry, limit = to_retry(whole.retry), whole.chunk_timeout_seconds
    stages = to_stages(node.stages, retry, limit)
    # How data is cut, and what its items are, goes with it.
    data = node.data_of.whole if node.is_scattered_to and node.data_of else whole
    is_cut = data.chunks is None
    on_failure = OnFailure(whole.on_failure)
    return JobSpec(
        stages=stages,
        is_staged=is_staged,
        reducer=whole.reducer,
        execution=execution,
        chunk_size=(data.chunk_size or DEFAULT_CHUNK_SIZE) if is_cut else None,
        max_chunk_bytes=data.max_chunk_bytes if is_cut else None,
        item_key=data.item_key,
        # The one stage of another job has them.
        retry=retry if is_staged or not stages else None,
        chunk_timeout_seconds=limit if is_staged or not stages else None,
        check_items=data.check_items and not node.has_previous_input,
        is_upload=node.is_upload,
        on_failure=on_failure,
        hold_timeout_seconds=whole.hold_timeout_seconds if on_failure is OnFailure.HOLD else None,
        order=None if node.is_leaf else Order(whole.order or Order.PARALLEL),
        max_jobs=whole.max_jobs or DEFAULT_MAX_JOBS,
        has_previous_input=node.has_previous_input,
        when=whole.when if isinstance(whole, SubJobRequest) else None,
        compensate=_compensation(whole.compensate, retry, limit),
    )


def to_controls(node: Node) -> Controls:
    """What of the job may change while it runs."""
    whole = node.whole
    root = whole if isinstance(whole, JobRequest) else None
    return Controls(
        name=whole.name or node.name,
        labels=whole.labels,
        max_concurrency=whole.max_concurrency,
        tolerated_failures=to_tolerance(whole.tolerated_failures),
        max_per_second=whole.max_per_second,
        priority=whole.priority,
        start_at=root.start_at if root else None,
        deadline_seconds=whole.deadline_seconds,
        retention_hours=root.retention_hours if root else None,
    )


def to_stages(given: Sequence[Stage], retry: RetrySpec, limit: float) -> tuple[StageSpec, ...]:
    """The stages; those that do not say have this retry and this time limit."""
    return tuple(
        StageSpec(
            processor=stage.processor,
            options=stage.options,
            retry=to_retry(stage.retry) if stage.retry else retry,
            timeout_seconds=stage.timeout_seconds or limit,
            when=stage.when,
        )
        for stage in given
    )


def _compensation(given: Compensate | None, retry: RetrySpec, limit: float) -> StageSpec | None:
    if given is None:
        return None
    return StageSpec(
        processor=given.processor,
        options=given.options,
        retry=to_retry(given.retry) if given.retry else retry,
        timeout_seconds=limit,
    )


def to_tolerance(tolerated: ToleratedFailures | None) -> ToleranceSpec | None:
    """How many failed items the job bears."""
    if tolerated is None:
        return None
    return ToleranceSpec(
        count=tolerated.count,
        percent=tolerated.percent,
        min_sample=tolerated.min_sample,
        consecutive=tolerated.consecutive,
    )


def keep_ms(controls: Controls) -> int | None:
    """How long the job asks to be kept once it has finished."""
    return round(controls.retention_hours * 3_600_000) if controls.retention_hours else None


def to_retry(retry: Retry) -> RetrySpec:
    """How failed attempts are repeated."""
    return RetrySpec(
        max_attempts=retry.max_attempts,
        initial_interval_seconds=retry.initial_interval_seconds,
        backoff_coefficient=retry.backoff_coefficient,
        max_interval_seconds=retry.max_interval_seconds,
        non_retryable=tuple(retry.non_retryable),
    )
