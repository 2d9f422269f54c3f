"""Jobs made of jobs over HTTP: their shapes, and the tree seen as one."""

import csv
import io
import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.journeys import get, results, submit
from tests.e2e.trees import PICKY, below, ended, gated, listed, run, states
from tests.waiting import eventually

REGIONS: dict[str, Any] = {
    "name": "stock by region",
    "processor": "count_by",
    "options": {"field": "sku"},
    "reducer": "merge_counts",
    "labels": {"team": "stock"},
    "jobs": {
        "EU": {
            "jobs": {
                "FI": {"items": [{"sku": "tea"}, {"sku": "salt"}], "chunk_size": 1},
                "SE": {"items": [{"sku": "tea"}], "retry": {"max_attempts": 5}},
            }
        },
        "US": {"items": [{"sku": "salt"}]},
    },
}
# Of each leaf one item fails, and one does not; keys are named in one of them.
FAILING: dict[str, Any] = {
    **PICKY,
    "reducer": "sum",
    "jobs": {
        "a": {"jobs": {"b": {"items": [1, 2], "chunk_size": 1}, "c": {"items": [2, 3]}}},
        "d": {"items": [4, 5], "chunk_size": 1},
    },
}


def test_a_tree_is_seen_as_one(api: httpx.Client, execution: str) -> None:
    job = run(api, **REGIONS, execution=execution)

    assert (job["state"], job["result"]) == ("succeeded", {"tea": 2, "salt": 2})
    assert (job["chunks"]["succeeded"], job["items"]["succeeded"]) == (4, 4)
    assert (job["success_rate"], job["progress"]["percent"]) == (1.0, 100.0)
    assert (job["jobs"]["total"], job["jobs"]["succeeded"]) == (2, 2)
    assert (job["parent"], job["path"], job["order"], job["max_jobs"]) == (
        None,
        None,
        "parallel",
        10,
    )
    tree = below(api, job["id"])
    assert list(tree) == ["EU", "EU/FI", "EU/SE", "US"]
    assert (tree["EU/FI"]["parent"], tree["EU/FI"]["jobs"]) == (tree["EU"]["id"], None)
    assert [tree["EU/SE"][name] for name in ("processor", "labels", "execution")] == [
        "count_by",
        {"team": "stock"},
        execution,
    ]
    assert tree["EU/SE"]["retry"]["max_attempts"] == 5
    assert get(api, tree["EU"]["id"])["result"] == {"tea": 2, "salt": 1}


def test_each_sub_job_is_a_job_of_its_own(api: httpx.Client) -> None:
    tree = below(api, run(api, **REGIONS)["id"])

    leaf = tree["EU/FI"]["id"]
    assert get(api, leaf)["result"] == {"tea": 1, "salt": 1}
    assert [(line["index"], "job" in line) for line in results(api, leaf)] == [
        (0, False),
        (1, False),
    ]
    child = api.get(f"/jobs/{leaf}/children/1").json()
    assert (child["state"], child["result"], "path" in child) == ("succeeded", {"salt": 1}, False)
    lines = results(api, tree["EU"]["id"])
    assert [(line["path"], line["index"]) for line in lines] == [
        ("EU/FI", 0),
        ("EU/FI", 1),
        ("EU/SE", 0),
    ]


