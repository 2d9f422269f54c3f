"""The calls on schedules. No I/O happens here."""

from typing import TypedDict
from urllib.parse import quote

from fanfold.client.calls import JobBody, job_text
from fanfold.client.errors import FanfoldError
from fanfold.client.exchange import Call, Page, listing, reader
from fanfold.client.schedule_models import Schedule
from fanfold.client.transfer import json_text


class ScheduleOptions(TypedDict, total=False):
    """When a schedule submits its job: by `cron` or `every_seconds`, one of them."""

    cron: str
    every_seconds: int
    time_zone: str
    """Of `cron`, like Europe/Helsinki; by default UTC."""
    overlap: str
    """What happens when the job before has not finished: skip, which is the default, buffer_one,
    buffer_all, cancel_other, terminate_other or allow_all."""
    paused: bool
    note: str


def create(name: str, job: JobBody, options: ScheduleOptions) -> Call[Schedule]:
    """Make a schedule."""
    head = json_text({"name": name, **options})
    return Call(
        method="POST",
        path="/schedules",
        reader=reader(Schedule),
        headers={"Content-Type": "application/json"},
        # As it is: a job that came as text is sent as that text.
        content=b'%b,"job":%b}' % (head[:-1], job_text(job)),
    )


def schedules(limit: int | None) -> Call[Page[Schedule]] | None:
    """A page of schedules."""
    return listing("/schedules", Schedule, "schedules", [], limit)


def schedule(name: str) -> Call[Schedule]:
    """One schedule."""
    return Call(method="GET", path=_path(name), reader=reader(Schedule))


def pause(name: str) -> Call[Schedule]:
    """Let it submit nothing."""
    return _told(name, "pause")


def resume(name: str) -> Call[Schedule]:
    """Let it go on."""
    return _told(name, "resume")


def run(name: str) -> Call[Schedule]:
    """Submit its job now."""
    return _told(name, "run")


def delete(name: str) -> Call[None]:
    """Delete it."""
    return Call(method="DELETE", path=_path(name), reader=lambda _: None)


def _told(name: str, what: str) -> Call[Schedule]:
    return Call(method="POST", path=f"{_path(name)}/{what}", reader=reader(Schedule))


def _path(name: str) -> str:
    if not name:
        raise FanfoldError("the name of the schedule is empty")
    return f"/schedules/{quote(name, safe='')}"
