"""Records workflow histories for tests/replay: really runs the scenarios, on a development server.

Overwrites what it recorded before, and deletes nothing: histories of earlier code stay
for as long as jobs that it started may be running (docs/howto/change-a-workflow.md).
"""

import asyncio
import dataclasses
import json
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from fanfold.contract.job_spec import (
    Controls,
    Execution,
    JobSpec,
    RetrySpec,
    StageSpec,
    ToleranceSpec,
)
from fanfold.contract.names import (
    CHUNK_WORKFLOW,
    DEFAULT_TENANT,
    JOB_WORKFLOW,
    SHARD_WORKFLOW,
    JobId,
    chunk_workflow_id,
    job_task_queue,
    new_job_id,
    shard_workflow_id,
)
from fanfold.contract.plan import Tuning
from fanfold.contract.settings import WorkerSettings
from fanfold.contract.wire import JobInput, JobRef, Pace
from fanfold.devstack import temporal_server
from fanfold.ledger.connect import Ledger, connect
from fanfold.ledger.recording import NewJob
from fanfold.ledger.records import NewChunk
from fanfold.workers.main import build_workers
from fanfold.workers.processor import Processor
from fanfold.workers.registry import Registry
from scripts.history_files import record_one_that_must_fail, write

REPLAY_TESTS = Path(__file__).parents[1] / "tests" / "replay"
HISTORIES = REPLAY_TESTS / "histories"
HISTORIES_THAT_MUST_FAIL = REPLAY_TESTS / "histories_that_must_fail"

IDENTITY = "fanfold"
"""Client and worker in the histories, where their default tells process, user and host."""

QUICK_SAMPLE = Tuning().quick_sample
SHARDS_OF_TWO = Tuning(chunks_without_shards=0, shard_chunks=2)
FEW_EVENTS = 20
"""So many may be in the histories of scenarios that are about full ones."""

# One attempt each: what a chunk retries between its first and last event is not in its history.
ONCE = RetrySpec(max_attempts=1)
DOUBLE = StageSpec(processor="double")
ODD_SUCCEED = StageSpec(processor="double", options={"fail_if_divisible_by": 2}, retry=ONCE)
FAIL_FIRST = StageSpec(
    processor="double",
    options={"fail_attempts": 1},
    retry=RetrySpec(max_attempts=2, initial_interval_seconds=0.4),
)
WAIT_LONG = StageSpec(
    processor="double",
    options={"fail_attempts": 1},
    # Longer than its blocks wait for what is due.
    retry=RetrySpec(max_attempts=2, initial_interval_seconds=1.0),
)
WAIT_AT_ZERO = StageSpec(processor="wait_at_zero")
LAST = 9
"""The value that tells, in scenarios with `let_go`, that all others have been started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A job to run: its values, a chunk each, and what is done to it meanwhile."""

    name: str
    values: Sequence[int | Sequence[int]]
    """A chunk of several items is a sequence of values."""
    stages: tuple[StageSpec, ...]
    chunk: int | None = None
    """The chunk whose own history is kept beside the job's."""
    shard: int | None = None
    """The shard whose own history is kept beside the job's."""
    execution: Execution = Execution.WORKFLOW
    tuning: Tuning = field(default_factory=Tuning)
    max_concurrency: int = 2
    tolerated_failures: ToleranceSpec | None = None
    reducer: str | None = "collect"
    quick_streak: int = 0
    disturb: Callable[["Recorder", JobId], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True)
