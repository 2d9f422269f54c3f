"""Controls of a job: what each answers in every state, and what it brings about."""

import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from fanfold.devstack.running import RunningStack
from tests.e2e.journeys import begun, children, finish, get, run, submit
from tests.waiting import eventually

FAR_OFF = "2100-01-01T00:00:00Z"
PICKY: dict[str, Any] = {
    "processor": "double",
    "options": {"fail_if_divisible_by": 2},
    "retry": {"max_attempts": 1},
}


def in_state(api: httpx.Client, job_id: str, state: str) -> str:
    eventually(lambda: get(api, job_id)["state"] == state, what=f"the job is {state}")
    return job_id


def with_gate(api: httpx.Client, gate: Path, chunks: int = 2, **job: Any) -> str:
    """A job of which `max_concurrency` chunks are running, until the gate is opened."""
    job = {"processor": "gated", "options": {"directory": str(gate)}, "max_concurrency": 1} | job
    job_id: str = submit(api, chunks=[[value] for value in range(chunks)], **job)["id"]
    eventually(lambda: len(begun(gate)) == job["max_concurrency"], what="the window is full")
    return in_state(api, job_id, "running")


def paused(api: httpx.Client, gate: Path) -> str:
    job_id = with_gate(api, gate)
    assert api.post(f"/jobs/{job_id}/pause").json()["state"] == "paused"
    return job_id


def cancelling(api: httpx.Client, gate: Path) -> str:
    job_id = with_gate(api, gate)
    assert api.delete(f"/jobs/{job_id}", params={"drain": "true"}).json()["state"] == "cancelling"
    return job_id


def cancelled(api: httpx.Client, _gate: Path) -> str:
    job_id: str = submit(api, chunks=[[1]], processor="double", start_at=FAR_OFF)["id"]
    api.delete(f"/jobs/{job_id}")
    return in_state(api, job_id, "cancelled")


JOBS: dict[str, Callable[[httpx.Client, Path], str]] = {
    "receiving": lambda api, _: submit(api, source="upload", processor="double")["id"],
    "pending": lambda api, _: submit(api, chunks=[[1]], processor="double", start_at=FAR_OFF)["id"],
    "running": with_gate,
    "paused": paused,
    "waiting": lambda api, _: in_state(
        api, submit(api, chunks=[[1], [2]], **PICKY, on_failure="hold")["id"], "waiting"
    ),
    "cancelling": cancelling,
    "succeeded": lambda api, _: run(api, chunks=[[1]], processor="double")["id"],
    "partially_succeeded": lambda api, _: run(api, chunks=[[1], [2]], **PICKY)["id"],
    "failed": lambda api, _: run(api, chunks=[[2]], **PICKY)["id"],
    "cancelled": cancelled,
}
FINISHED = ("succeeded", "partially_succeeded", "failed", "cancelled")

CONTROLS: dict[str, Callable[[httpx.Client, str], httpx.Response]] = {
    "pause": lambda api, job: api.post(f"/jobs/{job}/pause"),
    "resume": lambda api, job: api.post(f"/jobs/{job}/resume"),
    "release": lambda api, job: api.post(f"/jobs/{job}/release"),
    "redrive": lambda api, job: api.post(f"/jobs/{job}/redrive"),
    "limits": lambda api, job: api.patch(f"/jobs/{job}", json={"priority": 1}),
    "labels": lambda api, job: api.patch(f"/jobs/{job}", json={"labels": {"a": "b"}}),
    "drain": lambda api, job: api.delete(f"/jobs/{job}", params={"drain": "true"}),
}
# By control: the state after it, or the code of the refusal, in each state that differs.
ANSWERS: dict[str, dict[str, str]] = {
    "pause": {
        "receiving": "job_receiving",
        "pending": "paused",
        "running": "paused",
        "paused": "paused",
        "waiting": "job_waiting",
        "cancelling": "job_cancelling",
        **dict.fromkeys(FINISHED, "job_already_finished"),
    },
    "resume": dict.fromkeys(JOBS, "job_not_paused") | {"paused": "running"},
    "release": dict.fromkeys(JOBS, "job_not_waiting") | {"waiting": "running"},
    "redrive": dict.fromkeys(JOBS, "job_not_finished")
    | dict.fromkeys(FINISHED, "pending")
    | {"waiting": "running", "succeeded": "nothing_selected"},
    "limits": {state: state for state in JOBS} | dict.fromkeys(FINISHED, "job_already_finished"),
    "labels": {state: state for state in JOBS},
    "drain": dict.fromkeys(JOBS, "cancelling")
    | dict.fromkeys(FINISHED, "job_already_finished")
    | {"receiving": "cancelled", "cancelled": "cancelled"},
}
# What a job that is let go on may have come to by the time that it is shown.
GOES_ON = {"pending", "running", "succeeded", "partially_succeeded", "failed"}


