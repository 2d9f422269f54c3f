"""Single chunks: cancelled alone, held for a person, released, given a result."""

from collections.abc import Awaitable, Callable

import pytest

from fanfold.contract.names import JobId
from fanfold.contract.states import ChunkState, JobState
from fanfold.ledger import outcomes
from fanfold.ledger.connect import Ledger
from fanfold.ledger.records import Attempt, Stop
from tests.ledger.jobs_recorded import (
    BROKEN,
    NOTHING,
    begun,
    fail,
    found,
    hold,
    ours,
    running,
    succeed,
)
from tests.ledger.steered import (
    DONE,
    HALF,
    RUN,
    bodies,
    chunk_states,
    state_of,
    to_check,
    twice,
)

# --- one child --------------------------------------------------------------------------------


async def test_a_child_that_does_not_run_is_cancelled_at_once_and_no_other(ledger: Ledger) -> None:
    job_id = await running(ledger, [1] * 4)
    waiting = await begun(ledger, job_id, 1)
    await ours(ledger).work.record(outcomes.put_off(waiting, BROKEN, NOTHING, seconds=0))
    await hold(ledger, job_id, 2)
    for index in (0, 1, 2):
        await twice(ledger).cancel_child(job_id, index)

    assert await chunk_states(ledger, job_id) == [*["cancelled"] * 3, "pending"]
    counts = (await found(ledger, job_id)).counts
    assert (counts.cancelled, counts.held, counts.pending, counts.items_failed) == (3, 0, 1, 0)
    assert (await ours(ledger).work.outlook(job_id, RUN, limit=9)).due_in_seconds is None
    assert await ours(ledger).work.page(job_id, after=-1, limit=9) == [3]
    assert await ours(ledger).closing.cancelled_by_nobody(job_id, 1) == 0


async def is_to_be_told(ledger: Ledger, job_id: JobId) -> bool:
    ((changes, told),) = await ledger.database.read(
        "SELECT changes, changes_told FROM jobs WHERE id = ?", (job_id,)
    )
    return bool(changes > told)


@pytest.mark.parametrize("other", ["pending", "put off"])
async def test_the_workflow_is_told_of_a_cancelled_child_only_where_no_chunk_is_open(
    ledger: Ledger, other: str
) -> None:
    job_id = await running(ledger, [1, 1])
    if other == "put off":
        attempt = await begun(ledger, job_id, 1)
        await ours(ledger).work.record(outcomes.put_off(attempt, BROKEN, NOTHING, seconds=60))
    await ours(ledger).steering.cancel_child(job_id, 0)
    assert not await is_to_be_told(ledger, job_id)
    await ours(ledger).steering.cancel_child(job_id, 1)
    assert await is_to_be_told(ledger, job_id)


async def test_the_workflow_is_not_told_of_a_cancelled_child_while_another_runs(
    ledger: Ledger,
) -> None:
    job_id = await running(ledger, [1, 1])
    attempt = await begun(ledger, job_id, 1)
    await ours(ledger).steering.cancel_child(job_id, 0)
    assert not await is_to_be_told(ledger, job_id)
    await ours(ledger).work.record(outcomes.succeeded(attempt, DONE))
    await ours(ledger).steering.cancel_child(job_id, 0)
    assert await is_to_be_told(ledger, job_id)


async def test_a_child_that_runs_is_cancelled_once_its_worker_has_heard(ledger: Ledger) -> None:
    job_id = await running(ledger, [1, 1])
    attempt = await begun(ledger, job_id)
    await twice(ledger).cancel_child(job_id, 0)

    assert await chunk_states(ledger, job_id) == ["running", "pending"]
    assert 0 in await ours(ledger).watch.cancelled_children(job_id)
    assert 1 not in await ours(ledger).watch.cancelled_children(job_id)
    assert (await ours(ledger).watch.standing(job_id, RUN)).cancelled == {0}

    for _ in range(2):
        await ours(ledger).work.record(outcomes.cancelled(attempt))
    assert await chunk_states(ledger, job_id) == ["cancelled", "pending"]
    assert await ours(ledger).closing.cancelled_by_nobody(job_id, 1) == 0


