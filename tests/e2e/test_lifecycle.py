"""A job's life as a client sees it: submitted, polled, listed, streamed."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.journeys import begun, children, finish, get, results, run, submit
from tests.waiting import eventually

DOUBLE = {"chunks": [[1], [2]], "processor": "double"}


def test_prefer_wait_answers_as_soon_as_the_job_is_finished(api: httpx.Client) -> None:
    response = api.post("/jobs", json=DOUBLE, headers={"Prefer": "respond-async, wait=30"})

    assert response.status_code == 202
    assert response.headers["preference-applied"] == "wait=30"
    assert response.json()["state"] == "succeeded"
    assert "retry-after" not in response.headers


def test_prefer_wait_gives_the_job_as_it_is_after_the_time(api: httpx.Client, gate: Path) -> None:
    job_id = submit(api, chunks=[[1]], processor="gated", options={"directory": str(gate)})["id"]

    response = api.get(f"/jobs/{job_id}", headers={"Prefer": "wait=1"})

    assert response.json()["state"] == "running"
    assert response.elapsed.total_seconds() >= 1
    assert response.headers["retry-after"] == "1"


def test_an_unchanged_job_is_a_304(api: httpx.Client, gate: Path) -> None:
    job_id = submit(api, chunks=[[1]], processor="gated", options={"directory": str(gate)})["id"]
    eventually(lambda: begun(gate), what="it runs")
    etag = api.get(f"/jobs/{job_id}").headers["etag"]

    unchanged = api.get(f"/jobs/{job_id}", headers={"If-None-Match": etag})
    (gate / "open").touch()
    finish(api, job_id)
    changed = api.get(f"/jobs/{job_id}", headers={"If-None-Match": etag})

    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert changed.status_code == 200
    assert changed.headers["etag"] != etag


def test_progress_counts_what_runs_and_what_waits(
    api: httpx.Client, gate: Path, execution: str
) -> None:
    job_id = submit(
        api,
        execution=execution,
        chunks=[[value] for value in range(6)],
        processor="gated",
        options={"directory": str(gate)},
        max_concurrency=2,
    )["id"]
    eventually(lambda: len(begun(gate)) == 2, what="the window is full")

    job = get(api, job_id)
    running = children(api, job_id, state="running")

    assert (job["chunks"]["running"], job["chunks"]["pending"]) == (2, 4)
    assert job["success_rate"] is None
    assert [child["index"] for child in running] == [0, 1]
    assert running[0]["started_at"] is not None
    assert running[0]["duration_seconds"] is None
    assert results(api, job_id) == []
    (gate / "open").touch()
    assert finish(api, job_id)["progress"]["percent"] == 100


def test_the_window_is_never_exceeded(api: httpx.Client, gate: Path, execution: str) -> None:
    (gate / "open").touch()
    job_id = submit(
        api,
        execution=execution,
        chunks=[[value] for value in range(40)],
        processor="gated",
        options={"directory": str(gate)},
        max_concurrency=3,
    )["id"]
    finish(api, job_id)
    moments: list[tuple[str, int]] = []
    for child in children(api, job_id):
        moments += [(child["started_at"], 1), (child["finished_at"], -1)]
    in_flight = most = 0
    for _, change in sorted(moments, key=lambda moment: (moment[0], moment[1])):
        in_flight += change
        most = max(most, in_flight)

    assert 1 <= most <= 3


def test_any_json_value_comes_back_equal(api: httpx.Client, execution: str) -> None:
    values: list[Any] = [
        None, True, 0, -0.0, 1.0, 1e308, 5e-324, 0.1, 2**64 + 1, -(10**400), 10**5000,
        "", "ä€𝄞\u2028\ufeff", "\\u0000 is text", {"": {"ä": []}}, [[[]]], [1, [2, {"3": None}]],
    ]  # fmt: skip
    body = json.dumps(
        {"items": values, "chunk_size": 5, "processor": "transform", "execution": execution}
    )

    accepted = api.post("/jobs", content=body, headers={"Content-Type": "application/json"})
    job_id = finish(api, accepted.json()["id"])["id"]
    came_back = [value for line in results(api, job_id) for value in line["result"]]

    assert came_back == values
    assert [type(value) for value in came_back] == [type(value) for value in values]


def test_jobs_are_listed_newest_first_and_filtered_by_state_and_label(api: httpx.Client) -> None:
    made = [
        run(api, **DOUBLE, labels={"test": "listing", "number": str(number)})["id"]
        for number in range(5)
    ]

    def listed(**parameters: Any) -> list[str]:
        found: list[str] = []
        while True:
            page = api.get("/jobs", params=parameters).json()
            found += [job["id"] for job in page["jobs"]]
            if "next_cursor" not in page:
                return found
            parameters["cursor"] = page["next_cursor"]

    assert listed(label="test:listing", limit=2) == made[::-1]
    assert listed(label=["test:listing", "number:3"]) == [made[3]]
    assert listed(label="test:listing", state="failed") == []
    assert listed(label="test:listing", state="succeeded") == made[::-1]


def test_by_default_the_number_of_chunks_decides_the_execution(api: httpx.Client) -> None:
    few = run(api, **DOUBLE)
    many = run(api, items=list(range(300)), chunk_size=1, processor="double")

    assert (few["execution"], many["execution"]) == ("workflow", "activity")
    assert (few["state"], many["state"]) == ("succeeded", "succeeded")


def test_a_cursor_belongs_to_its_filters(api: httpx.Client) -> None:
    job_id = run(api, **DOUBLE)["id"]
    cursor = api.get(f"/jobs/{job_id}/children", params={"limit": 1}).json()["next_cursor"]

    other = api.get(f"/jobs/{job_id}/children", params={"cursor": cursor, "state": "failed"})
    listing = api.get("/jobs", params={"cursor": cursor})

    assert [other.status_code, listing.status_code] == [400, 400]
    assert other.json()["code"] == listing.json()["code"] == "invalid_cursor"


def test_a_larger_limit_is_taken_as_a_thousand(api: httpx.Client) -> None:
    job_id = run(api, items=list(range(1200)), chunk_size=1, processor="double")["id"]

    page = api.get(f"/jobs/{job_id}/children", params={"limit": 99999}).json()

    assert len(page["children"]) == 1000
    assert "next_cursor" in page


def test_a_single_child_is_found_by_index(api: httpx.Client) -> None:
    job_id = run(api, **DOUBLE)["id"]

    child = api.get(f"/jobs/{job_id}/children/1").json()

    assert (child["index"], child["state"], child["result"]) == (1, "succeeded", [4])
    assert child["workflow_id"] == f"{job_id}/c0000001"
    for index in ("2", "-1", "x", str(2**70)):
        missing = api.get(f"/jobs/{job_id}/children/{index}")
        assert missing.status_code == 404, index


def test_what_does_not_exist_is_a_404_everywhere(api: httpx.Client) -> None:
    for path in ("", "/children", "/results", "/children/0"):
        response = api.get(f"/jobs/job_nothing{path}")
        assert (response.status_code, response.json()["code"]) == (404, "job_not_found")
    assert api.delete("/jobs/job_nothing").status_code == 404
    assert api.get("/nothing").json()["code"] == "not_found"
    assert api.put("/jobs").json()["code"] == "method_not_allowed"


def test_a_failing_item_is_recorded_and_only_it_is_repeated(
    api: httpx.Client, tmp_path: Path, execution: str
) -> None:
    job = run(
        api,
        execution=execution,
        chunks=[[1, 2, 3]],
        processor="picky",
        options={"directory": str(tmp_path)},
        retry={"max_attempts": 2, "initial_interval_seconds": 0.05},
        reducer="merge",
    )

    assert job["result"] == [2, 4, 6]
    calls = {value: (tmp_path / f"calls-{value}").read_text() for value in (1, 2, 3)}
    assert calls == {1: "x", 2: "xx", 3: "x"}


def test_tolerated_failures_end_a_doomed_job_early(api: httpx.Client, execution: str) -> None:
    job = run(
        api,
        execution=execution,
        chunks=[[2]] * 200,
        processor="double",
        options={"fail_if_divisible_by": 2},
        retry={"max_attempts": 1},
        max_concurrency=2,
        tolerated_failures={"count": 5},
    )

    assert (job["state"], job["error"]["type"]) == ("failed", "ToleranceExceeded")
    assert 6 <= job["chunks"]["failed"] <= 8
    assert job["chunks"]["cancelled"] == 200 - job["chunks"]["failed"]


def test_a_fold_that_fails_fails_the_job_and_keeps_the_results(
    api: httpx.Client, execution: str
) -> None:
    job = run(
        api,
        execution=execution,
        items=["a", "b"],
        chunk_size=1,
        processor="transform",
        reducer="sum",
    )

    assert (job["state"], job["error"]["type"]) == ("failed", "FoldFailed")
    assert [line["result"] for line in results(api, job["id"])] == [["a"], ["b"]]


def test_the_same_key_makes_one_job_however_many_ask_at_once(api: httpx.Client) -> None:
    body = json.dumps(DOUBLE)
    headers = {"Content-Type": "application/json", "Idempotency-Key": '"race"'}

    def post(_: int) -> httpx.Response:
        return api.post("/jobs", content=body, headers=headers)

    with ThreadPoolExecutor(10) as pool:
        responses = list(pool.map(post, range(30)))
    other = api.post("/jobs", json={"chunks": [[9]], "processor": "double"}, headers=headers)
    bare = api.post("/jobs", content=body, headers=headers | {"Idempotency-Key": "race"})

    assert {response.status_code for response in responses} == {202}
    assert len({response.json()["id"] for response in responses}) == 1
    replayed = [response.headers.get("idempotency-replayed") for response in responses]
    assert sorted(replayed, key=str) == [None] + ["true"] * 29
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert bare.json()["id"] == responses[0].json()["id"]


@pytest.mark.parametrize("kind", ["processors", "reducers"])
def test_every_published_example_runs_as_it_stands(api: httpx.Client, kind: str) -> None:
    entries = api.get(f"/{kind}").json()[kind]
    of_tests = {"gated", "undone", "endless", "deadly"}
    built_in = [entry for entry in entries if entry["name"] not in of_tests]

    assert len(built_in) >= 4
    for entry in built_in:
        assert entry["description"]
        assert entry["options_schema"]["type"] == "object"
        if entry["name"] == "picky":
            continue
        job = run(api, **entry["example"])
        assert job["state"] in {"succeeded", "partially_succeeded"}, entry["name"]
