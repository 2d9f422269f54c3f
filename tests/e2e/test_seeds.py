"""The seed documents' own examples, over HTTP: the table at the end of the HTTP contract."""

from typing import Any

import httpx
import pytest

from tests.e2e.journeys import children, finish, results, run, submit

LAB_5: dict[str, Any] = {
    "chunks": [[1], [2], [3], [4], [5]],
    "processor": "double",
    "options": {"fail_if_divisible_by": 2},
    "retry": {"max_attempts": 1},
    "reducer": "collect",
}


def lab5(values: list[int], **options: Any) -> dict[str, Any]:
    return {
        "chunks": [[value] for value in values],
        "processor": "double",
        "options": {"fail_if_divisible_by": 2, **options},
        "retry": {"max_attempts": 1},
        "reducer": "collect",
    }


def test_lab_5_doubles_odd_values_and_records_the_even_ones_as_failed(
    api: httpx.Client, execution: str
) -> None:
    job = run(api, execution=execution, **LAB_5)

    assert job["state"] == "partially_succeeded"
    assert job["success_rate"] == 0.6
    assert job["chunks"]["succeeded"] == 3
    assert job["chunks"]["failed"] == 2
    assert job["items"] == {"total": 5, "succeeded": 3, "failed": 2}
    assert job["result"] == [
        {"index": 0, "result": [2]},
        {"index": 2, "result": [6]},
        {"index": 4, "result": [10]},
    ]
    failed = children(api, job["id"], state="failed")
    assert [
        (child["index"], child["error"]["type"], child["error"]["message"]) for child in failed
    ] == [
        (1, "ApplicationError", "Simulated failure for value 2"),
        (3, "ApplicationError", "Simulated failure for value 4"),
    ]
    assert {child["attempts"] for child in failed} == {1}
    assert {child["result"] is None for child in failed} == {True}


@pytest.mark.parametrize(
    ("values", "state", "rate", "succeeded", "failed"),
    [
        ([1, 3, 5, 7, 9], "succeeded", 1.0, 5, 0),
        ([2, 4, 6, 8], "failed", 0.0, 0, 4),
        (list(range(1, 16)), "partially_succeeded", 8 / 15, 8, 7),
    ],
    ids=["all odd", "all even", "1 to 15"],
)
def test_lab_5_scenarios(
    api: httpx.Client,
    execution: str,
    values: list[int],
    state: str,
    rate: float,
    succeeded: int,
    failed: int,
) -> None:
    job = run(api, execution=execution, **lab5(values))

    assert (job["state"], job["success_rate"]) == (state, rate)
    assert (job["chunks"]["succeeded"], job["chunks"]["failed"]) == (succeeded, failed)
    if state == "failed":
        assert job["error"]["type"] == "AllItemsFailed"
        assert job["result"] is None


def test_another_failure_condition_fails_the_multiples_of_three(
    api: httpx.Client, execution: str
) -> None:
    job = run(api, execution=execution, **lab5([1, 2, 3, 4, 5, 6], fail_if_divisible_by=3))

    assert [child["index"] for child in children(api, job["id"], state="failed")] == [2, 5]


def test_random_failures_are_the_same_for_the_same_seed(api: httpx.Client, execution: str) -> None:
    asked = lab5(list(range(1, 31)), fail_if_divisible_by=None, fail_probability=0.3, seed=7)
    first, second = run(api, execution=execution, **asked), run(api, execution=execution, **asked)

    assert 0 < first["chunks"]["failed"] < 30
    assert first["result"] == second["result"]


def test_delays_run_side_by_side(api: httpx.Client, execution: str) -> None:
    job = run(
        api,
        execution=execution,
        chunks=[[value] for value in range(10)],
        processor="double",
        options={"delay_seconds": [1, 1.2]},
    )

    durations = [line["duration_seconds"] for line in results(api, job["id"])]
    assert min(durations) >= 1.0
    assert job["state"] == "succeeded"
    assert job["progress"]["chunks_per_second"] > 2  # one after another it would be under one