class Recorder:
    """Runs scenarios and writes their histories."""

    client: Client
    ledger: Ledger
    is_waiting: asyncio.Event = field(default_factory=asyncio.Event)
    may_go_on: asyncio.Event = field(default_factory=asyncio.Event)
    has_passed: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait_at_zero(self, item: int) -> int:
        """The processor of scenarios that disturb a running chunk: one of 0 waits to be let go."""
        if item == 0:
            self.is_waiting.set()
            await self.may_go_on.wait()
        elif item == LAST:
            self.has_passed.set()
        return item

    async def record(self, scenario: Scenario) -> None:
        """Run the scenario to its end; write the histories of its job and of its chunk."""
        for event in (self.is_waiting, self.may_go_on, self.has_passed):
            event.clear()
        job = await self._record_job(scenario)
        handle = await self.client.start_workflow(
            JOB_WORKFLOW, job, id=job.job.id, task_queue=job_task_queue(self.ledger.id)
        )
        if scenario.disturb is not None:
            await self.is_waiting.wait()
            await scenario.disturb(self, job.job.id)
        await _until_closed(handle)
        await self._write(handle.id, f"{JOB_WORKFLOW}__{scenario.name}")
        if scenario.shard is not None:
            shard_id = shard_workflow_id(job.job.id, scenario.shard)
            await self._write(shard_id, f"{SHARD_WORKFLOW}__{scenario.name}")
        if scenario.chunk is not None:
            child_id = chunk_workflow_id(job.job.id, scenario.chunk)
            await self._write(child_id, f"{CHUNK_WORKFLOW}__{scenario.name}")

    async def cancel(self, job_id: JobId) -> None:
        """Cancel as the gateway does."""
        await self.ledger.of(DEFAULT_TENANT).jobs.request_cancel(job_id)
        await self.client.get_workflow_handle(job_id).cancel()

    async def terminate_first_shard(self, job_id: JobId) -> None:
        """The same, to a shard; what it had to do is offered again."""
        await self.client.get_workflow_handle(shard_workflow_id(job_id, 0)).terminate("by hand")
        self.may_go_on.set()

    async def let_go(self, _: str) -> None:
        """End the wait at 0 once another chunk of its job has run."""
        await self.has_passed.wait()
        self.may_go_on.set()

    async def let_go_after_slots_are_back(self, job_id: JobId) -> None:
        """End the wait at 0 once its block has given back the slots of its other lanes."""
        shard = self.client.get_workflow_handle(shard_workflow_id(job_id, 0))
        signaled = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
        async for event in shard.fetch_history_events(wait_new_event=True):
            if event.event_type == signaled:
                break
        self.may_go_on.set()

    async def terminate_first_child(self, job_id: JobId) -> None:
        """Do what somebody could do in Temporal's own UI."""
        await self.client.get_workflow_handle(chunk_workflow_id(job_id, 0)).terminate("by hand")

    async def _record_job(self, scenario: Scenario) -> JobInput:
        spec = JobSpec(
            stages=scenario.stages,
            is_staged=len(scenario.stages) > 1,
            reducer=scenario.reducer,
            execution=scenario.execution,
        )
        controls = Controls(
            max_concurrency=scenario.max_concurrency,
            tolerated_failures=scenario.tolerated_failures,
        )
        job_id = new_job_id()
        items = [[one] if isinstance(one, int) else list(one) for one in scenario.values]
        chunks = [NewChunk(item_count=len(of), body=json.dumps(of).encode()) for of in items]
        job = NewJob(id=job_id, spec=spec, controls=controls)
        await self.ledger.of(DEFAULT_TENANT).recording.record(job, chunks)
        ref = JobRef(id=job_id, tenant=DEFAULT_TENANT, ledger=self.ledger.id)
        return dataclasses.replace(
            JobInput.of(ref, len(chunks), spec, controls),
            tuning=scenario.tuning,
            pace=Pace(quick_streak=scenario.quick_streak),
        )

    async def _write(self, workflow_id: str, name: str) -> None:
        """Write the history of the workflow; of a chunk that was tried again, the last one."""
        history = await self.client.get_workflow_handle(workflow_id).fetch_history()
        write(HISTORIES / f"{name}.json", json.loads(history.to_json()))


in_shards = partial(Scenario, shard=0, tuning=SHARDS_OF_TWO)
in_blocks = partial(
    Scenario, shard=0, execution=Execution.ACTIVITY, tuning=Tuning(block_chunks_without_shards=0)
)

