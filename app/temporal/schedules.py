"""Schedules of jobs: Temporal's own, each of which starts `SubmitJob` with the body of a job.

Nothing of them is kept anywhere else. A schedule's id in Temporal begins with the ledger's, so
that those of two ledgers in one namespace do not mix.
"""

import asyncio
import re
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from temporalio.api.common.v1 import Payload
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionResult,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleDescription,
    ScheduleHandle,
    ScheduleIntervalSpec,
    ScheduleListSchedule,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
    WorkflowExecutionStatus,
    WorkflowFailureError,
)
from temporalio.service import RPCError, RPCStatusCode

from fanfold.app.temporal.calls import RPC_TIMEOUT, CallRefused, NoSuchWorkflow, call
from fanfold.contract.names import SUBMIT_JOB, JobId

Answer = TypeVar("Answer")

# Temporal puts a note of its own where there is none.
_NO_NOTE: Final = "paused or resumed by Fanfold"
_INVALID_SPEC: Final = re.compile(r"^Invalid schedule spec: ")


class ScheduleExists(Exception):
    """There is a schedule of this name already."""


class NoSuchSchedule(Exception):
    """There is no schedule of this name."""


class StillRunning(Exception):
    """A job of the schedule is under way, and its policy is to skip then."""


class TimesRefused(Exception):
    """Temporal cannot read the times of a schedule; the message says why."""

    def __init__(self, message: str) -> None:
        """Take what Temporal said."""
        self.is_about_zone = "time zone" in message or "timezone" in message
        super().__init__(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """When a schedule submits its job: a cron expression or an interval; neither of a foreign one.

    Somebody may have given it other times in Temporal itself.
    """

    cron: str | None
    every_seconds: float | None
    time_zone: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSchedule:
    """A schedule to be made."""

    name: str
    times: Times
    overlap: str
    """One of Temporal's policies, in lower case."""
    job: bytes
    """The body of the job, as JSON text."""
    is_paused: bool
    note: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A schedule as Temporal lists it."""

    name: str
    times: Times
    is_paused: bool
    note: str | None
    next_runs: Sequence[datetime]
    last_run_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One time that a schedule has submitted its job, or tried to."""

    scheduled_at: datetime
    started_at: datetime
    workflow_id: str
    job: JobId | None
    """None where it was not recorded, or where Temporal does not know any more."""
    error: str | None
    """Why it was not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Listed):
    """All that there is to know of a schedule."""

    overlap: str
    job: bytes
    created_at: datetime
    started: int
    skipped: int
    """How often it did not submit its job, since the one before was under way."""
    missed: int
    """How often it did not since Temporal was away for too long."""
    runs: Sequence[Run]
    """The last ones, newest first."""


class Schedules:
    """Operations on schedules.

    Every method raises TemporalUnavailable or CallRefused; where there is no schedule of the
    name, NoSuchSchedule.
    """

    def __init__(self, client: Client, ledger_id: str, submit_queue: str) -> None:
        """Take the client, which may be a lazy one, and where `SubmitJob` is run."""
        self._client = client
        self._prefix = f"fanfold-{ledger_id}-"
        self._submit_queue = submit_queue

    async def create(self, new: NewSchedule) -> None:
        """Make a schedule; raises ScheduleExists or TimesRefused."""
        schedule_id = self._prefix + new.name
        schedule = Schedule(
            action=ScheduleActionStartWorkflow(
                SUBMIT_JOB,
                args=[Payload(metadata={"encoding": b"json/plain"}, data=new.job)],
                id=schedule_id,  # Temporal adds the time
                task_queue=self._submit_queue,
            ),
            spec=_spec(new.times),
            policy=SchedulePolicy(overlap=ScheduleOverlapPolicy[new.overlap.upper()]),
            state=ScheduleState(paused=new.is_paused, note=new.note),
        )
        creating = self._client.create_schedule(schedule_id, schedule, rpc_timeout=RPC_TIMEOUT)
        try:
            await call(creating)
        except ScheduleAlreadyRunningError:
            raise ScheduleExists from None
        except CallRefused as refused:
            if _is_invalid(refused):
                cause = str(refused.__cause__)
                raise TimesRefused(_INVALID_SPEC.sub("", cause)) from None
            raise

    async def find(self, name: str) -> Found:
        """A schedule, with its last runs."""
        description = await self._describe(name)
        listed = _listed(
            name, description.schedule, description.info.next_action_times, _last(description)
        )
        action, info = description.schedule.action, description.info
        assert isinstance(action, ScheduleActionStartWorkflow)  # noqa: S101 - there is no other
        return Found(
            name=listed.name,
            times=listed.times,
            is_paused=listed.is_paused,
            note=listed.note,
            next_runs=listed.next_runs,
            last_run_at=listed.last_run_at,
            overlap=description.schedule.policy.overlap.name.lower(),
            job=action.args[0].data if action.args else b"null",
            created_at=info.created_at,
            started=info.num_actions,
            skipped=info.num_actions_skipped_overlap,
            missed=info.num_actions_missed_catchup_window,
            runs=await asyncio.gather(*map(self._run, reversed(info.recent_actions))),
        )

    async def page(self, limit: int, after: str | None) -> tuple[list[Listed], str | None]:
        """At most so many schedules, newest first, and where the next ones begin.

        As Temporal's own listing it may be a moment behind.
        """
        found = await self._client.list_schedules(
            f'ScheduleId STARTS_WITH "{self._prefix}"',
            page_size=limit,
            next_page_token=after.encode("latin-1") if after is not None else None,
            rpc_timeout=RPC_TIMEOUT,
        )
        await call(found.fetch_next_page())
        schedules: list[Listed] = []
        for entry in found.current_page or ():
            if entry.schedule is not None and entry.info is not None:
                recent = entry.info.recent_actions
                last = recent[-1].started_at if recent else None
                name = entry.id.removeprefix(self._prefix)
                times = entry.info.next_action_times
                schedules.append(_listed(name, entry.schedule, times, last))
        token = found.next_page_token
        return schedules, token.decode("latin-1") if token else None

    async def pause(self, name: str) -> None:
        """Submit nothing from now on. Done again, nothing changes."""
        note = (await self._describe(name)).schedule.state.note or _NO_NOTE
        await self._ask(self._handle(name).pause(note=note, rpc_timeout=RPC_TIMEOUT))

    async def resume(self, name: str) -> None:
        """Let it go on. Done again, nothing changes."""
        note = (await self._describe(name)).schedule.state.note or _NO_NOTE
        await self._ask(self._handle(name).unpause(note=note, rpc_timeout=RPC_TIMEOUT))

    async def run(self, name: str) -> None:
        """Submit its job now, as its policy allows; raises StillRunning."""
        description = await self._describe(name)
        is_skipping = description.schedule.policy.overlap is ScheduleOverlapPolicy.SKIP
        if is_skipping and description.info.running_actions:
            raise StillRunning
        await self._ask(self._handle(name).trigger(rpc_timeout=RPC_TIMEOUT))

    async def delete(self, name: str) -> None:
        """Delete it; jobs of it that run go on."""
        await self._ask(self._handle(name).delete(rpc_timeout=RPC_TIMEOUT))

    def _handle(self, name: str) -> ScheduleHandle:
        return self._client.get_schedule_handle(self._prefix + name)

    async def _describe(self, name: str) -> ScheduleDescription:
        return await self._ask(self._handle(name).describe(rpc_timeout=RPC_TIMEOUT))

    async def _ask(self, asked: Awaitable[Answer]) -> Answer:
        try:
            return await call(asked)
        except NoSuchWorkflow:
            raise NoSuchSchedule from None

    async def _run(self, result: ScheduleActionResult) -> Run:
        """What came of an action, by the memo that SubmitJob has left."""
        action = result.action
        assert isinstance(action, ScheduleActionExecutionStartWorkflow)  # noqa: S101 - likewise
        handle = self._client.get_workflow_handle(
            action.workflow_id, run_id=action.first_execution_run_id
        )
        job: JobId | None = None
        error: str | None = None
        try:
            found = await call(handle.describe(rpc_timeout=RPC_TIMEOUT))
            job = await found.memo_value("job", None)
            if job is None and found.status is WorkflowExecutionStatus.FAILED:
                await call(handle.result(rpc_timeout=RPC_TIMEOUT))
        except NoSuchWorkflow:
            pass  # it was long ago
        except WorkflowFailureError as failure:
            error = getattr(failure.cause, "message", str(failure.cause))
        return Run(
            scheduled_at=result.scheduled_at,
            started_at=result.started_at,
            workflow_id=action.workflow_id,
            job=job,
            error=error,
        )


def _spec(times: Times) -> ScheduleSpec:
    if times.every_seconds is not None:
        every = timedelta(seconds=times.every_seconds)
        return ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)])
    cron = times.cron or ""
    # Temporal keeps what it means, not the expression; but its comment, which says it here.
    expression = f"{cron.partition('#')[0]} #{cron}"
    return ScheduleSpec(cron_expressions=[expression], time_zone_name=times.time_zone)


def _listed(
    name: str,
    schedule: Schedule | ScheduleListSchedule,
    next_runs: Sequence[datetime],
    last_run_at: datetime | None,
) -> Listed:
    spec, note = schedule.spec, schedule.state.note
    every = spec.intervals[0].every.total_seconds() if spec.intervals else None
    return Listed(
        name=name,
        times=Times(
            cron=spec.calendars[0].comment if spec.calendars else None,
            every_seconds=every,
            time_zone=spec.time_zone_name,
        ),
        is_paused=schedule.state.paused,
        note=None if note == _NO_NOTE else note,
        next_runs=next_runs,
        last_run_at=last_run_at,
    )


def _last(description: ScheduleDescription) -> datetime | None:
    recent = description.info.recent_actions
    return recent[-1].started_at if recent else None


def _is_invalid(refused: CallRefused) -> bool:
    cause = refused.__cause__
    return isinstance(cause, RPCError) and cause.status is RPCStatusCode.INVALID_ARGUMENT
