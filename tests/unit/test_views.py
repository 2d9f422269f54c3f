"""What a client gets: the HTTP contract's fields, with results spliced in as they are."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from fanfold.answers import rendering
from fanfold.app.answers.children import child_json
from fanfold.app.answers.tree import Leaf
from fanfold.contract.failures import Failure
from fanfold.contract.job_spec import (
    Controls,
    Execution,
    JobSpec,
    OnFailure,
    RetrySpec,
    StageSpec,
    ToleranceSpec,
)
from fanfold.contract.json_values import encode
from fanfold.contract.names import JobId
from fanfold.contract.states import ChunkState, JobState
from fanfold.ledger.records import (
    ChunkCounts,
    ChunkOutput,
    ChunkRecord,
    ErrorGroup,
    ItemError,
    JobRecord,
    Stop,
)
from tests.unit.any_json import exactly, storable_text, values

RETRY = {
    "max_attempts": 3,
    "initial_interval_seconds": 1.0,
    "backoff_coefficient": 2.0,
    "max_interval_seconds": 60.0,
    "non_retryable": [],
}
CREATED = 1_795_297_920_123
SPEC = JobSpec(
    stages=(StageSpec(processor="count_by"),),
    is_staged=False,
    reducer="merge_counts",
    execution=Execution.WORKFLOW,
)
CONTROLS = Controls(name="airports by country", max_concurrency=50, labels={"team": "data"})
JOB = JobRecord(
    id=JobId("job_1"),
    state=JobState.RUNNING,
    run=1,
    revision=1,
    spec=SPEC,
    controls=CONTROLS,
    total_chunks=8,
    total_items=800,
    created_at=CREATED,
    started_at=CREATED + 1000,
    finished_at=None,
    error=None,
    stop=None,
    counts=ChunkCounts(
        pending=3, running=1, succeeded=3, failed=1, items_succeeded=300, items_failed=100
    ),
    errors=(ErrorGroup("ValidationError", "iata is missing", 1, 7, 3),),
)
CHILD = ChunkRecord(
    index=7,
    state=ChunkState.SUCCEEDED,
    item_count=100,
    items_failed=0,
    attempts=3,
    error=None,
    started_at=CREATED,
    finished_at=CREATED + 21,
    result_bytes=3,
    by_item=True,
    block=None,
    stage=0,
    stage_attempts=3,
    run=1,
    resolved_by=None,
)


def job_fields(job: JobRecord = JOB, result: bytes | None = None) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(rendering.job_json(job, result, None))
    return fields


def child_fields(chunk: ChunkRecord, output: ChunkOutput) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(child_json(Leaf(JOB), chunk, output))
    return fields


def test_a_job_has_the_fields_of_the_contract() -> None:
    finished = replace(
        JOB,
        state=JobState.PARTIALLY_SUCCEEDED,
        finished_at=CREATED + 3000,
        counts=ChunkCounts(succeeded=6, failed=2, items_succeeded=600, items_failed=200),
    )
    text = rendering.job_json(
        finished, b'{"FI":2}', "http://localhost:8233/namespaces/default/workflows"
    )
    assert json.loads(text) == {
        "id": "job_1",
        "name": "airports by country",
        "parent": None,
        "path": None,
        "state": "partially_succeeded",
        "run": 1,
        "execution": "workflow",
        "processor": "count_by",
        "options": {},
        "stages": None,
        "reducer": "merge_counts",
        "order": None,
        "max_jobs": None,
        "input": None,
        "when": None,
        "compensate": None,
        "chunk_size": 100,
        "item_key": None,
        "max_concurrency": 50,
        "max_per_second": None,
        "priority": 3,
        "start_at": None,
        "deadline_seconds": None,
        "retry": RETRY,
        "chunk_timeout_seconds": 300.0,
        "tolerated_failures": None,
        "on_failure": "record",
        "hold_timeout_seconds": None,
        "retention_hours": None,
        "jobs": None,
        "chunks": {
            "total": 8,
            "pending": 0,
            "running": 0,
            "succeeded": 6,
            "partially_succeeded": 0,
            "failed": 2,
            "cancelled": 0,
            "held": 0,
        },
        "items": {"total": 800, "succeeded": 600, "failed": 200},
        "success_rate": 0.75,
        "progress": {"percent": 100.0, "chunks_per_second": 4.0, "eta_seconds": None},
        "errors": [
            {
                "type": "ValidationError",
                "message": "iata is missing",
                "count": 1,
                "first_index": 7,
                "first_item": 3,
                "first_job": None,
            }
        ],
        "error": None,
        "labels": {"team": "data"},
        "created_at": "2026-11-21T21:52:00.123Z",
        "started_at": "2026-11-21T21:52:01.123Z",
        "finished_at": "2026-11-21T21:52:03.123Z",
        "links": {
            "self": "/jobs/job_1",
            "children": "/jobs/job_1/children",
            "results": "/jobs/job_1/results",
            "jobs": None,
            "temporal_ui": "http://localhost:8233/namespaces/default/workflows/job_1",
        },
        "result": {"FI": 2},
    }


def test_a_job_of_stages_shows_them_instead_of_a_processor() -> None:
    stages = (
        StageSpec(
            processor="validate", options={"required": ["a"]}, timeout_seconds=5, when="items"
        ),
        StageSpec(processor="count_by", retry=RetrySpec(max_attempts=1)),
    )
    spec = replace(
        SPEC, stages=stages, is_staged=True, retry=RetrySpec(max_attempts=7), chunk_size=None
    )
    fields = job_fields(replace(JOB, spec=spec))
    assert [fields[name] for name in ("processor", "options", "chunk_size")] == [None] * 3
    assert fields["stages"] == [
        {
            "processor": "validate",
            "options": {"required": ["a"]},
            "retry": RETRY,
            "timeout_seconds": 5.0,
            "when": "items",
        },
        {
            "processor": "count_by",
            "options": {},
            "retry": {**RETRY, "max_attempts": 1},
            "timeout_seconds": 300.0,
            "when": None,
        },
    ]
    assert fields["retry"] == {**RETRY, "max_attempts": 7}
    assert fields["chunk_timeout_seconds"] == 300.0


def test_a_job_shows_what_it_was_asked_for() -> None:
    stage = StageSpec(
        processor="double",
        options={"delay_seconds": 1},
        retry=RetrySpec(max_attempts=2, non_retryable=("A",)),
        timeout_seconds=1.5,
    )
    spec = replace(
        SPEC,
        stages=(stage,),
        chunk_size=7,
        item_key="id",
        on_failure=OnFailure.HOLD,
        hold_timeout_seconds=60.0,
    )
    tolerance = ToleranceSpec(count=2, percent=0.5, min_sample=3, consecutive=4)
    controls = replace(
        CONTROLS,
        max_concurrency=3,
        tolerated_failures=tolerance,
        max_per_second=2.5,
        priority=1,
        start_at=CREATED,
        deadline_seconds=90.0,
        retention_hours=24.0,
    )
    fields = job_fields(replace(JOB, spec=spec, controls=controls))
    assert fields["options"] == {"delay_seconds": 1}
    assert fields["retry"] == {**RETRY, "max_attempts": 2, "non_retryable": ["A"]}
    assert (fields["chunk_size"], fields["item_key"]) == (7, "id")
    assert (fields["max_concurrency"], fields["chunk_timeout_seconds"]) == (3, 1.5)
    assert fields["tolerated_failures"] == {
        "count": 2,
        "percent": 0.5,
        "min_sample": 3,
        "consecutive": 4,
    }
    assert (fields["on_failure"], fields["hold_timeout_seconds"]) == ("hold", 60.0)
    assert (fields["max_per_second"], fields["priority"]) == (2.5, 1)
    assert fields["start_at"] == "2026-11-21T21:52:00.123Z"
    assert (fields["deadline_seconds"], fields["retention_hours"]) == (90.0, 24.0)


@pytest.mark.parametrize(
    ("stop", "told"),
    [
        (None, (None, None)),
        (Stop("consecutive", 7), ("consecutive", 7)),
        (Stop("percent", None), ("percent", None)),
        (Stop("deadline", None), (None, None)),
    ],
)
def test_the_error_of_a_job_says_which_rule_it_was_past(
    stop: Stop | None, told: tuple[str | None, int | None]
) -> None:
    failure = Failure(type="ToleranceExceeded", message="too many")
    error = job_fields(replace(JOB, state=JobState.FAILED, error=failure, stop=stop))["error"]
    assert error == {
        "type": "ToleranceExceeded",
        "message": "too many",
        "retryable": False,
        "rule": told[0],
        "index": told[1],
    }


def test_the_workflow_of_a_later_run_is_linked_by_its_own_id() -> None:
    fields = json.loads(rendering.job_json(replace(JOB, run=2), None, "http://ui/workflows"))
    assert fields["links"]["temporal_ui"] == "http://ui/workflows/job_1%2Fr2"


def test_a_child_says_in_which_run_it_ran_last_and_who_gave_its_result() -> None:
    assert (child_fields(CHILD, ChunkOutput(body=b"1"))["resolved_by"]) is None
    by_hand = child_fields(replace(CHILD, run=2, resolved_by="client"), ChunkOutput(body=b"1"))
    assert (by_hand["run"], by_hand["resolved_by"]) == (2, "client")


@given(values)
def test_a_result_is_spliced_in_exactly(result: Any) -> None:
    fields = job_fields(JOB, encode(result))
    assert exactly(fields.pop("result")) == exactly(result)
    without = job_fields(JOB, None)
    assert without.pop("result") is None
    assert {**fields, "progress": None} == {**without, "progress": None}


@given(values, storable_text)
def test_a_childs_result_is_spliced_in_exactly(result: Any, message: str) -> None:
    errors = (ItemError(item=3, type="ItemDropped", message=message, is_dropped=True, key=[3]),)
    fields = child_fields(CHILD, ChunkOutput(body=encode(result), item_errors=errors))
    assert exactly(fields.pop("result")) == exactly(result)
    assert fields == {
        "index": 7,
        "state": "succeeded",
        "item_count": 100,
        "attempts": 3,
        "run": 1,
        "resolved_by": None,
        "error": None,
        "traceback": None,
        "item_errors": [
            {
                "item": 3,
                "key": [3],
                "stage": 0,
                "type": "ItemDropped",
                "message": message,
                "traceback": None,
            }
        ],
        "workflow_id": "job_1/c0000007",
        "started_at": "2026-11-21T21:52:00.123Z",
        "finished_at": "2026-11-21T21:52:00.144Z",
        "duration_seconds": 0.021,
    }


@given(storable_text, storable_text)
def test_any_text_around_the_result_is_the_same_after_parsing(name: str, label: str) -> None:
    controls = replace(CONTROLS, name=name, labels={"a": label})
    fields = job_fields(replace(JOB, controls=controls), b"[1]")
    assert (fields["name"], fields["labels"], fields["result"]) == (name, {"a": label}, [1])


@pytest.mark.parametrize("state", [ChunkState.FAILED, ChunkState.CANCELLED])
def test_what_is_kept_between_attempts_is_no_result(state: ChunkState) -> None:
    failure = Failure(type="ValidationError", message="iata is missing", traceback="File ...")
    chunk = replace(CHILD, state=state, error=failure)
    fields = child_fields(chunk, ChunkOutput(body=b"[1,null]"))
    assert (fields["result"], fields["traceback"]) == (None, "File ...")
    assert fields["error"] == {
        "type": "ValidationError",
        "message": "iata is missing",
        "retryable": False,
    }


def test_a_child_that_has_not_begun_has_neither_times_nor_results() -> None:
    waiting = replace(CHILD, state=ChunkState.PENDING, started_at=None, finished_at=None)
    fields = child_fields(waiting, ChunkOutput())
    nothing = ("result", "started_at", "finished_at", "duration_seconds")
    assert [fields[name] for name in nothing] == [None] * 4


@pytest.mark.parametrize(
    ("succeeded", "failed", "rate"), [(0, 0, None), (3, 2, 0.6), (5, 0, 1.0), (0, 5, 0.0)]
)
def test_the_success_rate_is_of_the_items_with_an_outcome(
    succeeded: int, failed: int, rate: float | None
) -> None:
    counts = ChunkCounts(running=8, items_succeeded=succeeded, items_failed=failed)
    assert job_fields(replace(JOB, counts=counts))["success_rate"] == rate


def test_progress_before_the_start_is_nothing_yet() -> None:
    waiting = replace(JOB, state=JobState.PENDING, started_at=None, counts=ChunkCounts(pending=8))
    expected = {"percent": 0.0, "chunks_per_second": None, "eta_seconds": None}
    assert job_fields(waiting)["progress"] == expected


def test_progress_of_a_running_job_says_how_long_it_will_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rendering, "now_ms", lambda: CREATED + 3000)
    expected = {"percent": 50.0, "chunks_per_second": 2.0, "eta_seconds": 2}
    assert job_fields()["progress"] == expected


def test_what_is_held_is_not_finished_and_not_under_way_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rendering, "now_ms", lambda: CREATED + 3000)
    counts = ChunkCounts(pending=2, succeeded=4, held=2)
    expected = {"percent": 50.0, "chunks_per_second": 2.0, "eta_seconds": 1}
    assert job_fields(replace(JOB, counts=counts))["progress"] == expected


def test_a_state_of_a_later_release_is_shown_as_it_is() -> None:
    assert job_fields(replace(JOB, state=JobState.read("hibernating")))["state"] == "hibernating"
    chunk = replace(CHILD, state=ChunkState.read("mended"))
    assert child_fields(chunk, ChunkOutput())["state"] == "mended"
