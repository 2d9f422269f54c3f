"""Whatever happens to a job, in whatever order and however often: its rows stay right."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import fanfold.ledger.closing
import fanfold.ledger.jobs
import fanfold.ledger.outcomes
import fanfold.ledger.run_again
import fanfold.ledger.steering
import fanfold.ledger.work
from fanfold.contract.names import DEFAULT_TENANT
from fanfold.contract.states import ChunkState
from fanfold.ledger import counting
from fanfold.ledger.connect import Ledger
from fanfold.ledger.records import JobRecord
from fanfold.ledger.transitions import OPEN_CHUNK
from tests.ledger.jobs_recorded import ours
from tests.ledger.lives import SIZES, Life, Outcome, Step

steps = st.lists(
    st.tuples(
        st.sampled_from(
            # Beginning comes first and often, or little else could happen.
            ["begin", "claim"] * 4
            + ["succeed", "fail", "give up", "put off", "hand back", "advance"] * 2
            + ["repeat"] * 8
            + ["take over", "offer again", "lose", "cancel", "settle", "close", "close"]
            + ["pause", "resume", "resume", "wait", "release", "resolve"]
            + ["hold", "hold", "cancel child", "hear cancel", "look"]
            + ["redrive"] * 4
        ),
        st.integers(0, 30),
    ),
    min_size=12,
    max_size=40,
)


@pytest.fixture(autouse=True)
def time_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may hold only because two writes are a millisecond apart."""
    for module in (
        fanfold.ledger.closing,
        fanfold.ledger.jobs,
        fanfold.ledger.outcomes,
        fanfold.ledger.run_again,
        fanfold.ledger.steering,
        fanfold.ledger.work,
    ):
        monkeypatch.setattr(module, "now_ms", lambda: 1_795_000_000_000)


def each_example_has_its_own_job(max_examples: int) -> settings:
    return settings(
        max_examples=max_examples, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )


@each_example_has_its_own_job(max_examples=15)
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


@each_example_has_its_own_job(max_examples=15)
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
                assert place.attempts == life.attempts_seen(index)

    loop.run(live())


@each_example_has_its_own_job(max_examples=15)
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
        assert job.counts.pending == job.counts.running == job.counts.held == 0

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
        *(counts.partially_succeeded, counts.failed, counts.cancelled, counts.held),
    )
    assert sum(states) == job.total_chunks == len(SIZES)
    assert min(states) >= 0
    assert counts.items_succeeded >= 0
    assert 0 <= counts.items_succeeded + counts.items_failed <= job.total_items == sum(SIZES)
    grouped = sum(group.count for group in job.errors)
    # While a job runs its failures are not grouped anew at each look.
    total = counts.items_failed
    if job.state.is_terminal:
        assert grouped == total
    else:
        assert grouped <= job.total_items
    assert 0 <= counts.items_dropped <= counts.items_failed


GIVEN_UP = (ChunkState.FAILED, ChunkState.PARTIALLY_SUCCEEDED, ChunkState.CANCELLED)
STOPS = ("settle", "lose", "hear cancel", "cancel child", "look", "repeat")
"""Steps that give a chunk no outcome of its own making."""


@each_example_has_its_own_job(max_examples=20)
@given(steps=steps)
@example(steps=[("begin", 2), ("lose", 2), ("fail", 3)])
@example(steps=[("begin", 0), ("succeed", 0), ("lose", 0), ("settle", 0)])
@example(steps=[("begin", 0), ("fail", 0), ("offer again", 0), ("lose", 0), ("settle", 0)])
@example(steps=[("settle", 0), ("close", 1), ("redrive", 1), ("begin", 0), ("settle", 0)])
@example(
    steps=[
        *[("begin", 0), ("advance", 0), ("begin", 3), ("succeed", 1), ("settle", 0), ("close", 1)],
        *[("redrive", 6), ("begin", 0), ("put off", 1), ("cancel child", 0), ("redrive", 6)],
    ]
)
def test_an_outcome_changes_only_by_a_redrive_which_loses_nothing(
    loop: asyncio.Runner, ledger: Ledger, steps: Sequence[Step]
) -> None:
    async def live() -> None:
        life = await Life.new(ledger)
        finished: dict[int, Outcome] = {}
        for what, number in steps:
            await life.step(what, number)
            now = await life.finished()
            keep = finished.keys() - life.again
            assert {index: now[index] for index in keep} == {
                index: finished[index] for index in keep
            }
            await check_put_aside(life)
            # What ends in any other step has come to something new.
            for ended, before in (await life.restored()).values():
                if what in STOPS:
                    check_restored(ended, before)
            finished = now
        await life.end()
        assert len(await life.finished()) == len(SIZES)

    loop.run(live())


def check_restored(ended: Outcome, before: Outcome) -> None:
    """A chunk that ran again, and was stopped, is what it was, or what was held is given up."""
    (now, output), (then, kept) = ended, before
    assert output == kept
    assert (now.run, now.error) == (then.run, then.error)
    is_given_up = then.state is ChunkState.HELD and now.state in GIVEN_UP
    assert is_given_up or now.state is then.state


async def check_put_aside(life: Life) -> None:
    """What a chunk had given is there, until it has come to something new."""
    rows = await life.ledger.database.read(
        "SELECT chunks.idx, body FROM chunks JOIN kept_outputs ON kept_outputs.job_id = "
        "chunks.job_id AND kept_outputs.idx = chunks.idx "
        "WHERE chunks.job_id = ? AND kept_from IS NOT NULL",
        (life.job_id,),
    )
    kept = {index: bytes(body or b"") for index, body in rows}
    for index, place in (await life.places()).items():
        if index in life.put_aside and place.state in OPEN_CHUNK:
            assert kept[index] == life.put_aside[index][1].body


@each_example_has_its_own_job(max_examples=10)
@given(steps=steps)
@example(steps=[("cancel", 0), ("settle", 0), ("close", 6), ("close", 8)])
def test_a_closed_job_changes_only_by_a_redrive(
    loop: asyncio.Runner, ledger: Ledger, steps: Sequence[Step]
) -> None:
    async def live() -> None:
        life = await Life.new(ledger)
        closed: tuple[JobRecord, bytes | None] | None = None
        for what, number in steps:
            await life.step(what, number)
            job, result = await life.job(), await ours(ledger).jobs.result(life.job_id)
            if closed is not None and what == "redrive":
                assert job.run == closed[0].run + 1
                ended = await ours(ledger).jobs.earlier_run(life.job_id, closed[0].run)
                assert ended == replace(closed[0], revision=job.revision)
            elif closed is not None:
                assert (job, result) == closed
            closed = (job, result) if job.state.is_terminal else None

    loop.run(live())
