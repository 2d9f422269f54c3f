"""Attempts as rows: each that failed, and the last one after them; none where nothing failed."""

from dataclasses import replace

import pytest

from fanfold.contract.names import JobId
from fanfold.contract.states import JobState
from fanfold.ledger import outcomes
from fanfold.ledger.attempts import MAX_KEPT
from fanfold.ledger.connect import Ledger
from fanfold.ledger.outcomes import Script
from fanfold.ledger.records import Attempt, ChunkOutput, ItemError
from tests.ledger.jobs_recorded import (
    BROKEN,
    NOTHING,
    a_spec,
    begun,
    closed,
    ours,
    running,
    succeed,
)
from tests.ledger.raw_sql import rows
from tests.ledger.redriven import begun_again, opened, redrive, waiting
from tests.ledger.test_attempts_shown import history, shown

DONE = ChunkOutput(body=b"[1]", by_item=True)
HALF = ChunkOutput(
    body=b"[1,null]", item_errors=(ItemError(item=1, type="T", message="m"),), by_item=True
)
Row = tuple[int, int, int, int, str, str | None]


def kept(url: str) -> list[Row]:
    """Chunk, run, stage, number, state and type of error of each row."""
    return rows(
        url,
        "SELECT idx, run, stage, number, state, error_type FROM attempts "
        "ORDER BY idx, run, stage, number",
    )


async def twice(ledger: Ledger, script: Script) -> None:
    for _ in range(2):
        await ours(ledger).work.record(script)


async def put_off(ledger: Ledger, job_id: JobId, stage: int = 0) -> Attempt:
    attempt = await begun(ledger, job_id, 0, stage)
    await twice(ledger, outcomes.put_off(attempt, BROKEN, NOTHING, seconds=0))
    return attempt


async def test_chunks_that_succeed_at_once_have_no_rows(ledger: Ledger, ledger_url: str) -> None:
    job_id = await running(ledger, [1] * 20, spec=a_spec(stages=2))
    for index in range(20):
        attempt = await begun(ledger, job_id, index)
        await twice(ledger, outcomes.advanced(attempt, DONE))
    assert kept(ledger_url) == []
    single = await running(ledger, [1] * 20)
    for index in range(20):
        await succeed(ledger, single, index)
    assert kept(ledger_url) == []


async def test_each_attempt_that_failed_is_a_row_and_so_is_the_success_after_it(
    ledger: Ledger, ledger_url: str
) -> None:
    job_id = await running(ledger)
    first = await put_off(ledger, job_id)
    await put_off(ledger, job_id)
    last = await begun(ledger, job_id)
    await twice(ledger, outcomes.succeeded(last, DONE))

    assert kept(ledger_url) == [
        (0, 1, 0, 1, "failed", "Broken"),
        (0, 1, 0, 2, "failed", "Broken"),
        (0, 1, 0, 3, "succeeded", None),
    ]
    found = (await history(ledger, job_id)).attempts
    assert [one.error for one in found] == [BROKEN, BROKEN, None]
    assert found[0].started_at == first.begun_at
    for one in found:
        assert one.started_at is not None
        assert one.finished_at is not None
        assert one.started_at <= one.finished_at


@pytest.mark.parametrize(
    ("end", "error"),
    [
        ("failed", "Broken"),
        ("partially", "Broken"),
        ("held", "Broken"),
    ],
)
async def test_an_attempt_that_ends_its_chunk_badly_is_a_row_even_if_it_is_the_only_one(
    ledger: Ledger, ledger_url: str, end: str, error: str
) -> None:
    job_id = await running(ledger, [2])
    attempt = await begun(ledger, job_id)
    scripts = {
        "failed": outcomes.failed(attempt, BROKEN, NOTHING),
        "partially": outcomes.succeeded_partially(attempt, BROKEN, HALF),
        "held": outcomes.held(attempt, BROKEN, HALF),
    }
    await twice(ledger, scripts[end])
    assert kept(ledger_url) == [(0, 1, 0, 1, "failed", error)]
    assert await shown(ledger, job_id) == [(1, 0, 1, "failed", error)]


async def test_each_stage_numbers_its_own(ledger: Ledger, ledger_url: str) -> None:
    job_id = await running(ledger, spec=a_spec(stages=2))
    await put_off(ledger, job_id)
    attempt = await begun(ledger, job_id)
    await twice(ledger, outcomes.advanced(attempt, DONE))
    await put_off(ledger, job_id, 1)
    await twice(ledger, outcomes.succeeded(await begun(ledger, job_id, 0, 1), DONE))
    assert kept(ledger_url) == [
        (0, 1, 0, 1, "failed", "Broken"),
        (0, 1, 1, 1, "failed", "Broken"),
        (0, 1, 1, 2, "succeeded", None),
    ]


