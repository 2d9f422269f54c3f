"""What a chunk had given is never lost by a redrive: used, or there again as it was."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fanfold.contract.failures import Failure
from fanfold.contract.names import JobId
from fanfold.contract.states import ChunkState, JobState
from fanfold.ledger import outcomes
from fanfold.ledger.connect import Ledger
from fanfold.ledger.records import Attempt, ChunkOutput, ItemError, KeptOutput
from fanfold.ledger.run_again import Selected
from tests.ledger.jobs_recorded import BROKEN, NOTHING, a_spec, begun, found, ours, running
from tests.ledger.raw_sql import rows
from tests.ledger.redriven import (
    CANCELLED,
    FAILED,
    IN_PART,
    MIXED,
    PARTIAL,
    SIZES,
    SUCCEEDED,
    WITH_DROPPED,
    begun_again,
    chunk,
    ended,
    opened,
    outputs,
    redrive,
    waiting,
)
from tests.ledger.steered import chunk_states, state_of, twice

ALL = range(len(SIZES))
AGAIN = ChunkOutput(body=b"[9]", by_item=True)
LOST = Failure(type="ChunkClosedOutside", message="it was terminated")


async def redriven(ledger: Ledger, *chosen: int | Selected, **given: Any) -> JobId:
    job_id = await ended(ledger)
    assert await redrive(ledger, job_id, *chosen, **given)
    await opened(ledger, job_id)
    return job_id


# --- what an attempt goes on from -------------------------------------------------------------


async def test_items_that_succeeded_before_are_given_to_the_attempt(ledger: Ledger) -> None:
    job_id = await redriven(ledger, PARTIAL)
    attempt = await begun_again(ledger, job_id, PARTIAL)
    assert attempt.kept == KeptOutput(output=IN_PART, items_again=None, failure=BROKEN)
    assert attempt.input == b"[2,2,2,2]"
    assert (attempt.checkpoint, attempt.earlier_errors) == (NOTHING, ())


async def test_which_items_run_again_is_given_to_every_attempt(ledger: Ledger) -> None:
    partial = ChunkState.PARTIALLY_SUCCEEDED
    job_id = await redriven(ledger, Selected(PARTIAL, partial, (3, 1)))
    attempt = await begun_again(ledger, job_id, PARTIAL)
    assert attempt.kept is not None
    assert attempt.kept.items_again == frozenset({1, 3})
    checkpoint = ChunkOutput(
        body=b"[1,null]", item_errors=(ItemError(item=3, type="T", message="m"),)
    )
    await ours(ledger).work.record(outcomes.put_off(attempt, BROKEN, checkpoint, seconds=0))
    later = await begun_again(ledger, job_id, PARTIAL)
    assert (later.kept, later.checkpoint.body) == (attempt.kept, b"[1,null]")


@pytest.mark.parametrize("index", [SUCCEEDED, FAILED, CANCELLED, WITH_DROPPED])
async def test_of_a_chunk_without_results_by_item_to_keep_everything_runs_again(
    ledger: Ledger, index: int
) -> None:
    job_id = await redriven(ledger, index)
    attempt = await begun_again(ledger, job_id, index)
    assert (attempt.is_again, attempt.kept) == (True, None)


async def test_a_changed_processor_runs_all_items_again(ledger: Ledger) -> None:
    job_id = await redriven(ledger, PARTIAL, MIXED, is_resumed=False)
    for index in (PARTIAL, MIXED):
        attempt = await begun_again(ledger, job_id, index)
        assert (attempt.is_again, attempt.kept) == (True, None)


async def test_an_item_of_a_chunk_that_succeeded_may_run_again_alone(ledger: Ledger) -> None:
    again = Selected(WITH_DROPPED, ChunkState.SUCCEEDED, (1,))
    job_id = await redriven(ledger, again, corrected={WITH_DROPPED: b"[5,6]"})
    attempt = await begun_again(ledger, job_id, WITH_DROPPED)
    assert attempt.input == b"[5,6]"
    assert attempt.kept is not None
    assert (attempt.kept.items_again, attempt.kept.output.body) == (frozenset({1}), b"[5]")


async def test_the_inputs_that_stages_of_the_earlier_run_made_are_gone(
    ledger: Ledger, ledger_url: str
) -> None:
    job_id = await running(ledger, [1, 1], spec=a_spec(stages=2))
    for index in range(2):
        attempt = await begun(ledger, job_id, index)
        await ours(ledger).work.record(outcomes.advanced(attempt, ChunkOutput(body=b"[1]")))
        last = await begun(ledger, job_id, index, 1)
        await ours(ledger).work.record(outcomes.held(last, BROKEN, NOTHING))
    assert await ours(ledger).closing.wait(job_id)
    assert await redrive(ledger, job_id, 0)
    assert rows(ledger_url, "SELECT idx, stage FROM inputs ORDER BY idx, stage") == [
        (0, 0),
        (1, 0),
        (1, 1),
    ]
    attempt = await begun(ledger, job_id, 0)
    await ours(ledger).work.record(outcomes.advanced(attempt, ChunkOutput(body=b"[2]")))
    assert (await begun(ledger, job_id, 0, 1)).input == b"[2]"


# --- what comes to nothing --------------------------------------------------------------------


async def _never_begun(ledger: Ledger, job_id: JobId) -> None:
    pass


async def _begun(ledger: Ledger, job_id: JobId) -> None:
    for index in ALL:
        await begun_again(ledger, job_id, index)


async def _put_off(ledger: Ledger, job_id: JobId) -> None:
    error = ItemError(item=0, type="New", message="m")
    for index in ALL:
        attempt = await begun_again(ledger, job_id, index)
        given = ChunkOutput(body=b"[0]", item_errors=(error,), by_item=True)
        await ours(ledger).work.record(outcomes.put_off(attempt, LOST, given, seconds=0))


async def _advanced(ledger: Ledger, job_id: JobId) -> None:
    error = ItemError(item=0, type="New", message="m")
    for index in ALL:
        attempt = await begun_again(ledger, job_id, index)
        given = ChunkOutput(body=b"[0]", item_errors=(error,), by_item=True)
        await ours(ledger).work.record(outcomes.advanced(attempt, given))


async def _taken_back(ledger: Ledger, job_id: JobId) -> None:
    await _begun(ledger, job_id)
    await ours(ledger).work.offer_again(job_id, run=2)


PLACES = (_never_begun, _begun, _put_off, _advanced, _taken_back)


async def _settled(ledger: Ledger, job_id: JobId) -> None:
    await ours(ledger).closing.settle(job_id, run=2)


async def _lost(ledger: Ledger, job_id: JobId) -> None:
    await ours(ledger).work.record_lost(job_id, None, LOST, run=2)


async def _lost_one_by_one(ledger: Ledger, job_id: JobId) -> None:
    for index in ALL:
        await ours(ledger).work.record_lost(job_id, index, LOST, run=2)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("stop", [_settled, _lost, _lost_one_by_one])
async def test_a_chunk_that_comes_to_nothing_is_what_it_was(
    ledger: Ledger,
    place: Callable[[Ledger, JobId], Awaitable[None]],
    stop: Callable[[Ledger, JobId], Awaitable[None]],
) -> None:
    job_id = await ended(ledger)
    before = await outputs(ledger, job_id)
    chunks = [await chunk(ledger, job_id, index) for index in ALL]
    counts = (await found(ledger, job_id)).counts
    assert await redrive(ledger, job_id, *ALL, spec=a_spec(stages=2))
    await opened(ledger, job_id)
    await place(ledger, job_id)

    for _ in range(2):
        await stop(ledger, job_id)

    assert await outputs(ledger, job_id) == before
    again = [await chunk(ledger, job_id, index) for index in ALL]
    for now, then in zip(again, chunks, strict=True):
        # All real attempts count; where the last one ran says nothing of the outcome.
        assert (now.state, now.error, now.run) == (then.state, then.error, 1)
        assert (now.items_failed, now.result_bytes) == (then.items_failed, then.result_bytes)
        assert (now.started_at, now.finished_at) == (then.started_at, then.finished_at)
        assert (now.by_item, now.stage) == (then.by_item, then.stage)
        assert now.attempts >= then.attempts
    job = await found(ledger, job_id)
    assert job.counts == counts == await ours(ledger).closing.counts(job_id)
    assert await ours(ledger).closing.close(job_id, JobState.FAILED, error=None)
    assert (await found(ledger, job_id)).run == 2


async def test_what_has_a_new_outcome_keeps_that_when_the_job_is_stopped(ledger: Ledger) -> None:
    job_id = await redriven(ledger, FAILED, PARTIAL, CANCELLED)
    attempt = await begun_again(ledger, job_id, FAILED)
    await ours(ledger).work.record(outcomes.succeeded(attempt, AGAIN))
    attempt = await begun_again(ledger, job_id, CANCELLED)
    await ours(ledger).work.record(outcomes.failed(attempt, LOST, NOTHING))

    await ours(ledger).closing.settle(job_id, run=2)

    now = await outputs(ledger, job_id)
    assert now[FAILED] == (ChunkState.SUCCEEDED, AGAIN)
    assert now[CANCELLED][0] is ChunkState.FAILED
    assert now[PARTIAL] == (ChunkState.PARTIALLY_SUCCEEDED, IN_PART)


async def test_an_attempt_that_began_before_the_stop_changes_nothing_after_it(
    ledger: Ledger,
) -> None:
    job_id = await redriven(ledger, PARTIAL)
    attempt = await begun_again(ledger, job_id, PARTIAL)
    await ours(ledger).closing.settle(job_id, run=2)
    before = await outputs(ledger, job_id)
    for script in (
        outcomes.succeeded(attempt, AGAIN),
        outcomes.failed(attempt, LOST, NOTHING),
        outcomes.put_off(attempt, LOST, AGAIN, seconds=0),
        outcomes.cancelled(attempt),
        outcomes.handed_back(attempt),
    ):
        await ours(ledger).work.record(script)
        assert await outputs(ledger, job_id) == before


async def test_a_chunk_that_was_held_is_given_up_where_its_job_is_stopped(ledger: Ledger) -> None:
    job_id = await waiting(ledger)
    assert await redrive(ledger, job_id, 0)
    await begun(ledger, job_id, 0)
    for _ in range(2):
        await ours(ledger).closing.settle(job_id, run=1)
    assert await chunk_states(ledger, job_id) == ["partially_succeeded", "succeeded"]
    assert (await outputs(ledger, job_id))[0][1] == IN_PART


# --- one child --------------------------------------------------------------------------------


async def test_a_child_that_is_cancelled_before_it_runs_again_is_what_it_was(
    ledger: Ledger,
) -> None:
    job_id = await ended(ledger)
    before = await outputs(ledger, job_id)
    assert await redrive(ledger, job_id, *ALL)
    await opened(ledger, job_id)
    for index in ALL:
        await twice(ledger).cancel_child(job_id, index)
    assert await outputs(ledger, job_id) == before
    assert not await ours(ledger).watch.has_open_chunks(job_id)


async def test_a_child_that_is_cancelled_while_it_runs_again_is_what_it_was(
    ledger: Ledger,
) -> None:
    job_id = await ended(ledger)
    before = await outputs(ledger, job_id)
    assert await redrive(ledger, job_id, *ALL)
    await opened(ledger, job_id)
    for index in ALL:
        attempt = await begun_again(ledger, job_id, index)
        await ours(ledger).steering.cancel_child(job_id, index)
        for _ in range(2):
            await ours(ledger).work.record(outcomes.cancelled(attempt))
    assert await outputs(ledger, job_id) == before
    job = await found(ledger, job_id)
    assert job.counts == await ours(ledger).closing.counts(job_id)


@pytest.mark.parametrize("does_run", [False, True])
async def test_a_child_that_was_held_and_runs_again_is_cancelled(
    ledger: Ledger, *, does_run: bool
) -> None:
    job_id = await waiting(ledger)
    assert await redrive(ledger, job_id, 0)
    attempt: Attempt | None = await begun(ledger, job_id, 0) if does_run else None
    await twice(ledger).cancel_child(job_id, 0)
    if attempt is not None:
        for _ in range(2):
            await ours(ledger).work.record(outcomes.cancelled(attempt))
    assert await chunk_states(ledger, job_id) == ["cancelled", "succeeded"]
    assert await state_of(ledger, job_id) is JobState.RUNNING
    job = await found(ledger, job_id)
    assert job.counts == await ours(ledger).closing.counts(job_id)
    assert await ours(ledger).closing.cancelled_by_nobody(job_id, 1) == 0


@pytest.mark.parametrize("place", [_put_off, _taken_back])
async def test_a_child_that_stopped_running_before_it_heard_that_it_was_cancelled_is_what_it_was(
    ledger: Ledger, place: Callable[[Ledger, JobId], Awaitable[None]]
) -> None:
    job_id = await ended(ledger)
    before = await outputs(ledger, job_id)
    assert await redrive(ledger, job_id, *ALL)
    await opened(ledger, job_id)
    await _begun(ledger, job_id)
    for index in ALL:
        await ours(ledger).steering.cancel_child(job_id, index)
    await place(ledger, job_id)
    for _ in range(2):
        await ours(ledger).closing.cancel_children(job_id)
    assert await outputs(ledger, job_id) == before
