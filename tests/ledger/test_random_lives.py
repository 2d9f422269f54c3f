"""Whatever happens to a job, in whatever order and however often: its rows stay right."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, example, given, settings

import fanfold.ledger.closing
import fanfold.ledger.jobs
import fanfold.ledger.outcomes
import fanfold.ledger.work
from fanfold.contract.names import DEFAULT_TENANT
from fanfold.ledger import counting
from fanfold.ledger.connect import Ledger
from fanfold.ledger.records import ChunkOutput, ChunkRecord, JobRecord
from tests.ledger.jobs_recorded import ours
from tests.ledger.lives import SIZES, STAGES, Life, Step, steps


@pytest.fixture(autouse=True)
def time_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may hold only because two writes are a millisecond apart."""
    for module in (
        fanfold.ledger.closing,
        fanfold.ledger.jobs,
        fanfold.ledger.outcomes,
        fanfold.ledger.work,
    ):
        monkeypatch.setattr(module, "now_ms", lambda: 1_795_000_000_000)


def each_example_has_its_own_job(max_examples: int) -> settings:
    return settings(
        max_examples=max_examples, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )


@each_example_has_its_own_job(max_examples=40)
@given(steps=steps)
# Handed back, begun by the next one, and handed back once more by the first.
@example(steps=[("begin", 0), ("hand back", 0), ("begin", 0), ("repeat", 1), ("succeed", 0)])
@example(steps=[("begin", 0), ("advance", 0), ("repeat", 0), ("begin", 3), ("repeat", 1)])
@example(steps=[("take over", 1), ("claim", 1), ("repeat", 0), ("succeed", 0)])
@example(steps=[("take over", 1), ("settle", 0), ("close", 0), ("repeat", 0)])
@example(steps=[("claim", 0), ("claim", 1), ("repeat", 0), ("succeed", 0), ("succeed", 0)])
def test_what_is_written_again_at_any_later_time_is_written_once(
    loop: asyncio.Runner, ledger: Ledger, steps: Sequence[Step]
) -> None:
    async def live() -> None:
        life = await Life.new(ledger)
        for what, number in steps:
            # Each step compares all rows before and after what has to be without effect.
            await life.step(what, number)
        for write in list(life.written):
            await life.repeat(write)

    loop.run(live())


@each_example_has_its_own_job(max_examples=40)
@given(steps=steps)
def test_fences_only_rise_and_attempts_are_counted_as_a_client_sees_them(
    loop: asyncio.Runner, ledger: Ledger, steps: Sequence[Step]
) -> None:
    async def live() -> None:
        life = await Life.new(ledger)
        fences = dict.fromkeys(range(len(SIZES)), 0)
        for what, number in steps:
            await life.step(what, number)
            for index, place in (await life.places()).items():
                assert place.fence >= fences[index]
                fences[index] = place.fence
                assert place.attempts == attempts_seen(life, index)

    loop.run(live())


def attempts_seen(life: Life, index: int) -> int:
    """The runs of a chunk that count: moving on to the next stage is no further one."""
    by_stage = [len(life.counted[index, stage]) for stage in range(STAGES)]
    return by_stage[0] + sum(max(0, count - 1) for count in by_stage[1:])


@each_example_has_its_own_job(max_examples=40)
@given(steps=steps)
def test_the_counts_always_add_up_to_the_total(
    loop: asyncio.Runner, ledger: Ledger, steps: Sequence[Step]
) -> None:
    async def live() -> None:
        life = await Life.new(ledger)
        for what, number in steps:
            await life.step(what, number)
            check_counts(await life.job())
            await check_what_is_kept(life)
        job = await life.end()
        check_counts(job)
        assert job.state.is_terminal
        assert job.counts.pending == job.counts.running == 0

    loop.run(live())


async def check_what_is_kept(life: Life) -> None:
    """What the trigger has added up is what counting the rows gives."""
    database = life.ledger.database
    kept = (await counting.running_counts(database, {life.job_id: len(SIZES)}))[life.job_id]
    assert kept == await counting.counted(database, life.job_id, DEFAULT_TENANT)


def check_counts(job: JobRecord) -> None:
    counts = job.counts
    states = (
        *(counts.pending, counts.running, counts.succeeded),
        *(counts.partially_succeeded, counts.failed, counts.cancelled),
    )
    assert sum(states) == job.total_chunks == len(SIZES)
    assert min(states) >= 0
    assert counts.items_succeeded >= 0
    assert 0 <= counts.items_succeeded + counts.items_failed <= job.total_items == sum(SIZES)
    grouped = sum(group.count for group in job.errors)
    # While a job runs its failures are not grouped anew at each look.
    total = counts.items_failed
    assert grouped == total if job.state.is_terminal else grouped <= total
    assert 0 <= counts.items_dropped <= counts.items_failed


@each_example_has_its_own_job(max_examples=40)
@given(steps=steps)
@example(steps=[("begin", 2), ("lose", 2), ("fail", 3)])
@example(steps=[("begin", 0), ("succeed", 0), ("lose", 0), ("settle", 0)])
@example(steps=[("begin", 0), ("fail", 0), ("offer again", 0), ("lose", 0), ("settle", 0)])
def test_every_chunk_gets_one_outcome_which_never_changes(
    loop: asyncio.Runner, ledger: Ledger, steps: Sequence[Step]
) -> None:
    async def live() -> None:
        life = await Life.new(ledger)
        finished: dict[int, tuple[ChunkRecord, ChunkOutput]] = {}
        for what, number in steps:
            await life.step(what, number)
            now = await life.finished()
            assert {index: now[index] for index in finished} == finished
            finished = now
        await life.end()
        assert len(await life.finished()) == len(SIZES)

    loop.run(live())


@each_example_has_its_own_job(max_examples=25)
@given(steps=steps)
@example(steps=[("cancel", 0), ("settle", 0), ("close", 6), ("close", 8)])
def test_a_closed_job_never_changes(
    loop: asyncio.Runner, ledger: Ledger, steps: Sequence[Step]
) -> None:
    async def live() -> None:
        life = await Life.new(ledger)
        closed: tuple[JobRecord, bytes | None] | None = None
        for what, number in steps:
            await life.step(what, number)
            job, result = await life.job(), await ours(ledger).jobs.result(life.job_id)
            if closed is not None:
                assert (job, result) == closed
            if job.state.is_terminal:
                closed = job, result

    loop.run(live())
