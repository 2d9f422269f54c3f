"""The attempts at a chunk as they are shown: kept, told from the chunk, lost, left out."""

from dataclasses import replace

import pytest

from fanfold.contract.failures import Failure, FailureType
from fanfold.contract.names import JobId
from fanfold.contract.states import AttemptState
from fanfold.ledger import outcomes
from fanfold.ledger.attempts import MAX_KEPT, AttemptHistory, AttemptRecord
from fanfold.ledger.connect import Ledger
from fanfold.ledger.records import BlockRun, ChunkOutput
from tests.ledger.jobs_recorded import (
    BROKEN,
    a_spec,
    begun,
    closed,
    fail,
    new_token,
    ours,
    running,
    succeed,
)
from tests.ledger.raw_sql import rows

LOST = Failure(type="WorkerLost", message="the worker was lost", retryable=True)
Shown = tuple[int, int, int, str, str | None]


async def history(ledger: Ledger, job_id: JobId, index: int = 0) -> AttemptHistory:
    found = await ours(ledger).attempts.of_chunk(job_id, index)
    assert found is not None
    return found


async def shown(ledger: Ledger, job_id: JobId, index: int = 0) -> list[Shown]:
    """Run, stage, number, state and type of error of each attempt."""
    return [
        (one.run, one.stage, one.number, str(one.state), one.error.type if one.error else None)
        for one in (await history(ledger, job_id, index)).attempts
    ]


def keep(
    url: str, job_id: JobId, number: int, *, run: int = 1, stage: int = 0, succeeded: bool = False
) -> None:
    """Write the row of an attempt, as a worker does with its outcome."""
    state, error = ("succeeded", "NULL, NULL, NULL") if succeeded else ("failed", "'T', 'm', 0")
    rows(
        url,
        f"INSERT INTO attempts VALUES ('{job_id}', 0, {run}, {stage}, {number}, '{state}', "
        f"{error}, {number}000, {number}500)",
    )


async def put_off(ledger: Ledger, job_id: JobId) -> None:
    """An attempt that failed, and is followed by another."""
    attempt = await begun(ledger, job_id)
    await ours(ledger).work.record(outcomes.put_off(attempt, BROKEN, ChunkOutput(), seconds=0))


async def lose(ledger: Ledger, job_id: JobId, block: int = 1) -> None:
    """An attempt whose worker dies: its block is taken over."""
    run = BlockRun(block=block, number=1)
    assert await ours(ledger).work.claim(job_id, run, job_run=1, token=new_token()) is not None
    await ours(ledger).work.take_over(job_id, BlockRun(block=block, number=2))


async def test_a_chunk_that_succeeded_at_once_has_one_attempt_which_is_told_from_the_chunk(
    ledger: Ledger,
) -> None:
    job_id = await running(ledger)
    await succeed(ledger, job_id, 0)
    chunk = await ours(ledger).chunks.find(job_id, 0)
    assert chunk is not None
    assert await history(ledger, job_id) == AttemptHistory(
        (
            AttemptRecord(
                run=1,
                stage=0,
                number=1,
                state=AttemptState.SUCCEEDED,
                started_at=chunk.started_at,
                finished_at=chunk.finished_at,
            ),
        ),
        omitted=0,
    )
    assert chunk.finished_at is not None


async def test_what_is_kept_is_shown_with_its_error_and_times(
    ledger: Ledger, ledger_url: str
) -> None:
    job_id = await running(ledger)
    keep(ledger_url, job_id, 1)
    keep(ledger_url, job_id, 2, succeeded=True)
    failed, last = (await history(ledger, job_id)).attempts
    assert failed == AttemptRecord(
        run=1,
        stage=0,
        number=1,
        state=AttemptState.FAILED,
        error=Failure(type="T", message="m", retryable=False),
        started_at=1000,
        finished_at=1500,
    )
    assert (last.number, last.state, last.error) == (2, AttemptState.SUCCEEDED, None)
    assert (last.started_at, last.finished_at) == (2000, 2500)


async def test_attempts_come_by_run_stage_and_number(ledger: Ledger, ledger_url: str) -> None:
    job_id = await running(ledger)
    places = [(1, 0, 1), (1, 0, 2), (1, 1, 1), (2, 0, 1), (2, 1, 2), (2, 1, 10), (10, 0, 1)]
    for run, stage, number in reversed(places):
        keep(ledger_url, job_id, number, run=run, stage=stage)
    assert [one[:3] for one in await shown(ledger, job_id) if one[4] == "T"] == places


async def test_an_attempt_that_no_worker_could_write_down_was_lost_with_it(
    ledger: Ledger,
) -> None:
    job_id = await running(ledger)
    await put_off(ledger, job_id)
    await lose(ledger, job_id)
    # Told from the chunk alone, since nothing came after it.
    assert await shown(ledger, job_id) == [
        (1, 0, 1, "failed", "Broken"),
        (1, 0, 2, "failed", "WorkerLost"),
    ]
    await fail(ledger, job_id, 0)
    attempts = (await history(ledger, job_id)).attempts
    assert [one.number for one in attempts] == [1, 2, 3]
    assert (attempts[1].error, attempts[1].started_at, attempts[1].finished_at) == (
        LOST,
        None,
        None,
    )


