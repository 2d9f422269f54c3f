"""Schedules as the gateway keeps them in Temporal, on a real server."""

import json
from typing import Any

import pytest

from fanfold.app.temporal.schedules import (
    Found,
    NewSchedule,
    NoSuchSchedule,
    ScheduleExists,
    Schedules,
    StillRunning,
    Times,
    TimesRefused,
)
from fanfold.contract.states import JobState
from fanfold.contract.submissions import MOST_BYTES
from tests.ledger.jobs_recorded import found, ours
from tests.workflows.gate import Gate
from tests.workflows.running import Fanfold, until
from tests.workflows.submitting import BODY, GATED, QUEUE

pytestmark = pytest.mark.anyio

NIGHTLY = Times(cron="0 3 * * *", every_seconds=None, time_zone="Europe/Helsinki")


@pytest.fixture
def fanfold(fanfold_on_dev_server: Fanfold) -> Fanfold:
    """The time-skipping server has no schedules."""
    return fanfold_on_dev_server


@pytest.fixture
def schedules(fanfold: Fanfold) -> Schedules:
    return Schedules(fanfold.client, fanfold.ledger.id, QUEUE)


def new(name: str = "nightly", body: Any = BODY, **other: Any) -> NewSchedule:
    given: dict[str, Any] = {
        "times": NIGHTLY,
        "overlap": "skip",
        "is_paused": False,
        "note": None,
        **other,
    }
    return NewSchedule(name=name, job=json.dumps(body).encode(), **given)


async def ran(schedules: Schedules, name: str, count: int = 1) -> Found:
    """The schedule, once so many of its runs have come to something."""
    seen: list[Found] = []

    async def has_run() -> bool:
        seen.append(await schedules.find(name))
        runs = seen[-1].runs
        return len(runs) == count and all(run.job or run.error for run in runs)

    await until(has_run)
    return seen[-1]


@pytest.mark.parametrize(
    ("times", "shown"),
    [
        (NIGHTLY, NIGHTLY),
        (
            Times(cron="*/5 * * * 1-5 # often", every_seconds=None, time_zone=None),
            Times(cron="*/5 * * * 1-5 # often", every_seconds=None, time_zone=None),
        ),
        (
            Times(cron="@daily", every_seconds=None, time_zone=None),
            Times(cron="@daily", every_seconds=None, time_zone=None),
        ),
        (
            Times(cron="@every 90s", every_seconds=None, time_zone=None),
            Times(cron=None, every_seconds=90, time_zone=None),
        ),
        (
            Times(cron=None, every_seconds=3600, time_zone=None),
            Times(cron=None, every_seconds=3600, time_zone=None),
        ),
    ],
)
async def test_a_schedule_is_shown_as_it_was_asked_for(
    schedules: Schedules, times: Times, shown: Times
) -> None:
    await schedules.create(new(times=times, overlap="allow_all", is_paused=True, note="for now"))
    one = await schedules.find("nightly")
    assert (one.times, one.overlap, one.is_paused, one.note) == (
        shown,
        "allow_all",
        True,
        "for now",
    )
    assert json.loads(one.job) == BODY
    assert len(one.next_runs) == 10
    assert (one.runs, one.last_run_at, one.started) == ([], None, 0)


@pytest.mark.parametrize(
    ("times", "words", "is_about_zone"),
    [
        (Times(cron="0 3 * *", every_seconds=None, time_zone=None), "5-7 fields", False),
        (Times(cron="0 99 * * *", every_seconds=None, time_zone=None), "Hour is not in", False),
        (Times(cron="0 3 * * *", every_seconds=None, time_zone="Mars"), "unknown time zone", True),
    ],
)
async def test_times_that_temporal_cannot_read_are_refused(
    schedules: Schedules, times: Times, words: str, is_about_zone: bool
) -> None:
    with pytest.raises(TimesRefused, match=words) as refused:
        await schedules.create(new(times=times))
    assert refused.value.is_about_zone is is_about_zone
    with pytest.raises(NoSuchSchedule):
        await schedules.find("nightly")


async def test_a_name_is_taken_once(schedules: Schedules) -> None:
    await schedules.create(new())
    with pytest.raises(ScheduleExists):
        await schedules.create(new())


async def test_what_is_not_there_cannot_be_steered(schedules: Schedules) -> None:
    for asked in (schedules.pause, schedules.resume, schedules.run, schedules.delete):
        with pytest.raises(NoSuchSchedule):
            await asked("nightly")


