"""Runs jobs in a test: a server, a ledger, and workers inside the test's own process."""

import asyncio
import dataclasses
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.testing import WorkflowEnvironment

from fanfold.contract import json_values
from fanfold.contract.job_spec import (
    Controls,
    Execution,
    JobSpec,
    OnFailure,
    RetrySpec,
    StageSpec,
    ToleranceSpec,
)
from fanfold.contract.names import (
    CHANGED,
    DEFAULT_TENANT,
    JOB_WORKFLOW,
    JobId,
    chunk_workflow_id,
    job_task_queue,
    job_workflow_id,
    new_job_id,
    shard_workflow_id,
)
from fanfold.contract.plan import Tuning
from fanfold.contract.settings import WorkerSettings
from fanfold.contract.states import ChunkState, JobState
from fanfold.contract.wire import JobInput, JobRef, Pace
from fanfold.devstack.temporal_server import settings_arguments
from fanfold.ledger.connect import Ledger, connect
from fanfold.ledger.recording import NewJob
from fanfold.ledger.records import ChunkRecord, JobRecord, NewChunk
from fanfold.ledger.redriving import Selection
from fanfold.ledger.run_again import Redrive
from fanfold.ledger.transitions import UNSUCCESSFUL_CHUNK
from fanfold.workers.main import build_workers
from fanfold.workers.processor import Processor
from fanfold.workers.registry import Registry
from tests.ledger.jobs_recorded import ours

PATIENCE_SECONDS = 30
ONE_ATTEMPT = RetrySpec(max_attempts=1)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a job's chunks are run as, and how large the parts of the job are."""

    execution: Execution = Execution.WORKFLOW
    tuning: Tuning = field(default_factory=Tuning)
    pace: Pace = field(default_factory=Pace)

    def tuned(self, **sizes: Any) -> "Shape":
        """The same with other sizes."""
        return dataclasses.replace(self, tuning=dataclasses.replace(self.tuning, **sizes))


CHILDREN = Shape()
QUICK_CHILDREN = Shape(pace=Pace(quick_streak=Tuning().quick_sample))
"""Its chunks are believed to be quick from the first on."""
SHARDS = Shape().tuned(chunks_without_shards=0, shard_chunks=2)
BLOCKS = Shape(Execution.ACTIVITY)
BLOCKS_IN_SHARDS = BLOCKS.tuned(block_chunks_without_shards=0)
FULL_SHARDS = BLOCKS_IN_SHARDS.tuned(max_events=20, block_seconds=0.05)
"""Blocks make way all the time, and shards for one another."""

Handle = WorkflowHandle[Any, Any]


@asynccontextmanager
async def time_skipping_server() -> AsyncIterator[WorkflowEnvironment]:
    """Its clock jumps to the next timer while a workflow's result is awaited."""
    environment = await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=binary("temporal-test-server")
    )
    async with environment:
        yield environment


@asynccontextmanager
async def dev_server() -> AsyncIterator[WorkflowEnvironment]:
    """With the settings that Fanfold starts its own with: timers are on time, steps not put off."""
    environment = await WorkflowEnvironment.start_local(
        dev_server_existing_path=binary("temporal"),
        dev_server_log_level="error",
        dev_server_extra_args=settings_arguments(),
    )
    async with environment:
        yield environment


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition that only looking can tell."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():  # noqa: ASYNC110 - neither ledger nor server tells
            await asyncio.sleep(0.01)


async def event_names(handle: Handle) -> list[str]:
    """The events of a history by name: `ActivityTaskScheduled` and so on."""
    return [
        EventType.Name(event.event_type).removeprefix("EVENT_TYPE_").title().replace("_", "")
        async for event in handle.fetch_history_events()
    ]


