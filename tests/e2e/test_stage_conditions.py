"""Stages with `when`, over HTTP: what passes through one, what repairs it, what is refused."""

from typing import Any

import httpx
import pytest

from tests.e2e.journeys import finish, results, run
from tests.e2e.test_items import EXECUTIONS, items

ONCE = {"max_attempts": 1}


def doubling(when: str, **options: Any) -> dict[str, Any]:
    return {"processor": "double", "options": options, "when": when}


@EXECUTIONS
def test_a_chunk_passes_a_stage_that_is_not_for_it(api: httpx.Client, execution: str) -> None:
    """With an item that failed before, which is repaired after."""
    job = run(
        api,
        chunks=[[1, 2], [10, 7, 12], [20, 22]],
        stages=[
            {"processor": "double", "options": {"fail_if_divisible_by": 7}},
            doubling("first < `30`"),
            doubling("length(items) == `2` && first > `20`"),
        ],
        retry=ONCE,
        reducer="sum",
        execution=execution,
    )
    assert job["state"] == "partially_succeeded"
    assert job["items"] == {"total": 7, "succeeded": 6, "failed": 1}
    assert [line["result"] for line in results(api, job["id"])] == [
        [4, 8],
        # Without the one that failed there were two, when it reached the last stage.
        [80, None, 96],
        [80, 88],
    ]
    assert job["result"] == 4 + 8 + 80 + 96 + 80 + 88
    assert [(one["value"], one["state"], one["result"]) for one in items(api, job["id"])][2:5] == [
        (10, "succeeded", 80),
        (7, "failed", None),
        (12, "succeeded", 96),
    ]
    redrive = {"corrections": [{"index": 1, "item": 1, "value": 8}]}
    assert api.post(f"/jobs/{job['id']}/redrive", json=redrive).status_code == 202
    job = finish(api, job["id"])
    assert (job["state"], job["run"]) == ("succeeded", 2)
    # It came alone to the last stage, which is for two.
    assert results(api, job["id"])[1]["result"] == [80, 32, 96]


@EXECUTIONS
def test_a_condition_that_nobody_can_decide_fails_its_chunk_and_is_repaired(
    api: httpx.Client, execution: str
) -> None:
    stages = [{"processor": "double"}, doubling("abs(first.n) > `1`")]
    job = run(api, chunks=[[1], [2]], stages=stages, execution=execution)
    assert (job["state"], job["chunks"]["failed"]) == ("failed", 2)
    (error,) = job["errors"]
    assert (error["type"], error["count"]) == ("ConditionFailed", 2)
    assert error["message"] == (
        "'when' of stage 1, 'double', cannot be decided: abs() takes a number, and is given null: "
        "abs(first.n) > `1`"
    )
    (attempt,) = api.get(f"/jobs/{job['id']}/children/0/attempts").json()["attempts"]
    assert (attempt["stage"], attempt["number"], attempt["error"]["retryable"]) == (1, 1, False)
    stages[1]["when"] = "abs(first) > `2`"
    redriven = api.post(f"/jobs/{job['id']}/redrive", json={"stages": stages})
    assert redriven.status_code == 202, redriven.text
    job = finish(api, job["id"])
    assert job["state"] == "succeeded"
    assert [line["result"] for line in results(api, job["id"])] == [[2], [8]]


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("item[0] > `1`", "column 1: there is no field 'item' here; did you mean items?"),
        ("first > 3", "column 9: a number stands between backticks: `3`"),
    ],
)
def test_what_is_no_condition_is_refused_with_its_place(
    api: httpx.Client, when: str, message: str
) -> None:
    stages = [{"processor": "double"}, doubling(when)]
    refused = api.post("/jobs", json={"items": [1], "stages": stages})
    assert refused.status_code == 422, refused.text
    assert refused.json()["errors"] == [{"pointer": "/stages/1/when", "message": message}]
