"""Jobs: recorded whole or not at all, opened, cancelled, closed once."""

import pytest

from contract.failures import Failure
from contract.job_spec import Execution, JobSpec, RetrySpec, StageSpec, ToleranceSpec
from contract.names import DEFAULT_TENANT, new_job_id
from contract.states import ChunkState, JobState
from ledger.connect import Ledger
from ledger.database import UniqueViolation
from ledger.records import ChunkCounts, ErrorGroup
from tests.ledger.jobs_recorded import (
    BROKEN,
    a_spec,
    begun,
    chunks_of,
    fail,
    found,
    record,
    running,
    succeed,
)

OTHER = Failure(type="Other", message="something else")


async def test_a_recorded_job_comes_back_as_it_was_asked_for(ledger: Ledger) -> None:
    spec = JobSpec(
        name="ünï\u2028cödé 🧾",
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
        max_concurrency=3,
        tolerated_failures=ToleranceSpec(count=1, percent=2.5, min_sample=4),
        labels={"team": "data", "empty": ""},
    )
    job_id = await record(ledger, [2, 3], spec=spec)
    job = await found(ledger, job_id)
    assert job.spec == spec
    assert await ledger.jobs.spec(job_id) == spec
    assert (job.state, job.run, job.total_chunks, job.total_items) == (JobState.PENDING, 1, 2, 5)
    assert (job.started_at, job.finished_at, job.error, job.errors) == (None, None, None, ())
    assert job.counts == ChunkCounts(pending=2)


async def test_a_job_that_cannot_be_recorded_whole_leaves_nothing(ledger: Ledger) -> None:
    taken = await record(ledger, [1, 1])
    with pytest.raises(UniqueViolation):
        await record(ledger, [1, 1, 1], job_id=taken, spec=a_spec(labels={"a": "b"}))
    assert (await found(ledger, taken)).total_chunks == 2
    assert len(await ledger.chunks.page(taken, state=None, after=-1, limit=10)) == 2
    labelled = await ledger.jobs.page(
        tenant=DEFAULT_TENANT, state=None, labels={"a": "b"}, before=None, limit=10
    )
    assert labelled == []


async def test_a_job_whose_last_input_cannot_be_written_leaves_nothing(ledger: Ledger) -> None:
    job_id = new_job_id()
    chunks = chunks_of([1, 1])
    object.__setattr__(chunks[1], "body", None)
    with pytest.raises(Exception, match=r"(?i)null"):
        await ledger.jobs.create(job_id=job_id, tenant=DEFAULT_TENANT, spec=a_spec(), chunks=chunks)
    assert await ledger.jobs.find(job_id, DEFAULT_TENANT) is None
    assert await ledger.chunks.find(job_id, 0) is None
    await record(ledger, [1], job_id=job_id)
    assert (await found(ledger, job_id)).counts == ChunkCounts(pending=1)


async def test_another_tenant_sees_nothing_of_a_job(ledger: Ledger) -> None:
    job_id = await record(ledger)
    assert await ledger.jobs.find(job_id, "someone-else") is None
    assert await ledger.jobs.state(job_id, "someone-else") is None
    assert not await ledger.jobs.request_cancel(job_id, "someone-else")
    assert await ledger.jobs.state(job_id, DEFAULT_TENANT) is JobState.PENDING


async def test_an_unknown_job_is_none_everywhere(ledger: Ledger) -> None:
    assert await ledger.jobs.find("job_none", DEFAULT_TENANT) is None
    assert await ledger.jobs.spec("job_none") is None
    assert await ledger.jobs.open("job_none") is None
    assert await ledger.jobs.result("job_none") is None
    assert await ledger.chunks.find("job_none", 0) is None
    assert await ledger.chunks.begin_attempt("job_none", 0, 0) is None
    assert await ledger.chunks.page("job_none", state=None, after=-1, limit=5) == []


async def test_opening_twice_keeps_the_first_start(ledger: Ledger) -> None:
    job_id = await running(ledger)
    started_at = (await found(ledger, job_id)).started_at
    assert started_at is not None
    assert await ledger.jobs.open(job_id) is JobState.RUNNING
    assert (await found(ledger, job_id)).started_at == started_at


async def test_a_cancelled_job_is_not_opened(ledger: Ledger) -> None:
    job_id = await record(ledger)
    assert await ledger.jobs.request_cancel(job_id, DEFAULT_TENANT)
    assert await ledger.jobs.open(job_id) is JobState.CANCELLING
    assert not await ledger.jobs.request_cancel(job_id, DEFAULT_TENANT)


