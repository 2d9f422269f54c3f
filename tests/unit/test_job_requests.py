"""Requests: what is not a job is refused, each mistake with its place in the body."""

from typing import Any

import pytest

from fanfold.contract.job_spec import (
    Controls,
    Execution,
    OnFailure,
    RetrySpec,
    StageSpec,
    ToleranceSpec,
)
from fanfold.contract.plan import AUTO_WORKFLOW_CHUNKS
from fanfold.contract.settings import GatewaySettings
from fanfold.intake.faults import InvalidJob
from fanfold.intake.spec import (
    keep_ms,
    resolve_execution,
    to_controls,
    to_spec,
)
from fanfold.intake.tree import Node
from fanfold.intake.validation import validate

LIMITS = GatewaySettings()
NO_DATA = "give items, chunks, source or jobs: there is none of them"
NO_MOMENT = "must be a date and time with its offset, such as 2026-01-31T12:00:00Z"
JOB: dict[str, Any] = {"items": [1], "processor": "double"}


def root_of(document: Any, limits: GatewaySettings = LIMITS) -> Node:
    return validate(document, limits)[0]


def faults(document: Any, limits: GatewaySettings = LIMITS) -> dict[str, str]:
    """Message by pointer."""
    with pytest.raises(InvalidJob) as refused:
        validate(document, limits)
    assert refused.value.code == "invalid_job"
    return {fault.pointer: fault.message for fault in refused.value.errors}


def test_the_documented_example_is_a_job_with_every_value_where_it_belongs() -> None:
    root = root_of(
        {
            "name": "airports by country",
            "items": [{"iata": "HEL", "country": "FI"}],
            "chunk_size": 100,
            "processor": "count_by",
            "options": {"field": "country"},
            "reducer": "merge_counts",
            "execution": "auto",
            "max_concurrency": 50,
            "retry": {
                "max_attempts": 4,
                "initial_interval_seconds": 1,
                "backoff_coefficient": 3,
                "max_interval_seconds": 61,
                "non_retryable": ["ValidationError"],
            },
            "chunk_timeout_seconds": 299,
            "tolerated_failures": {"count": 10, "percent": 5, "min_sample": 99},
            "labels": {"team": "data"},
        },
        LIMITS,
    )
    spec = to_spec(root, Execution.WORKFLOW)
    retry = RetrySpec(
        max_attempts=4,
        initial_interval_seconds=1.0,
        backoff_coefficient=3.0,
        max_interval_seconds=61.0,
        non_retryable=("ValidationError",),
    )
    assert spec.stages == (
        StageSpec(
            processor="count_by", options={"field": "country"}, retry=retry, timeout_seconds=299.0
        ),
    )
    assert (spec.reducer, spec.execution, spec.is_staged) == ("merge_counts", "workflow", False)
    assert to_controls(root) == Controls(
        name="airports by country",
        labels={"team": "data"},
        max_concurrency=50,
        tolerated_failures=ToleranceSpec(count=10, percent=5.0, min_sample=99),
    )


def test_what_is_left_out_has_the_documented_defaults() -> None:
    root = root_of(JOB, LIMITS)
    spec = to_spec(root, Execution.WORKFLOW)
    retry = RetrySpec(
        max_attempts=3,
        initial_interval_seconds=1.0,
        backoff_coefficient=2.0,
        max_interval_seconds=60.0,
        non_retryable=(),
    )
    assert spec.stages == (
        StageSpec(processor="double", options={}, retry=retry, timeout_seconds=300.0),
    )
    assert spec.reducer is None
    assert to_controls(root) == Controls(
        name=None, labels={}, max_concurrency=50, tolerated_failures=None
    )


