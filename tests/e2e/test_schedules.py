"""Schedules over HTTP: a job that is submitted again and again."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fanfold.app.documentation import schedule_examples
from fanfold.devstack.running import RunningStack
from tests.e2e.gateway_alone import gateway_alone
from tests.e2e.journeys import begun, get
from tests.waiting import eventually

JOB: dict[str, Any] = {"items": [1, 2, 3], "processor": "double", "reducer": "sum"}
YEARLY: dict[str, Any] = {"cron": "0 0 1 1 *", "job": JOB}


@pytest.fixture
def name(api: httpx.Client, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a schedule that is gone at the end."""
    name = f"{request.node.name[:60]}-{time.time_ns()}".replace("[", "-").replace("]", "")
    yield name
    api.delete(f"/schedules/{name}")


def create(api: httpx.Client, name: str, **given: Any) -> dict[str, Any]:
    response = api.post("/schedules", json={"name": name, **YEARLY, **given})
    assert response.status_code == 201, response.text
    assert response.headers["location"] == f"/schedules/{name}"
    made: dict[str, Any] = response.json()
    return made


def shown(api: httpx.Client, name: str) -> dict[str, Any]:
    response = api.get(f"/schedules/{name}")
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def jobs_of(api: httpx.Client, name: str, *, state: str | None = None) -> list[dict[str, Any]]:
    page = api.get(f"/schedules/{name}/jobs").json()
    return [job for job in page["jobs"] if state in {None, job["state"]}]


def until_run(api: httpx.Client, name: str, count: int = 1) -> list[dict[str, Any]]:
    """Its jobs, newest first, once so many have succeeded."""

    def have_run() -> list[dict[str, Any]]:
        jobs = jobs_of(api, name, state="succeeded")
        return jobs if len(jobs) >= count else []

    return eventually(have_run, what=f"{count} jobs of {name} have succeeded")


def test_a_schedule_from_its_making_to_its_end(api: httpx.Client, name: str) -> None:
    job = {**JOB, "labels": {"team": "data"}, "options": {}, "name": 'a "job"'}
    made = create(api, name, job=job, time_zone="Europe/Helsinki", note="once a year")
    assert made["job"] == job
    assert made["cron"] == YEARLY["cron"]
    assert (made["every_seconds"], made["time_zone"]) == (None, "Europe/Helsinki")
    assert (made["overlap"], made["paused"], made["note"]) == ("skip", False, "once a year")
    assert made["next_runs"][0].endswith("-12-31T22:00:00.000Z")
    assert made["runs"] == []
    assert shown(api, name) == made

    listed = eventually(
        lambda: [one for one in api.get("/schedules").json()["schedules"] if one["name"] == name],
        what="the schedule is listed",
    )
    assert listed[0].pop("next_runs") == made["next_runs"][:5]
    assert listed == [{field: made[field] for field in listed[0]}]

    response = api.post(f"/schedules/{name}/run")
    assert response.status_code == 202
    (ran,) = until_run(api, name)
    assert ran["labels"] == {"team": "data", "schedule": name}
    assert get(api, ran["id"])["result"] == 12
    same = api.get("/jobs", params={"label": f"schedule:{name}"}).json()["jobs"]
    assert [one["id"] for one in same] == [ran["id"]]
    (run,) = shown(api, name)["runs"]
    assert (run["job"], run["error"]) == (ran["id"], None)
    assert shown(api, name)["counts"] == {"started": 1, "skipped": 0, "missed": 0}

    assert api.delete(f"/schedules/{name}").status_code == 204
    assert code(api.get(f"/schedules/{name}")) == (404, "schedule_not_found")
    assert [one["id"] for one in jobs_of(api, name)] == [ran["id"]]


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def test_an_interval_submits_a_job_each_time_until_it_is_paused(
    api: httpx.Client, name: str
) -> None:
    create(api, name, cron=None, every_seconds=1)
    jobs = until_run(api, name, 2)
    assert len({job["id"] for job in jobs}) == len(jobs)
    paused = api.post(f"/schedules/{name}/pause")
    assert (paused.status_code, paused.json()["paused"]) == (200, True)
    count = paused.json()["counts"]["started"]
    until_run(api, name, count)
    assert shown(api, name)["counts"]["started"] == count
    resumed = api.post(f"/schedules/{name}/resume")
    assert (resumed.status_code, resumed.json()["paused"]) == (200, False)
    until_run(api, name, count + 1)