async def test_settling_cancels_what_has_no_outcome_and_keeps_the_rest(ledger: Ledger) -> None:
    job_id = await running(ledger, [1, 2, 3, 4])
    await succeed(ledger, job_id, 0)
    await fail(ledger, job_id, 1)
    await begun(ledger, job_id, 2)
    counts = await ledger.jobs.settle(job_id)
    assert counts == ChunkCounts(
        succeeded=1, failed=1, cancelled=2, items_succeeded=1, items_failed=2
    )
    states = [one.state for one in await ledger.chunks.page(job_id, state=None, after=-1, limit=9)]
    assert states == [
        ChunkState.SUCCEEDED,
        ChunkState.FAILED,
        ChunkState.CANCELLED,
        ChunkState.CANCELLED,
    ]
    assert await ledger.jobs.settle(job_id) == counts


async def test_a_closed_job_keeps_its_counts_errors_and_result(ledger: Ledger) -> None:
    job_id = await running(ledger, [1, 1])
    await succeed(ledger, job_id, 0)
    await fail(ledger, job_id, 1)
    counts = await ledger.jobs.settle(job_id)
    await ledger.jobs.close(job_id, JobState.PARTIALLY_SUCCEEDED, error=OTHER, result=b'{"a":1}')
    job = await found(ledger, job_id)
    assert (job.state, job.error, job.counts) == (JobState.PARTIALLY_SUCCEEDED, OTHER, counts)
    assert job.errors == (ErrorGroup("Broken", "it broke", 1, 1),)
    assert job.finished_at is not None
    assert await ledger.jobs.result(job_id) == b'{"a":1}'


@pytest.mark.parametrize("second", [JobState.FAILED, JobState.SUCCEEDED, JobState.CANCELLED])
async def test_a_second_close_changes_nothing(ledger: Ledger, second: JobState) -> None:
    job_id = await running(ledger)
    await succeed(ledger, job_id, 0)
    await ledger.jobs.settle(job_id)
    await ledger.jobs.close(job_id, JobState.SUCCEEDED, error=None, result=b"1")
    first = await found(ledger, job_id)
    await ledger.jobs.close(job_id, second, error=BROKEN, result=b"2")
    assert await found(ledger, job_id) == first
    assert await ledger.jobs.result(job_id) == b"1"


async def test_a_second_close_brings_no_result_to_a_job_closed_without_one(ledger: Ledger) -> None:
    job_id = await running(ledger)
    await succeed(ledger, job_id, 0)
    await ledger.jobs.close(job_id, JobState.FAILED, error=BROKEN)
    await ledger.jobs.close(job_id, JobState.SUCCEEDED, error=None, result=b"2")
    assert await ledger.jobs.result(job_id) is None
    await ledger.jobs.close(job_id, JobState.FAILED, error=None, result=b"3")
    assert await ledger.jobs.result(job_id) is None


async def test_a_job_whose_cancellation_was_acknowledged_ends_cancelled(ledger: Ledger) -> None:
    job_id = await running(ledger)
    await succeed(ledger, job_id, 0)
    assert await ledger.jobs.request_cancel(job_id, DEFAULT_TENANT)
    await ledger.jobs.close(job_id, JobState.SUCCEEDED, error=None, result=b"1")
    assert (await found(ledger, job_id)).state is JobState.CANCELLED
    assert await ledger.jobs.result(job_id) is None
    assert (await ledger.chunks.page(job_id, state=None, after=-1, limit=1))[0].state == "succeeded"


async def test_a_job_that_ends_cancelled_has_no_error(ledger: Ledger) -> None:
    job_id = await running(ledger)
    await fail(ledger, job_id, 0)
    assert await ledger.jobs.request_cancel(job_id, DEFAULT_TENANT)
    await ledger.jobs.close(job_id, JobState.FAILED, error=BROKEN)
    job = await found(ledger, job_id)
    assert (job.state, job.error) == (JobState.CANCELLED, None)


@pytest.mark.parametrize("state", [state for state in JobState if state.is_terminal])
async def test_a_finished_job_cannot_be_cancelled(ledger: Ledger, state: JobState) -> None:
    job_id = await running(ledger)
    await ledger.jobs.close(job_id, state, error=None)
    assert not await ledger.jobs.request_cancel(job_id, DEFAULT_TENANT)
    assert await ledger.jobs.state(job_id, DEFAULT_TENANT) is state


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
    await ledger.jobs.close(job_id, JobState.FAILED, error=None)
    assert (await found(ledger, job_id)).errors == expected


async def test_at_most_twenty_groups_of_errors_are_kept(ledger: Ledger) -> None:
    job_id = await running(ledger, [1] * 25)
    for index in range(25):
        await fail(ledger, job_id, index, Failure(type="Broken", message=f"{index:02}"))
    errors = (await found(ledger, job_id)).errors
    assert [group.message for group in errors] == [f"{index:02}" for index in range(20)]
