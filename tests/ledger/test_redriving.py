"""Redrive: just what was selected runs again, in the job's next run, once, whatever dies."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from fanfold.contract.job_spec import Controls
from fanfold.contract.names import DEFAULT_TENANT, JobId
from fanfold.contract.states import ChunkState, JobState
from fanfold.ledger import outcomes
from fanfold.ledger.connect import Ledger, connect
from fanfold.ledger.database import Batch, Database, LedgerFailure, Row, Statement, Value
from fanfold.ledger.idempotency import KeyTaken
from fanfold.ledger.records import ChunkOutput, IdempotencyKey, JobRecord
from fanfold.ledger.redriving import Redriving
from fanfold.ledger.run_again import Redrive, Selected
from fanfold.ledger.transitions import GO_ON, REDRIVE
from tests.ledger.jobs_recorded import (
    BROKEN,
    NOTHING,
    a_spec,
    begun,
    claimed_starts,
    closed,
    fail,
    found,
    hold,
    ours,
    running,
)
from tests.ledger.raw_sql import rows
from tests.ledger.redriven import (
    CANCELLED,
    FAILED,
    MIXED,
    PARTIAL,
    SUCCEEDED,
    WITH_DROPPED,
    begun_again,
    chunk,
    ended,
    everything,
    opened,
    outputs,
    redrive,
    waiting,
)
from tests.ledger.steered import to_check
from tests.ledger.twice import WrittenTwice

AGAIN = ChunkOutput(body=b"[9]", by_item=True)
# A job is skipped before any of its chunks comes to anything.
TERMINAL = [state for state in JobState if state.is_terminal and state is not JobState.SKIPPED]


@pytest.mark.parametrize("state", TERMINAL)
async def test_a_job_that_has_ended_is_pending_again_in_its_next_run(
    ledger: Ledger, state: JobState
) -> None:
    job_id = await ended(ledger, state)
    before = await found(ledger, job_id)
    controls = Controls(name="again", max_concurrency=3, max_per_second=0.5)
    spec = replace(a_spec(), reducer="collect")

    assert await redrive(ledger, job_id, FAILED, PARTIAL, spec=spec, controls=controls)

    job = await found(ledger, job_id)
    assert (job.state, job.run, job.spec, job.controls) == (JobState.PENDING, 2, spec, controls)
    assert (job.started_at, job.finished_at, job.error, job.stop) == (None, None, None, None)
    assert job.created_at == before.created_at
    assert await ours(ledger).jobs.result(job_id) is None
    assert job.counts == await ours(ledger).closing.counts(job_id)
    assert (job.counts.pending, job.counts.succeeded, job.counts.items_failed) == (2, 2, 1 + 3)
    assert await ours(ledger).pacing.take_turns(job_id, 1) is not None
    assert await claimed_starts(ledger) == [job_id]


async def test_how_the_earlier_run_ended_is_kept_as_it_was(ledger: Ledger) -> None:
    job_id = await ended(ledger)
    first = await found(ledger, job_id)
    assert await ours(ledger).jobs.earlier_run(job_id, 1) is None

    assert await redrive(ledger, job_id, FAILED, controls=Controls(name="second"))

    kept = await ours(ledger).jobs.earlier_run(job_id, 1)
    assert but_revision(kept) == but_revision(first)
    assert await ours(ledger).jobs.earlier_run(job_id, 2) is None

    await closed_again(ledger, job_id, run=2)
    assert await redrive(ledger, job_id, FAILED)
    assert but_revision(await ours(ledger).jobs.earlier_run(job_id, 1)) == but_revision(first)
    second = await ours(ledger).jobs.earlier_run(job_id, 2)
    assert second is not None
    assert (second.run, second.controls.name) == (2, "second")


def but_revision(job: JobRecord | None) -> JobRecord:
    assert job is not None
    return replace(job, revision=0)


async def closed_again(ledger: Ledger, job_id: JobId, *, run: int) -> None:
    await opened(ledger, job_id, run)
    await closed(ledger, job_id, JobState.PARTIALLY_SUCCEEDED)


async def test_the_chunks_that_are_selected_run_again_and_their_attempts_count_on(
    ledger: Ledger,
) -> None:
    job_id = await ended(ledger)
    assert await redrive(ledger, job_id, PARTIAL)

    again = await chunk(ledger, job_id, PARTIAL)
    assert (again.state, again.run, again.attempts, again.stage_attempts) == (
        ChunkState.PENDING,
        2,
        1,
        0,
    )
    assert (again.started_at, again.finished_at, again.error) == (None, None, None)
    assert await ours(ledger).work.page(job_id, after=-1, limit=9) == [PARTIAL]

    await opened(ledger, job_id)
    attempt = await begun_again(ledger, job_id, PARTIAL)
    assert (attempt.run, attempt.number, attempt.is_again) == (2, 1, True)
    await ours(ledger).work.record(outcomes.succeeded(attempt, AGAIN))

    done = await chunk(ledger, job_id, PARTIAL)
    assert (done.state, done.attempts, done.items_failed, done.error) == (
        ChunkState.SUCCEEDED,
        2,
        0,
        None,
    )
    assert (await outputs(ledger, job_id))[PARTIAL] == (ChunkState.SUCCEEDED, AGAIN)
    job = await found(ledger, job_id)
    assert job.counts == await ours(ledger).closing.counts(job_id)


async def test_what_was_not_selected_is_what_it_was_to_the_byte(ledger: Ledger) -> None:
    job_id = await ended(ledger)
    other = await ended(ledger)
    before = await rows_of_chunks(ledger)

    assert await redrive(ledger, job_id, FAILED, CANCELLED)

    touched = {(job_id, FAILED), (job_id, CANCELLED)}
    after = await rows_of_chunks(ledger)
    assert {key for key in before if after.get(key) != before[key]} == touched
    assert after.keys() == before.keys()
    await opened(ledger, job_id)
    for index in (FAILED, CANCELLED):
        attempt = await begun_again(ledger, job_id, index)
        await ours(ledger).work.record(outcomes.succeeded(attempt, AGAIN))
    assert await ours(ledger).closing.close(job_id, JobState.SUCCEEDED, error=None)
    after = await rows_of_chunks(ledger)
    assert {key for key in before if after.get(key) != before[key]} == touched
    assert (await found(ledger, other)).run == 1


async def rows_of_chunks(ledger: Ledger) -> dict[tuple[str, int], list[tuple[object, ...]]]:
    """All rows of each chunk."""
    found_rows: dict[tuple[str, int], list[tuple[object, ...]]] = {}
    for table in ("chunks", "results", "inputs"):
        for row in await ledger.database.read(
            f"SELECT '{table}', t.*, t.job_id AS of_job, t.idx AS of_idx FROM {table} AS t"
        ):
            *values, of_job, of_idx = tuple(row)
            found_rows.setdefault((of_job, of_idx), []).append(tuple(values))
    return found_rows


async def test_a_waiting_job_goes_on_in_the_same_run(ledger: Ledger) -> None:
    job_id = await waiting(ledger)
    started = (await found(ledger, job_id)).started_at

    assert await redrive(ledger, job_id, 0)

    job = await found(ledger, job_id)
    assert (job.state, job.run, job.started_at) == (JobState.RUNNING, 1, started)
    assert (job.counts.held, job.counts.pending, job.counts.succeeded) == (0, 1, 1)
    assert await ours(ledger).jobs.earlier_run(job_id, 1) is None
    assert not (await to_check(ledger, job_id)).is_told
    attempt = await begun(ledger, job_id, 0)
    assert (attempt.run, attempt.number, attempt.is_again) == (1, 1, True)


@pytest.mark.parametrize(
    "state", [state for state in JobState if state not in (*REDRIVE.before, *GO_ON.before)]
)
async def test_a_job_that_has_not_ended_is_not_redriven(ledger: Ledger, state: JobState) -> None:
    job_id = await running(ledger, [1, 1])
    await hold(ledger, job_id, 0)
    rows_state = f"UPDATE jobs SET state = '{state}' WHERE id = ?"
    await ledger.database.write(Statement(rows_state, (job_id,)))
    before = await everything(ledger)
    assert not await redrive(ledger, job_id, 0)
    assert await everything(ledger) == before


# --- once -------------------------------------------------------------------------------------


async def test_of_two_redrives_at_once_one_wins_and_the_other_leaves_nothing(
    ledger: Ledger, ledger_url: str
) -> None:
    job_id = await ended(ledger)
    job = await found(ledger, job_id)

    def wanted(index: int, name: str) -> Redrive:
        controls = Controls(name=name)
        return Redrive(
            spec=job.spec,
            controls=controls,
            selected=[Selected(index, ChunkState.FAILED)],
            corrected={index: b"[0]"},
        )

    async with connect(ledger_url) as another:
        won = await asyncio.gather(
            ours(ledger).redriving.redrive(job, wanted(FAILED, "a")),
            ours(another).redriving.redrive(job, wanted(MIXED, "b")),
        )
    assert sorted(won) == [False, True]
    winner, loser = (FAILED, MIXED) if won[0] else (MIXED, FAILED)
    after = await found(ledger, job_id)
    assert (after.run, after.controls.name) == (2, "a" if won[0] else "b")
    assert [(await chunk(ledger, job_id, index)).run for index in (winner, loser)] == [2, 1]
    assert await ours(ledger).chunks.items(job_id, winner) == b"[0]"
    assert await ours(ledger).chunks.items(job_id, loser) != b"[0]"


async def test_a_redrive_that_is_written_twice_is_one(ledger: Ledger) -> None:
    job_id = await ended(ledger)
    job = await found(ledger, job_id)
    await Redriving(WrittenTwice(ledger.database), DEFAULT_TENANT).redrive(
        job,
        Redrive(
            spec=job.spec,
            controls=job.controls,
            selected=[Selected(PARTIAL, ChunkState.PARTIALLY_SUCCEEDED)],
            corrected={PARTIAL: b"[1,2,3,4]"},
        ),
    )
    assert (await found(ledger, job_id)).run == 2
    assert (await chunk(ledger, job_id, PARTIAL)).run == 2
    await opened(ledger, job_id)
    attempt = await begun_again(ledger, job_id, PARTIAL)
    assert attempt.kept is not None
    assert attempt.kept.output.body == b"[10,null,12,null]"


class DiesAfter:
    """A database whose scripts fail after so many of their statements."""

    def __init__(self, database: Database, statements: int) -> None:
        self._database = database
        self._statements = statements
        self.skip_locked = database.skip_locked
        self.among = database.among
        self.was_reached = False

    async def read(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        return await self._database.read(sql, parameters)

    async def write(self, *script: Statement | Batch) -> list[list[Row]]:
        self.was_reached = len(script) > self._statements
        broken = Statement("INSERT INTO no_such_table VALUES (1)")
        return await self._database.write(*script[: self._statements], broken)

    async def give_space_back(self) -> bool:
        return await self._database.give_space_back()

    async def close(self) -> None:
        await self._database.close()


async def test_a_redrive_that_dies_anywhere_has_changed_nothing(ledger: Ledger) -> None:
    job_id = await ended(ledger)
    job, before = await found(ledger, job_id), await everything(ledger)
    wanted = Redrive(
        spec=job.spec,
        controls=Controls(max_per_second=1),
        selected=[Selected(PARTIAL, ChunkState.PARTIALLY_SUCCEEDED, (1,))],
        corrected={PARTIAL: b"[1,2,3,4]"},
        key=IdempotencyKey(key="k", body_hash=b"h"),
    )
    for statements in range(1, 99):
        dying = DiesAfter(ledger.database, statements)
        with pytest.raises(LedgerFailure):
            await Redriving(dying, DEFAULT_TENANT).redrive(job, wanted)
        assert await everything(ledger) == before
        if not dying.was_reached:
            break
    else:
        raise AssertionError("the script never came to its end")
    assert await ours(ledger).redriving.redrive(job, wanted)


async def test_a_key_that_was_used_is_taken_and_what_it_was_used_for_is_said(
    ledger: Ledger,
) -> None:
    job_id, key = await ended(ledger), IdempotencyKey(key="k", body_hash=b"hash")
    assert await redrive(ledger, job_id, FAILED, key=key)
    await closed_again(ledger, job_id, run=2)
    before = await everything(ledger)
    with pytest.raises(KeyTaken) as taken:
        await redrive(ledger, job_id, FAILED, key=replace(key, body_hash=b"other"))
    assert (taken.value.job_id, taken.value.body_hash) == (job_id, b"hash")
    assert await everything(ledger) == before


# --- what a redrive costs ---------------------------------------------------------------------


async def test_a_job_that_the_release_before_counted_only_at_its_end_is_counted_on(
    ledger: Ledger, ledger_url: str
) -> None:
    job_id = await ended(ledger)
    rows(ledger_url, "DELETE FROM job_counts")

    assert await redrive(ledger, job_id, FAILED)

    job = await found(ledger, job_id)
    assert job.counts == await ours(ledger).closing.counts(job_id)
    assert job.counts.pending == 1
    await opened(ledger, job_id)
    attempt = await begun_again(ledger, job_id, FAILED)
    await ours(ledger).work.record(outcomes.failed(attempt, BROKEN, NOTHING))
    job = await found(ledger, job_id)
    assert job.counts == await ours(ledger).closing.counts(job_id)


async def test_more_chunks_than_a_statement_takes_run_again(ledger: Ledger) -> None:
    count = 1203
    job_id = await running(ledger, [1] * count)
    await closed(ledger, job_id, JobState.FAILED)
    indexes = [index for index in range(count) if index != 700]
    assert await redrive(
        ledger, job_id, *(Selected(index, ChunkState.CANCELLED) for index in indexes)
    )
    assert await ours(ledger).work.page(job_id, after=-1, limit=count) == indexes
    assert (await found(ledger, job_id)).counts.pending == count - 1


async def test_a_purged_job_leaves_nothing_of_its_runs_behind(ledger: Ledger) -> None:
    empty = await everything(ledger)
    job_id = await ended(ledger)
    key = IdempotencyKey(key="k", body_hash=b"h")
    assert await redrive(
        ledger, job_id, FAILED, PARTIAL, key=key, controls=Controls(max_per_second=1)
    )
    await opened(ledger, job_id)
    attempt = await begun_again(ledger, job_id, FAILED)
    await ours(ledger).work.record(outcomes.put_off(attempt, BROKEN, NOTHING, seconds=0))
    await closed(ledger, job_id, JobState.FAILED)
    assert await ours(ledger).jobs.purge(job_id)
    while await ledger.retention.delete_some():
        pass
    assert await everything(ledger) == empty


async def test_an_end_leaves_nothing_that_only_a_running_job_needs(
    ledger: Ledger, ledger_url: str
) -> None:
    job_id = await ended(ledger)
    assert await redrive(ledger, job_id, FAILED, PARTIAL, controls=Controls(max_per_second=1))
    await opened(ledger, job_id)
    await ours(ledger).steering.cancel_child(job_id, FAILED)
    await ours(ledger).watch.narrow_blocks(job_id, {1: 2})
    await closed(ledger, job_id, JobState.FAILED)
    for table in ("kept_outputs", "child_cancels", "job_paces", "job_streaks", "block_lanes"):
        assert rows(ledger_url, f"SELECT COUNT(*) FROM {table}") == [(0,)], table


async def test_chunks_of_an_ended_job_are_what_the_constants_say(ledger: Ledger) -> None:
    job_id = await ended(ledger)
    states = {index: state for index, (state, _) in (await outputs(ledger, job_id)).items()}
    assert states == {
        SUCCEEDED: ChunkState.SUCCEEDED,
        FAILED: ChunkState.FAILED,
        PARTIAL: ChunkState.PARTIALLY_SUCCEEDED,
        CANCELLED: ChunkState.CANCELLED,
        WITH_DROPPED: ChunkState.SUCCEEDED,
        MIXED: ChunkState.FAILED,
    }


async def test_the_errors_of_an_earlier_run_are_not_those_of_this_one(ledger: Ledger) -> None:
    job_id = await running(ledger, [1, 1])
    await fail(ledger, job_id, 0)
    assert [group.type for group in (await found(ledger, job_id)).errors] == ["Broken"]
    await closed(ledger, job_id, JobState.FAILED)
    assert await redrive(ledger, job_id, 0)
    await opened(ledger, job_id)
    attempt = await begun_again(ledger, job_id, 0)
    await ours(ledger).work.record(outcomes.failed(attempt, replace(BROKEN, type="Other"), NOTHING))
    assert [group.type for group in (await found(ledger, job_id)).errors] == ["Other"]
