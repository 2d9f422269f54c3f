"""What a job was asked to do: written and read back, and how many failures it bears."""

import json
from dataclasses import asdict, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.contract.job_spec import (
    Controls,
    Execution,
    JobSpec,
    OnFailure,
    RetrySpec,
    StageSpec,
    ToleranceRule,
    ToleranceSpec,
)
from tests.unit.any_json import storable_text, values

seconds = st.floats(min_value=0.001, max_value=1e6)
retries = st.builds(
    RetrySpec,
    max_attempts=st.integers(1, 1000),
    initial_interval_seconds=seconds,
    backoff_coefficient=st.floats(1, 100),
    max_interval_seconds=seconds,
    non_retryable=st.lists(storable_text, max_size=3).map(tuple),
)
stages = st.builds(
    StageSpec,
    processor=storable_text,
    options=st.dictionaries(storable_text, values, max_size=3),
    retry=retries,
    timeout_seconds=seconds,
    when=st.none() | storable_text,
)
tolerances = st.builds(
    ToleranceSpec,
    count=st.none() | st.integers(0),
    percent=st.none() | st.floats(0, 100),
    min_sample=st.integers(1),
    consecutive=st.none() | st.integers(0),
)
specs = st.builds(
    JobSpec,
    stages=st.lists(stages, min_size=1, max_size=3).map(tuple),
    is_staged=st.booleans(),
    reducer=st.none() | storable_text,
    execution=st.sampled_from([Execution.WORKFLOW, Execution.ACTIVITY]),
    chunk_size=st.integers(1),
    max_chunk_bytes=st.none() | st.integers(1),
    check_items=st.booleans(),
    is_upload=st.booleans(),
    item_key=st.none() | storable_text,
    retry=st.none() | retries,
    chunk_timeout_seconds=st.none() | seconds,
    on_failure=st.sampled_from(OnFailure),
    hold_timeout_seconds=st.none() | seconds,
)
controls_of_any_job = st.builds(
    Controls,
    name=st.none() | storable_text,
    max_concurrency=st.integers(1, 500),
    tolerated_failures=st.none() | tolerances,
    labels=st.dictionaries(storable_text, storable_text, max_size=3),
    max_per_second=st.none() | seconds,
    priority=st.integers(1, 5),
    start_at=st.none() | st.integers(0),
    deadline_seconds=st.none() | seconds,
    retention_hours=st.none() | seconds,
)


@given(specs, controls_of_any_job)
def test_a_spec_is_read_back_as_it_was_written(spec: JobSpec, controls: Controls) -> None:
    assert JobSpec.from_json(spec.to_json(controls), controls.to_json(spec)) == spec


@given(specs, controls_of_any_job)
def test_controls_are_read_back_as_they_were_written_and_older_ones_from_the_spec(
    spec: JobSpec, controls: Controls
) -> None:
    assert Controls.from_json(controls.to_json(spec)) == controls
    # What release 0.1.0 knew of them, it reads in the spec.
    read = Controls.from_json(spec.to_json(controls))
    assert (read.name, read.max_concurrency, read.labels) == (
        controls.name,
        controls.max_concurrency,
        controls.labels,
    )
    if controls.tolerated_failures is not None:
        assert read.tolerated_failures == replace(controls.tolerated_failures, consecutive=None)


SPEC = JobSpec(stages=(StageSpec(processor="a"), StageSpec(processor="b")), reducer="sum")
CONTROLS = Controls(name="n", tolerated_failures=ToleranceSpec(count=1), labels={"a": "b"})


def with_unknown_fields(value: Any) -> Any:
    """The same JSON as a later release might write it: every object has more fields."""
    if isinstance(value, list):
        return [with_unknown_fields(each) for each in value]
    if isinstance(value, dict):
        return {name: with_unknown_fields(each) for name, each in value.items()} | {"new": [1]}
    return value


def test_fields_that_this_release_does_not_know_are_passed_over() -> None:
    later = json.dumps(with_unknown_fields(json.loads(SPEC.to_json(CONTROLS))))
    read = JobSpec.from_json(later, None)
    assert [stage.processor for stage in read.stages] == ["a", "b"]
    assert (read.reducer, read.stages[0].retry) == ("sum", RetrySpec())
    controls = Controls.from_json(json.dumps(with_unknown_fields(asdict(CONTROLS))))
    assert (controls.name, controls.tolerated_failures) == ("n", ToleranceSpec(count=1))


def test_fields_that_are_missing_have_their_defaults() -> None:
    read = JobSpec.from_json('{"stages": [{"processor": "a"}]}', "{}")
    assert read == JobSpec(stages=(StageSpec(processor="a"),))
    assert Controls.from_json("{}") == Controls()


def test_an_execution_that_this_release_does_not_know_breaks_no_reading() -> None:
    read = JobSpec.from_json('{"stages": [{"processor": "a"}], "execution": "batch"}', None)
    assert read.stages == (StageSpec(processor="a"),)