SCENARIOS = [
    Scenario(name="success", values=[1, 2], stages=(DOUBLE,), chunk=0),
    Scenario(name="partial_failure", values=[1, 2, 3], stages=(ODD_SUCCEED,), chunk=1),
    Scenario(name="items_failed", values=[(1, 2, 3), 1], stages=(ODD_SUCCEED,), chunk=0),
    Scenario(
        name="tolerance_exceeded",
        values=[2, 1, 1],
        stages=(ODD_SUCCEED,),
        max_concurrency=1,
        tolerated_failures=ToleranceSpec(count=0),
    ),
    Scenario(name="stages", values=[1], stages=(DOUBLE, DOUBLE), chunk=0),
    Scenario(
        name="quick_chunks",
        values=[1] * (QUICK_SAMPLE + 1),
        stages=(DOUBLE,),
        max_concurrency=1,
        chunk=QUICK_SAMPLE,
    ),
    Scenario(
        name="quick_chunk_retried",
        values=[1],
        stages=(FAIL_FIRST,),
        quick_streak=QUICK_SAMPLE,
        chunk=0,
    ),
    Scenario(
        name="cancel",
        values=[0, 1, 0, 1],
        stages=(WAIT_AT_ZERO,),
        chunk=0,
        disturb=Recorder.cancel,
    ),
    Scenario(
        name="quick_chunk_cancelled",
        values=[0],
        stages=(WAIT_AT_ZERO,),
        quick_streak=QUICK_SAMPLE,
        chunk=0,
        disturb=Recorder.cancel,
    ),
    Scenario(
        name="child_terminated",
        values=[0, 1],
        stages=(WAIT_AT_ZERO,),
        chunk=0,
        disturb=Recorder.terminate_first_child,
    ),
    in_shards(name="shards", values=[1, 2, 3, 4], stages=(ODD_SUCCEED,), chunk=2),
    in_shards(
        name="shards_lend_slots",
        values=[0, 1, 1, 1, 1, LAST],
        stages=(WAIT_AT_ZERO,),
        disturb=Recorder.let_go,
    ),
    in_shards(
        name="shards_cancelled",
        values=[0, 1, 0, 1],
        stages=(WAIT_AT_ZERO,),
        disturb=Recorder.cancel,
    ),
    in_shards(
        name="shard_terminated",
        values=[0, 1, 1, 1],
        stages=(WAIT_AT_ZERO,),
        disturb=Recorder.terminate_first_shard,
    ),
    in_shards(name="shards_put_off", values=[1, 2, 3], stages=(FAIL_FIRST,), max_concurrency=1),
    in_shards(
        name="shards_full",
        values=[1] * 12,
        stages=(DOUBLE,),
        tuning=dataclasses.replace(SHARDS_OF_TWO, shard_chunks=12, max_events=FEW_EVENTS),
    ),
    Scenario(
        name="job_full", values=[1] * 8, stages=(DOUBLE,), tuning=Tuning(max_events=FEW_EVENTS)
    ),
    Scenario(name="no_reducer", values=[1, 2], stages=(DOUBLE,), reducer=None),
    Scenario(
        name="blocks_without_shards",
        values=[1, 2, 3, 4],
        stages=(ODD_SUCCEED,),
        execution=Execution.ACTIVITY,
    ),
    in_blocks(name="blocks", values=[1, 2, 3, 4], stages=(ODD_SUCCEED,)),
    in_blocks(name="blocks_put_off", values=[1, 2, 3], stages=(FAIL_FIRST,)),
    in_blocks(
        name="blocks_wait_long",
        values=[1, 2, 3],
        stages=(WAIT_LONG,),
        tuning=Tuning(block_chunks_without_shards=0, patience_seconds=0.2),
    ),
    in_blocks(
        name="blocks_make_way",
        # One lane of a block is held up; the block's time is over with its first chunk.
        values=[0, *[1] * 23],
        stages=(WAIT_AT_ZERO,),
        max_concurrency=8,
        tuning=Tuning(block_chunks_without_shards=0, block_seconds=0.0),
        disturb=Recorder.let_go_after_slots_are_back,
    ),
    in_blocks(
        name="blocks_full",
        values=[1] * 12,
        stages=(DOUBLE,),
        tuning=Tuning(block_chunks_without_shards=0, block_seconds=0.0, max_events=FEW_EVENTS),
    ),
    in_blocks(
        name="blocks_cancelled", values=[0, 1], stages=(WAIT_AT_ZERO,), disturb=Recorder.cancel
    ),
    in_blocks(
        name="blocks_shard_terminated",
        values=[0, 1, 1, 1],
        stages=(WAIT_AT_ZERO,),
        disturb=Recorder.terminate_first_shard,
    ),
    in_blocks(
        name="blocks_tolerance_exceeded",
        values=[2, 1, 1, 1],
        stages=(ODD_SUCCEED,),
        max_concurrency=1,
        tolerated_failures=ToleranceSpec(count=0),
    ),
]


async def record_all() -> None:
    """Record every scenario on a server and a ledger of its own."""
    with tempfile.TemporaryDirectory() as directory:
        async with AsyncExitStack() as stack:
            environment = await WorkflowEnvironment.start_local(
                identity=IDENTITY, dev_server_existing_path=str(temporal_server.binary())
            )
            await stack.enter_async_context(environment)
            ledger = await stack.enter_async_context(connect(f"sqlite:///{directory}/ledger.db"))
            recorder = Recorder(environment.client, ledger)
            registry = Registry()
            registry.processors["wait_at_zero"] = Processor(recorder.wait_at_zero)
            settings = WorkerSettings(shutdown_grace_seconds=0)
            for worker in build_workers(environment.client, ledger, registry, settings):
                await stack.enter_async_context(worker)
            for scenario in SCENARIOS:
                await recorder.record(scenario)
            await record_one_that_must_fail(
                environment.client,
                HISTORIES_THAT_MUST_FAIL / f"{CHUNK_WORKFLOW}__sleeps_first.json",
            )


async def _until_closed(handle: WorkflowHandle[Any, Any]) -> None:
    try:
        await handle.result()
    except WorkflowFailureError:
        return  # cancelled, as the scenario has it


if __name__ == "__main__":
    asyncio.run(record_all())
