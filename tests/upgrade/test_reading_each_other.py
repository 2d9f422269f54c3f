"""A gateway shows what one of the other release has recorded, in whatever state it is."""

from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.journeys import children, finish, get, results, submit
from tests.upgrade.releases import Release
from tests.upgrade.side_by_side import SideBySide
from tests.waiting import eventually

CHUNKS = [[1, 2], [3], [4]]
# Where the chunks of a job in blocks run is told otherwise by each release.
OF_EACH_RELEASE = {"workflow_id", "temporal_ui"}
SINCE_THE_RELEASE_BEFORE = {
    *("options", "stages", "chunk_size", "item_key", "max_concurrency", "retry"),
    *("chunk_timeout_seconds", "tolerated_failures", "partially_succeeded"),
    *("first_item", "key", "traceback", "partial_result"),
    *("held", "max_per_second", "priority", "start_at", "deadline_seconds", "on_failure"),
    *("hold_timeout_seconds", "retention_hours", "run", "resolved_by", "rule"),
    *("parent", "path", "jobs", "order", "max_jobs", "input", "when", "compensate", "first_job"),
}


def everything(gate: Path, execution: str) -> dict[str, Any]:
    """A job that uses what there is to use."""
    return {
        "name": "all of it",
        "labels": {"team": "blue"},
        "chunks": CHUNKS,
        "stages": [
            {"processor": "double", "retry": {"max_attempts": 2}, "timeout_seconds": 30},
            {"processor": "gated", "options": {"directory": str(gate)}},
        ],
        "reducer": "sum",
        "execution": execution,
        "max_concurrency": 2,
        "tolerated_failures": {"count": 1},
        "retention_hours": 48,
    }


def seen(api: httpx.Client, job_id: str) -> list[Any]:
    """All that a gateway shows of a job."""
    job = get(api, job_id)
    listed = api.get("/jobs", params={"state": job["state"], "label": "team:blue"})
    assert listed.status_code == 200, listed.text
    (entry,) = [one for one in listed.json()["jobs"] if one["id"] == job_id]
    lines = results(api, job_id) if job["finished_at"] else []
    return [job, entry, children(api, job_id), lines]


def shared(shown: Any) -> Any:
    """What both releases have to tell in the same way."""
    if isinstance(shown, list):
        return [shared(one) for one in shown]
    if isinstance(shown, dict):
        differs = OF_EACH_RELEASE | SINCE_THE_RELEASE_BEFORE
        return {name: shared(one) for name, one in shown.items() if name not in differs}
    return shown


def is_held(api: httpx.Client, job_id: str) -> bool:
    """Whether the job waits at its gate, with two chunks in flight."""
    return bool(get(api, job_id)["chunks"]["running"] == 2)


@pytest.mark.parametrize("execution", ["workflow", "activity"])
def test_each_gateway_shows_the_jobs_of_the_other_in_every_state(
    both: SideBySide, old: Release, new: Release, gate: Path, execution: str
) -> None:
    before, after = both.gateway(old), both.gateway(new)
    jobs = [submit(gateway.api, **everything(gate, execution))["id"] for gateway in (before, after)]

    for job in jobs:
        assert get(after.api, job)["state"] == "pending"
        assert shared(seen(before.api, job)) == shared(seen(after.api, job))

    both.worker(old)
    both.worker(new)
    for job in jobs:
        eventually(partial(is_held, after.api, job), what="two chunks are at the gate")
        assert shared(seen(before.api, job)) == shared(seen(after.api, job))

    (gate / "open").touch()
    for job in jobs:
        assert finish(after.api, job)["result"] == 4 * sum(map(sum, CHUNKS))
        assert get(before.api, job)["state"] == "succeeded"
        assert shared(seen(before.api, job)) == shared(seen(after.api, job))
