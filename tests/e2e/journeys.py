"""What journeys have in common: submit, look, and the promises that hold for every job."""

import json
from pathlib import Path
from typing import Any

import httpx

from tests.waiting import eventually

TERMINAL_JOB_STATES = {"succeeded", "partially_succeeded", "failed", "cancelled"}
TERMINAL_CHUNK_STATES = {"succeeded", "partially_succeeded", "failed", "cancelled"}


def submit(api: httpx.Client, **job: Any) -> dict[str, Any]:
    """The job as accepted."""
    response = api.post("/jobs", json=job)
    assert response.status_code == 202, response.text
    accepted: dict[str, Any] = response.json()
    assert response.headers["location"] == f"/jobs/{accepted['id']}"
    return accepted


def get(api: httpx.Client, job_id: str) -> dict[str, Any]:
    """The job as it is now."""
    response = api.get(f"/jobs/{job_id}")
    assert response.status_code == 200, response.text
    job: dict[str, Any] = response.json()
    chunks = dict(job["chunks"])
    assert chunks.pop("total") == sum(chunks.values()), "the counts do not add up"
    return job


def finish(api: httpx.Client, job_id: str, *, timeout_seconds: float = 60) -> dict[str, Any]:
    """The finished job, after checking what is promised of every finished job."""
    job = eventually(
        lambda: (found := get(api, job_id))["state"] in TERMINAL_JOB_STATES and found,
        what=f"job {job_id} is finished",
        timeout_seconds=timeout_seconds,
    )
    assert isinstance(job, dict)
    lines = results(api, job_id)
    assert [line["index"] for line in lines] == list(range(job["chunks"]["total"]))
    assert {line["state"] for line in lines} <= TERMINAL_CHUNK_STATES
    for state in TERMINAL_CHUNK_STATES:
        # The release before knows fewer of them.
        assert job["chunks"].get(state, 0) == sum(line["state"] == state for line in lines)
    assert job["chunks"]["pending"] == job["chunks"]["running"] == 0
    assert job["finished_at"] is not None
    return job


def run(api: httpx.Client, **job: Any) -> dict[str, Any]:
    """Submit a job and see it to its end."""
    return finish(api, submit(api, **job)["id"])


def results(api: httpx.Client, job_id: str, **parameters: str) -> list[dict[str, Any]]:
    """The lines of the job's results."""
    response = api.get(f"/jobs/{job_id}/results", params=parameters)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.content.splitlines()]


def children(api: httpx.Client, job_id: str, **parameters: str) -> list[dict[str, Any]]:
    """All children, page by page."""
    found: list[dict[str, Any]] = []
    while True:
        page = api.get(f"/jobs/{job_id}/children", params=parameters).json()
        found += page["children"]
        if "next_cursor" not in page:
            return found
        parameters["cursor"] = page["next_cursor"]


def begun(gate: Path) -> set[str]:
    """Names of the attempts that the `gated` processor has begun."""
    return {path.name for path in gate.glob("begun-*")}