@given(
    succeeded=st.integers(0), failed=st.integers(0), in_a_row=st.integers(0), final=st.booleans()
)
def test_without_a_limit_any_number_of_failures_is_borne(
    *, succeeded: int, failed: int, in_a_row: int, final: bool
) -> None:
    counts = {"succeeded": succeeded, "failed": failed, "in_a_row": in_a_row}
    assert ToleranceSpec().exceeded_rule(**counts, final=final) is None


def exceeded(
    tolerance: ToleranceSpec, succeeded: int, failed: int, *, in_a_row: int = 0, final: bool = False
) -> ToleranceRule | None:
    return tolerance.exceeded_rule(
        succeeded=succeeded, failed=failed, in_a_row=in_a_row, final=final
    )


@pytest.mark.parametrize("final", [False, True])
@pytest.mark.parametrize(
    ("failed", "rule"),
    [(0, None), (9, None), (10, None), (11, ToleranceRule.COUNT), (500, ToleranceRule.COUNT)],
)
def test_one_failure_more_than_the_count_is_too_many(
    *, failed: int, rule: ToleranceRule | None, final: bool
) -> None:
    assert exceeded(ToleranceSpec(count=10), 3, failed, final=final) == rule


@pytest.mark.parametrize("final", [False, True])
@pytest.mark.parametrize(("consecutive", "most"), [(0, 0), (3, 3)])
def test_one_failure_more_in_a_row_is_too_many_whatever_succeeded(
    *, consecutive: int, most: int, final: bool
) -> None:
    tolerance = ToleranceSpec(consecutive=consecutive)
    for in_a_row in range(6):
        rule = exceeded(tolerance, 1000, 5, in_a_row=in_a_row, final=final)
        assert rule == (ToleranceRule.CONSECUTIVE if in_a_row > most else None)


@pytest.mark.parametrize(
    ("succeeded", "failed", "final", "is_past"),
    [
        (95, 5, False, False),
        (94, 6, False, True),
        (0, 99, False, False),
        (0, 99, True, True),
        (93, 6, False, False),
        (93, 6, True, True),
        (20, 1, True, False),
        (0, 0, True, False),
    ],
)
def test_a_share_counts_once_the_sample_is_large_enough(
    *, succeeded: int, failed: int, final: bool, is_past: bool
) -> None:
    tolerance = ToleranceSpec(percent=5, min_sample=100)
    rule = exceeded(tolerance, succeeded, failed, final=final)
    assert rule == (ToleranceRule.PERCENT if is_past else None)


def test_of_several_limits_each_is_enough() -> None:
    tolerance = ToleranceSpec(count=10, percent=50, min_sample=1, consecutive=4)
    assert exceeded(tolerance, 1000, 11) is ToleranceRule.COUNT
    assert exceeded(tolerance, 1, 2) is ToleranceRule.PERCENT
    assert exceeded(tolerance, 1000, 5, in_a_row=5) is ToleranceRule.CONSECUTIVE
    assert exceeded(tolerance, 10, 10, in_a_row=4) is None


def test_no_failure_at_all_may_be_demanded() -> None:
    for tolerance in (
        ToleranceSpec(count=0),
        ToleranceSpec(percent=0, min_sample=1),
        ToleranceSpec(consecutive=0),
    ):
        assert exceeded(tolerance, 5, 0, final=True) is None
        assert exceeded(tolerance, 5, 1, in_a_row=1) is not None


def test_what_release_0_1_0_would_fail_on_is_not_where_it_looks() -> None:
    spec = replace(SPEC, check_items=True, item_key="id", is_upload=True, retry=RetrySpec())
    known = {each.name for each in fields(JobSpec)} | {each.name for each in fields(Controls)}
    since = {
        *("item_key", "retry", "chunk_timeout_seconds", "check_items", "is_upload"),
        *("on_failure", "hold_timeout_seconds", "max_per_second", "priority", "start_at"),
        *("deadline_seconds", "retention_hours"),
        *("order", "max_jobs", "has_previous_input", "when", "compensate", "is_in_order"),
    }
    written = json.loads(spec.to_json(CONTROLS))
    assert written.keys() == known - since
    for stage in written["stages"]:
        assert stage.keys() == {"processor", "options", "retry", "timeout_seconds"}
    assert written["tolerated_failures"].keys() == {"count", "percent", "min_sample"}


def test_what_becomes_of_failures_in_a_later_release_is_recorded_in_this_one() -> None:
    text = CONTROLS.to_json(replace(SPEC, on_failure=OnFailure.HOLD))
    assert JobSpec.from_json(SPEC.to_json(CONTROLS), text).on_failure is OnFailure.HOLD
    later = text.replace('"hold"', '"mail"')
    assert JobSpec.from_json(SPEC.to_json(CONTROLS), later).on_failure is OnFailure.RECORD