@pytest.mark.parametrize("state", JOBS)
@pytest.mark.parametrize("control", CONTROLS)
def test_every_control_in_every_state(
    api: httpx.Client, gate: Path, control: str, state: str
) -> None:
    job_id, expected = JOBS[state](api, gate), ANSWERS[control][state]
    before = get(api, job_id)

    response = CONTROLS[control](api, job_id)

    if expected not in JOBS:
        assert (response.status_code, response.json()["code"]) == (
            422 if expected == "nothing_selected" else 409,
            expected,
        )
        after = get(api, job_id)
        assert {**after, "progress": None} == {**before, "progress": None}
        return
    assert response.is_success, response.text
    found = response.json()["state"]
    assert found == expected or (expected in {"pending", "running"} and found in GOES_ON)
    again = CONTROLS[control](api, job_id)
    if control in {"pause", "limits", "labels", "drain"}:
        assert again.is_success, "to repeat it does no harm"
    else:
        assert again.is_success or again.status_code in {409, 422}


@pytest.mark.parametrize("execution", ["workflow", "activity"])
def test_no_attempt_begins_while_a_job_is_paused(
    api: httpx.Client, gate: Path, execution: str
) -> None:
    job_id = with_gate(api, gate, chunks=6, max_concurrency=2, execution=execution)
    before = begun(gate)

    assert api.post(f"/jobs/{job_id}/pause").status_code == 202
    (gate / "open").touch()

    eventually(lambda: get(api, job_id)["chunks"]["succeeded"] == 2, what="what ran has finished")
    time.sleep(1)  # in which something could begin
    job = get(api, job_id)
    assert (job["state"], job["chunks"]["pending"], begun(gate)) == ("paused", 4, before)
    assert api.post(f"/jobs/{job_id}/resume").json()["state"] == "running"
    assert finish(api, job_id)["chunks"]["succeeded"] == 6


def test_a_job_that_never_began_is_pending_again_once_it_is_resumed(api: httpx.Client) -> None:
    job_id = submit(api, chunks=[[1]], processor="double", start_at=FAR_OFF)["id"]
    api.post(f"/jobs/{job_id}/pause")
    assert api.post(f"/jobs/{job_id}/resume").json()["state"] == "pending"


def test_a_job_starts_at_its_time(api: httpx.Client) -> None:
    at = datetime.now(UTC) + timedelta(seconds=2)
    job = submit(api, chunks=[[1]], processor="double", start_at=at.isoformat())
    assert job["start_at"] == at.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    done = finish(api, job["id"])

    assert datetime.fromisoformat(done["started_at"]) >= at - timedelta(milliseconds=1)


@pytest.mark.parametrize("execution", ["workflow", "activity"])
def test_a_change_of_the_window_is_in_force_within_two_seconds(
    api: httpx.Client, gate: Path, execution: str
) -> None:
    job_id = with_gate(api, gate, chunks=12, max_concurrency=2, execution=execution)
    changed_at = time.monotonic()
    response = api.patch(f"/jobs/{job_id}", json={"max_concurrency": 6})
    assert (response.status_code, response.json()["max_concurrency"]) == (200, 6)
    eventually(lambda: len(begun(gate)) == 6, what="the window is wider")
    assert time.monotonic() - changed_at < 2

    api.patch(f"/jobs/{job_id}", json={"max_concurrency": 1})
    time.sleep(2)  # by when it is in force
    for index in range(6):
        (gate / f"open-{index}").touch()
    eventually(lambda: get(api, job_id)["chunks"]["succeeded"] == 6, what="these are done")
    eventually(lambda: len(begun(gate)) == 7, what="one more has begun")
    time.sleep(0.5)
    assert len(begun(gate)) == 7
    (gate / "open").touch()
    assert finish(api, job_id)["chunks"]["succeeded"] == 12