def test_a_paused_schedule_can_be_run(api: httpx.Client, name: str) -> None:
    create(api, name, paused=True)
    assert api.post(f"/schedules/{name}/run").json()["paused"] is True
    until_run(api, name)


def test_a_job_that_runs_keeps_the_next_one_away_and_outlives_its_schedule(
    api: httpx.Client, name: str, gate: Path
) -> None:
    job = {"chunks": [[1]], "processor": "gated", "options": {"directory": str(gate)}}
    create(api, name, job=job)
    api.post(f"/schedules/{name}/run")
    eventually(lambda: begun(gate), what="its job runs")
    refused = api.post(f"/schedules/{name}/run")
    assert code(refused) == (409, "schedule_running")
    assert api.delete(f"/schedules/{name}").status_code == 204
    (gate / "open").touch()
    until_run(api, name)


def test_a_name_is_taken_once(api: httpx.Client, name: str) -> None:
    create(api, name)
    again = api.post("/schedules", json={"name": name, **YEARLY})
    assert code(again) == (409, "schedule_exists")


@pytest.mark.parametrize("example", schedule_examples.REQUESTS)
def test_the_documented_examples_make_schedules(api: httpx.Client, name: str, example: str) -> None:
    body = {**schedule_examples.REQUESTS[example]["value"], "name": name}
    response = api.post("/schedules", json=body)
    assert response.status_code == 201, response.text
    assert response.json().keys() == schedule_examples.SCHEDULE.keys()


@pytest.mark.parametrize("asked", ["pause", "resume", "run"])
@pytest.mark.parametrize("name", ["no-such-schedule", "what%20is%2F this", "x" * 2000])
def test_a_schedule_that_is_not_there_is_a_404(api: httpx.Client, name: str, asked: str) -> None:
    assert code(api.get(f"/schedules/{name}"))[0] == 404
    assert code(api.post(f"/schedules/{name}/{asked}"))[0] == 404
    assert code(api.delete(f"/schedules/{name}"))[0] == 404


