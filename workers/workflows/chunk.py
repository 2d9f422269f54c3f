"""The child workflow: one chunk through its stages."""

import dataclasses
from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from fanfold.contract.names import CHUNK_WORKFLOW, RUN_STAGE
    from fanfold.contract.plan import HEARTBEAT_TIMEOUT, TIMEOUT_SLACK
    from fanfold.contract.states import ChunkState
    from fanfold.contract.wire import ChunkInput, ChunkOutcome, StageInput, StagePlan
    from fanfold.workers.workflows.calls import LEDGER_RETRY


@workflow.defn(name=CHUNK_WORKFLOW)
class ChunkWorkflow:
    """Runs a chunk's stages in order; fails, as the seeds' children do, when one fails."""

    @workflow.run
    async def run(self, chunk: ChunkInput) -> ChunkOutcome:
        """How the chunk ended: succeeded, cancelled with its job, or put off to be tried again."""
        outcome, slowest = ChunkOutcome(state=ChunkState.SUCCEEDED), 0.0
        for number, plan in list(enumerate(chunk.stages))[chunk.stage :]:
            outcome = await self._run_stage(chunk, number, plan)
            slowest = max(slowest, outcome.seconds)
            if outcome.state is not ChunkState.SUCCEEDED:
                return outcome
        return dataclasses.replace(outcome, seconds=slowest)

    async def _run_stage(self, chunk: ChunkInput, number: int, plan: StagePlan) -> ChunkOutcome:
        """The stage as an activity; as a local one while the job's chunks are quick.

        Both run the same code under the same limits. A local activity that turns out slow
        goes on to its end; only the server's part of it costs more then.
        """
        given = StageInput(
            job=chunk.job,
            index=chunk.index,
            stage=number,
            is_due=chunk.is_due and number == chunk.stage,
        )
        # What is tried again here is the call, of a worker that died or stopped. How often
        # the stage is tried, and when, is the ledger's to say and the parent's to wait for.
        retry = LEDGER_RETRY
        limit = timedelta(seconds=plan.timeout_seconds) + TIMEOUT_SLACK
        # A chunk is not cancelled before its processor has stopped.
        on_cancel = workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED
        if chunk.is_quick:
            quick: ChunkOutcome = await workflow.execute_local_activity(
                RUN_STAGE,
                given,
                result_type=ChunkOutcome,
                start_to_close_timeout=limit,
                retry_policy=retry,
                # A wait longer than this is a timer of the server, and blocks nobody.
                local_retry_threshold=timedelta(milliseconds=100),
                cancellation_type=on_cancel,
            )
            return quick
        outcome: ChunkOutcome = await workflow.execute_activity(
            RUN_STAGE,
            given,
            result_type=ChunkOutcome,
            start_to_close_timeout=limit,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=retry,
            cancellation_type=on_cancel,
        )
        return outcome
