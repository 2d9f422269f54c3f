"""What a job made of jobs hands down: where a sub-job does not say, it has it from above."""

import json
from typing import Any

import pytest

from fanfold.contract.job_spec import (
    Controls,
    Execution,
    OnFailure,
    Order,
    RetrySpec,
    StageSpec,
    ToleranceSpec,
)
from fanfold.contract.plan import AUTO_WORKFLOW_CHUNKS
from tests.unit.trees import LEAF, below, leaf, prepared, spec

EVERYTHING: dict[str, Any] = {
    "processor": "count_by",
    "options": {"field": "sku"},
    "reducer": "merge_counts",
    "retry": {"max_attempts": 7},
    "chunk_timeout_seconds": 9,
    "chunk_size": 2,
    "max_chunk_bytes": 500,
    "execution": "activity",
    "max_concurrency": 4,
    "on_failure": "hold",
    "hold_timeout_seconds": 60,
    "tolerated_failures": {"count": 3},
    "labels": {"team": "stock"},
    "priority": 1,
    "item_key": "sku",
}
ITEMS = [{"sku": "tea"}, {"sku": "salt"}, {"sku": "rice"}]
BY_SKU = StageSpec(
    processor="count_by",
    options={"field": "sku"},
    retry=RetrySpec(max_attempts=7),
    timeout_seconds=9.0,
)


@pytest.mark.parametrize("between", [0, 1, 3])
def test_what_no_job_in_between_says_comes_from_the_top(between: int) -> None:
    jobs: dict[str, Any] = {"x": {"items": ITEMS}}
    for _ in range(between):
        jobs = {"between": {"jobs": jobs}}
    found = leaf({**EVERYTHING, "jobs": jobs}, "between/" * between + "x")
    assert found.spec.stages == (BY_SKU,)
    assert found.controls == Controls(
        name="x",
        labels={"team": "stock"},
        max_concurrency=4,
        tolerated_failures=ToleranceSpec(count=3),
        priority=1,
    )
    assert (found.spec.reducer, found.spec.execution) == ("merge_counts", Execution.ACTIVITY)
    assert (found.spec.chunk_size, found.spec.max_chunk_bytes) == (2, 500)
    assert (found.spec.on_failure, found.spec.hold_timeout_seconds) == (OnFailure.HOLD, 60.0)
    assert found.spec.item_key == "sku"
    assert [chunk.item_count for chunk in found.data or ()] == [2, 1]


@pytest.mark.parametrize(
    ("says", "name", "value"),
    [
        ({"reducer": "collect"}, "reducer", "collect"),
        ({"reducer": None}, "reducer", None),
        ({"chunk_size": 1}, "chunk_size", 1),
        ({"chunk_size": None}, "chunk_size", 100),
        ({"max_chunk_bytes": None}, "max_chunk_bytes", None),
        ({"execution": "workflow"}, "execution", Execution.WORKFLOW),
        ({"item_key": None}, "item_key", None),
        ({"on_failure": "record"}, "hold_timeout_seconds", None),
        ({"hold_timeout_seconds": 5}, "hold_timeout_seconds", 5.0),
    ],
)
def test_what_a_sub_job_says_is_its_own(says: dict[str, Any], name: str, value: Any) -> None:
    document = {**EVERYTHING, "jobs": {"own": {"items": ITEMS, **says}, "other": {"items": ITEMS}}}
    assert getattr(spec(document, "own"), name) == value
    assert getattr(spec(document, "other"), name) != value


