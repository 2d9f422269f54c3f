"""The JSON of schedules, as docs/http.md has it."""

from collections.abc import Sequence
from typing import Any

from pydantic import ConfigDict, Field

from fanfold.answers.rendering import with_fields
from fanfold.answers.views import Moment, View
from fanfold.app.temporal.schedules import Found, Listed, Run


class ScheduleLinksView(View):
    """Where to go from here."""

    self: str
    jobs: str


class ScheduleSummary(View):
    """A schedule, as listings have it."""

    name: str
    cron: str | None = Field(
        description="Null of one with an interval, and of one that was given other times in "
        "Temporal itself."
    )
    every_seconds: float | None
    time_zone: str | None = Field(description="Null: UTC.")
    paused: bool
    note: str | None
    next_runs: list[Moment] = Field(
        description="The next times, at most 10, in listings 5; also while it is paused."
    )
    last_run_at: Moment | None
    links: ScheduleLinksView


class ScheduleCountsView(View):
    """How often it was time."""

    started: int
    skipped: int = Field(description="Since the job before had not finished.")
    missed: int = Field(description="Since Temporal was away for too long.")


class ScheduleRunView(View):
    """One time that a schedule has submitted its job."""

    scheduled_at: Moment
    started_at: Moment
    job: str | None = Field(
        description="The id of the job; null until it is recorded, where it was refused, and once "
        "Temporal has forgotten the run."
    )
    error: str | None = Field(description="Why the job was not recorded.")
    workflow_id: str = Field(description="Of `SubmitJob`, in Temporal.")


class ScheduleView(ScheduleSummary):
    """A schedule."""

    model_config = ConfigDict(title="Schedule")

    overlap: str
    created_at: Moment
    counts: ScheduleCountsView
    runs: list[ScheduleRunView] = Field(description="The last ones, newest first, at most 10.")
    job: Any = Field(description="The job that it submits, as it was given.")


class SchedulePageView(View):
    """A page of schedules, newest first."""

    model_config = ConfigDict(title="SchedulePage")

    schedules: list[ScheduleSummary]
    next_cursor: str | None = Field(default=None, description="Absent on the last page.")


def schedule_json(schedule: Found, job: bytes) -> bytes:
    """The JSON text of a ScheduleView."""
    head = {
        **_summary(schedule),
        "overlap": schedule.overlap,
        "created_at": schedule.created_at,
        "counts": ScheduleCountsView(
            started=schedule.started, skipped=schedule.skipped, missed=schedule.missed
        ),
        "runs": [_run(run) for run in schedule.runs],
    }
    text = ScheduleView(**head, job=None).model_dump_json(exclude={"job"}).encode()
    return with_fields(text, {"job": job})


def schedule_page(schedules: Sequence[Listed], next_cursor: str | None) -> SchedulePageView:
    """A page for clients."""
    listed = [ScheduleSummary(**_summary(schedule)) for schedule in schedules]
    if next_cursor is None:
        return SchedulePageView(schedules=listed)
    return SchedulePageView(schedules=listed, next_cursor=next_cursor)


def _summary(schedule: Listed) -> dict[str, Any]:
    address = f"/schedules/{schedule.name}"
    return {
        "name": schedule.name,
        "cron": schedule.times.cron,
        "every_seconds": schedule.times.every_seconds,
        "time_zone": schedule.times.time_zone,
        "paused": schedule.is_paused,
        "note": schedule.note,
        "next_runs": list(schedule.next_runs),
        "last_run_at": schedule.last_run_at,
        "links": ScheduleLinksView(self=address, jobs=f"{address}/jobs"),
    }


def _run(run: Run) -> ScheduleRunView:
    return ScheduleRunView(
        scheduled_at=run.scheduled_at,
        started_at=run.started_at,
        job=run.job,
        error=run.error,
        workflow_id=run.workflow_id,
    )
