"""Items are what counts: over HTTP, in both executions, from the job to the item that failed."""

import csv
import io
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.journeys import finish, get, results, run, submit
from tests.waiting import eventually

EXECUTIONS = pytest.mark.parametrize("execution", ["workflow", "activity"])
AT_ONCE = {"initial_interval_seconds": 0.05}


def items(api: httpx.Client, job_id: str, **parameters: Any) -> list[dict[str, Any]]:
    """All items, page by page."""
    found: list[dict[str, Any]] = []
    while True:
        response = api.get(f"/jobs/{job_id}/items", params=parameters)
        assert response.status_code == 200, response.text
        page = response.json()
        found += page["items"]
        if "next_cursor" not in page:
            return found
        parameters["cursor"] = page["next_cursor"]


def why(item: dict[str, Any]) -> str:
    return f"{item['error']['type']}: {item['error']['message']}"


@EXECUTIONS
def test_a_bad_item_fails_itself_alone(api: httpx.Client, execution: str) -> None:
    job = run(
        api,
        items=list(range(1, 501)),
        chunk_size=50,
        processor="double",
        options={"fail_if_divisible_by": 100},
        retry={"max_attempts": 1},
        reducer="sum",
        execution=execution,
    )
    assert job["state"] == "partially_succeeded"
    assert job["items"] == {"total": 500, "succeeded": 495, "failed": 5}
    assert job["success_rate"] == 0.99
    assert (job["chunks"]["succeeded"], job["chunks"]["partially_succeeded"]) == (5, 5)
    assert job["result"] == 2 * (sum(range(1, 501)) - (100 + 200 + 300 + 400 + 500))
    assert [(error["first_index"], error["first_item"]) for error in job["errors"]] == [
        (index, 49) for index in (1, 3, 5, 7, 9)
    ]
    failed = items(api, job["id"], state="failed", limit=2)
    assert [(one["index"], one["item"], one["value"]) for one in failed] == [
        (index, 49, 50 * (index + 1)) for index in (1, 3, 5, 7, 9)
    ]
    assert failed[0]["error"] == {
        "type": "ApplicationError",
        "message": "Simulated failure for value 100",
        "retryable": True,
    }
    child = results(api, job["id"])[1]
    assert child["state"] == "partially_succeeded"
    assert child["result"] == [2 * value for value in range(51, 100)] + [None]
    assert (child["error"]["message"], "partial_result" in child) == (
        "Simulated failure for value 100",
        False,
    )


@EXECUTIONS
def test_an_item_that_failed_for_good_never_runs_twice(
    api: httpx.Client, execution: str, tmp_path: Path
) -> None:
    """What may be helped is tried again, alone."""
    job = run(
        api,
        items=[1, 2, 3, 4],
        chunk_size=4,
        processor="picky",
        options={"directory": str(tmp_path), "final": [3]},
        retry={"max_attempts": 5, "non_retryable": ["ValueError"], **AT_ONCE},
        execution=execution,
    )
    calls = {file.name: len(file.read_text()) for file in tmp_path.iterdir()}
    assert calls == {"calls-1": 1, "calls-2": 2, "calls-3": 1, "calls-4": 2}
    assert job["items"] == {"total": 4, "succeeded": 3, "failed": 1}
    assert results(api, job["id"])[0]["result"] == [2, 4, None, 8]