@pytest.mark.parametrize(
    ("says", "name", "value"),
    [
        ({"max_concurrency": 9}, "max_concurrency", 9),
        ({"labels": {"store": "1"}}, "labels", {"store": "1"}),
        ({"labels": {}}, "labels", {}),
        ({"priority": 5}, "priority", 5),
        ({"tolerated_failures": None}, "tolerated_failures", None),
        ({"name": "Finland"}, "name", "Finland"),
        ({"max_per_second": 2.5}, "max_per_second", 2.5),
        ({"deadline_seconds": 8}, "deadline_seconds", 8.0),
    ],
)
def test_so_is_what_may_change_meanwhile(says: dict[str, Any], name: str, value: Any) -> None:
    document = {**EVERYTHING, "jobs": {"own": {"items": ITEMS, **says}, "other": {"items": ITEMS}}}
    assert getattr(leaf(document, "own").controls, name) == value
    assert getattr(leaf(document, "other").controls, name) != value


@pytest.mark.parametrize(
    "says", [{"name": "top"}, {"deadline_seconds": 5}, {"start_at": "2026-01-31T12:00:00Z"}]
)
def test_what_goes_with_one_job_is_not_handed_down(says: dict[str, Any]) -> None:
    found = leaf({"processor": "double", **says, "jobs": {"x": LEAF}}, "x")
    assert found.controls == Controls(name="x")


def test_retry_is_one_thing_and_replaced_as_a_whole() -> None:
    document = {
        **EVERYTHING,
        "retry": {"max_attempts": 7, "backoff_coefficient": 5},
        "jobs": {"x": {"items": ITEMS, "retry": {"max_attempts": 2}}},
    }
    assert spec(document, "x").stages[0].retry == RetrySpec(max_attempts=2)


@pytest.mark.parametrize(
    ("says", "work"),
    [
        ({}, [("double", {"fail_attempts": 1})]),
        ({"options": {"fail_attempts": 2}}, [("double", {"fail_attempts": 2})]),
        ({"options": {}}, [("double", {})]),
        ({"processor": "double"}, [("double", {})]),
        ({"processor": "transform", "options": {"upper": True}}, [("transform", {"upper": True})]),
        ({"stages": [{"processor": "transform"}]}, [("transform", {})]),
    ],
)
def test_a_processor_and_its_options_are_handed_down_as_one(
    says: dict[str, Any], work: list[Any]
) -> None:
    top = {"processor": "double", "options": {"fail_attempts": 1}}
    stages = spec({**top, "jobs": {"x": {**LEAF, **says}}}, "x").stages
    assert [(stage.processor, stage.options) for stage in stages] == work


def test_stages_from_above_go_by_the_retry_and_the_time_limit_of_the_sub_job() -> None:
    stages = [{"processor": "double", "timeout_seconds": 5}, {"processor": "transform"}]
    says = {"retry": {"max_attempts": 2}, "chunk_timeout_seconds": 8}
    found = spec({"stages": stages, "jobs": {"x": {**LEAF, **says}}}, "x")
    told = [(one.retry.max_attempts, one.timeout_seconds) for one in found.stages]
    assert told == [(2, 5.0), (2, 8.0)]
    assert found.is_staged


def test_a_processor_of_a_sub_job_takes_the_place_of_stages_from_above() -> None:
    found = spec(
        {"stages": [{"processor": "double"}], "jobs": {"x": {**LEAF, "processor": "transform"}}},
        "x",
    )
    assert ([stage.processor for stage in found.stages], found.is_staged) == (["transform"], False)


def test_a_job_above_needs_no_processor_where_every_leaf_has_one() -> None:
    job = prepared({"jobs": {"x": {**LEAF, "processor": "double"}}, "retry": {"max_attempts": 4}})
    assert job.spec.stages == ()
    assert job.spec.retry == RetrySpec(max_attempts=4)
    assert job.chunks == ()


def test_a_job_made_of_jobs_has_an_order_and_a_number_of_them_at_a_time() -> None:
    job = prepared(
        {
            "processor": "double",
            "max_jobs": 3,
            "jobs": {"a": {"order": "sequence", "jobs": {"b": LEAF}}},
        }
    )
    (a, b) = dict(below(job)).values()
    assert (job.spec.order, job.spec.max_jobs) == (Order.PARALLEL, 3)
    assert (a.spec.order, a.spec.max_jobs) == (Order.SEQUENCE, 10)
    assert b.spec.order is None


