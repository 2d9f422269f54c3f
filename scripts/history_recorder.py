"""A scenario of scripts/record_histories.py, and what runs it on a real server."""

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle

from fanfold.contract.job_spec import (
    Controls,
    Execution,
    JobSpec,
    OnFailure,
    Order,
    StageSpec,
    ToleranceSpec,
)
from fanfold.contract.names import (
    CHANGED,
    CHUNK_WORKFLOW,
    DEFAULT_TENANT,
    JOB_WORKFLOW,
    LOOK_AT_JOB,
    SHARD_WORKFLOW,
    JobId,
    chunk_workflow_id,
    job_task_queue,
    new_job_id,
    shard_workflow_id,
)
from fanfold.contract.plan import Tuning
from fanfold.contract.states import JobState
from fanfold.contract.wire import JobInput, JobRef, Pace
from fanfold.ledger.connect import Ledger, TenantLedger
from fanfold.ledger.jobs import Terms
from fanfold.ledger.recording import NewJob, NewSubJob
from fanfold.ledger.records import JobRecord, NewChunk
from scripts.history_files import write

HISTORIES = Path(__file__).parents[1] / "tests" / "replay" / "histories"
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
    keeps_first_job: bool = False
    """Whether the history of the first sub-job is kept beside the job's: its last one."""
    execution: Execution = Execution.WORKFLOW
    tuning: Tuning = field(default_factory=Tuning)
    max_concurrency: int = 2
    tolerated_failures: ToleranceSpec | None = None
    reducer: str | None = "collect"
    on_failure: OnFailure = OnFailure.RECORD
    max_per_second: float | None = None
    deadline_seconds: float | None = None
    quick_streak: int = 0
    jobs: Sequence["Scenario"] = ()
    """What the job is made of, each by its name."""
    order: Order = Order.PARALLEL
    has_previous_input: bool = False
    when: str | None = None
    compensate: StageSpec | None = None
    looks_late: bool = False
    """Whether the job is told of a change at its start, and has seen it a while after that."""
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

    def begin(self) -> None:
        """Begin a scenario: nothing has happened in it yet."""
        for event in (self.is_waiting, self.may_go_on, self.has_passed):
            event.clear()

    async def record(self, scenario: Scenario) -> None:
        """Run the scenario to its end; write the histories of its job and of its chunk."""
        self.begin()
        job = await self._record_job(scenario)
        with self._looking_late() if scenario.looks_late else nullcontext():
            handle = await self.client.start_workflow(
                JOB_WORKFLOW,
                job,
                id=job.job.id,
                task_queue=job_task_queue(self.ledger.id),
                start_signal=CHANGED if scenario.looks_late else None,
            )
            if scenario.disturb is not None:
                if scenario.on_failure is OnFailure.RECORD:
                    await self.is_waiting.wait()
                await scenario.disturb(self, job.job.id)
            await _until_closed(handle)
        await self._write(handle.id, f"{JOB_WORKFLOW}__{scenario.name}")
        if scenario.shard is not None:
            shard_id = shard_workflow_id(job.job.id, scenario.shard)
            await self._write(shard_id, f"{SHARD_WORKFLOW}__{scenario.name}")
        if scenario.keeps_first_job:
            first, *_ = await self._ours.jobs.sub_jobs(job.job.id, limit=1)
            await self._write(first.id, f"{JOB_WORKFLOW}__{scenario.name}_below")
        if scenario.chunk is not None:
            child_id = chunk_workflow_id(job.job.id, scenario.chunk)
            await self._write(child_id, f"{CHUNK_WORKFLOW}__{scenario.name}")

    async def cancel(self, job_id: JobId) -> None:
        """Cancel as the gateway does."""
        await self.ledger.of(DEFAULT_TENANT).jobs.request_cancel(job_id)
        await self.client.get_workflow_handle(job_id).cancel()

    async def pause_and_resume(self, job_id: JobId) -> None:
        """Pause while a chunk runs, let that finish, and resume once the job rests."""
        await self._ours.steering.pause(job_id)
        self.may_go_on.set()
        await self._until(job_id, lambda job: not job.counts.running)
        # Its workflow comes to rest.
        await asyncio.sleep(0.5)
        await self._ours.steering.resume(job_id)
        await self._tell(job_id)

    async def release(self, job_id: JobId) -> None:
        """Let the job wait with what is held, then release it."""
        await self._until(job_id, lambda job: job.state is JobState.WAITING)
        await self._ours.steering.release(job_id)
        await self._tell(job_id)

    async def narrow_and_widen(self, job_id: JobId) -> None:
        """Have one slot, then all of them again."""
        for slots in (1, 4):
            job = await self._job(job_id)
            controls = dataclasses.replace(job.controls, max_concurrency=slots)
            await self._ours.steering.change(job_id, job.revision, job.spec, controls, None)
            await self._tell(job_id)
            await asyncio.sleep(1.5)
        self.may_go_on.set()

    async def drain(self, job_id: JobId) -> None:
        """Cancel, and let finish what has begun."""
        await self._ours.jobs.request_cancel(job_id, is_draining=True)
        await self._tell(job_id)
        await asyncio.sleep(1.5)
        self.may_go_on.set()

    async def cancel_first_child(self, job_id: JobId) -> None:
        """Cancel the chunk that runs, and no other."""
        await self._ours.steering.cancel_child(job_id, 0)
        await self._tell(job_id)

    async def wait_for_the_deadline(self, _: JobId) -> None:
        """Do nothing: the chunk that runs does not come to its end."""

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

    async def terminate_first_job(self, job_id: JobId) -> None:
        """The same, to a sub-job."""
        first, *_ = await self._ours.jobs.sub_jobs(job_id, limit=1)
        await self.client.get_workflow_handle(first.id).terminate("by hand")

    async def terminate_first_child(self, job_id: JobId) -> None:
        """Do what somebody could do in Temporal's own UI."""
        await self.client.get_workflow_handle(chunk_workflow_id(job_id, 0)).terminate("by hand")

    @contextmanager
    def _looking_late(self) -> Iterator[None]:
        """Have a job's look at the ledger take longer than all else of its first step."""
        jobs = self._ours.jobs
        read = jobs.terms

        async def read_late(job_id: JobId) -> Terms | None:
            if activity.info().activity_type == LOOK_AT_JOB:
                await asyncio.sleep(0.5)
            return await read(job_id)

        jobs.terms = read_late  # type: ignore[method-assign]
        try:
            yield
        finally:
            jobs.terms = read  # type: ignore[method-assign]

    @property
    def _ours(self) -> TenantLedger:
        return self.ledger.of(DEFAULT_TENANT)

    async def _job(self, job_id: JobId) -> JobRecord:
        job = await self._ours.jobs.find(job_id)
        if job is None:
            raise LookupError(job_id)
        return job

    async def _until(self, job_id: JobId, condition: Callable[[JobRecord], bool]) -> None:
        while not condition(await self._job(job_id)):  # noqa: ASYNC110 - the ledger does not tell
            await asyncio.sleep(0.02)

    async def _tell(self, job_id: JobId) -> None:
        """Tell the job's workflow that something has changed, as the gateway does."""
        await self.client.get_workflow_handle(job_id).signal(CHANGED)

    async def _record_job(self, scenario: Scenario) -> JobInput:
        spec, controls, chunks = _spec(scenario), _controls(scenario), _chunks(scenario)
        job_id = new_job_id()
        jobs = [
            NewSubJob(
                id=new_job_id(),
                name=each.name,
                spec=_spec(each),
                controls=_controls(each),
                data=_chunks(each) or None,
            )
            for each in scenario.jobs
        ]
        job = NewJob(id=job_id, spec=spec, controls=controls, jobs=jobs)
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


def _spec(scenario: Scenario) -> JobSpec:
    return JobSpec(
        stages=scenario.stages,
        is_staged=len(scenario.stages) > 1,
        reducer=scenario.reducer,
        execution=scenario.execution,
        on_failure=scenario.on_failure,
        order=scenario.order if scenario.jobs else None,
        has_previous_input=scenario.has_previous_input,
        when=scenario.when,
        compensate=scenario.compensate,
    )


def _controls(scenario: Scenario) -> Controls:
    return Controls(
        max_concurrency=scenario.max_concurrency,
        tolerated_failures=scenario.tolerated_failures,
        max_per_second=scenario.max_per_second,
        deadline_seconds=scenario.deadline_seconds,
    )


def _chunks(scenario: Scenario) -> list[NewChunk]:
    items = [[one] if isinstance(one, int) else list(one) for one in scenario.values]
    return [NewChunk(item_count=len(of), body=json.dumps(of).encode()) for of in items]


async def _until_closed(handle: WorkflowHandle[Any, Any]) -> None:
    try:
        await handle.result()
    except WorkflowFailureError:
        return  # cancelled, as the scenario has it