def test_what_steers_a_job_is_where_it_belongs() -> None:
    root = root_of(
        {
            **JOB,
            "max_per_second": 5,
            "priority": 1,
            "start_at": "2026-11-21T23:52:00.1234+02:00",
            "deadline_seconds": 60,
            "tolerated_failures": {"consecutive": 0},
            "on_failure": "hold",
            "hold_timeout_seconds": 3600,
            "retention_hours": 1.5,
            "check_items": True,
        },
        LIMITS,
    )
    assert to_controls(root) == Controls(
        max_per_second=5.0,
        priority=1,
        start_at=1_795_297_920_123,
        deadline_seconds=60.0,
        tolerated_failures=ToleranceSpec(consecutive=0),
        retention_hours=1.5,
    )
    assert keep_ms(to_controls(root)) == 5_400_000
    spec = to_spec(root, Execution.WORKFLOW)
    assert (spec.on_failure, spec.hold_timeout_seconds) == (OnFailure.HOLD, 3600.0)
    assert spec.check_items


@pytest.mark.parametrize("text", ["2026-11-21T21:52:00Z", "2026-11-21t21:52:00z"])
def test_a_time_may_be_in_utc_and_in_either_case(text: str) -> None:
    assert to_controls(root_of({**JOB, "start_at": text})).start_at == 1_795_297_920_000


def test_a_stage_has_the_jobs_retry_and_timeout_unless_it_brings_its_own() -> None:
    root = root_of(
        {
            "items": [1],
            "stages": [
                {"processor": "first"},
                {"processor": "second", "options": {"a": 1}, "timeout_seconds": 5},
                {"processor": "third", "retry": {"max_attempts": 1}},
            ],
            "retry": {"max_attempts": 9},
            "chunk_timeout_seconds": 7,
        },
        LIMITS,
    )
    spec = to_spec(root, Execution.WORKFLOW)
    told = [(s.processor, s.options, s.retry.max_attempts, s.timeout_seconds) for s in spec.stages]
    assert told == [("first", {}, 9, 7.0), ("second", {"a": 1}, 9, 5.0), ("third", {}, 1, 7.0)]
    assert spec.is_staged


