"""The client on schedules: what it sends, and how it reads what comes back."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from fanfold import Fanfold, FanfoldError, Refused, Schedule
from tests.unit.either_client import Connect
from tests.unit.gateway_double import Answer, serving
from tests.unit.test_client import always, parameters

AT = "2026-11-22T01:00:00.000Z"
LISTED: dict[str, Any] = {
    "name": "nightly",
    "cron": "0 3 * * *",
    "every_seconds": None,
    "time_zone": "Europe/Helsinki",
    "paused": False,
    "note": None,
    "next_runs": [AT],
    "last_run_at": None,
    "links": {"self": "/schedules/nightly", "jobs": "/schedules/nightly/jobs"},
}
WHOLE: dict[str, Any] = {
    **LISTED,
    "overlap": "skip",
    "created_at": AT,
    "counts": {"started": 1, "skipped": 0, "missed": 0},
    "runs": [
        {"scheduled_at": AT, "started_at": AT, "job": "job_1", "error": None, "workflow_id": "w"}
    ],
    "job": {"items": [1], "processor": "double"},
}


def test_a_schedule_is_made_of_a_name_a_job_and_when(connect: Connect) -> None:
    with serving(always(WHOLE, 201)) as server, connect(server.url) as fanfold:
        made = fanfold.create_schedule(
            "nightly", {"items": ["\u00fc"]}, cron="0 3 * * *", time_zone="Europe/Helsinki"
        )
        fanfold.create_schedule("hourly", b'{"items": [1e5] }', every_seconds=3600, paused=True)
    first, second = server.asked
    assert (first.method, first.path) == ("POST", "/schedules")
    assert first.headers["content-type"] == "application/json"
    assert json.loads(first.body) == {
        "name": "nightly",
        "cron": "0 3 * * *",
        "time_zone": "Europe/Helsinki",
        "job": {"items": ["\u00fc"]},
    }
    assert b'"job":{"items": [1e5] }}' in second.body
    assert json.loads(second.body)["every_seconds"] == 3600
    assert (made.name, made.runs[0].job, made.job) == ("nightly", "job_1", WHOLE["job"])
    assert made.model_dump(mode="json", exclude_unset=True) == WHOLE


@pytest.mark.parametrize(
    ("call", "method", "path"),
    [
        (lambda fanfold: fanfold.schedule("nightly"), "GET", "/schedules/nightly"),
        (lambda fanfold: fanfold.pause_schedule("a/b"), "POST", "/schedules/a%2Fb/pause"),
        (lambda fanfold: fanfold.resume_schedule("nightly"), "POST", "/schedules/nightly/resume"),
        (lambda fanfold: fanfold.run_schedule("nightly"), "POST", "/schedules/nightly/run"),
    ],
)
def test_each_control_is_one_request_and_gives_the_schedule(
    connect: Connect, call: Callable[[Fanfold], Schedule], method: str, path: str
) -> None:
    with serving(always(WHOLE)) as server, connect(server.url) as fanfold:
        assert call(fanfold).overlap == "skip"
    (asked,) = server.asked
    assert (asked.method, asked.path) == (method, path)


def test_a_schedule_is_deleted_without_an_answer(connect: Connect) -> None:
    with serving(lambda _: Answer(204, raw=b"")) as server, connect(server.url) as fanfold:
        fanfold.delete_schedule("nightly")
    assert (server.asked[0].method, server.asked[0].path) == ("DELETE", "/schedules/nightly")


def test_schedules_are_read_page_by_page(connect: Connect) -> None:
    pages = [
        Answer(200, {"schedules": [LISTED, LISTED], "next_cursor": "more"}),
        Answer(200, {"schedules": [LISTED]}),
    ]
    with serving(lambda _: pages.pop(0)) as server, connect(server.url) as fanfold:
        listed = list(fanfold.schedules(limit=3))
    assert [parameters(asked) for asked in server.asked] == [
        [("limit", "3")],
        [("limit", "1"), ("cursor", "more")],
    ]
    assert [(one.overlap, one.runs, one.job) for one in listed] == [(None, [], None)] * 3


def test_an_empty_name_is_sent_nowhere_and_a_refusal_is_raised(connect: Connect) -> None:
    problem = {"code": "schedule_not_found", "detail": "There is no schedule of this name."}
    with serving(always(problem, 404)) as server, connect(server.url) as fanfold:
        with pytest.raises(FanfoldError, match="name of the schedule is empty"):
            fanfold.schedule("")
        assert server.asked == []
        with pytest.raises(Refused) as refused:
            fanfold.schedule("nightly")
    assert refused.value.code == "schedule_not_found"