def test_a_change_is_merged_over_what_there_is(api: httpx.Client, gate: Path) -> None:
    labels = {"team": "data", "kept": "x"}
    job_id = with_gate(api, gate, labels=labels, name="before", deadline_seconds=600)

    response = api.patch(
        f"/jobs/{job_id}",
        content=json.dumps(
            {
                "name": None,
                "labels": {"team": None, "new": "y"},
                "max_per_second": 5,
                "tolerated_failures": {"consecutive": 2},
                "deadline_seconds": None,
                "retention_hours": 1,
            }
        ),
        headers={"Content-Type": "application/merge-patch+json"},
    )

    assert response.status_code == 200, response.text
    job = response.json()
    assert (job["name"], job["labels"]) == (None, {"kept": "x", "new": "y"})
    assert (job["max_per_second"], job["deadline_seconds"]) == (5.0, None)
    assert job["tolerated_failures"]["consecutive"] == 2
    assert (job["retention_hours"], job["max_concurrency"]) == (1.0, 1)
    found = [api.get("/jobs", params={"label": label}).json() for label in ("new:y", "team:data")]
    assert [job_id in {one["id"] for one in page["jobs"]} for page in found] == [True, False]


def test_a_change_for_one_etag_is_not_made_to_a_job_that_has_changed(
    api: httpx.Client, gate: Path
) -> None:
    job_id = with_gate(api, gate, chunks=3)
    etag = api.get(f"/jobs/{job_id}").headers["etag"]
    (gate / "open-0").touch()
    eventually(lambda: get(api, job_id)["chunks"]["succeeded"] == 1, what="a chunk is done")

    first, second = (
        api.patch(f"/jobs/{job_id}", json={"name": name}, headers={"If-Match": etag})
        for name in ("first", "second")
    )

    assert (first.status_code, second.status_code) == (200, 412)
    assert second.json()["code"] == "job_changed"
    assert get(api, job_id)["name"] == "first"
    whatever = api.patch(f"/jobs/{job_id}", json={"name": "third"}, headers={"If-Match": "*"})
    assert whatever.json()["name"] == "third"


def test_what_was_changed_before_the_seal_is_in_force_after_it(api: httpx.Client) -> None:
    job_id = submit(api, source="upload", processor="double", max_per_second=2)["id"]
    api.put(f"/jobs/{job_id}/items", params={"part": 1}, json=[1, 2])
    api.patch(f"/jobs/{job_id}", json={"name": "renamed", "priority": 1, "max_per_second": None})

    sealed = api.post(f"/jobs/{job_id}/seal").json()

    assert (sealed["name"], sealed["priority"], sealed["max_per_second"]) == ("renamed", 1, None)
    assert finish(api, job_id)["name"] == "renamed"


@pytest.mark.parametrize("execution", ["workflow", "activity"])
def test_one_child_is_cancelled_and_the_others_go_on(
    api: httpx.Client, gate: Path, execution: str
) -> None:
    job_id = with_gate(api, gate, chunks=4, max_concurrency=2, execution=execution)
    (running, *_), (pending, *_) = (
        [child["index"] for child in children(api, job_id, state=state)]
        for state in ("running", "pending")
    )

    waits = api.delete(f"/jobs/{job_id}/children/{pending}")
    assert (waits.status_code, waits.json()["state"]) == (202, "cancelled")
    runs = api.delete(f"/jobs/{job_id}/children/{running}")
    assert (runs.status_code, runs.json()["state"]) == (202, "running")
    child = f"/jobs/{job_id}/children/{running}"
    eventually(lambda: api.get(child).json()["state"] == "cancelled", what="it has heard")
    assert api.delete(child).status_code == 202
    (gate / "open").touch()

    job = finish(api, job_id)

    assert (job["chunks"]["succeeded"], job["chunks"]["cancelled"]) == (2, 2)
    assert api.delete(child).status_code == 202
    (done, *_) = (one["index"] for one in children(api, job_id, state="succeeded"))
    late = api.delete(f"/jobs/{job_id}/children/{done}")
    assert (late.status_code, late.json()["code"]) == (409, "child_already_finished")
    assert api.delete(f"/jobs/{job_id}/children/4").json()["code"] == "child_not_found"


@pytest.mark.parametrize("execution", ["workflow", "activity"])
def test_what_is_in_flight_finishes_and_counts_where_a_job_is_drained(
    api: httpx.Client, gate: Path, execution: str
) -> None:
    job_id = with_gate(api, gate, chunks=5, max_concurrency=2, execution=execution)
    before = begun(gate)
    api.delete(f"/jobs/{job_id}", params={"drain": "true"})
    (gate / "open").touch()

    job = finish(api, job_id)

    assert (job["state"], begun(gate)) == ("cancelled", before)
    assert (job["chunks"]["succeeded"], job["chunks"]["cancelled"]) == (2, 3)


