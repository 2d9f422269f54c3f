"""The memory of rendered jobs: bounded in bytes, and in time where they may change."""

import pytest

import fanfold.app.answers.rendered
from fanfold.app.answers.rendered import MAX_BYTES, MAX_BYTES_OF_ONE, RenderedJob, RenderedJobs
from fanfold.contract.states import JobState


def rendered(size: int, state: JobState = JobState.SUCCEEDED) -> RenderedJob:
    return RenderedJob(
        body=b"x" * size, etag="", state=state, revision=1, is_settled=state.is_terminal
    )


def test_those_not_asked_for_the_longest_make_room() -> None:
    jobs = RenderedJobs()
    count = MAX_BYTES // MAX_BYTES_OF_ONE
    for number in range(count):
        jobs.remember(str(number), rendered(MAX_BYTES_OF_ONE))
    assert jobs.get("0") is not None

    jobs.remember("one more", rendered(MAX_BYTES_OF_ONE))

    assert jobs.get("0") is not None
    assert jobs.get("1") is None
    assert jobs.get("one more") is not None


def test_a_large_job_is_not_remembered() -> None:
    jobs = RenderedJobs()
    jobs.remember("large", rendered(MAX_BYTES_OF_ONE + 1))
    assert jobs.get("large") is None


def test_a_running_job_is_remembered_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanfold.app.answers.rendered, "UNSETTLED_SECONDS", 3600)
    jobs = RenderedJobs()
    jobs.remember("1", running := rendered(10, JobState.RUNNING))
    assert jobs.get("1") is running
    monkeypatch.setattr(fanfold.app.answers.rendered, "UNSETTLED_SECONDS", -1)
    assert jobs.get("1") is None


def test_a_finished_job_does_not_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanfold.app.answers.rendered, "UNSETTLED_SECONDS", -1)
    jobs = RenderedJobs()
    jobs.remember("1", finished := rendered(10))
    assert jobs.get("1") is finished


def test_a_newer_answer_takes_the_place_of_the_older() -> None:
    jobs = RenderedJobs()
    jobs.remember("1", rendered(MAX_BYTES_OF_ONE))
    jobs.remember("1", newest := rendered(20))
    assert jobs.get("1") is newest
    jobs.remember("1", rendered(MAX_BYTES_OF_ONE + 1))
    assert jobs.get("1") is None
