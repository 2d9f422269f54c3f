"""Finished jobs are removed: at once when a client asks, by themselves when their time is over."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from fanfold.devstack.running import RunningStack
from tests.e2e.journeys import begun, run, submit
from tests.waiting import eventually

ODD: dict[str, Any] = {
    "chunks": [[1], [3]],
    "processor": "double",
    "reducer": "sum",
    "labels": {"about": "retention"},
}
ROUTES = ("", "/children", "/children/0", "/results")


def purge(api: httpx.Client, job_id: str) -> httpx.Response:
    return api.delete(f"/jobs/{job_id}", params={"purge": "true"})


def test_a_purged_job_is_gone_for_every_route_the_moment_it_is_answered(api: httpx.Client) -> None:
    job_id = run(api, **ODD)["id"]
    assert api.get(f"/jobs/{job_id}").status_code == 200

    response = purge(api, job_id)

    assert (response.status_code, response.content) == (204, b"")
    answers = [api.get(f"/jobs/{job_id}{route}") for route in ROUTES]
    answers += [api.delete(f"/jobs/{job_id}"), purge(api, job_id)]
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {
        (404, "job_not_found")
    }
    listed = api.get("/jobs", params={"label": "about:retention"}).json()["jobs"]
    assert job_id not in [job["id"] for job in listed]


def test_the_key_of_a_purged_job_makes_a_new_one(api: httpx.Client) -> None:
    headers = {"Idempotency-Key": "of a purged job", "Prefer": "wait=30"}
    first = api.post("/jobs", json=ODD, headers=headers)
    purge(api, first.json()["id"])

    second = api.post("/jobs", json=ODD, headers=headers)

    assert second.json()["id"] != first.json()["id"]
    assert "idempotency-replayed" not in second.headers


def test_a_job_that_has_not_finished_is_not_purged(api: httpx.Client, gate: Path) -> None:
    job_id = submit(api, chunks=[[1]], processor="gated", options={"directory": str(gate)})["id"]
    eventually(lambda: begun(gate), what="it runs")

    refused = purge(api, job_id)

    assert (refused.status_code, refused.json()["code"]) == (409, "job_not_finished")
    assert api.get(f"/jobs/{job_id}").json()["state"] == "running"


def test_purge_takes_true_or_false(api: httpx.Client) -> None:
    job_id = run(api, **ODD)["id"]

    answers = [api.delete(f"/jobs/{job_id}", params={"purge": value}) for value in ("x", "false")]

    assert [answer.json()["code"] for answer in answers] == [
        "invalid_parameter",
        "job_already_finished",
    ]
    assert api.get(f"/jobs/{job_id}").status_code == 200


def test_no_row_of_a_purged_job_stays(api: httpx.Client, stack: RunningStack) -> None:
    job_id = run(api, **ODD)["id"]
    purge(api, job_id)

    eventually(lambda: not tables_with(stack, job_id), what="its rows are deleted")


def tables_with(stack: RunningStack, job_id: str) -> list[str]:
    with closing(sqlite3.connect(stack.data_dir / "ledger.db")) as connection:
        tables = connection.execute(
            "SELECT m.name FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS c "
            "WHERE m.type = 'table' AND c.name = 'job_id'"
        ).fetchall()
        assert len(tables) >= 9
        return [
            name
            for (name,) in tables
            if connection.execute(f"SELECT 1 FROM {name} WHERE job_id = ?", (job_id,)).fetchone()
        ]


def test_a_job_is_deleted_when_the_time_it_asked_for_is_over(api: httpx.Client) -> None:
    kept = run(api, **ODD)["id"]
    job_id = submit(api, **ODD, retention_hours=0.5 / 3600)["id"]

    eventually(
        lambda: api.get(f"/jobs/{job_id}").status_code == httpx.codes.NOT_FOUND, what="it is gone"
    )

    assert api.get(f"/jobs/{kept}").status_code == 200


def test_a_job_cannot_ask_to_be_kept_longer_than_the_gateway_keeps_jobs(api: httpx.Client) -> None:
    refused = api.post("/jobs", json=ODD | {"retention_hours": 168.5})

    assert (refused.status_code, refused.json()["code"]) == (422, "limit_exceeded")
    assert refused.json()["errors"][0]["pointer"] == "/retention_hours"
    assert "FANFOLD_RETENTION_HOURS" in refused.json()["detail"]


@pytest.mark.parametrize("hours", [0, -1, "1", True])
def test_a_retention_that_is_no_positive_number_is_refused(api: httpx.Client, hours: Any) -> None:
    refused = api.post("/jobs", json=ODD | {"retention_hours": hours})

    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_job")


def test_jobs_expire_after_the_gateway_s_own_time(new_stack: Callable[..., RunningStack]) -> None:
    stack = new_stack(FANFOLD_RETENTION_HOURS=str(1 / 3600))
    with httpx.Client(base_url=stack.url, timeout=60) as api:
        job_id = submit(api, **ODD)["id"]
        eventually(
            lambda: api.get(f"/jobs/{job_id}").status_code == httpx.codes.NOT_FOUND,
            what="it is gone",
        )
        assert api.get("/jobs").json() == {"jobs": []}
