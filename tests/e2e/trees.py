"""What tests of jobs made of jobs have in common: all below a job, and what holds of every tree."""

from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.journeys import TERMINAL_JOB_STATES, get, results
from tests.waiting import eventually

FINISHED = {*TERMINAL_JOB_STATES, "skipped"}
PICKY: dict[str, Any] = {
    "processor": "double",
    "options": {"fail_if_divisible_by": 2},
    "retry": {"max_attempts": 1},
}


def gated(directory: Path, name: str, values: int = 2, **job: Any) -> dict[str, Any]:
    """A job whose chunks wait in a directory of this name until it is opened."""
    own = directory / name
    own.mkdir(exist_ok=True)
    return {
        "processor": "gated",
        "options": {"directory": str(own)},
        "chunks": [[value] for value in range(values)],
        "reducer": "sum",
        **job,
    }


def listed(api: httpx.Client, job_id: str, **parameters: str) -> list[dict[str, Any]]:
    """The direct sub-jobs of a job, page by page."""
    found: list[dict[str, Any]] = []
    while True:
        response = api.get(f"/jobs/{job_id}/jobs", params=parameters)
        assert response.status_code == 200, response.text
        page = response.json()
        found += page["jobs"]
        if "next_cursor" not in page:
            return found
        parameters["cursor"] = page["next_cursor"]


def below(api: httpx.Client, job_id: str) -> dict[str, dict[str, Any]]:
    """All jobs below this one by their paths, in order."""
    found: dict[str, dict[str, Any]] = {}
    for job in listed(api, job_id):
        assert job["parent"] == job_id
        found[job["path"]] = job
        if job["links"]["jobs"] is not None:
            found |= below(api, job["id"])
    return found


def states(api: httpx.Client, job_id: str) -> dict[str, str]:
    return {path: job["state"] for path, job in below(api, job_id).items()}


def in_states(api: httpx.Client, job_id: str, **expected: str) -> None:
    """Wait until these sub-jobs are in these states."""
    eventually(lambda: expected.items() <= states(api, job_id).items(), what=f"they are {expected}")


def ended(api: httpx.Client, job_id: str, *, timeout_seconds: float = 90) -> dict[str, Any]:
    """The job once it has ended, after checking what is promised of every tree."""
    job = eventually(
        lambda: (found := get(api, job_id))["state"] in FINISHED and found,
        what=f"job {job_id} has ended",
        timeout_seconds=timeout_seconds,
    )
    assert isinstance(job, dict)
    tree = below(api, job_id)
    assert {one["state"] for one in tree.values()} <= FINISHED, "nothing below goes on"
    direct = [one for one in tree.values() if one["parent"] == job_id]
    counts = dict(job["jobs"])
    assert counts.pop("total") == len(direct)
    assert Counter({state: count for state, count in counts.items() if count}) == Counter(
        one["state"] for one in direct
    )
    leaves = {
        path: one
        for path, one in tree.items()
        if one["order"] is None and not path.endswith("compensation")
    }
    for state, count in job["chunks"].items():
        assert count == sum(one["chunks"][state] for one in leaves.values()), state
    for outcome, count in job["items"].items():
        assert count == sum(one["items"][outcome] for one in leaves.values()), outcome
    lines = results(api, job_id)
    assert [(line["path"], line["index"]) for line in lines] == [
        (path, index) for path, one in leaves.items() for index in range(one["chunks"]["total"])
    ]
    assert {(line["path"], line["job"]) for line in lines} <= {
        (path, one["id"]) for path, one in leaves.items()
    }
    return job


def run(api: httpx.Client, **job: Any) -> dict[str, Any]:
    """Submit a job made of jobs, and see it to its end."""
    response = api.post("/jobs", json=job)
    assert response.status_code == 202, response.text
    return ended(api, response.json()["id"])