@EXECUTIONS
def test_what_fails_at_one_stage_holds_nothing_back_at_the_next(
    api: httpx.Client, execution: str
) -> None:
    rows = [{"id": f"k{n}", "text": text} for n, text in enumerate(["a", "", "b", None, "c"])]
    job = run(
        api,
        items=rows,
        item_key="id",
        chunk_size=5,
        stages=[
            {
                "processor": "validate",
                "options": {"rules": [{"field": "text", "required": True}], "on_invalid": "drop"},
            },
            {
                "processor": "validate",
                "options": {"rules": [{"field": "text", "choices": ["a", "c"]}]},
            },
            {"processor": "transform", "options": {"fields": ["text"], "upper": True}},
        ],
        reducer="merge",
        execution=execution,
    )
    assert job["items"] == {"total": 5, "succeeded": 2, "failed": 3}
    assert [row["text"] for row in job["result"]] == ["A", "C"]
    (child,) = results(api, job["id"])
    assert child["state"] == "partially_succeeded"
    assert child["result"] == [{"id": "k0", "text": "A"}, None, {"id": "k4", "text": "C"}]
    told = [(one["item"], one["key"], one["stage"], one["type"]) for one in child["item_errors"]]
    assert told == [
        (1, "k1", 0, "ItemDropped"),
        (3, "k3", 0, "ItemDropped"),
        (2, "k2", 1, "ValidationError"),
    ]
    listed = items(api, job["id"])
    assert [(one["key"], one["state"]) for one in listed] == [
        ("k0", "succeeded"),
        ("k1", "failed"),
        ("k2", "failed"),
        ("k3", "failed"),
        ("k4", "succeeded"),
    ]
    assert [one["value"] for one in listed] == rows
    assert listed[4]["result"] == {"id": "k4", "text": "C"}
    text = api.get(f"/jobs/{job['id']}/results", params={"format": "csv", "columns": "text"}).text
    assert [line[:5] for line in csv.reader(io.StringIO(text))] == [
        ["index", "item", "key", "state", "error"],
        ["0", "0", "k0", "succeeded", ""],
        [
            "0",
            "1",
            "k1",
            "failed",
            why(listed[1]),
        ],
        [
            "0",
            "2",
            "k2",
            "failed",
            why(listed[2]),
        ],
        [
            "0",
            "3",
            "k3",
            "failed",
            why(listed[3]),
        ],
        ["0", "4", "k4", "succeeded", ""],
    ]


@EXECUTIONS
def test_what_a_chunk_processor_makes_of_items_keeps_its_places_through_later_stages(
    api: httpx.Client, execution: str
) -> None:
    job = run(
        api,
        items=[[{"text": "a"}, {"text": ""}], [{"text": "b"}, {"text": "c"}]],
        stages=[
            {"processor": "flattened"},
            {
                "processor": "validate",
                "options": {"rules": [{"field": "text", "required": True}], "on_invalid": "drop"},
            },
            {
                "processor": "validate",
                "options": {"rules": [{"field": "text", "choices": ["a", "c"]}]},
            },
            {"processor": "transform", "options": {"fields": ["text"], "upper": True}},
        ],
        reducer="merge",
        execution=execution,
    )
    assert job["result"] == [{"text": "A"}, {"text": "C"}]
    (child,) = results(api, job["id"])
    assert child["result"] == [{"text": "A"}, None, {"text": "C"}]
    told = [(one["item"], one["stage"], one["type"]) for one in child["item_errors"]]
    assert told == [(1, 1, "ItemDropped"), (2, 2, "ValidationError")]
    # Nobody can say which item the bad one came of.
    assert job["items"] == {"total": 2, "succeeded": 0, "failed": 2}
    assert [group["count"] for group in job["errors"]] == [2]
    assert [one["error"] for one in items(api, job["id"])] == [child["error"]] * 2
    text = api.get(f"/jobs/{job['id']}/results", params={"format": "csv", "columns": "text"}).text
    table = list(csv.reader(io.StringIO(text)))[1:]
    assert [(item, state, value) for _, item, state, _, value in table] == [
        ("0", "succeeded", "A"),
        ("2", "failed", ""),
        ("3", "succeeded", "C"),
    ]


def test_items_left_out_fail_nothing_and_are_counted(api: httpx.Client) -> None:
    job = run(
        api,
        items=["a", "", "b"],
        processor="validate",
        options={"rules": [{"required": True}], "on_invalid": "drop"},
        tolerated_failures={"count": 0},
    )
    assert job["state"] == "succeeded"
    assert job["items"] == {"total": 3, "succeeded": 2, "failed": 1}
    assert [(error["type"], error["count"]) for error in job["errors"]] == [("ItemDropped", 1)]
    assert [one["value"] for one in items(api, job["id"], state="failed")] == [""]


