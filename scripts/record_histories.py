"""Records workflow histories for tests/replay: really runs the scenarios, on a development server.

Overwrites what it recorded before, and deletes nothing: histories of earlier code stay
for as long as jobs that it started may be running (docs/howto/change-a-workflow.md).
"""

import asyncio
import dataclasses
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from temporalio import workflow
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

import workers.workflows.shard
from contract.job_spec import Execution, JobSpec, RetrySpec, StageSpec, ToleranceSpec
from contract.names import (
    CHUNK_WORKFLOW,
    DEFAULT_TENANT,
    JOB_TASK_QUEUE,
    JOB_WORKFLOW,
    SHARD_WORKFLOW,
    chunk_workflow_id,
    new_job_id,
    shard_workflow_id,
)
from contract.settings import WorkerSettings
from contract.states import ChunkState
from contract.wire import QUICK_SAMPLE, ChunkInput, ChunkOutcome, JobInput, Pace
from devstack import temporal_server
from ledger.connect import Ledger, connect
from ledger.records import NewChunk
from workers.main import build_workers
from workers.processor import Processor
from workers.registry import Registry

REPLAY_TESTS = Path(__file__).parents[1] / "tests" / "replay"
HISTORIES = REPLAY_TESTS / "histories"
HISTORIES_THAT_MUST_FAIL = REPLAY_TESTS / "histories_that_must_fail"

IDENTITY = "fanfold"
"""Client and worker in the histories, where their default tells process, user and host."""

CONTINUED_AS_NEW = "continued_as_new"
EVENTS_IN_A_SHORT_RUN = 20
"""The limit under which `continued_as_new` is recorded, and has to be replayed."""

# One attempt each: what a chunk retries between its first and last event is not in its history.
ONCE = RetrySpec(max_attempts=1)
DOUBLE = StageSpec(processor="double")
ODD_SUCCEED = StageSpec(processor="double", options={"fail_if_divisible_by": 2}, retry=ONCE)
FAIL_FIRST = StageSpec(
    processor="double",
    options={"fail_attempts": 1},
    retry=RetrySpec(max_attempts=2, initial_interval_seconds=0.2),
)
FAIL_OFTEN = StageSpec(
    processor="double",
    options={"fail_attempts": 5},
    retry=RetrySpec(max_attempts=6, initial_interval_seconds=0.2, backoff_coefficient=1.0),
)
WAIT_AT_ZERO = StageSpec(processor="wait_at_zero")
LAST = 9
"""The value that tells, in scenarios with `let_go`, that all others have been started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A job to run: its values, a chunk each, and what is done to it meanwhile."""

    name: str
    values: list[int]
    stages: tuple[StageSpec, ...]
    chunk: int | None = None
    """The chunk whose own history is kept beside the job's."""
    shard: int | None = None
    """The shard whose own history is kept beside the job's."""
    execution: Execution = Execution.WORKFLOW
    shard_chunks: int = 0
    """0: the job has no shards."""
    max_concurrency: int = 2
    tolerated_failures: ToleranceSpec | None = None
    quick_streak: int = 0
    disturb: Callable[["Recorder", str], Awaitable[None]] | None = None


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
            JOB_WORKFLOW, job, id=job.job_id, task_queue=JOB_TASK_QUEUE
        )
        if scenario.disturb is not None:
            await self.is_waiting.wait()
            await scenario.disturb(self, job.job_id)
        await _until_closed(handle)
        await self._write_runs(handle, f"{JOB_WORKFLOW}__{scenario.name}")
        if scenario.shard is not None:
            shard_id = shard_workflow_id(job.job_id, scenario.shard)
            shard = self.client.get_workflow_handle(
                shard_id, first_execution_run_id=await first_run_id(handle, shard_id)
            )
            await self._write_runs(shard, f"{SHARD_WORKFLOW}__{scenario.name}")
        if scenario.chunk is not None:
            child = self.client.get_workflow_handle(chunk_workflow_id(job.job_id, scenario.chunk))
            await self._write_runs(child, f"{CHUNK_WORKFLOW}__{scenario.name}")

    async def cancel(self, job_id: str) -> None:
        """Cancel as the gateway does."""
        await self.ledger.jobs.request_cancel(job_id, DEFAULT_TENANT)
        await self.client.get_workflow_handle(job_id).cancel()

    async def terminate_first_shard(self, job_id: str) -> None:
        """The same, to a shard."""
        await self.client.get_workflow_handle(shard_workflow_id(job_id, 0)).terminate("by hand")

    async def let_go(self, _: str) -> None:
        """End the wait at 0 once another chunk of its job has run."""
        await self.has_passed.wait()
        self.may_go_on.set()

    async def terminate_first_child(self, job_id: str) -> None:
        """Do what somebody could do in Temporal's own UI."""
        await self.client.get_workflow_handle(chunk_workflow_id(job_id, 0)).terminate("by hand")

    async def _record_job(self, scenario: Scenario) -> JobInput:
        spec = JobSpec(
            name=None,
            stages=scenario.stages,
            is_staged=len(scenario.stages) > 1,
            reducer="collect",
            execution=scenario.execution,
            max_concurrency=scenario.max_concurrency,
            tolerated_failures=scenario.tolerated_failures,
            labels={},
        )
        job_id = new_job_id()
        chunks = [NewChunk(item_count=1, body=f"[{value}]".encode()) for value in scenario.values]
        await self.ledger.jobs.create(
            job_id=job_id, tenant=DEFAULT_TENANT, spec=spec, chunks=chunks
        )
        job = JobInput.of(job_id, len(chunks), spec)
        return dataclasses.replace(
            job,
            shard_chunks=scenario.shard_chunks,
            pace=Pace(quick_streak=scenario.quick_streak),
        )

    async def _write_runs(self, handle: WorkflowHandle[Any, Any], name: str) -> None:
        """Write the history of each run of the workflow; one that was continued has several."""
        run_id = handle.first_execution_run_id
        number = 1
        while True:
            run = self.client.get_workflow_handle(handle.id, run_id=run_id)
            history = json.loads((await run.fetch_history()).to_json())
            last = history["events"][-1].get("workflowExecutionContinuedAsNewEventAttributes")
            is_one_of_several = number > 1 or last is not None
            write(
                HISTORIES / f"{name}{f'__run_{number}' if is_one_of_several else ''}.json", history
            )
            if last is None:
                return
            run_id, number = last["newExecutionRunId"], number + 1