async def test_what_was_handed_back_cancelled_or_one_too_many_is_no_row(
    ledger: Ledger, ledger_url: str
) -> None:
    job_id = await running(ledger, [1, 1, 1])
    await twice(ledger, outcomes.handed_back(await begun(ledger, job_id, 0)))
    await twice(ledger, outcomes.cancelled(await begun(ledger, job_id, 1)))
    too_many = replace(await begun(ledger, job_id, 2), is_one_too_many=True)
    await twice(ledger, outcomes.failed(too_many, BROKEN, NOTHING))
    assert kept(ledger_url) == []


async def test_an_attempt_that_does_not_hold_any_more_leaves_no_row(
    ledger: Ledger, ledger_url: str
) -> None:
    job_id = await running(ledger)
    stale = await begun(ledger, job_id)
    await begun(ledger, job_id)
    for script in (
        outcomes.put_off(stale, BROKEN, NOTHING, seconds=0),
        outcomes.failed(stale, BROKEN, NOTHING),
        outcomes.held(stale, BROKEN, NOTHING),
    ):
        await twice(ledger, script)
    assert kept(ledger_url) == []


async def test_of_a_long_series_the_newest_are_kept(ledger: Ledger, ledger_url: str) -> None:
    job_id = await running(ledger)
    for _ in range(MAX_KEPT + 3):
        attempt = await begun(ledger, job_id)
        await ours(ledger).work.record(outcomes.put_off(attempt, BROKEN, NOTHING, seconds=0))
    assert [row[3] for row in kept(ledger_url)] == list(range(4, MAX_KEPT + 4))
    last = await begun(ledger, job_id)
    await twice(ledger, outcomes.succeeded(last, DONE))
    numbers = [row[3] for row in kept(ledger_url)]
    assert numbers == list(range(5, MAX_KEPT + 5))
    assert (await history(ledger, job_id)).omitted == 4


# --- over runs --------------------------------------------------------------------------------


async def test_each_run_numbers_its_own_and_the_success_of_a_later_one_is_a_row(
    ledger: Ledger, ledger_url: str
) -> None:
    job_id = await running(ledger, [1, 1])
    await put_off(ledger, job_id)
    await twice(ledger, outcomes.failed(await begun(ledger, job_id), BROKEN, NOTHING))
    await succeed(ledger, job_id, 1)
    await closed(ledger, job_id, JobState.PARTIALLY_SUCCEEDED)
    assert await redrive(ledger, job_id, 0)
    await opened(ledger, job_id)
    await twice(ledger, outcomes.succeeded(await begun_again(ledger, job_id, 0), DONE))
    expected = [
        (1, 0, 1, "failed", "Broken"),
        (1, 0, 2, "failed", "Broken"),
        (2, 0, 1, "succeeded", None),
    ]
    assert [row[1:] for row in kept(ledger_url)] == expected
    assert await shown(ledger, job_id) == expected
    chunk = await ours(ledger).chunks.find(job_id, 0)
    assert chunk is not None
    assert chunk.attempts == 3


async def test_attempts_of_a_run_that_came_to_nothing_are_kept(ledger: Ledger) -> None:
    job_id = await running(ledger)
    await twice(ledger, outcomes.failed(await begun(ledger, job_id), BROKEN, NOTHING))
    await closed(ledger, job_id, JobState.FAILED)
    assert await redrive(ledger, job_id, 0)
    await opened(ledger, job_id)
    attempt = await begun_again(ledger, job_id, 0)
    await twice(ledger, outcomes.put_off(attempt, BROKEN, NOTHING, seconds=0))
    await ours(ledger).closing.settle(job_id, run=1)
    assert await shown(ledger, job_id) == [
        (1, 0, 1, "failed", "Broken"),
        (2, 0, 1, "failed", "Broken"),
    ]


async def test_attempts_of_a_held_chunk_that_runs_again_in_the_same_run_are_all_kept(
    ledger: Ledger,
) -> None:
    job_id = await waiting(ledger)
    assert await redrive(ledger, job_id, 0)
    attempt = await begun(ledger, job_id, 0)
    await twice(ledger, outcomes.succeeded(attempt, DONE))
    states = [state for _, _, _, state, _ in await shown(ledger, job_id)]
    assert states == ["failed", "succeeded"]
