"""The terminal state that a job's final counts mean."""

import pytest

from fanfold.contract.failures import FailureType
from fanfold.contract.job_spec import ToleranceRule, ToleranceSpec
from fanfold.contract.states import JobState
from fanfold.ledger.records import ChunkCounts, Stop
from fanfold.workers.activities.job import verdict


def counts_of(succeeded: int, failed: int, *, dropped: int = 0) -> ChunkCounts:
    """Of a job whose items are all in one chunk."""
    state = "partially_succeeded" if succeeded and failed else "failed" if failed else "succeeded"
    return ChunkCounts(
        **{state: 1},
        items_succeeded=succeeded,
        items_failed=failed + dropped,
        items_dropped=dropped,
    )


def state_and_error(
    succeeded: int,
    failed: int,
    tolerance: ToleranceSpec | None = None,
    *,
    dropped: int = 0,
    is_cancelled: bool = False,
) -> tuple[JobState, str | None]:
    counts = counts_of(succeeded, failed, dropped=dropped)
    state, error = verdict(counts, is_cancelled=is_cancelled, stop=stop_of(tolerance, counts))
    return state, error.type if error else None


def stop_of(tolerance: ToleranceSpec | None, counts: ChunkCounts) -> Stop | None:
    """The rule that a job is past at its end."""
    if tolerance is None:
        return None
    rule = tolerance.exceeded_rule(
        succeeded=counts.items_succeeded, failed=counts.items_at_fault, in_a_row=0, final=True
    )
    return Stop(rule, None) if rule else None


@pytest.mark.parametrize(
    ("succeeded", "failed", "state", "error"),
    [
        (5, 0, JobState.SUCCEEDED, None),
        (3, 2, JobState.PARTIALLY_SUCCEEDED, None),
        (1, 999, JobState.PARTIALLY_SUCCEEDED, None),
        (0, 5, JobState.FAILED, FailureType.ALL_ITEMS_FAILED),
    ],
)
def test_without_a_limit_one_success_is_enough(
    succeeded: int, failed: int, state: JobState, error: str | None
) -> None:
    assert state_and_error(succeeded, failed) == (state, error)


@pytest.mark.parametrize(
    ("succeeded", "failed", "state", "error"),
    [
        (8, 0, JobState.SUCCEEDED, None),
        (8, 2, JobState.PARTIALLY_SUCCEEDED, None),
        (8, 3, JobState.FAILED, FailureType.TOLERANCE_EXCEEDED),
        (0, 3, JobState.FAILED, FailureType.TOLERANCE_EXCEEDED),
        (0, 1, JobState.FAILED, FailureType.ALL_ITEMS_FAILED),
    ],
)
def test_with_a_limit_one_failure_too_many_fails_the_job(
    succeeded: int, failed: int, state: JobState, error: str | None
) -> None:
    assert state_and_error(succeeded, failed, ToleranceSpec(count=2)) == (state, error)


@pytest.mark.parametrize("tolerance", [None, ToleranceSpec(count=0)])
@pytest.mark.parametrize(("succeeded", "state"), [(5, JobState.SUCCEEDED), (0, JobState.SUCCEEDED)])
def test_items_that_were_left_out_fail_nothing(
    succeeded: int, state: JobState, tolerance: ToleranceSpec | None
) -> None:
    assert state_and_error(succeeded, 0, tolerance, dropped=3) == (state, None)


def test_a_chunk_that_failed_without_any_item_fails_its_job() -> None:
    state, _ = verdict(ChunkCounts(failed=1), is_cancelled=False)
    assert state is JobState.FAILED


def test_at_the_end_a_share_counts_however_small_the_sample() -> None:
    tolerance = ToleranceSpec(percent=5, min_sample=100)
    assert state_and_error(9, 1, tolerance) == (JobState.FAILED, FailureType.TOLERANCE_EXCEEDED)


def test_a_job_that_gave_up_early_failed_even_if_its_last_chunks_made_up_for_it() -> None:
    stop = Stop(ToleranceRule.PERCENT, 7)
    state, error = verdict(counts_of(99, 1), is_cancelled=False, stop=stop)
    assert state is JobState.FAILED
    assert error is not None
    assert error.type == FailureType.TOLERANCE_EXCEEDED
    assert error.message == (
        "1 of 100 items failed, more than the job tolerates: tolerated_failures.percent, at chunk 7"
    )


def test_a_rule_that_was_told_at_the_end_only_names_no_chunk() -> None:
    _, error = verdict(counts_of(1, 2), is_cancelled=False, stop=Stop(ToleranceRule.COUNT, None))
    assert error is not None
    assert error.message.endswith("tolerated_failures.count")


@pytest.mark.parametrize("counts", [counts_of(5, 0), counts_of(0, 5), ChunkCounts(cancelled=3)])
def test_a_job_past_its_deadline_failed_whatever_it_came_to(counts: ChunkCounts) -> None:
    state, error = verdict(
        counts,
        is_cancelled=False,
        is_deadline_exceeded=True,
        deadline_seconds=2.5,
        cancelled_by_nobody=1,
    )
    assert state is JobState.FAILED
    assert error is not None
    assert error.type == FailureType.DEADLINE_EXCEEDED
    assert error.message == "the job did not finish within 2.5 seconds"


def test_a_deadline_that_was_taken_away_too_late_is_still_what_ended_the_job() -> None:
    counts = ChunkCounts(succeeded=1, cancelled=2, items_succeeded=1)
    state, error = verdict(
        counts, is_cancelled=False, is_deadline_exceeded=True, cancelled_by_nobody=2
    )
    assert (state, error and error.type) == (JobState.FAILED, FailureType.DEADLINE_EXCEEDED)


def test_children_that_a_client_has_cancelled_are_no_failure_of_what_succeeded() -> None:
    counts = ChunkCounts(succeeded=3, cancelled=1, items_succeeded=3)
    assert verdict(counts, is_cancelled=False) == (JobState.PARTIALLY_SUCCEEDED, None)


def test_a_job_all_of_whose_children_a_client_has_cancelled_failed() -> None:
    state, error = verdict(ChunkCounts(failed=1, cancelled=2, items_failed=4), is_cancelled=False)
    assert state is JobState.FAILED
    assert error is not None
    assert error.type == FailureType.ALL_ITEMS_FAILED
    assert error.message == "no item succeeded; 4 failed, 2 chunks are cancelled"


def test_a_cancelled_job_is_neither_a_success_nor_a_failure() -> None:
    for succeeded, failed in ((5, 0), (0, 5), (2, 3)):
        given = state_and_error(succeeded, failed, ToleranceSpec(count=0), is_cancelled=True)
        assert given == (JobState.CANCELLED, None)


def test_chunks_that_nobody_has_cancelled_and_are_so_are_no_success() -> None:
    counts = ChunkCounts(succeeded=3, cancelled=1)
    state, error = verdict(counts, is_cancelled=False, cancelled_by_nobody=1)
    assert state is JobState.FAILED
    assert error is not None
    assert error.type == FailureType.JOB_CLOSED_OUTSIDE
