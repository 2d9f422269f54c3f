"""A worker that was thought dead and comes back changes nothing any more."""

import asyncio
from collections.abc import Callable, Coroutine

import psycopg
import pytest

from fanfold.contract.names import JobId
from fanfold.contract.states import ChunkState
from fanfold.ledger import outcomes
from fanfold.ledger.connect import Ledger
from fanfold.ledger.records import Attempt, ChunkOutput, ChunkRecord, ItemError
from tests.ledger.jobs_recorded import BROKEN, a_spec, begun, ours, running

Late = Callable[[Ledger, Attempt], Coroutine[None, None, None]]

STALE = ChunkOutput(body=b'["stale"]', item_errors=(ItemError(item=0, type="S", message="s"),))
FRESH = ChunkOutput(body=b'["fresh"]')


async def _succeed_late(ledger: Ledger, attempt: Attempt) -> None:
    await ours(ledger).work.record(outcomes.succeeded(attempt, STALE))


async def _fail_late(ledger: Ledger, attempt: Attempt) -> None:
    await ours(ledger).work.record(outcomes.failed(attempt, BROKEN, STALE))


async def _checkpoint_late(ledger: Ledger, attempt: Attempt) -> None:
    await ours(ledger).work.record(outcomes.put_off(attempt, BROKEN, STALE, seconds=0))


async def _advance_late(ledger: Ledger, attempt: Attempt) -> None:
    await ours(ledger).work.record(outcomes.advanced(attempt, STALE))


async def _hand_back_late(ledger: Ledger, attempt: Attempt) -> None:
    await ours(ledger).work.record(outcomes.handed_back(attempt))


LATE = [_succeed_late, _fail_late, _checkpoint_late, _advance_late, _hand_back_late]


async def _state_of(ledger: Ledger, job_id: JobId) -> tuple[ChunkRecord, ChunkOutput]:
    chunk = await ours(ledger).chunks.find(job_id, 0)
    assert chunk is not None
    outputs = [output async for _, output in ours(ledger).chunks.outputs(job_id, [chunk])]
    return chunk, outputs[0]


@pytest.mark.parametrize("late", LATE)
async def test_while_a_newer_attempt_runs(ledger: Ledger, late: Late) -> None:
    job_id = await running(ledger)
    stale, fresh = await begun(ledger, job_id), await begun(ledger, job_id)
    before = await _state_of(ledger, job_id)
    await late(ledger, stale)
    assert await _state_of(ledger, job_id) == before
    await ours(ledger).work.record(outcomes.succeeded(fresh, FRESH))
    chunk, output = await _state_of(ledger, job_id)
    assert (chunk.state, output) == (ChunkState.SUCCEEDED, FRESH)


@pytest.mark.parametrize("late", LATE)
async def test_while_a_newer_attempt_goes_on_from_a_checkpoint(ledger: Ledger, late: Late) -> None:
    job_id = await running(ledger)
    stale = await begun(ledger, job_id)
    await ours(ledger).work.record(
        outcomes.put_off(await begun(ledger, job_id), BROKEN, FRESH, seconds=0)
    )
    await late(ledger, stale)
    assert (await begun(ledger, job_id)).checkpoint == FRESH


@pytest.mark.parametrize("late", LATE)
async def test_after_the_chunk_succeeded(ledger: Ledger, late: Late) -> None:
    job_id = await running(ledger)
    stale, fresh = await begun(ledger, job_id), await begun(ledger, job_id)
    await ours(ledger).work.record(outcomes.succeeded(fresh, FRESH))
    before = await _state_of(ledger, job_id)
    await late(ledger, stale)
    assert await _state_of(ledger, job_id) == before


@pytest.mark.parametrize("late", LATE)
async def test_after_the_chunk_failed(ledger: Ledger, late: Late) -> None:
    job_id = await running(ledger)
    stale, fresh = await begun(ledger, job_id), await begun(ledger, job_id)
    failed = ChunkOutput(body=b"[null]", item_errors=(ItemError(item=0, type="F", message="f"),))
    await ours(ledger).work.record(outcomes.failed(fresh, BROKEN, failed))
    before = await _state_of(ledger, job_id)
    await late(ledger, stale)
    assert await _state_of(ledger, job_id) == before


@pytest.mark.parametrize("late", LATE)
async def test_after_the_chunk_was_recorded_as_lost(ledger: Ledger, late: Late) -> None:
    job_id = await running(ledger)
    attempt = await begun(ledger, job_id)
    await ours(ledger).work.record_lost(job_id, 0, BROKEN, run=1)
    before = await _state_of(ledger, job_id)
    await late(ledger, attempt)
    assert await _state_of(ledger, job_id) == before