@pytest.mark.parametrize("ends", ["succeeded", "put off", "handed back"])
async def test_a_child_that_ends_before_its_worker_hears_keeps_its_outcome_and_gets_no_other(
    ledger: Ledger, ends: str
) -> None:
    job_id = await running(ledger)
    attempt = await begun(ledger, job_id)
    await ours(ledger).steering.cancel_child(job_id, 0)
    scripts = {
        "succeeded": outcomes.succeeded(attempt, DONE),
        "put off": outcomes.put_off(attempt, BROKEN, NOTHING, seconds=0),
        "handed back": outcomes.handed_back(attempt),
    }
    await ours(ledger).work.record(scripts[ends])
    await ours(ledger).work.record(outcomes.cancelled(attempt))
    for _ in range(2):
        await ours(ledger).closing.cancel_children(job_id)
    expected = "succeeded" if ends == "succeeded" else "cancelled"
    assert await chunk_states(ledger, job_id) == [expected]


@pytest.mark.parametrize("end", [succeed, fail])
async def test_a_child_with_an_outcome_keeps_it(
    ledger: Ledger, end: Callable[[Ledger, JobId, int], Awaitable[None]]
) -> None:
    job_id = await running(ledger, [1, 1])
    await end(ledger, job_id, 0)
    before = await chunk_states(ledger, job_id), await bodies(ledger, job_id)
    await ours(ledger).steering.cancel_child(job_id, 0)
    assert (await chunk_states(ledger, job_id), await bodies(ledger, job_id)) == before
    assert 0 not in await ours(ledger).watch.cancelled_children(job_id)


# --- held -------------------------------------------------------------------------------------


async def test_a_job_waits_once_only_held_chunks_are_left_and_since_when_it_says(
    ledger: Ledger,
) -> None:
    job_id = await running(ledger, [1, 1, 1])
    closing = ours(ledger).closing
    await succeed(ledger, job_id, 0)
    await hold(ledger, job_id, 1)
    assert await closing.wait(job_id) is None
    attempt = await begun(ledger, job_id, 2)
    assert await closing.wait(job_id) is None
    await ours(ledger).work.record(outcomes.succeeded(attempt, DONE))

    since = await closing.wait(job_id)
    assert since is not None
    assert await closing.wait(job_id) == since
    assert await state_of(ledger, job_id) is JobState.WAITING
    assert not await closing.close(job_id, JobState.SUCCEEDED, error=None)
    counts = (await found(ledger, job_id)).counts
    assert (counts.held, counts.succeeded, counts.items_failed) == (1, 2, 0)


async def test_a_job_without_held_chunks_does_not_wait(ledger: Ledger) -> None:
    job_id = await running(ledger)
    await fail(ledger, job_id, 0)
    assert await ours(ledger).closing.wait(job_id) is None
    assert await state_of(ledger, job_id) is JobState.RUNNING


async def held_twice(ledger: Ledger) -> JobId:
    """A waiting job: a chunk of two items held as a whole, and one held in part."""
    job_id = await running(ledger, [2, 2])
    await hold(ledger, job_id, 0)
    await hold(ledger, job_id, 1, HALF)
    assert await ours(ledger).closing.wait(job_id)
    return job_id


async def test_what_is_released_has_failed_but_for_what_its_items_gave(ledger: Ledger) -> None:
    job_id = await held_twice(ledger)
    await twice(ledger).release(job_id)

    assert await state_of(ledger, job_id) is JobState.RUNNING
    assert await chunk_states(ledger, job_id) == ["failed", "partially_succeeded"]
    assert await bodies(ledger, job_id) == [b"", b"[7,null]"]
    job = await found(ledger, job_id)
    assert (job.counts.items_succeeded, job.counts.items_failed, job.counts.held) == (1, 3, 0)
    assert job.counts == await ours(ledger).closing.counts(job_id)
    assert not (await to_check(ledger, job_id)).is_told
    assert await ours(ledger).closing.close(job_id, JobState.PARTIALLY_SUCCEEDED, error=None)
    errors = [(group.type, group.count) for group in (await found(ledger, job_id)).errors]
    assert errors == [("Broken", 2), ("T", 1)]