async def test_gaps_in_a_series_that_is_over_were_lost_too(ledger: Ledger, ledger_url: str) -> None:
    job_id = await running(ledger, spec=a_spec(stages=2))
    keep(ledger_url, job_id, 3)
    attempt = await begun(ledger, job_id)
    await ours(ledger).work.record(outcomes.advanced(attempt, ChunkOutput(body=b"[1]")))
    assert await shown(ledger, job_id) == [
        (1, 0, 1, "failed", "WorkerLost"),
        (1, 0, 2, "failed", "WorkerLost"),
        (1, 0, 3, "failed", "T"),
    ]


async def test_an_attempt_under_way_is_not_listed(ledger: Ledger, ledger_url: str) -> None:
    job_id = await running(ledger)
    assert await shown(ledger, job_id) == []
    await begun(ledger, job_id)
    assert await shown(ledger, job_id) == []
    keep(ledger_url, job_id, 1)
    # Begun again by somebody who knows that the first one has ended.
    await begun(ledger, job_id)
    assert await shown(ledger, job_id) == [(1, 0, 1, "failed", "T")]


async def test_an_attempt_that_was_stopped_with_its_job_is_not_taken_for_lost(
    ledger: Ledger,
) -> None:
    job_id = await running(ledger)
    await put_off(ledger, job_id)
    await begun(ledger, job_id)
    await ours(ledger).closing.settle(job_id, run=1)
    assert await shown(ledger, job_id) == [(1, 0, 1, "failed", "Broken")]


async def test_an_attempt_that_was_handed_back_leaves_no_number(ledger: Ledger) -> None:
    job_id = await running(ledger)
    attempt = await begun(ledger, job_id)
    await ours(ledger).work.record(outcomes.handed_back(attempt))
    assert await shown(ledger, job_id) == []
    await succeed(ledger, job_id, 0)
    assert await shown(ledger, job_id) == [(1, 0, 1, "succeeded", None)]


async def test_the_attempt_after_the_last_one_allowed_is_none(ledger: Ledger) -> None:
    job_id = await running(ledger)
    for block in (1, 2, 3):
        await lose(ledger, job_id, block)
    # It ran nothing: it only said that the one before was lost.
    attempt = replace(await begun(ledger, job_id), is_one_too_many=True)
    lost = Failure(type=FailureType.WORKER_LOST, message="in 3 of 3")
    await ours(ledger).work.record(outcomes.failed(attempt, lost, ChunkOutput()))
    assert await shown(ledger, job_id) == [
        (1, 0, number, "failed", "WorkerLost") for number in (1, 2, 3)
    ]


async def test_a_chunk_that_was_closed_from_outside_tells_how_its_last_attempt_ended(
    ledger: Ledger,
) -> None:
    job_id = await running(ledger)
    await put_off(ledger, job_id)
    await begun(ledger, job_id)
    await ours(ledger).work.record_lost(
        job_id, 0, Failure(type="ChunkClosedOutside", message="it was terminated"), run=1
    )
    assert await shown(ledger, job_id) == [
        (1, 0, 1, "failed", "Broken"),
        (1, 0, 2, "failed", "ChunkClosedOutside"),
    ]


async def test_a_chunk_that_never_began_has_no_attempt(ledger: Ledger) -> None:
    job_id = await running(ledger)
    await closed(ledger, job_id)
    assert await history(ledger, job_id) == AttemptHistory((), omitted=0)


async def test_of_a_long_series_those_that_are_not_kept_are_counted(
    ledger: Ledger, ledger_url: str
) -> None:
    job_id = await running(ledger)
    for number in range(6, 6 + MAX_KEPT):
        if number != 50:
            keep(ledger_url, job_id, number)
    keep(ledger_url, job_id, 1, run=2)
    found = await history(ledger, job_id)
    assert found.omitted == 5
    assert [one.number for one in found.attempts] == [*range(6, 6 + MAX_KEPT), 1]
    assert [one.number for one in found.attempts if one.error == LOST] == [50]


async def test_a_long_series_of_lost_attempts_is_bounded_as_well(
    ledger: Ledger, ledger_url: str
) -> None:
    job_id = await running(ledger)
    rows(ledger_url, f"UPDATE chunks SET stage_attempts = 1000 WHERE job_id = '{job_id}'")
    found = await history(ledger, job_id)
    assert [one.number for one in found.attempts] == list(range(901, 1001))
    assert found.omitted == 900


@pytest.mark.parametrize("succeeds", [True, False])
async def test_of_what_the_release_before_ran_the_last_attempt_is_known(
    ledger: Ledger, ledger_url: str, *, succeeds: bool
) -> None:
    """It kept no attempts: those before the last one are left out, and not said to be lost."""
    job_id = await running(ledger)
    for _ in range(2):
        await put_off(ledger, job_id)
    await (succeed if succeeds else fail)(ledger, job_id, 0)
    rows(ledger_url, "DELETE FROM attempts")
    found = await history(ledger, job_id)
    assert found.omitted == 2
    (last,) = found.attempts
    assert (last.number, last.error) == (3, None if succeeds else BROKEN)
    assert last.started_at is None
    assert last.finished_at is not None


async def test_there_are_none_of_a_chunk_that_the_job_does_not_have(ledger: Ledger) -> None:
    job_id = await running(ledger)
    assert await ours(ledger).attempts.of_chunk(job_id, 1) is None
