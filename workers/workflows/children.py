"""Chunks as children: a window of child workflows, started by a job or by its shard."""

from collections.abc import Callable

from temporalio import workflow
from temporalio.exceptions import ChildWorkflowError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from contract.names import CHUNK_TASK_QUEUE, CHUNK_WORKFLOW, chunk_workflow_id
    from contract.states import ChunkState
    from contract.wire import (
        QUICK_SAMPLE,
        QUICK_SECONDS,
        RECORDED,
        TOLERANCE_EXCEEDED,
        ChunkInput,
        ChunkOutcome,
        Pace,
        StagePlan,
    )
    from workers.workflows.calls import details_of, record_lost, start_child


class ChunkChildren:
    """Runs chunks as child workflows, each from its start to its recorded outcome."""

    def __init__(
        self,
        job_id: str,
        stages: list[StagePlan],
        pace: Pace,
        *,
        on_tolerance_exceeded: Callable[[], None],
    ) -> None:
        """Go on at the pace of the chunks before, where there were some."""
        self._job_id = job_id
        self._stages = stages
        self._quick_streak = pace.quick_streak
        self._on_tolerance_exceeded = on_tolerance_exceeded

    @property
    def pace(self) -> Pace:
        """How quick the chunks have been so far."""
        return Pace(quick_streak=self._quick_streak)

    async def run_chunk(self, index: int) -> None:
        """One child, from start to recorded outcome."""
        try:
            child = await start_child(
                CHUNK_WORKFLOW,
                ChunkInput(
                    job_id=self._job_id,
                    index=index,
                    stages=self._stages,
                    is_quick=self._quick_streak >= QUICK_SAMPLE,
                ),
                workflow_id=chunk_workflow_id(self._job_id, index),
                task_queue=CHUNK_TASK_QUEUE,
                result_type=ChunkOutcome,
            )
            outcome: ChunkOutcome = await child
        except (ChildWorkflowError, WorkflowAlreadyStartedError) as error:
            details = details_of(error)
            if TOLERANCE_EXCEEDED in details:
                self._on_tolerance_exceeded()
            # Of a job being cancelled, whatever has no outcome is cancelled: also a chunk
            # whose attempt broke while it was told to stop.
            if RECORDED not in details and workflow.cancellation_reason() is None:
                await record_lost(self._job_id, index, error)
            return
        if outcome.is_tolerance_exceeded:
            self._on_tolerance_exceeded()
        if outcome.state is ChunkState.SUCCEEDED:
            is_quick = outcome.seconds <= QUICK_SECONDS
            self._quick_streak = self._quick_streak + 1 if is_quick else 0