def test_a_plain_cancel_stops_what_a_drain_would_have_let_finish(
    api: httpx.Client, gate: Path
) -> None:
    job_id = cancelling(api, gate)
    assert api.delete(f"/jobs/{job_id}").status_code == 202
    assert finish(api, job_id)["chunks"]["cancelled"] == 2


def test_to_drain_and_to_purge_do_not_go_together(api: httpx.Client) -> None:
    job_id = run(api, chunks=[[1]], processor="double")["id"]
    response = api.delete(f"/jobs/{job_id}", params={"drain": "true", "purge": "true"})
    assert (response.status_code, response.json()["code"]) == (400, "invalid_parameter")
    assert get(api, job_id)["state"] == "succeeded"


def test_past_its_deadline_a_job_fails_and_what_succeeded_is_folded(
    api: httpx.Client, gate: Path
) -> None:
    job_id = with_gate(
        api, gate, chunks=3, max_concurrency=2, deadline_seconds=1.5, reducer="collect"
    )
    (gate / "open-0").touch()

    job = finish(api, job_id)

    assert (job["state"], job["error"]["type"]) == ("failed", "DeadlineExceeded")
    assert (job["error"]["rule"], job["chunks"]["succeeded"]) == (None, 1)
    assert job["result"] == [{"index": 0, "result": [0]}]


def test_the_rule_that_stopped_a_job_is_told(api: httpx.Client) -> None:
    job = run(
        api,
        chunks=[[2], [4], [6], [1]],
        **PICKY,
        max_concurrency=1,
        tolerated_failures={"consecutive": 1},
    )
    assert (job["state"], job["error"]["type"]) == ("failed", "ToleranceExceeded")
    assert (job["error"]["rule"], job["error"]["index"]) == ("consecutive", 1)


# --- dry runs -------------------------------------------------------------------------------


def stored(stack: RunningStack) -> int:
    """How many rows there are of data, whether of jobs or of uploads."""
    with closing(sqlite3.connect(stack.data_dir / "ledger.db")) as ledger:
        tables = ("jobs", "inputs", "uploads", "received_chunks", "idempotency_keys")
        return sum(ledger.execute(f"SELECT COUNT(*) FROM {one}").fetchone()[0] for one in tables)


FORM = [
    ("job", (None, json.dumps({"processor": "double", "chunk_size": 2}))),
    ("items", ("items.ndjson", "1\n22\n3\n")),
]
BODY = {"chunks": [[1], [2, 33]], "processor": "double", "execution": "activity"}


@pytest.mark.parametrize(
    ("request_", "extent"),
    [
        ({"json": BODY}, (2, 3, "activity", 6)),
        ({"files": FORM}, (2, 3, "workflow", 6)),
        ({"json": {"source": "upload", "processor": "double"}}, (0, 0, "auto", 0)),
    ],
    ids=["json", "form", "upload"],
)
def test_a_dry_run_says_how_large_a_job_would_be_and_records_nothing(
    api: httpx.Client, stack: RunningStack, request_: dict[str, Any], extent: tuple[Any, ...]
) -> None:
    before = stored(stack)

    response = api.post(
        "/jobs", params={"validate_only": "true"}, headers={"Idempotency-Key": "dry"}, **request_
    )

    assert response.status_code == 200, response.text
    names = ("chunks", "items", "execution", "largest_chunk_bytes")
    found = dict(zip(names, extent, strict=True))
    assert response.json() == {"valid": True, **found, "jobs": None}
    assert stored(stack) == before


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"json": {**BODY, "processor": "dobule"}}, "unknown_processor"),
        ({"json": {**BODY, "priority": 0}}, "invalid_job"),
        ({"files": [FORM[0], ("items", ("items.ndjson", "1\nx\n"))]}, "invalid_item"),
    ],
)
def test_a_dry_run_refuses_what_would_be_refused(
    api: httpx.Client, stack: RunningStack, request_: dict[str, Any], code: str
) -> None:
    before = stored(stack)
    response = api.post("/jobs", params={"validate_only": "true"}, **request_)
    assert (response.status_code, response.json()["code"]) == (422, code)
    assert stored(stack) == before