@pytest.mark.parametrize("late", LATE)
async def test_after_the_chunk_was_cancelled(ledger: Ledger, late: Late) -> None:
    job_id = await running(ledger)
    attempt = await begun(ledger, job_id)
    await ours(ledger).jobs.request_cancel(job_id)
    await ours(ledger).closing.settle(job_id, run=1)
    before = await _state_of(ledger, job_id)
    await late(ledger, attempt)
    assert await _state_of(ledger, job_id) == before
    assert before[0].state is ChunkState.CANCELLED


@pytest.mark.parametrize("late", LATE)
async def test_after_the_chunk_moved_on_to_the_next_stage(ledger: Ledger, late: Late) -> None:
    job_id = await running(ledger, spec=a_spec(stages=2))
    stale, fresh = await begun(ledger, job_id), await begun(ledger, job_id)
    await ours(ledger).work.record(outcomes.advanced(fresh, FRESH))
    await late(ledger, stale)
    second = await begun(ledger, job_id, stage=1)
    assert (second.number, second.input) == (1, FRESH.body)
    assert (second.earlier_errors, second.checkpoint) == ((), ChunkOutput())


@pytest.mark.parametrize("late", LATE)
async def test_after_the_next_stage_kept_a_checkpoint(ledger: Ledger, late: Late) -> None:
    job_id = await running(ledger, spec=a_spec(stages=2))
    stale, fresh = await begun(ledger, job_id), await begun(ledger, job_id)
    await ours(ledger).work.record(outcomes.advanced(fresh, FRESH))
    await ours(ledger).work.record(
        outcomes.put_off(await begun(ledger, job_id, stage=1), BROKEN, FRESH, seconds=0)
    )
    await late(ledger, stale)
    assert (await begun(ledger, job_id, stage=1)).checkpoint == FRESH


@pytest.mark.parametrize("late", LATE)
async def test_after_the_last_stage_succeeded(ledger: Ledger, late: Late) -> None:
    job_id = await running(ledger, spec=a_spec(stages=2))
    stale, fresh = await begun(ledger, job_id), await begun(ledger, job_id)
    await ours(ledger).work.record(outcomes.advanced(fresh, ChunkOutput(body=b"[1]")))
    await ours(ledger).work.record(outcomes.succeeded(await begun(ledger, job_id, stage=1), FRESH))
    before = await _state_of(ledger, job_id)
    await late(ledger, stale)
    assert await _state_of(ledger, job_id) == before


@pytest.mark.parametrize("late", [_succeed_late, _fail_late])
async def test_recording_the_same_outcome_twice_is_recording_it_once(
    ledger: Ledger, late: Late
) -> None:
    job_id = await running(ledger)
    attempt = await begun(ledger, job_id)
    await late(ledger, attempt)
    before = await _state_of(ledger, job_id)
    await late(ledger, attempt)
    assert await _state_of(ledger, job_id) == before


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("late", LATE)
async def test_that_is_taken_away_while_it_writes(
    ledger: Ledger, ledger_url: str, late: Late
) -> None:
    job_id = await running(ledger, spec=a_spec(stages=2))
    stale = await begun(ledger, job_id)
    with psycopg.connect(ledger_url) as other:
        other.execute("UPDATE chunks SET state = 'pending', fence = fence + 1")
        writing = asyncio.create_task(late(ledger, stale))
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted"
        while not await ledger.database.read(waiting):
            pass
        other.commit()
        await writing
        assert other.execute("SELECT stage FROM inputs").fetchall() == [(0,)]
        assert other.execute("SELECT body FROM results").fetchall() == []


async def test_an_attempt_that_was_passed_leaves_nothing_at_the_next_one_s(ledger: Ledger) -> None:
    """Both are at the same stage, the later one with the fence that advancing would have given."""
    job_id = await running(ledger, [3], spec=a_spec(stages=2))
    first, second = await begun(ledger, job_id), await begun(ledger, job_id)
    dropped = ItemError(item=0, type="ItemDropped", message="empty", is_dropped=True)
    stale = ChunkOutput(body=b'["stale"]', item_errors=(dropped,), by_item=True)

    await ours(ledger).work.record(outcomes.advanced(first, stale))
    done = ChunkOutput(body=b'["a","b","c"]', by_item=True)
    await ours(ledger).work.record(outcomes.advanced(second, done))

    at_the_next = await begun(ledger, job_id, stage=1)
    assert (at_the_next.input, at_the_next.earlier_errors) == (done.body, ())
