"""Controls of a job made of jobs, and of a part of one: what each brings about, what is refused."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.journeys import begun, get, results, submit
from tests.e2e.trees import PICKY, below, ended, gated, in_states, listed, run, states
from tests.waiting import eventually

FAR_OFF = "2100-01-01T00:00:00Z"


def open_gates(gate: Path, *names: str) -> None:
    for name in names:
        (gate / name / "open").touch()


def running_tree(api: httpx.Client, gate: Path, **job: Any) -> str:
    """A tree of `a`, `b/c`, `b/d` and `e`, of which all but `e` have begun; it waits for these."""
    job_id: str = submit(
        api,
        jobs={
            "a": gated(gate, "a"),
            "b": {"jobs": {"c": gated(gate, "c"), "d": gated(gate, "d")}, "reducer": "sum"},
            "e": gated(gate, "e"),
        },
        reducer="sum",
        max_jobs=2,
        max_concurrency=1,
        **job,
    )["id"]
    for name in ("a", "c", "d"):
        eventually(partial(begun, gate / name), what=f"{name} has begun")
    in_states(api, job_id, e="pending")
    return job_id


def refused(response: httpx.Response, status: int, code: str) -> str:
    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    detail: str = response.json()["detail"]
    return detail


def test_pause_and_resume_act_on_the_tree(api: httpx.Client, gate: Path) -> None:
    job_id = running_tree(api, gate)

    assert api.post(f"/jobs/{job_id}/pause").json()["state"] == "paused"

    assert set(states(api, job_id).values()) == {"paused"}
    open_gates(gate, "a", "c", "d", "e")
    eventually(lambda: get(api, job_id)["chunks"]["running"] == 0, what="what ran has finished")
    assert get(api, job_id)["chunks"]["succeeded"] == 3
    assert not begun(gate / "e")
    assert api.post(f"/jobs/{job_id}/resume").status_code == 202
    job = ended(api, job_id)
    assert (job["state"], job["result"]) == ("succeeded", 8)


def test_a_part_is_paused_alone_and_the_others_go_on(api: httpx.Client, gate: Path) -> None:
    job_id = running_tree(api, gate)
    part = below(api, job_id)["b"]["id"]

    assert api.post(f"/jobs/{part}/pause").json()["state"] == "paused"

    open_gates(gate, "a", "c", "d", "e")
    in_states(api, job_id, a="succeeded", e="succeeded", b="paused", **{"b/c": "paused"})
    job = get(api, job_id)
    assert (job["state"], job["jobs"]["paused"], job["chunks"]["pending"]) == ("running", 1, 2)
    assert api.post(f"/jobs/{part}/resume").status_code == 202
    assert ended(api, job_id)["state"] == "succeeded"


@pytest.mark.parametrize("drain", [False, True])
def test_no_sub_job_survives_the_cancel_of_the_tree(
    api: httpx.Client, gate: Path, drain: bool
) -> None:
    job_id = running_tree(api, gate)

    response = api.delete(f"/jobs/{job_id}", params={"drain": "true"} if drain else {})

    assert response.json()["state"] == "cancelling"
    if drain:
        open_gates(gate, "a", "c", "d", "e")
    job = ended(api, job_id)
    assert job["state"] == "cancelled"
    assert set(states(api, job_id).values()) == {"cancelled"}
    assert job["chunks"]["succeeded"] == (3 if drain else 0)
    assert not begun(gate / "e")
    again = api.delete(f"/jobs/{job_id}")
    assert (again.status_code, again.json()["state"]) == (200, "cancelled")


def test_a_part_is_cancelled_alone_and_its_parent_goes_on(api: httpx.Client, gate: Path) -> None:
    job_id = running_tree(api, gate)
    tree = below(api, job_id)

    assert api.delete(f"/jobs/{tree['b']['id']}").json()["state"] == "cancelling"
    assert api.delete(f"/jobs/{tree['e']['id']}").json()["state"] in {"cancelling", "cancelled"}

    open_gates(gate, "a")
    job = ended(api, job_id)
    assert states(api, job_id) == {
        "a": "succeeded",
        "b": "cancelled",
        "b/c": "cancelled",
        "b/d": "cancelled",
        "e": "cancelled",
    }
    assert (job["state"], job["result"]) == ("partially_succeeded", 2)


def test_the_priority_of_a_tree_is_that_of_all_its_parts(api: httpx.Client, gate: Path) -> None:
    job_id = running_tree(api, gate)

    response = api.patch(f"/jobs/{job_id}", json={"priority": 1, "name": "urgent"})

    assert (response.status_code, response.json()["priority"]) == (200, 1)
    tree = below(api, job_id)
    assert {one["priority"] for one in tree.values()} == {1}
    assert "urgent" not in {one["name"] for one in tree.values()}
    api.patch(f"/jobs/{tree['b']['id']}", json={"priority": None})
    tree = below(api, job_id)
    assert {path: one["priority"] for path, one in tree.items()} == {
        "a": 1,
        "b": 3,
        "b/c": 3,
        "b/d": 3,
        "e": 1,
    }
    open_gates(gate, "a", "c", "d", "e")
    assert ended(api, job_id)["state"] == "succeeded"


def test_limits_of_chunks_are_given_to_jobs_that_have_some(api: httpx.Client, gate: Path) -> None:
    job_id = running_tree(api, gate)
    tree = below(api, job_id)

    for changes in ({"max_concurrency": 5}, {"max_per_second": 5}, {"max_per_second": None}):
        response = api.patch(f"/jobs/{job_id}", json=changes)
        refused(response, 409, "job_has_no_chunks")
        (fault,) = response.json()["errors"]
        assert fault["pointer"] == f"/{next(iter(changes))}"
        leaf = api.patch(f"/jobs/{tree['a']['id']}", json=changes)
        assert leaf.status_code == 200, leaf.text
    assert api.patch(f"/jobs/{job_id}", json={"tolerated_failures": {"count": 1}}).is_success
    for name, code in (("retention_hours", "job_is_part_of_another"), ("start_at", "invalid_job")):
        response = api.patch(f"/jobs/{tree['a']['id']}", json={name: 1})
        refused(response, 409 if name == "retention_hours" else 422, code)
    assert api.patch(f"/jobs/{job_id}", json={"retention_hours": 1}).is_success
    open_gates(gate, "a", "c", "d", "e")
    assert ended(api, job_id)["state"] == "succeeded"


def test_a_part_is_removed_with_the_whole_alone(api: httpx.Client) -> None:
    job = run(api, processor="double", jobs={"a": {"items": [1]}, "b": {"items": [2]}})
    ids = [one["id"] for one in listed(api, job["id"])]

    detail = refused(
        api.delete(f"/jobs/{ids[0]}", params={"purge": "true"}), 409, "job_is_part_of_another"
    )

    assert job["id"] in detail
    assert api.delete(f"/jobs/{job['id']}", params={"purge": "true"}).status_code == 204
    for job_id in (job["id"], *ids):
        assert api.get(f"/jobs/{job_id}").status_code == 404
        assert api.get(f"/jobs/{job_id}/children").status_code == 404


def test_while_a_tree_receives_its_data_no_part_of_it_is_steered(api: httpx.Client) -> None:
    jobs = {"twice": {"processor": "double"}, "own": {"processor": "double", "items": [1]}}
    job = submit(api, source="upload", reducer="collect", jobs=jobs, chunk_size=2)
    job_id = job["id"]
    assert (job["state"], job["links"]["jobs"]) == ("receiving", f"/jobs/{job_id}/jobs")
    sub_jobs = {one["path"]: one["id"] for one in listed(api, job_id)}

    for path in sub_jobs.values():
        for response in (
            api.post(f"/jobs/{path}/pause"),
            api.delete(f"/jobs/{path}"),
            api.delete(f"/jobs/{path}", params={"drain": "true"}),
        ):
            assert job_id in refused(response, 409, "job_receiving")
    refused(api.delete(f"/jobs/{sub_jobs['own']}/children/0"), 409, "job_receiving")
    refused(api.post(f"/jobs/{job_id}/pause"), 409, "job_receiving")
    assert states(api, job_id) == {"twice": "pending", "own": "pending"}

    sent = api.put(
        f"/jobs/{job_id}/items",
        params={"part": 1},
        content=b"5\n6\n7\n",
        headers={"Content-Type": "application/x-ndjson"},
    )
    assert sent.json() == {"part": 1, "items": 3, "chunks": 2}
    sealed = api.post(f"/jobs/{job_id}/seal")
    assert sealed.status_code == 202, sealed.text
    done = ended(api, job_id)
    assert (done["state"], done["chunks"]["total"], done["items"]["total"]) == ("succeeded", 3, 4)
    lines = [(line["path"], line["index"], line["result"]) for line in results(api, job_id)]
    assert lines == [("twice", 0, [10, 12]), ("twice", 1, [14]), ("own", 0, [2])]


def test_a_tree_that_receives_its_data_is_cancelled_as_a_whole(api: httpx.Client) -> None:
    jobs = {"one": {"processor": "double"}, "other": {"jobs": {"below": {"processor": "double"}}}}
    job_id = submit(api, source="upload", jobs=jobs)["id"]

    assert api.delete(f"/jobs/{job_id}").status_code == 200

    assert ended(api, job_id)["state"] == "cancelled"
    assert set(states(api, job_id).values()) == {"cancelled"}


def test_a_form_gives_its_items_to_all_that_have_none(api: httpx.Client) -> None:
    job = {
        "reducer": "collect",
        "jobs": {"a": {"processor": "double"}, "b": {"processor": "transform"}},
    }
    response = api.post(
        "/jobs", data={"job": json.dumps(job)}, files={"items": ("items.ndjson", b"1\n2\n")}
    )
    assert response.status_code == 202, response.text
    done = ended(api, response.json()["id"])
    assert [(line["path"], line["result"]) for line in results(api, done["id"])] == [
        ("a", [2, 4]),
        ("b", [1, 2]),
    ]


def test_a_redrive_of_the_whole_runs_again_what_failed_in_any_part(
    api: httpx.Client, gate: Path
) -> None:
    flaky = {
        "processor": "picky",
        "options": {"directory": str(gate)},
        "retry": {"max_attempts": 1},
    }
    job = run(
        api,
        **flaky,
        reducer="sum",
        jobs={"a": {"jobs": {"b": {"items": [1, 2]}}}, "c": {"items": [3]}, "d": {"items": [4]}},
    )
    assert (job["state"], job["result"]) == ("partially_succeeded", 8)
    kept = below(api, job["id"])["c"]

    response = api.post(f"/jobs/{job['id']}/redrive")

    assert response.status_code == 202, response.text
    done = ended(api, job["id"])
    assert (done["run"], done["state"], done["result"]) == (2, "succeeded", 20)
    assert done["started_at"] > job["finished_at"]
    tree = below(api, job["id"])
    assert {path: one["run"] for path, one in tree.items()} == {"a": 2, "a/b": 2, "c": 1, "d": 2}
    assert tree["c"] == kept
    first = api.get(f"/jobs/{job['id']}", params={"run": 1}).json()
    assert (first["state"], first["chunks"], first["jobs"]) == (job["state"], job["chunks"], None)
    refused(api.post(f"/jobs/{job['id']}/redrive"), 422, "nothing_selected")


def test_a_redrive_of_a_part_has_all_above_it_fold_again(api: httpx.Client) -> None:
    job = run(
        api,
        **PICKY,
        reducer="sum",
        jobs={"a": {"jobs": {"b": {"items": [1, 2]}}}, "c": {"items": [3]}},
    )
    assert job["result"] == 8
    part = below(api, job["id"])["a/b"]["id"]

    response = api.post(f"/jobs/{part}/redrive", json={"options": {}})

    assert response.status_code == 202, response.text
    done = ended(api, job["id"])
    assert (done["run"], done["state"], done["result"]) == (2, "succeeded", 12)
    runs = {path: one["run"] for path, one in below(api, job["id"]).items()}
    assert runs == {"a": 2, "a/b": 2, "c": 1}


def test_what_goes_with_one_job_is_refused_in_a_redrive_of_many(
    api: httpx.Client, gate: Path
) -> None:
    job = run(api, **PICKY, jobs={"a": {"items": [2]}, "b": {"items": [4]}})
    path = f"/jobs/{job['id']}/redrive"
    body = {"select": {"indexes": [0]}, "options": {}, "max_concurrency": 2}

    response = api.post(path, json=body)

    refused(response, 422, "invalid_job")
    assert [fault["pointer"] for fault in response.json()["errors"]] == [
        "/max_concurrency",
        "/options",
        "/select/indexes",
    ]
    other = {"select": {"error_types": ["OtherError"]}}
    refused(api.post(path, json=other), 422, "nothing_selected")
    assert get(api, job["id"]) == job
    running = running_tree(api, gate)
    refused(api.post(f"/jobs/{running}/redrive"), 409, "job_not_finished")
    open_gates(gate, "a", "c", "d", "e")
    ended(api, running)
    key = {"Idempotency-Key": "tree-redrive"}
    narrowed = {"select": {"states": ["failed"], "error_types": ["ApplicationError"]}}
    first = api.post(path, json=narrowed, headers=key)
    assert first.status_code == 202, first.text
    again = api.post(path, json=narrowed, headers=key)
    assert again.headers["idempotency-replayed"] == "true"
    assert ended(api, job["id"])["run"] == 2


def test_chunks_that_are_held_in_a_tree_are_decided_in_their_own_job(api: httpx.Client) -> None:
    held = {**PICKY, "on_failure": "hold"}
    jobs = {"a": {**held, "items": [2]}, "b": {**held, "items": [4]}, "c": {"items": [1], **PICKY}}
    job_id = submit(api, jobs=jobs, reducer="sum")["id"]
    in_states(api, job_id, a="waiting", b="waiting", c="succeeded")
    job = get(api, job_id)
    assert (job["state"], job["jobs"]["waiting"], job["chunks"]["held"]) == ("running", 2, 2)
    refused(api.post(f"/jobs/{job_id}/release"), 409, "job_not_waiting")
    refused(api.post(f"/jobs/{job_id}/redrive"), 409, "job_not_finished")
    parts = [one["id"] for one in listed(api, job_id)]

    assert api.put(f"/jobs/{parts[0]}/children/0/result", json=[40]).status_code == 200
    assert api.post(f"/jobs/{parts[1]}/redrive", json={"options": {}}).status_code == 202

    done = ended(api, job_id)
    assert (done["state"], done["result"], done["run"]) == ("succeeded", 50, 1)


def test_a_tree_is_changed_and_paused_before_its_time_to_start(api: httpx.Client) -> None:
    jobs = {"a": {"items": [1]}, "b": {"items": [2]}}
    job_id = submit(api, processor="double", jobs=jobs, start_at=FAR_OFF)["id"]
    assert api.post(f"/jobs/{job_id}/pause").json()["state"] == "paused"
    assert set(states(api, job_id).values()) == {"paused"}
    assert api.post(f"/jobs/{job_id}/resume").json()["state"] == "pending"
    assert set(states(api, job_id).values()) == {"pending"}
    part = listed(api, job_id)[0]["id"]
    assert api.delete(f"/jobs/{part}").json()["state"] in {"cancelling", "cancelled"}
    in_states(api, job_id, a="cancelled", b="pending")
    api.delete(f"/jobs/{job_id}")
    assert ended(api, job_id)["state"] == "cancelled"