async def test_a_stopped_job_gives_up_what_is_held(ledger: Ledger) -> None:
    job_id = await held_twice(ledger)
    counts = await ours(ledger).closing.settle(job_id, run=1)
    assert (counts.failed, counts.partially_succeeded, counts.held) == (1, 1, 0)
    assert await ours(ledger).closing.close(job_id, JobState.FAILED, error=BROKEN)
    assert await state_of(ledger, job_id) is JobState.FAILED


async def test_a_held_chunk_takes_the_result_that_a_client_gives(ledger: Ledger) -> None:
    job_id = await held_twice(ledger)
    await twice(ledger).resolve(job_id, 0, b'{"by": "hand"}', by_item=False)

    assert await state_of(ledger, job_id) is JobState.WAITING
    chunk = await ours(ledger).chunks.find(job_id, 0)
    assert chunk is not None
    assert (chunk.state, chunk.resolved_by, chunk.error) == (ChunkState.SUCCEEDED, "client", None)
    assert (chunk.items_failed, chunk.result_bytes, chunk.by_item) == (0, 14, False)
    assert chunk.finished_at is not None
    assert await bodies(ledger, job_id) == [b'{"by": "hand"}', b"[7,null]"]

    assert await ours(ledger).steering.resolve(job_id, 1, b"[7,8]", by_item=True)
    job = await found(ledger, job_id)
    assert job.state is JobState.RUNNING
    assert (job.counts.succeeded, job.counts.items_succeeded, job.counts.items_failed) == (2, 4, 0)
    assert job.counts == await ours(ledger).closing.counts(job_id)
    assert [output.item_errors async for _, output in ours(ledger).chunks.stream(job_id)] == [
        (),
        (),
    ]
    assert not (await to_check(ledger, job_id)).is_told
    assert await ours(ledger).closing.close(job_id, JobState.SUCCEEDED, error=None)


async def test_a_held_chunk_of_a_running_job_may_be_resolved_and_the_job_goes_on(
    ledger: Ledger,
) -> None:
    job_id = await running(ledger, [1, 1])
    late = await hold(ledger, job_id, 0)
    assert await ours(ledger).steering.resolve(job_id, 0, b"[1]", by_item=True)
    # The worker writes its outcome again, since it did not hear of the first time.
    await ours(ledger).work.record(outcomes.held(late, BROKEN, NOTHING))
    assert await chunk_states(ledger, job_id) == ["succeeded", "pending"]
    assert await bodies(ledger, job_id) == [b"[1]", b""]
    assert await state_of(ledger, job_id) is JobState.RUNNING
    assert isinstance(await begun(ledger, job_id, 1), Attempt)


async def test_only_what_is_held_takes_a_result(ledger: Ledger) -> None:
    job_id = await running(ledger, [1] * 5)
    await succeed(ledger, job_id, 0, b"[2]")
    await fail(ledger, job_id, 1)
    await begun(ledger, job_id, 2)
    await ours(ledger).steering.cancel_child(job_id, 3)
    before = await chunk_states(ledger, job_id), await bodies(ledger, job_id)
    for index in range(5):
        assert not await ours(ledger).steering.resolve(job_id, index, b"[1]", by_item=True)
    assert (await chunk_states(ledger, job_id), await bodies(ledger, job_id)) == before


async def test_a_waiting_job_goes_on_when_its_last_held_chunk_is_cancelled(ledger: Ledger) -> None:
    job_id = await held_twice(ledger)
    await ours(ledger).steering.cancel_child(job_id, 0)
    assert await state_of(ledger, job_id) is JobState.WAITING
    await twice(ledger).cancel_child(job_id, 1)
    assert await state_of(ledger, job_id) is JobState.RUNNING
    assert await ours(ledger).closing.wait(job_id) is None


async def test_the_first_rule_that_stops_a_job_is_the_one_it_says(ledger: Ledger) -> None:
    job_id = await running(ledger)
    assert await ours(ledger).closing.stopped_by(job_id) is None
    await ours(ledger).closing.stop(job_id, Stop("count", 3))
    await ours(ledger).closing.stop(job_id, Stop("percent", 1))
    stop = await ours(ledger).closing.stopped_by(job_id)
    assert stop == Stop("count", 3)
    await ours(ledger).closing.settle(job_id, run=1)
    assert await ours(ledger).closing.close(job_id, JobState.FAILED, error=BROKEN, stop=stop)
    assert (await found(ledger, job_id)).stop == Stop("count", 3)