async def test_a_pause_keeps_the_note_and_may_be_asked_for_twice(schedules: Schedules) -> None:
    await schedules.create(new("noted", note="for the data team"))
    await schedules.create(new("plain"))
    for name, note in (("noted", "for the data team"), ("plain", None)):
        for asked, is_paused in ((schedules.pause, True), (schedules.resume, False)) * 2:
            await asked(name)
            await asked(name)
            one = await schedules.find(name)
            assert (one.is_paused, one.note) == (is_paused, note)


async def test_schedules_are_listed_page_by_page_and_those_of_other_ledgers_are_not(
    fanfold: Fanfold, schedules: Schedules
) -> None:
    elsewhere = Schedules(fanfold.client, f"{fanfold.ledger.id}x", QUEUE)
    names = [f"schedule-{number}" for number in range(5)]
    for name in names:
        await schedules.create(new(name, is_paused=name == "schedule-3"))
        await elsewhere.create(new(name))
    await elsewhere.delete("schedule-0")

    async def are_listed() -> bool:
        return len((await schedules.page(10, None))[0]) == 5

    await until(are_listed)
    first, after = await schedules.page(3, None)
    assert after is not None
    others, _ = await schedules.page(3, after)
    assert [one.name for one in (*first, *others)] == names[::-1]
    assert [one.is_paused for one in (*first, *others)] == [False, True, False, False, False]
    assert {one.times for one in first} == {NIGHTLY}
    assert len(first[0].next_runs) > 1


async def test_a_run_names_its_job_and_each_one_is_another(
    fanfold: Fanfold, schedules: Schedules
) -> None:
    await schedules.create(new())
    async with fanfold.working():
        await schedules.run("nightly")
        await ran(schedules, "nightly")
        await until(lambda: is_idle(schedules, "nightly"))
        await schedules.run("nightly")
        one = await ran(schedules, "nightly", 2)
    newest, oldest = one.runs
    assert newest.started_at == one.last_run_at
    assert newest.started_at > oldest.started_at
    assert newest.workflow_id.startswith(f"fanfold-{fanfold.ledger.id}-nightly-")
    assert newest.job is not None
    assert oldest.job is not None
    assert oldest.job < newest.job
    assert (await found(fanfold.ledger, oldest.job)).state is JobState.SUCCEEDED
    assert one.started == 2


async def is_idle(schedules: Schedules, name: str) -> bool:
    """Whether its job may be submitted again."""
    description = await schedules._describe(name)
    return not description.info.running_actions


async def test_a_run_whose_job_is_refused_says_why(fanfold: Fanfold, schedules: Schedules) -> None:
    await schedules.create(new(body={**BODY, "nope": 1}))
    async with fanfold.working():
        await schedules.run("nightly")
        (run,) = (await ran(schedules, "nightly")).runs
    assert run.job is None
    assert run.error is not None
    assert run.error.startswith("/nope: unknown field")


async def test_a_schedule_that_skips_is_not_run_beside_itself(
    fanfold: Fanfold, schedules: Schedules
) -> None:
    gate = Gate()
    await schedules.create(new(body=GATED))
    async with fanfold.working(gate.gate), gate:
        await schedules.run("nightly")
        await gate.until_inside(0, 1)
        with pytest.raises(StillRunning):
            await schedules.run("nightly")


@pytest.mark.parametrize("overlap", ["cancel_other", "terminate_other"])
async def test_the_job_before_is_stopped_where_the_policy_says_so(
    fanfold: Fanfold, schedules: Schedules, overlap: str
) -> None:
    gate = Gate()
    await schedules.create(new(body=GATED, overlap=overlap))
    async with fanfold.working(gate.gate), gate:
        await schedules.run("nightly")
        await gate.until_inside(0, 1)
        await schedules.run("nightly")
        await gate.until_begun(4)
        gate.open()
        one = await ran(schedules, "nightly", 2)

        async def are_finished() -> bool:
            jobs = await ours(fanfold.ledger).jobs.page(state=None, labels={}, before=None, limit=3)
            return [job.state for job in jobs] == ["succeeded", "cancelled"]

        await until(are_finished)
    assert len({run.job for run in one.runs}) == 2


async def test_the_largest_job_that_is_taken_runs(fanfold: Fanfold, schedules: Schedules) -> None:
    body = {"items": [""], "processor": "transform"}
    body["items"] = ["x" * (MOST_BYTES - len(json.dumps(body)))]
    await schedules.create(new(body=body))
    async with fanfold.working(max_item_bytes=MOST_BYTES):
        await schedules.run("nightly")
        (run,) = (await ran(schedules, "nightly")).runs
    assert run.job is not None
