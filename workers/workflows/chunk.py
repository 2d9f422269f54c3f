"""The child workflow: one chunk through its stages."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from contract.names import CHUNK_WORKFLOW, RUN_STAGE
    from contract.states import ChunkState
    from contract.wire import (
        HEARTBEAT_TIMEOUT,
        TIMEOUT_SLACK,
        ChunkInput,
        StageInput,
        StagePlan,
    )


@workflow.defn(name=CHUNK_WORKFLOW)
class ChunkWorkflow:
    """Runs a chunk's stages in order; fails, as the seeds' children do, when one fails."""

    @workflow.run
    async def run(self, chunk: ChunkInput) -> str:
        """The state the chunk ended in: succeeded, or cancelled with its job."""
        state: str = ChunkState.SUCCEEDED
        for number, plan in enumerate(chunk.stages):
            state = await self._run_stage(chunk, number, plan)
            if state != ChunkState.SUCCEEDED:
                break
        return state

    async def _run_stage(self, chunk: ChunkInput, number: int, plan: StagePlan) -> str:
        given = StageInput(job_id=chunk.job_id, index=chunk.index, stage=number)
        state: str = await workflow.execute_activity(
            RUN_STAGE,
            given,
            result_type=str,
            start_to_close_timeout=timedelta(seconds=plan.timeout_seconds) + TIMEOUT_SLACK,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            # How often is the ledger's to count, which can tell a failed attempt from one
            # that a stopping worker handed back; the server only waits between them.
            retry_policy=RetryPolicy(
                initial_interval=timedelta(seconds=plan.initial_interval_seconds),
                backoff_coefficient=plan.backoff_coefficient,
                maximum_interval=timedelta(seconds=plan.max_interval_seconds),
                maximum_attempts=0,
            ),
            # A chunk is not cancelled before its processor has stopped.
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        return state