@pytest.mark.parametrize(
    ("changed", "place", "message"),
    [
        ({"procesor": "x"}, "/procesor", "unknown field; did you mean processor?"),
        ({"retry": {"atempts": 1}}, "/retry/atempts", "unknown field; did you mean max_attempts?"),
        (
            {"tolerated_failures": {"ratio": 1}},
            "/tolerated_failures/ratio",
            "unknown field; the fields are consecutive, count, min_sample, percent",
        ),
        (
            {"stages": [{"processor": "x", "retry": {"backof_coefficient": 1}}]},
            "/stages/0/retry/backof_coefficient",
            "unknown field; did you mean backoff_coefficient?",
        ),
        ({"items": {"a": 1}}, "/items", "must be an array, not an object"),
        ({"chunk_size": 0}, "/chunk_size", "must be at least 1"),
        ({"chunk_size": "10"}, "/chunk_size", "must be an integer, not a string"),
        ({"chunk_size": 1.5}, "/chunk_size", "must be an integer, without a fraction"),
        ({"chunk_size": True}, "/chunk_size", "must be an integer, not true or false"),
        ({"processor": ""}, "/processor", "must have at least 1 character"),
        ({"processor": 5}, "/processor", "must be a string, not a number"),
        ({"options": []}, "/options", "must be an object, not an array"),
        ({"execution": "fast"}, "/execution", "must be auto, workflow or activity"),
        (
            {"execution": "worklow"},
            "/execution",
            "must be auto, workflow or activity; did you mean workflow?",
        ),
        ({"source": "uplaod", "items": None}, "/source", "must be upload"),
        ({"retry": None}, "/retry", "must be an object, not null"),
        ({"items": []}, "/items", "must have at least 1 item, not 0"),
        ({"items": None, "chunks": [[1], []]}, "/chunks/1", "must have at least 1 item, not 0"),
        ({"max_concurrency": 501}, "/max_concurrency", "must be at most 500"),
        ({"retry": {"max_attempts": 0}}, "/retry/max_attempts", "must be at least 1"),
        (
            {"retry": {"backoff_coefficient": 0.5}},
            "/retry/backoff_coefficient",
            "must be at least 1",
        ),
        (
            {"retry": {"non_retryable": ["A", 1]}},
            "/retry/non_retryable/1",
            "must be a string, not a number",
        ),
        ({"chunk_timeout_seconds": 0}, "/chunk_timeout_seconds", "must be above 0"),
        (
            {"chunk_timeout_seconds": float("inf")},
            "/chunk_timeout_seconds",
            "must fit a 64-bit float",
        ),
        (
            {"tolerated_failures": {}},
            "/tolerated_failures",
            "give count, percent or consecutive, or several of them",
        ),
        (
            {"tolerated_failures": {"consecutive": -1}},
            "/tolerated_failures/consecutive",
            "must be at least 0",
        ),
        ({"max_per_second": 0}, "/max_per_second", "must be at least 0.0001"),
        ({"max_per_second": "5"}, "/max_per_second", "must be a number, not a string"),
        ({"priority": 0}, "/priority", "must be at least 1"),
        ({"priority": 6}, "/priority", "must be at most 5"),
        ({"priority": 1.5}, "/priority", "must be an integer, without a fraction"),
        ({"deadline_seconds": 0}, "/deadline_seconds", "must be above 0"),
        ({"start_at": 5}, "/start_at", "must be a string, not a number"),
        ({"start_at": "tomorrow"}, "/start_at", NO_MOMENT),
        ({"start_at": "2026-01-31T12:00:00"}, "/start_at", NO_MOMENT),
        ({"start_at": "2026-01-31"}, "/start_at", NO_MOMENT),
        ({"start_at": "2026-02-30T12:00:00Z"}, "/start_at", "there is no such date or time"),
        ({"start_at": "2026-01-31T25:00:00Z"}, "/start_at", "there is no such date or time"),
        ({"on_failure": "keep"}, "/on_failure", "must be record or hold"),
        ({"hold_timeout_seconds": 5}, "", 'hold_timeout_seconds goes with "on_failure": "hold"'),
        (
            {"on_failure": "hold", "hold_timeout_seconds": 0},
            "/hold_timeout_seconds",
            "must be above 0",
        ),
        (
            {"tolerated_failures": {"percent": 101}},
            "/tolerated_failures/percent",
            "must be at most 100",
        ),
        ({"labels": {"team": 5}}, "/labels/team", "must be a string, not a number"),
        ({"labels": {"team": "x" * 257}}, "/labels/team", "must have at most 256 characters"),
        ({"name": "x" * 201}, "/name", "must have at most 200 characters"),
        (
            {"name": "\ud800"},
            "/name",
            "must not hold a lone surrogate, which is not a Unicode character",
        ),
        ({"chunks": [[1]]}, "", "give only one of items and chunks: they do not go together"),
        ({"items": None}, "", NO_DATA),
        (
            {"stages": [{"processor": "x"}]},
            "",
            "give only one of processor and stages: they do not go together",
        ),
        ({"processor": None}, "", "give processor or stages: there is none of them"),
    ],
)
def test_a_mistake_is_named_by_its_place(changed: dict[str, Any], place: str, message: str) -> None:
    assert faults({**JOB, **changed}) == {place: message}


@pytest.mark.parametrize(
    ("document", "place", "message"),
    [
        ({"chunks": [[1], 2], "processor": "x"}, "/chunks/1", "must be an array, not a number"),
        ({"chunks": [[1]], "processor": "x", "chunk_size": 5}, "", "go with items"),
        ({"chunks": [[1]], "processor": "x", "max_chunk_bytes": 5}, "", "go with items"),
        ({"items": [1], "stages": []}, "/stages", "must have at least 1 item, not 0"),
        ({"items": [1], "stages": [{}]}, "/stages/0/processor", "is required"),
        ({"items": [1], "stages": [{"processor": "x"}], "options": {}}, "", "have their own"),
        (
            {},
            "",
            f"{NO_DATA}; give processor or stages: there is none of them",
        ),
        ([], "", "must be an object, not an array"),
        (None, "", "must be an object, not null"),
        ("job", "", "must be an object, not a string"),
    ],
)
def test_what_is_no_job_at_all_is_told_so(document: Any, place: str, message: str) -> None:
    found = faults(document)
    assert list(found) == [place]
    assert message in found[place]


