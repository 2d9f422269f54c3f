"""What went wrong is repaired: redrives, and chunks that are held for a person."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from fanfold.devstack.running import RunningStack
from tests.e2e.journeys import children, finish, get, run, submit
from tests.e2e.test_failures import failures
from tests.e2e.test_steering import FAR_OFF, PICKY, in_state, stored
from tests.waiting import eventually

EXECUTIONS = pytest.mark.parametrize("execution", ["workflow", "activity"])


def redrive(api: httpx.Client, job_id: str, key: str = "", **body: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return api.post(f"/jobs/{job_id}/redrive", json=body, headers=headers)


def redriven(api: httpx.Client, job_id: str, **body: Any) -> dict[str, Any]:
    """The job, once it has ended again."""
    response = redrive(api, job_id, **body)
    assert response.status_code == 202, response.text
    assert response.headers["location"] == f"/jobs/{job_id}"
    return finish(api, job_id)


def calls(directory: Path) -> dict[int, int]:
    """How often the `picky` processor was called, by item."""
    return {
        int(path.name.removeprefix("calls-")): len(path.read_text())
        for path in directory.glob("calls-*")
    }


@EXECUTIONS
def test_what_failed_runs_again_and_the_rest_keeps_its_results(
    api: httpx.Client, execution: str
) -> None:
    job = run(
        api, chunks=[[1], [2], [3], [4]], **PICKY, reducer="sum", execution=execution, name="first"
    )
    job_id = job["id"]
    kept = children(api, job_id, state="succeeded")

    again = redriven(api, job_id, options={"fail_if_divisible_by": 4})

    assert (again["run"], again["state"], again["result"]) == (2, "partially_succeeded", 12)
    assert again["options"] == {"fail_if_divisible_by": 4}
    assert again["chunks"]["succeeded"] == 3
    assert again["started_at"] > job["finished_at"]
    assert [one for one in children(api, job_id) if one["index"] in {0, 2}] == kept
    ran = [(one["index"], one["run"], one["attempts"]) for one in children(api, job_id)]
    assert ran == [(0, 1, 1), (1, 2, 2), (2, 1, 1), (3, 2, 2)]

    last = redriven(api, job_id, processor="transform")

    assert (last["run"], last["state"], last["result"]) == (3, "succeeded", 16)
    earlier = [api.get(f"/jobs/{job_id}", params={"run": run}).json() for run in (1, 2, 3)]
    told = [(one["run"], one["state"], one["processor"], one["result"]) for one in earlier]
    assert told == [
        (1, "partially_succeeded", "double", None),
        (2, "partially_succeeded", "double", None),
        (3, "succeeded", "transform", 16),
    ]
    for name in ("chunks", "items", "errors", "error", "started_at", "finished_at"):
        assert earlier[0][name] == job[name]
    missing = api.get(f"/jobs/{job_id}", params={"run": 4})
    assert (missing.status_code, missing.json()["code"]) == (404, "run_not_found")


@EXECUTIONS
def test_of_an_item_processor_only_what_did_not_succeed_or_is_corrected_runs_again(
    api: httpx.Client, tmp_path: Path, execution: str
) -> None:
    options = {"directory": str(tmp_path), "fail_first": False, "final": [2, 5]}
    job = {"processor": "picky", "options": options, "retry": {"max_attempts": 1}}
    job_id = run(
        api, items=[1, 2, 3, 4, 5, 6], chunk_size=3, **job, reducer="merge", execution=execution
    )["id"]
    lines = failures(api, job_id)
    assert [(line["index"], line["item"], line["value"]) for line in lines] == [
        (0, 1, 2),
        (1, 1, 5),
    ]
    # A line goes back as it came, but for its value.
    corrections = [{**lines[0], "value": 20}, {"index": 1, "item": 2, "value": 60}]

    again = redriven(api, job_id, corrections=corrections)

    assert calls(tmp_path) == {1: 1, 2: 1, 3: 1, 4: 1, 5: 2, 6: 1, 20: 1, 60: 1}
    assert again["result"] == [2, 40, 6, 8, 120]
    assert (again["items"]["succeeded"], again["items"]["failed"]) == (5, 1)
    values = [one["value"] for one in api.get(f"/jobs/{job_id}/items").json()["items"]]
    assert values == [1, 20, 3, 4, 5, 60]


def test_chunks_are_chosen_by_their_errors(api: httpx.Client, tmp_path: Path) -> None:
    options = {"directory": str(tmp_path), "final": [3]}
    job_id = run(
        api,
        items=[1, 2, 3, 4],
        chunk_size=2,
        processor="picky",
        options=options,
        retry={"max_attempts": 1},
    )["id"]

    again = redriven(api, job_id, select={"error_types": ["ConnectionError"]})

    assert calls(tmp_path) == {1: 1, 2: 2, 3: 1, 4: 2}
    assert (again["items"]["succeeded"], again["items"]["failed"]) == (3, 1)
    nothing = redrive(api, job_id, select={"error_types": ["ConnectionError"]})
    assert (nothing.status_code, nothing.json()["code"]) == (422, "nothing_selected")
    assert "ValueError" in nothing.json()["detail"]


def test_chunks_that_succeeded_run_again_where_they_are_named(api: httpx.Client) -> None:
    job_id = run(api, chunks=[[1], [2], [3]], processor="double", reducer="sum")["id"]
    nothing = redrive(api, job_id)
    assert nothing.json()["code"] == "nothing_selected"
    assert "3 succeeded" in nothing.json()["detail"]

    again = redriven(
        api,
        job_id,
        select={"indexes": [1]},
        corrections=[{"index": 1, "item": 0, "value": 10}],
        max_concurrency=7,
        max_per_second=100,
        tolerated_failures={"count": 0},
    )

    assert (again["state"], again["result"], again["run"]) == ("succeeded", 28, 2)
    assert (again["max_concurrency"], again["max_per_second"]) == (7, 100.0)
    assert [one["run"] for one in children(api, job_id)] == [1, 2, 1]


def test_a_cancelled_job_is_redriven_to_its_end(api: httpx.Client) -> None:
    job_id = submit(api, chunks=[[1], [2]], processor="double", start_at=FAR_OFF)["id"]
    api.delete(f"/jobs/{job_id}")
    in_state(api, job_id, "cancelled")

    assert redrive(api, job_id).json()["state"] == "pending"
    # It waits for its time again.
    assert get(api, job_id)["chunks"]["pending"] == 2


def test_a_key_stands_for_one_redrive(api: httpx.Client) -> None:
    job_id = run(api, chunks=[[1], [2]], **PICKY)["id"]
    first = redrive(api, job_id, key="again")
    finish(api, job_id)

    second = redrive(api, job_id, key="again")

    assert (first.status_code, second.status_code) == (202, 202)
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert finish(api, job_id)["run"] == 2
    other = redrive(api, job_id, key="again", select={"indexes": [0]})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert get(api, job_id)["run"] == 2


@pytest.mark.parametrize("sent", [{}, {"content": b""}, {"json": {}}])
def test_a_redrive_needs_no_body(api: httpx.Client, sent: dict[str, Any]) -> None:
    job_id = run(api, chunks=[[2]], **PICKY)["id"]
    response = api.post(f"/jobs/{job_id}/redrive", **sent)
    assert (response.status_code, response.json()["run"]) == (202, 2)


def correction(index: int, item: int, value: Any = 1) -> dict[str, Any]:
    second = {"index": index, "item": item, "value": value}
    return {"corrections": [{"index": 1, "item": 0, "value": 7}, second]}


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "unknown field": ({"corections": []}, "invalid_job", "/corections"),
    "unknown processor": ({"processor": "dobule"}, "unknown_processor", "/processor"),
    "options": ({"options": {"fail_if": 2}}, "invalid_options", "/options/fail_if"),
    "stage": (
        {"stages": [{"processor": "double"}, {"processor": "no"}]},
        "unknown_processor",
        "/stages/1/processor",
    ),
    "no such child": ({"select": {"indexes": [0, 3]}}, "invalid_job", "/select/indexes/1"),
    "corrected child": (correction(3, 0), "invalid_job", "/corrections/1/index"),
    "not selected": (correction(0, 0), "invalid_job", "/corrections/1/index"),
    "corrected item": (correction(1, 1), "invalid_job", "/corrections/1/item"),
    "twice": (correction(1, 0), "invalid_job", "/corrections/1"),
    "unstorable": (correction(1, 1, "\x00"), "invalid_value", "/corrections/1/value"),
    "too large": (correction(1, 1, "x" * 1_100_000), "limit_exceeded", "/corrections/1/value"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_redrive_that_is_refused_changes_nothing(api: httpx.Client, name: str) -> None:
    body, code, place = BAD[name]
    job_id = run(api, chunks=[[1], [2], [3]], **PICKY)["id"]
    before = api.get(f"/jobs/{job_id}")

    response = redrive(api, job_id, key=f"refused-{name}", **body)

    assert (response.status_code, response.json()["code"]) == (422, code), response.text
    assert [fault["pointer"] for fault in response.json()["errors"]] == [place]
    after = api.get(f"/jobs/{job_id}")
    assert (after.json(), after.headers["etag"]) == (before.json(), before.headers["etag"])
    assert redrive(api, job_id, key=f"refused-{name}").status_code == 202, "the key is free"


@pytest.mark.parametrize(
    ("content", "media_type", "status", "code"),
    [
        (b"{", "application/json", 400, "malformed_json"),
        (b"{}", "text/plain", 415, "unsupported_media_type"),
        (b'{"retry": {}, "retry": {}}', "application/json", 422, "invalid_job"),
        (b"[]", "application/json", 422, "invalid_job"),
    ],
)
@pytest.mark.parametrize("what", ["redrive", "change"])
def test_what_is_no_body_of_the_kind_is_told_so(
    api: httpx.Client, content: bytes, media_type: str, status: int, code: str, what: str
) -> None:
    job_id = run(api, chunks=[[1], [2]], **PICKY)["id"]
    before = get(api, job_id)
    method, path = ("POST", "/redrive") if what == "redrive" else ("PATCH", "")
    body = content.replace(b"retry", b"labels") if what == "change" else content
    response = api.request(
        method, f"/jobs/{job_id}{path}", content=body, headers={"Content-Type": media_type}
    )
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert get(api, job_id) == before


def test_corrected_items_are_checked_as_the_jobs_items_were(api: httpx.Client) -> None:
    job = {"processor": "word_count", "reducer": "merge_counts", "check_items": True}
    job_id = run(api, items=["to be", "or not"], **job)["id"]
    select = {"indexes": [0]}

    bad = [{"index": 0, "item": 1, "value": 5}]
    refused = redrive(api, job_id, select=select, corrections=bad)
    assert refused.json()["code"] == "item_schema_mismatch", refused.text
    (fault,) = refused.json()["errors"]
    assert fault == {
        "pointer": "/corrections/0/value",
        "message": "must be a string, not a number",
    }

    good = [{"index": 0, "item": 1, "value": "be"}]
    assert redriven(api, job_id, select=select, corrections=good)["result"] == {"to": 1, "be": 2}


# --- held for a person ----------------------------------------------------------------------


def waiting(api: httpx.Client, execution: str, **job: Any) -> str:
    """A job of five chunks of which two are held, and nothing else is left."""
    chunks = [[1], [2], [3], [4], [5]]
    asked = {**PICKY, "on_failure": "hold", "reducer": "sum", "execution": execution} | job
    job_id = in_state(api, submit(api, chunks=chunks, **asked)["id"], "waiting")
    found = get(api, job_id)
    assert (found["chunks"]["held"], found["chunks"]["succeeded"]) == (2, 3)
    assert (found["on_failure"], found["result"], found["finished_at"]) == ("hold", None, None)
    return job_id


@EXECUTIONS
def test_held_chunks_run_again_in_the_same_run(api: httpx.Client, execution: str) -> None:
    job_id = waiting(api, execution)
    held = api.get(f"/jobs/{job_id}/items", params={"state": "held"}).json()["items"]
    assert [(one["value"], one["error"]["type"]) for one in held] == [
        (2, "ApplicationError"),
        (4, "ApplicationError"),
    ]

    assert redrive(api, job_id, options={"fail_if_divisible_by": 4}).json()["run"] == 1
    eventually(lambda: get(api, job_id)["chunks"]["held"] == 1, what="one of them succeeded")
    in_state(api, job_id, "waiting")
    job = redriven(api, job_id, corrections=[{"index": 3, "item": 0, "value": 101}])

    assert (job["state"], job["run"], job["result"]) == ("succeeded", 1, 224)
    assert [one["attempts"] for one in children(api, job_id)] == [1, 2, 1, 3, 1]


@EXECUTIONS
def test_what_is_released_has_failed_and_the_rest_is_folded(
    api: httpx.Client, execution: str
) -> None:
    job_id = waiting(api, execution)
    assert api.post(f"/jobs/{job_id}/release").status_code == 202
    job = finish(api, job_id)
    assert (job["state"], job["result"]) == ("partially_succeeded", 18)
    assert (job["chunks"]["failed"], job["chunks"]["held"]) == (2, 0)
    assert job["errors"][0]["type"] == "ApplicationError"


@EXECUTIONS
def test_a_person_gives_results_or_gives_a_child_up(api: httpx.Client, execution: str) -> None:
    job_id = waiting(api, execution)
    child = f"/jobs/{job_id}/children/1"

    first, second = (api.put(f"{child}/result", json=[1000]) for _ in range(2))

    assert (first.status_code, second.status_code) == (200, 200)
    told = {name: first.json()[name] for name in ("state", "result", "resolved_by", "error")}
    assert told == {"state": "succeeded", "result": [1000], "resolved_by": "client", "error": None}
    other = api.put(f"{child}/result", json=[7])
    assert (other.status_code, other.json()["code"]) == (409, "child_not_held")
    assert get(api, job_id)["state"] == "waiting"
    assert api.delete(f"/jobs/{job_id}/children/3").json()["state"] == "cancelled"

    job = finish(api, job_id)

    assert (job["state"], job["result"]) == ("partially_succeeded", 1018)
    assert (job["chunks"]["succeeded"], job["chunks"]["cancelled"]) == (4, 1)


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 400, "malformed_json"),
        (b"[1", 400, "malformed_json"),
        (b'"\\u0000"', 422, "invalid_value"),
        (b"[" * 80 + b"]" * 80, 422, "limit_exceeded"),
        (b'"' + b"x" * (8 * 1024 * 1024) + b'"', 413, "body_too_large"),
    ],
    ids=["empty", "broken", "unstorable", "deep", "large"],
)
def test_a_result_that_is_refused_leaves_the_child_held(
    api: httpx.Client, content: bytes, status: int, code: str
) -> None:
    job_id = waiting(api, "auto")
    response = api.put(
        f"/jobs/{job_id}/children/1/result",
        content=content,
        headers={"Content-Type": "application/json"},
    )
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert status != 413 or "FANFOLD_MAX_CHUNK_RESULT_BYTES" in response.json()["detail"]
    assert get(api, job_id)["chunks"]["held"] == 2
    assert finish_released(api, job_id)["state"] == "partially_succeeded"


def finish_released(api: httpx.Client, job_id: str) -> dict[str, Any]:
    api.post(f"/jobs/{job_id}/release")
    return finish(api, job_id)


@pytest.mark.parametrize("result", [None, 0, "", {"a": [1.5, "ä"]}, [1, 2, 3], [[]]])
def test_any_json_value_may_be_a_result(api: httpx.Client, result: Any) -> None:
    job_id = waiting(api, "auto", reducer=None)
    given = api.put(
        f"/jobs/{job_id}/children/1/result",
        content=json.dumps(result),
        headers={"Content-Type": "application/json"},
    )
    assert (given.status_code, given.json()["result"]) == (200, result)
    assert finish_released(api, job_id)["chunks"]["succeeded"] == 4


def test_after_its_time_a_job_is_released_by_itself(api: httpx.Client, execution: str) -> None:
    job_id = waiting(api, execution, hold_timeout_seconds=1)
    assert finish(api, job_id)["chunks"]["failed"] == 2


def test_a_waiting_job_can_be_cancelled(api: httpx.Client, execution: str) -> None:
    job_id = waiting(api, execution)
    assert api.delete(f"/jobs/{job_id}").status_code == 202
    assert finish(api, job_id)["state"] == "cancelled"


def test_a_redrive_stores_nothing_but_what_it_needs(api: httpx.Client, stack: RunningStack) -> None:
    job_id = run(api, chunks=[[1], [2]], **PICKY)["id"]
    before = stored(stack)
    redriven(api, job_id, corrections=[{"index": 1, "item": 0, "value": 7}])
    assert stored(stack) == before