in_shards = partial(Scenario, shard=0, shard_chunks=2)
in_blocks = partial(in_shards, execution=Execution.ACTIVITY)

SCENARIOS = [
    Scenario(name="success", values=[1, 2], stages=(DOUBLE,), chunk=0),
    Scenario(name="partial_failure", values=[1, 2, 3], stages=(ODD_SUCCEED,), chunk=1),
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
    in_blocks(name="blocks", values=[1, 2, 3, 4], stages=(ODD_SUCCEED,)),
    in_blocks(name="blocks_put_off", values=[1, 2, 3], stages=(FAIL_FIRST,), shard_chunks=3),
    in_blocks(
        name="blocks_lend_slots",
        # Of the shard's two lanes, each some chunks wide, the second one ends first.
        values=[0, *[1] * 22, LAST],
        stages=(WAIT_AT_ZERO,),
        shard_chunks=8,
        max_concurrency=16,
        disturb=Recorder.let_go,
    ),
    in_blocks(
        name="blocks_cancelled", values=[0, 1], stages=(WAIT_AT_ZERO,), disturb=Recorder.cancel
    ),
    in_blocks(
        name="blocks_tolerance_exceeded",
        values=[2, 1, 1, 1],
        stages=(ODD_SUCCEED,),
        max_concurrency=1,
        tolerated_failures=ToleranceSpec(count=0),
    ),
]

# In runs of few events, where real ones have thousands.
SCENARIOS_CONTINUED = [
    in_shards(name=f"shards_{CONTINUED_AS_NEW}", values=[1] * 6, stages=(DOUBLE,), shard_chunks=6),
    in_blocks(name=f"blocks_{CONTINUED_AS_NEW}", values=[1, 1], stages=(FAIL_OFTEN,)),
]


@workflow.defn(name=CHUNK_WORKFLOW)
class ChunkWorkflowThatSleepsFirst:
    """What ChunkWorkflow might have been: today's must not replay its history."""

    @workflow.run
    async def run(self, _: ChunkInput) -> ChunkOutcome:
        """Sleep, and be done."""
        await workflow.sleep(0.01)
        return ChunkOutcome(state=ChunkState.SUCCEEDED)


def write(path: Path, history: dict[str, Any]) -> None:
    """Write a history, an event a line, with nothing in it of the machine that recorded it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    events = ",\n".join(json.dumps(scrubbed(event), sort_keys=True) for event in history["events"])
    path.write_text(f'{{"events": [\n{events}\n]}}\n')
    sys.stdout.write(f"{path.relative_to(REPLAY_TESTS)}: {len(history['events'])} events\n")


def scrubbed(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """The value without stack traces: they hold the paths of the machine they come from."""
    if isinstance(value, dict):
        return {key: scrubbed(child) for key, child in value.items() if key != "stackTrace"}
    if isinstance(value, list):
        return [scrubbed(child) for child in value]
    return value


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
            await record_continued_as_new(recorder)
            await record_one_that_must_fail(environment.client)


async def record_continued_as_new(recorder: Recorder) -> None:
    """Record shards that continue as new, which real ones do only after thousands of events."""
    usual = workers.workflows.shard.MAX_EVENTS_IN_A_RUN
    workers.workflows.shard.MAX_EVENTS_IN_A_RUN = EVENTS_IN_A_SHORT_RUN
    for scenario in SCENARIOS_CONTINUED:
        await recorder.record(scenario)
    workers.workflows.shard.MAX_EVENTS_IN_A_RUN = usual


async def record_one_that_must_fail(client: Client) -> None:
    """Record a history of a ChunkWorkflow that does something else than today's."""
    async with Worker(
        client,
        task_queue="another-chunk-workflow",
        workflows=[ChunkWorkflowThatSleepsFirst],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        handle = await client.start_workflow(
            CHUNK_WORKFLOW,
            ChunkInput(job_id="job_another", index=0, stages=[]),
            id="job_another/c0000000",
            task_queue="another-chunk-workflow",
        )
        await handle.result()
        history = json.loads((await handle.fetch_history()).to_json())
    write(HISTORIES_THAT_MUST_FAIL / f"{CHUNK_WORKFLOW}__sleeps_first.json", history)


async def first_run_id(job: WorkflowHandle[Any, Any], shard_id: str) -> str:
    """The run that the job started of its shard; the shard may have continued as new since."""
    async for event in job.fetch_history_events():
        started = event.child_workflow_execution_started_event_attributes.workflow_execution
        if started.workflow_id == shard_id:
            return started.run_id
    raise LookupError(shard_id)


async def _until_closed(handle: WorkflowHandle[Any, Any]) -> None:
    try:
        await handle.result()
    except WorkflowFailureError:
        return  # cancelled, as the scenario has it


if __name__ == "__main__":
    asyncio.run(record_all())