@pytest.mark.parametrize(
    ("given", "expected", "place", "words"),
    [
        ({"cron": None}, "invalid_schedule", "", "give cron or every_seconds"),
        ({"every_seconds": 60}, "invalid_schedule", "", "only one of cron and every_seconds"),
        ({"cron": "0 3 * *"}, "invalid_schedule", "/cron", "does not have 5-7 fields"),
        ({"cron": "0 99 * * *"}, "invalid_schedule", "/cron", "Hour is not in range [0-23]"),
        ({"cron": None, "every_seconds": 0}, "invalid_schedule", "/every_seconds", "at least 1"),
        ({"time_zone": "Europe/Helsinky"}, "invalid_schedule", "/time_zone", "Europe/Helsinki, "),
        (
            {"cron": None, "every_seconds": 60, "time_zone": "UTC"},
            "invalid_schedule",
            "",
            "time_zone goes with cron",
        ),
        ({"overlap": "skipp"}, "invalid_schedule", "/overlap", "did you mean skip?"),
        ({"name": "a/b"}, "invalid_schedule", "/name", ""),
        ({"name": ".."}, "invalid_schedule", "/name", ""),
        ({"name": "x" * 101}, "invalid_schedule", "/name", ""),
        ({"job": [1]}, "invalid_schedule", "/job", "must be an object"),
        ({"jobs": {}}, "invalid_schedule", "/jobs", "did you mean job?"),
        ({"note": "\x00"}, "invalid_value", "/note", "NUL"),
        ({"job": {"items": [1]}}, "invalid_job", "/job", "give processor or stages"),
        (
            {"job": {**JOB, "chunk_sise": 1}},
            "invalid_job",
            "/job/chunk_sise",
            "chunk_size or chunks?",
        ),
        ({"job": {**JOB, "processor": "dubble"}}, "unknown_processor", "/job/processor", "double?"),
        (
            {"job": {**JOB, "options": {"delay": 1}}},
            "invalid_options",
            "/job/options/delay",
            "delay_seconds?",
        ),
        (
            {"job": {"source": "upload", "processor": "double"}},
            "invalid_job",
            "/job/source",
            "come with the job",
        ),
        (
            {"job": {**JOB, "start_at": "2999-01-01T00:00:00Z"}},
            "invalid_job",
            "/job/start_at",
            "the schedule says when",
        ),
        (
            {"job": {**JOB, "labels": {"schedule": "mine"}}},
            "invalid_job",
            "/job/labels/schedule",
            "itself",
        ),
        ({"job": {**JOB, "labels": [1]}}, "invalid_job", "/job/labels", "must be an object"),
        (
            {"job": {**JOB, "labels": {f"l{number}": "" for number in range(16)}}},
            "limit_exceeded",
            "/job/labels",
            "at most 15 labels besides the schedule's own",
        ),
        (
            {"job": {**JOB, "items": ["x" * 1_000_000] * 3}},
            "limit_exceeded",
            "/job",
            "at most 2000000 bytes",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place_and_leaves_nothing(
    api: httpx.Client, name: str, given: dict[str, Any], expected: str, place: str, words: str
) -> None:
    response = api.post("/schedules", json={"name": name, **YEARLY, **given})
    assert code(response) == (422, expected), response.text
    (fault,) = response.json()["errors"]
    assert fault["pointer"] == place
    assert words in fault["message"]
    assert code(api.get(f"/schedules/{name}")) == (404, "schedule_not_found")


def test_a_field_of_the_job_given_twice_is_refused_and_one_of_an_item_is_not(
    api: httpx.Client, name: str
) -> None:
    head = f'{{"name": "{name}", "cron": "0 0 1 1 *", "job": '
    job = '{"items": [{"a": 1, "a": 2}], "processor": "transform", %s}}'
    headers = {"Content-Type": "application/json"}
    twice = head + job % '"name": "x", "name": "y"'
    refused = api.post("/schedules", content=twice, headers=headers)
    assert code(refused) == (422, "invalid_job")
    assert refused.json()["errors"][0]["pointer"] == "/job/name"
    made = api.post("/schedules", content=head + job % '"name": "x"', headers=headers)
    assert made.json()["job"]["items"] == [{"a": 2}]


def test_nothing_is_promised_while_temporal_is_away(tmp_path: Path) -> None:
    with gateway_alone(tmp_path) as gateway, httpx.Client(base_url=gateway.url) as api:
        started = time.monotonic()
        for response in (
            api.post("/schedules", json={"name": "nightly", **YEARLY}),
            api.get("/schedules"),
            api.get("/schedules/nightly"),
            api.post("/schedules/nightly/pause"),
            api.post("/schedules/nightly/resume"),
            api.post("/schedules/nightly/run"),
            api.delete("/schedules/nightly"),
        ):
            assert code(response) == (503, "temporal_unavailable"), response.text
            assert response.headers["retry-after"]
        assert time.monotonic() - started < 30
        assert api.get("/schedules/nightly/jobs").json() == {"jobs": []}
        wrong = api.post("/schedules", json={"name": "nightly", "cron": "0 3 * * *", "job": {}})
        assert code(wrong) == (422, "invalid_job")


def test_a_temporal_that_hangs_is_told_and_what_is_known_of_the_request(
    new_stack: Callable[..., RunningStack],
) -> None:
    stack = new_stack()
    temporal = stack.pid("temporal")
    with httpx.Client(base_url=stack.url, timeout=60) as api:
        create(api, "nightly")
        os.kill(temporal, signal.SIGSTOP)
        try:
            run = api.post("/schedules/nightly/run")
            paused = api.post("/schedules/nightly/pause")
        finally:
            os.kill(temporal, signal.SIGCONT)
        assert code(run) == code(paused) == (503, "temporal_unavailable")
        assert "unknown whether this took effect" in run.json()["detail"]
        assert "to ask twice is safe" not in run.json()["detail"]
        assert "to ask twice is safe" in paused.json()["detail"]
        assert shown(api, "nightly")["cron"] == YEARLY["cron"]