@dataclass(frozen=True, slots=True)
class Fanfold:
    """A Temporal server with a ledger; workers come and go."""

    environment: WorkflowEnvironment
    ledger: Ledger
    shape: Shape = CHILDREN

    @classmethod
    @asynccontextmanager
    async def over(
        cls, environment: WorkflowEnvironment, directory: Path
    ) -> AsyncIterator["Fanfold"]:
        async with connect(f"sqlite:///{directory / 'ledger.db'}") as ledger:
            yield cls(environment, ledger)

    async def another_client(self) -> Client:
        """What a second worker has to have: one client takes one worker a task queue."""
        return await Client.connect(self.client.service_client.config.target_host)

    def shaped(self, shape: Shape) -> "Fanfold":
        """The same, but for the jobs it records from now on."""
        return dataclasses.replace(self, shape=shape)

    @property
    def client(self) -> Client:
        return self.environment.client

    @asynccontextmanager
    async def working(
        self,
        *processors: Callable[..., Any],
        ledger: Ledger | None = None,
        client: Client | None = None,
        sandbox: bool = True,
        grace_seconds: float = 0,
        slots: int = 50,
        **settings: Any,
    ) -> AsyncIterator[None]:
        """Workers as production builds them, which know these processors too."""
        registry = Registry()
        for function in processors:
            registry.processors[function.__name__] = Processor(function)
        given = WorkerSettings(
            workflow_sandbox=sandbox,
            shutdown_grace_seconds=grace_seconds,
            worker_slots=slots,
            **settings,
        )
        async with AsyncExitStack() as stack:
            served = (client or self.client, ledger or self.ledger)
            for worker in build_workers(*served, registry, given):
                await stack.enter_async_context(worker)
            yield

    async def record(
        self,
        chunks: Sequence[list[Any]],
        *stages: StageSpec,
        max_concurrency: int = 50,
        tolerated_failures: ToleranceSpec | None = None,
        reducer: str | None = "collect",
        on_failure: OnFailure = OnFailure.RECORD,
        hold_timeout_seconds: float | None = None,
        max_per_second: float | None = None,
        deadline_seconds: float | None = None,
        item_key: str | None = None,
    ) -> JobInput:
        """Record a job as the gateway does; what its workflow is to be started with."""
        spec = JobSpec(
            stages=stages,
            is_staged=len(stages) > 1,
            reducer=reducer,
            execution=self.shape.execution,
            on_failure=on_failure,
            hold_timeout_seconds=hold_timeout_seconds,
            item_key=item_key,
        )
        controls = Controls(
            max_concurrency=max_concurrency,
            tolerated_failures=tolerated_failures,
            max_per_second=max_per_second,
            deadline_seconds=deadline_seconds,
        )
        job_id = new_job_id()
        await ours(self.ledger).recording.record(
            NewJob(id=job_id, spec=spec, controls=controls),
            [NewChunk(item_count=len(chunk), body=json_values.encode(chunk)) for chunk in chunks],
        )
        ref = JobRef(id=job_id, tenant=DEFAULT_TENANT, ledger=self.ledger.id)
        return dataclasses.replace(
            JobInput.of(ref, len(chunks), spec, controls),
            pace=self.shape.pace,
            tuning=self.shape.tuning,
        )

    async def start(self, job: JobInput) -> Handle:
        """Start the job's workflow, as the gateway does."""
        return await self.client.start_workflow(
            JOB_WORKFLOW,
            job,
            id=job_workflow_id(job.job.id, job.job.run),
            task_queue=job_task_queue(job.job.ledger),
            result_type=str,
        )

    async def finished(
        self, handle: Handle, *, patience_seconds: float = PATIENCE_SECONDS
    ) -> JobRecord:
        """The job as recorded once its workflow is over, however that ended."""
        async with asyncio.timeout(patience_seconds):
            with suppress(WorkflowFailureError):
                await handle.result()
        return await self.row(JobId(handle.id.partition("/")[0]))

    async def tell(self, job: JobInput) -> None:
        """Tell the job's workflow that a control has changed something, as the gateway does."""
        workflow_id = job_workflow_id(job.job.id, job.job.run)
        await self.client.get_workflow_handle(workflow_id).signal(CHANGED)

    async def change(self, job: JobInput, **controls: Any) -> None:
        """Change the job's controls, as the gateway does."""
        row = await self.row(job.job.id)
        changed = dataclasses.replace(row.controls, **controls)
        steering = ours(self.ledger).steering
        assert await steering.change(row.id, row.revision, row.spec, changed, None)
        await self.tell(job)

    async def redrive(
        self, job: JobInput, selection: Selection | None = None, **redriven: Any
    ) -> JobInput:
        """Redrive the job; what the workflow of its next run is to be started with."""
        row, redriving = await self.row(job.job.id), ours(self.ledger).redriving
        if selection is None:
            selection = Selection(states=UNSUCCESSFUL_CHUNK)
        selected = await redriving.select(row.id, selection)
        redrive = Redrive(spec=row.spec, controls=row.controls, selected=selected)
        redrive = dataclasses.replace(redrive, **redriven)
        assert await redriving.redrive(row, redrive)
        row = await self.row(job.job.id)
        return dataclasses.replace(
            JobInput.of(
                dataclasses.replace(job.job, run=row.run), row.total_chunks, row.spec, row.controls
            ),
            tuning=job.tuning,
        )

    async def until_job(self, job: JobInput, state: JobState) -> None:
        """Wait until the job is recorded to be in this state."""

        async def is_reached() -> bool:
            return (await self.row(job.job.id)).state is state

        await until(is_reached)

    async def run(self, job: JobInput) -> JobRecord:
        """Start the job; the job as recorded once its workflow is over."""
        return await self.finished(await self.start(job))

    async def row(self, job_id: JobId) -> JobRecord:
        record = await ours(self.ledger).jobs.find(job_id)
        assert record is not None
        return record

    async def result(self, job: JobInput) -> Any:
        """The folded result, decoded."""
        body = await ours(self.ledger).jobs.result(job.job.id)
        return None if body is None else json_values.decode(body)

    async def chunks(self, job: JobInput) -> list[ChunkRecord]:
        return await ours(self.ledger).chunks.page(job.job.id, after=-1, limit=10_000)

    async def chunk_states(self, job: JobInput) -> list[ChunkState]:
        return [chunk.state for chunk in await self.chunks(job)]

    async def until_state(self, job: JobInput, index: int, state: ChunkState) -> None:
        """Wait until the chunk is recorded to be in this state."""

        async def is_reached() -> bool:
            chunk = await ours(self.ledger).chunks.find(job.job.id, index)
            return chunk is not None and chunk.state is state

        await until(is_reached)

    def child(self, job: JobInput, index: int) -> Handle:
        return self.client.get_workflow_handle(chunk_workflow_id(job.job.id, index))

    def shard(self, job: JobInput, number: int) -> Handle:
        return self.client.get_workflow_handle(shard_workflow_id(job.job.id, number))

    async def status(self, handle: Handle) -> WorkflowExecutionStatus | None:
        """Where a workflow stands."""
        return (await handle.describe()).status


def binary(name: str) -> str:
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    assert found is not None, f"{name} is not installed"
    return found