def test_a_sequence_says_what_its_jobs_wait_for() -> None:
    document = {
        "processor": "double",
        "order": "sequence",
        "jobs": {
            "first": LEAF,
            "second": {
                "input": "previous",
                "when": "previous.success_rate == `1`",
                "chunk_size": 7,
                "compensate": {"processor": "transform", "retry": {"max_attempts": 1}},
            },
        },
    }
    found = leaf(document, "second")
    assert found.data is None
    assert found.spec.has_previous_input
    assert found.spec.when == "previous.success_rate == `1`"
    assert found.spec.chunk_size == 7
    assert found.spec.compensate == StageSpec(
        processor="transform", retry=RetrySpec(max_attempts=1)
    )


def test_a_compensation_goes_by_the_retry_and_the_time_limit_of_its_job() -> None:
    document = {
        "processor": "double",
        "retry": {"max_attempts": 6},
        "chunk_timeout_seconds": 7,
        **LEAF,
        "compensate": {"processor": "transform", "options": {"upper": True}},
    }
    assert prepared(document).spec.compensate == StageSpec(
        processor="transform",
        options={"upper": True},
        retry=RetrySpec(max_attempts=6),
        timeout_seconds=7.0,
    )


def test_data_goes_to_every_leaf_below_that_has_none_and_is_kept_once() -> None:
    document = {
        "processor": "double",
        "chunks": [[1, 2], [3]],
        "jobs": {
            "a": {},
            "b": {"jobs": {"c": {}, "own": {"items": [4], "chunk_size": 1}}},
        },
    }
    job = prepared(document)
    assert [json.loads(chunk.body) for chunk in job.chunks or ()] == [[1, 2], [3]]
    data = {path: one.data for path, one in below(job)}
    assert {path for path, chunks in data.items() if chunks is None} == {"a", "b", "b/c"}
    assert (job.extent.chunks, job.extent.items, job.extent.jobs) == (2 + 2 + 1, 3 + 3 + 1, 4)


def test_what_is_said_of_data_goes_with_it() -> None:
    said = {"item_key": "sku", "chunk_size": 2, "max_chunk_bytes": 400}
    document = {
        "processor": "double",
        "jobs": {"a": {"items": ITEMS, **said, "jobs": {"b": {"jobs": {"c": {}}}}}},
    }
    found = spec(document, "a/b/c")
    assert (found.item_key, found.chunk_size, found.max_chunk_bytes) == ("sku", 2, 400)


def test_chunks_that_are_scattered_have_no_size_that_was_asked_for() -> None:
    document = {"processor": "double", "chunks": [[1]], "jobs": {"a": {}, "b": {"items": [1]}}}
    assert spec(document, "a").chunk_size is None
    assert spec(document, "b").chunk_size == 100


@pytest.mark.parametrize(
    ("chunk_count", "execution"),
    [(AUTO_WORKFLOW_CHUNKS, Execution.WORKFLOW), (AUTO_WORKFLOW_CHUNKS + 1, Execution.ACTIVITY)],
)
def test_the_chunks_of_all_jobs_together_decide_the_execution(
    chunk_count: int, execution: Execution
) -> None:
    items = [1] * (chunk_count - 100)
    document = {
        "processor": "double",
        "chunk_size": 1,
        "items": items,
        "jobs": {"a": {}, "b": {"items": [1] * 100}, "c": {"items": [1], "execution": "workflow"}},
    }
    document["items"] = items[1:]
    job = prepared(document)
    assert job.extent.chunks == chunk_count
    assert job.spec.execution is job.extent.execution is execution
    found = {path: one.spec.execution for path, one in below(job)}
    assert found == {"a": execution, "b": execution, "c": Execution.WORKFLOW}


def test_a_plain_job_is_made_of_none() -> None:
    job = prepared({"processor": "double", "items": [1]})
    assert (job.jobs, job.extent.jobs, job.spec.order) == ([], None, None)
