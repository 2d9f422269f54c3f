"""Schedules as the gateway answers them; `models.py` says what holds for all answers."""

from typing import Any

from pydantic import Field

from fanfold.client.models import Answer, Moment


class ScheduleRun(Answer):
    """One time that a schedule has submitted its job."""

    scheduled_at: Moment
    started_at: Moment
    job: str | None
    """The id of the job; None until it is recorded, and where it was refused."""
    error: str | None
    """Why it was refused."""
    workflow_id: str


class ScheduleCounts(Answer):
    """How often it was time."""

    started: int
    skipped: int
    """Since the job before had not finished."""
    missed: int
    """Since Temporal was away for too long."""


class Schedule(Answer):
    """A job that is submitted again and again. Listings leave out what has a default here."""

    name: str
    cron: str | None
    every_seconds: float | None
    time_zone: str | None
    paused: bool
    note: str | None
    next_runs: list[Moment]
    last_run_at: Moment | None
    overlap: str | None = None
    """What happens when it is time, and the job before has not finished."""
    created_at: Moment | None = None
    counts: ScheduleCounts | None = None
    runs: list[ScheduleRun] = Field(default_factory=list)
    """The last ones, newest first."""
    job: dict[str, Any] | None = None
    """The job as it was given."""