def test_failed_attempts_are_repeated_until_they_succeed(api: httpx.Client, execution: str) -> None:
    job = run(
        api,
        execution=execution,
        chunks=[[1], [2]],
        processor="double",
        options={"fail_attempts": 2},
        retry={"max_attempts": 3, "initial_interval_seconds": 0.05},
        reducer="sum",
    )

    assert (job["state"], job["result"]) == ("succeeded", 6)
    assert [child["attempts"] for child in children(api, job["id"])] == [3, 3]


def test_process_chunk_transforms_with_options(api: httpx.Client, execution: str) -> None:
    job = run(
        api,
        execution=execution,
        items=["item1", "item2", "item3"],
        chunk_size=2,
        processor="transform",
        options={"upper": True, "prefix": "done: "},
        reducer="merge",
    )

    assert job["result"] == ["done: ITEM1", "done: ITEM2", "done: ITEM3"]


def test_validation_fails_the_chunk_of_an_invalid_item(api: httpx.Client, execution: str) -> None:
    job = run(
        api,
        execution=execution,
        chunks=[[{"iata": "HEL"}], [{"iata": ""}]],
        processor="validate",
        options={"required": ["iata"]},
    )

    (failed,) = children(api, job["id"], state="failed")
    assert failed["error"] == {
        "type": "ValidationError",
        "message": "iata is missing",
        "retryable": False,
    }
    assert failed["attempts"] == 1


def test_validation_as_a_stage_drops_invalid_items_and_counts_them(
    api: httpx.Client, execution: str
) -> None:
    job = run(
        api,
        execution=execution,
        items=[{"c": "FI"}, {"c": ""}, {"c": "SE"}, {"c": "FI"}],
        chunk_size=2,
        stages=[
            {"processor": "validate", "options": {"required": ["c"], "on_invalid": "drop"}},
            {"processor": "count_by", "options": {"field": "c"}},
        ],
        reducer="merge_counts",
    )

    assert job["state"] == "succeeded"
    assert job["result"] == {"FI": 2, "SE": 1}
    assert job["items"] == {"total": 4, "succeeded": 3, "failed": 1}
    assert [child["attempts"] for child in children(api, job["id"])] == [1, 1]


@pytest.mark.parametrize(
    ("reducer", "result"),
    [
        ("collect", [{"index": 0, "result": [2, 4]}, {"index": 1, "result": [6]}]),
        ("sum", 12),
        ("merge", [2, 4, 6]),
    ],
)
def test_results_are_aggregated(
    api: httpx.Client, execution: str, reducer: str, result: Any
) -> None:
    job = run(
        api, execution=execution, items=[1, 2, 3], chunk_size=2, processor="double", reducer=reducer
    )

    assert job["result"] == result


def test_map_reduce_counts_words(api: httpx.Client, execution: str) -> None:
    job = run(
        api,
        execution=execution,
        items=["to be or not to be", "be quick"],
        chunk_size=1,
        processor="word_count",
        reducer="merge_counts",
    )

    assert job["result"] == {"be": 3, "not": 1, "or": 1, "quick": 1, "to": 2}


def test_a_single_item_is_a_chunk_of_its_own(api: httpx.Client, execution: str) -> None:
    job = run(
        api, execution=execution, items=[5, 7], chunk_size=1, processor="double", reducer="collect"
    )

    assert job["result"] == [{"index": 0, "result": [10]}, {"index": 1, "result": [14]}]


def test_two_jobs_over_the_same_values_at_once_do_not_collide(
    api: httpx.Client, execution: str
) -> None:
    first, second = (
        submit(api, execution=execution, **LAB_5),
        submit(api, execution=execution, **LAB_5),
    )

    assert finish(api, first["id"])["result"] == finish(api, second["id"])["result"]
    ids = {child["workflow_id"] for job in (first, second) for child in children(api, job["id"])}
    # In blocks a chunk has no workflow of its own: its shard's is named.
    assert len(ids) == (10 if execution == "workflow" else 2)


def test_a_job_of_a_thousand_children_counts_every_one(api: httpx.Client, execution: str) -> None:
    job = run(
        api,
        execution=execution,
        chunks=[[value] for value in range(1000)],
        processor="double",
        reducer="sum",
    )

    assert job["chunks"]["succeeded"] == 1000
    assert job["result"] == sum(2 * value for value in range(1000))
    assert len(children(api, job["id"], limit="300")) == 1000