def test_all_mistakes_are_told_at_once_up_to_twenty() -> None:
    assert list(faults({**JOB, "chunk_size": 0, "surprise": 1})) == ["/chunk_size", "/surprise"]
    assert len(faults({**JOB, **{f"unknown_{number}": 1 for number in range(50)}})) == 20


@pytest.mark.parametrize("name", ["a b", "ü", "", "x" * 65, "a:b"])
def test_a_labels_name_has_few_kinds_of_letters(name: str) -> None:
    found = faults({**JOB, "labels": {name: "x"}})
    message = r"the name must match the pattern ^[A-Za-z0-9_.\-/]{1,64}$"
    assert found == {f"/labels/{name}": message}


@pytest.mark.parametrize("name", ["team", "A.b_c-d/e", "x" * 64])
def test_such_a_name_is_kept(name: str) -> None:
    root = root_of({**JOB, "labels": {name: "x y:z"}}, LIMITS)
    assert to_controls(root).labels == {name: "x y:z"}


def test_there_is_a_limit_to_labels() -> None:
    limits = LIMITS.model_copy(update={"max_labels": 2})
    assert len(root_of({**JOB, "labels": {"a": "", "b": ""}}, limits).asked.labels) == 2
    with pytest.raises(InvalidJob, match="at most 2 labels") as refused:
        root_of({**JOB, "labels": {"a": "", "b": "", "c": ""}}, limits)
    assert (refused.value.code, refused.value.errors[0].pointer) == ("limit_exceeded", "/labels")


@pytest.mark.parametrize("chunk_count", [1, AUTO_WORKFLOW_CHUNKS, AUTO_WORKFLOW_CHUNKS + 1])
@pytest.mark.parametrize("asked", ["workflow", "activity"])
def test_an_execution_that_is_asked_for_is_given(asked: str, chunk_count: int) -> None:
    root = root_of({**JOB, "execution": asked}, LIMITS)
    execution = resolve_execution(root.asked.execution, chunk_count)
    assert to_spec(root, execution).execution == asked


@pytest.mark.parametrize(
    ("chunk_count", "execution"),
    [
        (1, Execution.WORKFLOW),
        (AUTO_WORKFLOW_CHUNKS, Execution.WORKFLOW),
        (AUTO_WORKFLOW_CHUNKS + 1, Execution.ACTIVITY),
    ],
)
@pytest.mark.parametrize("asked", [{}, {"execution": "auto"}], ids=["left out", "auto"])
def test_by_default_the_number_of_chunks_decides_the_execution(
    asked: dict[str, str], chunk_count: int, execution: Execution
) -> None:
    root = root_of({**JOB, **asked}, LIMITS)
    assert resolve_execution(root.asked.execution, chunk_count) is execution


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"name": "a\x00"}, "/name"),
        ({"labels": {"a": "\x00"}}, "/labels/a"),
        ({"options": {"a": [float("nan")]}}, "/options/a/0"),
        ({"options": {"\ud800": 1}}, "/options"),
        ({"reducer": "\x00"}, "/reducer"),
    ],
)
def test_text_beside_the_data_has_to_be_storable_too(changed: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidJob) as refused:
        root_of({**JOB, **changed}, LIMITS)
    assert refused.value.code == "invalid_value"
    assert [fault.pointer for fault in refused.value.errors] == [place]


def test_what_the_client_sent_is_not_repeated() -> None:
    secret = "hunter2hunter2"
    with pytest.raises(InvalidJob) as refused:
        root_of({**JOB, "max_concurrency": secret, "labels": {"a": [secret]}}, LIMITS)
    assert secret not in refused.value.detail + repr(refused.value.errors)
