"""The terminal state that a job's final counts mean."""

import pytest

from fanfold.contract.failures import FailureType
from fanfold.contract.job_spec import Controls, ToleranceSpec
from fanfold.contract.states import JobState
from fanfold.ledger.records import ChunkCounts
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
    is_tolerance_exceeded: bool = False,
) -> tuple[JobState, str | None]:
    state, error = verdict(
        counts_of(succeeded, failed, dropped=dropped),
        Controls(tolerated_failures=tolerance),
        is_cancelled=is_cancelled,
        is_tolerance_exceeded=is_tolerance_exceeded,
    )
    return state, error.type if error else None


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
    state, _ = verdict(
        ChunkCounts(failed=1), Controls(), is_cancelled=False, is_tolerance_exceeded=False
    )
    assert state is JobState.FAILED


def test_at_the_end_a_share_counts_however_small_the_sample() -> None:
    tolerance = ToleranceSpec(percent=5, min_sample=100)
    assert state_and_error(9, 1, tolerance) == (JobState.FAILED, FailureType.TOLERANCE_EXCEEDED)


def test_a_job_that_gave_up_early_failed_even_if_its_last_chunks_made_up_for_it() -> None:
    given = state_and_error(99, 1, ToleranceSpec(percent=5), is_tolerance_exceeded=True)
    assert given == (JobState.FAILED, FailureType.TOLERANCE_EXCEEDED)


def test_a_cancelled_job_is_neither_a_success_nor_a_failure() -> None:
    for succeeded, failed in ((5, 0), (0, 5), (2, 3)):
        given = state_and_error(succeeded, failed, ToleranceSpec(count=0), is_cancelled=True)
        assert given == (JobState.CANCELLED, None)


def test_chunks_that_were_cancelled_are_no_success_of_a_job_that_was_not() -> None:
    counts = ChunkCounts(succeeded=3, cancelled=1)
    state, error = verdict(counts, Controls(), is_cancelled=False, is_tolerance_exceeded=False)
    assert state is JobState.FAILED
    assert error is not None
    assert error.type == FailureType.JOB_CLOSED_OUTSIDE