@EXECUTIONS
def test_tolerances_are_about_items(api: httpx.Client, execution: str) -> None:
    bad = {
        "items": list(range(1, 101)),
        "chunk_size": 10,
        "processor": "double",
        "options": {"fail_if_divisible_by": 10},
        "retry": {"max_attempts": 1},
        "execution": execution,
        "max_concurrency": 1,
    }
    borne = run(api, **bad, tolerated_failures={"count": 10})
    assert (borne["state"], borne["items"]["failed"]) == ("partially_succeeded", 10)
    stopped = run(api, **bad, tolerated_failures={"count": 2})
    assert (stopped["state"], stopped["error"]["type"]) == ("failed", "ToleranceExceeded")
    assert stopped["chunks"]["cancelled"] > 0
    share = run(api, **bad, tolerated_failures={"percent": 9.9})
    assert share["error"]["message"].startswith(
        "10 of 100 items failed, more than the job tolerates"
    )
    assert share["error"]["rule"] == "percent"


def test_of_a_chunk_that_failed_as_a_whole_all_items_have_failed(api: httpx.Client) -> None:
    job = run(
        api,
        items=[{"country": "FI"}, 7, {"country": "SE"}, {"country": "FI"}],
        chunk_size=2,
        processor="count_by",
        options={"field": "country"},
        reducer="merge_counts",
        retry={"max_attempts": 1},
    )
    assert job["items"] == {"total": 4, "succeeded": 2, "failed": 2}
    assert job["result"] == {"SE": 1, "FI": 1}
    assert (job["errors"][0]["count"], job["errors"][0]["first_index"]) == (2, 0)
    listed = items(api, job["id"], limit=1)
    assert [one["state"] for one in listed] == ["failed", "failed", "succeeded", "succeeded"]
    assert [one["result"] for one in listed] == [None] * 4


def test_items_are_listed_while_the_job_runs_and_by_state(
    api: httpx.Client, tmp_path: Path
) -> None:
    job = submit(
        api,
        items=[1, 2, 3],
        chunk_size=1,
        processor="gated",
        options={"directory": str(tmp_path)},
        max_concurrency=1,
    )
    eventually(lambda: get(api, job["id"])["chunks"]["running"] == 1, what="a chunk runs")
    assert [one["state"] for one in items(api, job["id"])] == ["running", "pending", "pending"]
    assert [one["value"] for one in items(api, job["id"], state="pending", limit=1)] == [2, 3]
    assert items(api, job["id"], state="failed") == []
    (tmp_path / "open").touch()
    finish(api, job["id"])
    assert [one["result"] for one in items(api, job["id"], state="succeeded", limit=2)] == [2, 4, 6]


def test_a_job_shows_what_it_was_asked_for(api: httpx.Client) -> None:
    asked = {
        "options": {"fail_if_divisible_by": 7},
        "retry": {
            "max_attempts": 2,
            "initial_interval_seconds": 0.5,
            "backoff_coefficient": 3.0,
            "max_interval_seconds": 9.0,
            "non_retryable": ["A"],
        },
        "max_concurrency": 3,
        "chunk_size": 2,
        "chunk_timeout_seconds": 12.5,
        "tolerated_failures": {
            "count": 4,
            "percent": 50.0,
            "min_sample": 10,
            "consecutive": None,
        },
        "item_key": "id",
    }
    job = run(api, items=[1, 2, 3], processor="double", **asked)
    assert {name: job[name] for name in asked} == asked


def test_why_user_code_failed_is_seen_at_the_child(api: httpx.Client, tmp_path: Path) -> None:
    job = run(
        api,
        items=[1, 2],
        processor="picky",
        options={"directory": str(tmp_path), "final": [2]},
        retry={"max_attempts": 1},
    )
    (child,) = results(api, job["id"])
    assert 'in picky\n    raise ValueError("the call fails for good")\n' in child["traceback"]
    assert child["item_errors"][0]["traceback"] == child["traceback"]
    assert "execution.py" not in child["traceback"]