def test_jobs_are_listed_without_those_they_are_made_of(api: httpx.Client) -> None:
    job = run(api, **REGIONS)

    newest = api.get("/jobs", params={"limit": 1}).json()["jobs"]
    assert [one["id"] for one in newest] == [job["id"]]
    of_it = api.get("/jobs", params={"parent": job["id"]}).json()
    assert sorted(one["path"] for one in of_it["jobs"]) == ["EU", "US"]
    ids = [one["id"] for one in of_it["jobs"]]
    assert ids == sorted(ids, reverse=True)
    labelled = {"parent": job["id"], "label": "team:stock", "state": "succeeded", "limit": "1"}
    page = api.get("/jobs", params=labelled).json()
    rest = api.get("/jobs", params={**labelled, "cursor": page["next_cursor"]}).json()
    assert [one["id"] for one in page["jobs"] + rest["jobs"]] == ids
    assert "next_cursor" not in rest
    none = api.get("/jobs", params={"parent": job["id"], "label": "team:other"})
    assert none.json() == {"jobs": []}
    unknown = api.get("/jobs", params={"parent": "job_0"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "job_not_found")
    stale = api.get("/jobs", params={"cursor": page["next_cursor"]})
    assert (stale.status_code, stale.json()["code"]) == (400, "invalid_cursor")


def test_sub_jobs_are_listed_in_the_order_in_which_they_are_named(api: httpx.Client) -> None:
    names = ["z", "a", "m", "10", "9"]
    values = {name: {"items": [value]} for value, name in enumerate(names, start=1)}
    job = run(api, **PICKY, jobs=values)

    for limit in ("1", "2", "5", "1000"):
        assert [one["path"] for one in listed(api, job["id"], limit=limit)] == names
    failed = listed(api, job["id"], state="failed", limit="1")
    assert [one["path"] for one in failed] == ["a", "10"]
    page = api.get(f"/jobs/{job['id']}/jobs", params={"limit": 1}).json()
    other = {"cursor": page["next_cursor"], "state": "failed"}
    stale = api.get(f"/jobs/{job['id']}/jobs", params=other)
    assert (stale.status_code, stale.json()["code"]) == (400, "invalid_cursor")
    plain = submit(api, items=[1], processor="double")
    assert listed(api, plain["id"]) == []
    assert api.get("/jobs/job_0/jobs").status_code == 404


@pytest.mark.parametrize("what", ["children", "items"])
@pytest.mark.parametrize("state", [None, "failed"])
def test_pages_over_a_tree_hold_each_once_whatever_their_size(
    api: httpx.Client, what: str, state: str | None
) -> None:
    job_id = run(api, **FAILING)["id"]
    filters = {} if state is None else {"state": state}
    whole = api.get(f"/jobs/{job_id}/{what}", params=filters).json()
    assert "next_cursor" not in whole

    for limit in range(1, 8):
        found: list[dict[str, Any]] = []
        parameters: dict[str, Any] = {**filters, "limit": limit}
        while True:
            page = api.get(f"/jobs/{job_id}/{what}", params=parameters).json()
            assert len(page[what]) <= limit
            found += page[what]
            if "next_cursor" not in page:
                break
            parameters["cursor"] = page["next_cursor"]
        assert found == whole[what]
    places = [(one["path"], one["index"], one.get("item")) for one in whole[what]]
    expected: list[tuple[str, int, int | None]]
    if what == "items":
        expected = [("a/b", 1, 0), ("a/c", 0, 0), ("d", 0, 0)]
        if state is None:
            expected = sorted([*expected, ("a/b", 0, 0), ("a/c", 0, 1), ("d", 1, 0)])
    else:
        expected = [("a/b", 1, None), ("d", 0, None)]  # that of a/c succeeded in part
        if state is None:
            expected = sorted([*expected, ("a/b", 0, None), ("a/c", 0, None), ("d", 1, None)])
    assert places == expected


def test_failures_and_results_over_a_tree_say_where_they_are_from(api: httpx.Client) -> None:
    keyed = {"items": [{"id": "k1"}, {"id": "k2"}], "item_key": "id", "processor": "transform"}
    wrong = {"rules": [{"field": "sku", "required": True}]}
    invalid = {"items": [{"id": "k3"}], "item_key": "id", "processor": "validate", "options": wrong}
    job = run(api, jobs={"plain": {**PICKY, "items": [1, 2]}, "keyed": keyed, "invalid": invalid})
    tree = below(api, job["id"])

    response = api.get(f"/jobs/{job['id']}/failures")
    lines = [json.loads(line) for line in response.text.splitlines()]
    assert [(line["job"], line["path"], line["value"], line.get("key")) for line in lines] == [
        (tree["plain"]["id"], "plain", 2, None),
        (tree["invalid"]["id"], "invalid", {"id": "k3"}, "k3"),
    ]
    assert "key" not in lines[0]
    header, *rows = table(api, f"/jobs/{job['id']}/failures")
    assert header[:7] == ["job", "path", "index", "item", "key", "error_type", "error_message"]
    assert [row[1:6] for row in rows] == [
        ["plain", "0", "1", "", "ApplicationError"],
        ["invalid", "0", "0", "k3", "ValidationError"],
    ]
    header, *rows = table(api, f"/jobs/{job['id']}/results")
    assert header[:7] == ["job", "path", "index", "item", "key", "state", "error"]
    assert [row[1:6] for row in rows] == [
        ["plain", "0", "0", "", "succeeded"],
        ["plain", "0", "1", "", "failed"],
        ["keyed", "0", "0", "k1", "succeeded"],
        ["keyed", "0", "1", "k2", "succeeded"],
        ["invalid", "0", "0", "k3", "failed"],
    ]
    failed = results(api, job["id"], state="failed")
    assert [line["path"] for line in failed] == ["invalid"]


def table(api: httpx.Client, path: str) -> list[list[str]]:
    response = api.get(path, params={"format": "csv"})
    assert response.status_code == 200, response.text
    return list(csv.reader(io.StringIO(response.text, newline="")))


def test_errors_are_those_of_the_tree_and_say_where_they_were_first(api: httpx.Client) -> None:
    job = run(api, **FAILING)

    tree = below(api, job["id"])
    found = {
        error["message"]: (error["count"], error["first_job"], error["first_index"])
        for error in job["errors"]
    }
    assert found == {
        "Simulated failure for value 2": (2, tree["a/b"]["id"], 1),
        "Simulated failure for value 4": (1, tree["d"]["id"], 0),
    }
    assert (job["state"], job["items"]["failed"], job["success_rate"]) == (
        "partially_succeeded",
        3,
        0.5,
    )
    assert tree["d"]["errors"][0]["first_job"] is None


def test_what_is_asked_of_a_child_is_refused_where_there_is_none(api: httpx.Client) -> None:
    job_id = run(api, **REGIONS)["id"]
    for method, path in (
        ("GET", "children/0"),
        ("DELETE", "children/0"),
        ("GET", "children/0/attempts"),
        ("PUT", "children/0/result"),
    ):
        response = api.request(
            method, f"/jobs/{job_id}/{path}", json=1 if method == "PUT" else None
        )
        assert (response.status_code, response.json()["code"]) == (409, "job_has_no_chunks"), path
        assert f"GET /jobs/{job_id}/jobs" in response.json()["detail"]


def test_the_etag_of_a_job_changes_with_those_it_is_made_of(api: httpx.Client, gate: Path) -> None:
    jobs = {name: gated(gate, name, values=1) for name in ("a", "b")}
    job_id = submit(api, jobs=jobs, max_jobs=1)["id"]
    eventually((gate / "a" / "begun-0-1").exists, what="the first has begun")
    eventually(lambda: get(api, job_id)["chunks"]["running"] == 1, what="it is counted")
    tag = api.get(f"/jobs/{job_id}").headers["etag"]
    unchanged = api.get(f"/jobs/{job_id}", headers={"If-None-Match": tag})
    assert unchanged.status_code == 304

    # Which changes nothing but the states of sub-jobs.
    second = listed(api, job_id)[1]["id"]
    assert api.post(f"/jobs/{second}/pause").status_code == 202

    eventually(lambda: get(api, job_id)["jobs"]["paused"] == 1, what="it is shown")
    assert api.get(f"/jobs/{job_id}", headers={"If-None-Match": tag}).status_code == 200
    api.post(f"/jobs/{second}/resume")
    for name in ("a", "b"):
        (gate / name / "open").touch()
    assert ended(api, job_id)["state"] == "succeeded"


def test_a_sequence_says_what_was_skipped_and_what_never_got_its_turn(api: httpx.Client) -> None:
    job = run(
        api,
        order="sequence",
        reducer="collect",
        processor="double",
        jobs={
            "first": {"items": [1, 2], "reducer": "merge"},
            "second": {"input": "previous", "reducer": "merge"},
            "never": {"items": [1], "when": "previous.state == 'failed'"},
            "bad": {"items": [2], **PICKY},
            "rest": {"items": [1]},
        },
    )

    assert states(api, job["id"]) == {
        "first": "succeeded",
        "second": "succeeded",
        "never": "skipped",
        "bad": "failed",
        "rest": "cancelled",
    }
    assert (job["state"], job["error"]["type"]) == ("failed", "SequenceFailed")
    assert (job["order"], job["max_jobs"]) == ("sequence", 1)
    assert {name: count for name, count in job["jobs"].items() if count} == {
        "total": 5,
        "succeeded": 2,
        "skipped": 1,
        "failed": 1,
        "cancelled": 1,
    }
    tree = below(api, job["id"])
    assert (tree["second"]["input"], tree["second"]["items"]["total"]) == ("previous", 2)
    assert get(api, tree["second"]["id"])["result"] == [4, 8]
    assert tree["never"]["when"] == "previous.state == 'failed'"
    assert tree["never"]["chunks"]["cancelled"] == 1


def test_a_compensation_is_a_sub_job_that_counts_for_nothing(api: httpx.Client) -> None:
    undo = {"processor": "transform", "retry": {"max_attempts": 2}}
    job = run(
        api,
        order="sequence",
        jobs={
            "hotel": {"items": [1], "processor": "double", "compensate": undo},
            "flight": {**PICKY, "items": [2]},
        },
    )

    assert states(api, job["id"]) == {
        "hotel": "succeeded",
        "hotel/compensation": "succeeded",
        "flight": "failed",
    }
    tree = below(api, job["id"])
    assert tree["hotel"]["compensate"]["processor"] == "transform"
    assert tree["hotel"]["compensate"]["retry"]["max_attempts"] == 2
    assert (tree["hotel"]["jobs"]["total"], tree["flight"]["jobs"]) == (1, None)
    assert tree["hotel"]["chunks"]["total"] == 1
    assert job["chunks"]["total"] == 2
    (line,) = results(api, tree["hotel/compensation"]["id"])
    assert line["result"] == [{"items": [1], "result": [2]}]


@pytest.mark.alone
def test_a_root_of_a_thousand_jobs_is_read_at_least_half_as_fast(api: httpx.Client) -> None:
    waiting = {"processor": "double", "start_at": "2100-01-01T00:00:00Z"}
    plain = submit(api, items=list(range(1000)), chunk_size=1, **waiting)["id"]
    jobs = {f"part {number}": {"items": [number]} for number in range(1000)}
    root = submit(api, jobs=jobs, **waiting)["id"]

    def seconds(job_id: str) -> float:
        """How long reading a job takes when nothing else gets in between."""
        times: list[float] = []
        for _ in range(200):
            began = time.perf_counter()
            api.get(f"/jobs/{job_id}")
            times.append(time.perf_counter() - began)
        return sorted(times)[20]

    assert get(api, root)["jobs"]["pending"] == 1000
    assert seconds(root) < 2 * seconds(plain)
    for job_id in (plain, root):
        api.delete(f"/jobs/{job_id}")
