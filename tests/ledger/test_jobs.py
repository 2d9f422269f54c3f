"""Jobs: recorded whole or not at all, opened, cancelled, closed once."""

import pytest

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
from fanfold.contract.names import JobId, new_job_id
from fanfold.contract.states import JobState
from fanfold.ledger.connect import Ledger
from fanfold.ledger.database import UniqueViolation
from fanfold.ledger.jobs import Terms
from fanfold.ledger.records import ChunkCounts, ErrorGroup
from tests.ledger.jobs_recorded import (
    chunks_of,
    fail,
    found,
    labelled,
    new_job,
    new_token,
    ours,
    record,
    running,
)
from tests.ledger.steered import in_state

OTHER = Failure(type="Other", message="something else")


async def test_a_recorded_job_comes_back_as_it_was_asked_for(ledger: Ledger) -> None:
    spec = JobSpec(
        stages=(
            StageSpec(
                processor="first",
                options={"big": 10**400, "nested": [{"a": None}]},
                retry=RetrySpec(max_attempts=7, non_retryable=("A", "B")),
                timeout_seconds=0.5,
            ),
            StageSpec(processor="second"),
        ),
        is_staged=True,
        reducer="sum",
        execution=Execution.WORKFLOW,
        on_failure=OnFailure.HOLD,
        hold_timeout_seconds=2.5,
    )
    controls = Controls(
        name="ünï\u2028cödé 🧾",
        max_concurrency=3,
        tolerated_failures=ToleranceSpec(count=1, percent=2.5, min_sample=4, consecutive=7),
        max_per_second=0.25,
        priority=1,
        start_at=1_795_000_000_000,
        deadline_seconds=1.5,
        retention_hours=0.5,
        labels={"team": "data", "empty": ""},
    )
    job_id = await record(ledger, [2, 3], spec=spec, controls=controls)
    job = await found(ledger, job_id)
    assert (job.spec, job.controls) == (spec, controls)
    assert await ours(ledger).jobs.terms(job_id) == Terms(
        spec=spec,
        controls=controls,
        revision=job.revision,
        run=1,
        state=JobState.PENDING,
        started_at=None,
        total_chunks=2,
    )
    assert (job.state, job.run, job.total_chunks, job.total_items) == (JobState.PENDING, 1, 2, 5)
    assert (job.started_at, job.finished_at, job.error, job.errors) == (None, None, None, ())
    assert job.counts == ChunkCounts(pending=2)


async def test_a_job_that_cannot_be_recorded_whole_leaves_nothing(ledger: Ledger) -> None:
    taken = await record(ledger, [1, 1])
    with pytest.raises(UniqueViolation):
        await record(ledger, [1, 1, 1], job_id=taken, controls=labelled({"a": "b"}))
    assert (await found(ledger, taken)).total_chunks == 2
    assert len(await ours(ledger).chunks.page(taken, after=-1, limit=10)) == 2
    listed = await ours(ledger).jobs.page(state=None, labels={"a": "b"}, before=None, limit=10)
    assert listed == []


async def test_a_job_whose_last_input_cannot_be_written_leaves_nothing(ledger: Ledger) -> None:
    job_id = new_job_id()
    chunks = chunks_of([1, 1])
    object.__setattr__(chunks[1], "body", None)
    with pytest.raises(Exception, match=r"(?i)null"):
        await ours(ledger).recording.record(new_job(job_id), chunks)
    assert await ours(ledger).jobs.find(job_id) is None
    assert await ours(ledger).chunks.find(job_id, 0) is None
    await record(ledger, [1], job_id=job_id)
    assert (await found(ledger, job_id)).counts == ChunkCounts(pending=1)


async def test_an_unknown_job_is_none_everywhere(ledger: Ledger) -> None:
    assert await ours(ledger).jobs.find(JobId("job_none")) is None
    assert await ours(ledger).jobs.terms(JobId("job_none")) is None
    assert await ours(ledger).jobs.open(JobId("job_none")) == (False, None)
    assert await ours(ledger).jobs.result(JobId("job_none")) is None
    assert await ours(ledger).chunks.find(JobId("job_none"), 0) is None
    assert (
        await ours(ledger).work.begin(JobId("job_none"), 0, 0, job_run=1, token=new_token()) is None
    )
    assert await ours(ledger).chunks.page(JobId("job_none"), after=-1, limit=5) == []


async def test_opening_twice_keeps_the_first_start(ledger: Ledger) -> None:
    job_id = await running(ledger)
    started_at = (await found(ledger, job_id)).started_at
    assert started_at is not None
    assert await ours(ledger).jobs.open(job_id) == (False, JobState.RUNNING)
    assert (await found(ledger, job_id)).started_at == started_at


async def test_a_cancelled_job_is_not_opened(ledger: Ledger) -> None:
    job_id = await record(ledger)
    assert await ours(ledger).jobs.request_cancel(job_id)
    assert await ours(ledger).jobs.open(job_id) == (False, JobState.CANCELLING)
    assert not await ours(ledger).jobs.request_cancel(job_id)


@pytest.mark.parametrize("state", [state for state in JobState if state.is_terminal])
async def test_a_finished_job_cannot_be_cancelled(ledger: Ledger, state: JobState) -> None:
    job_id = await in_state(ledger, state)
    assert not await ours(ledger).jobs.request_cancel(job_id)
    assert await ours(ledger).jobs.state(job_id) is state


async def test_errors_are_grouped_by_type_and_message_the_most_frequent_first(
    ledger: Ledger,
) -> None:
    job_id = await running(ledger, [1] * 6)
    for index in (1, 4):
        await fail(ledger, job_id, index, OTHER)
    for index in (0, 2, 5):
        await fail(ledger, job_id, index)
    await fail(ledger, job_id, 3, Failure(type="Other", message="one more"))
    expected = (
        ErrorGroup("Broken", "it broke", 3, 0),
        ErrorGroup("Other", "something else", 2, 1),
        ErrorGroup("Other", "one more", 1, 3),
    )
    assert (await found(ledger, job_id)).errors == expected
    await ours(ledger).closing.close(job_id, JobState.FAILED, error=None)
    assert (await found(ledger, job_id)).errors == expected


async def test_at_most_twenty_groups_of_errors_are_kept(ledger: Ledger) -> None:
    job_id = await running(ledger, [1] * 25)
    for index in range(25):
        await fail(ledger, job_id, index, Failure(type="Broken", message=f"{index:02}"))
    errors = (await found(ledger, job_id)).errors
    assert [group.message for group in errors] == [f"{index:02}" for index in range(20)]
