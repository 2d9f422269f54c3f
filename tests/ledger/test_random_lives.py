"""Whatever happens to a job, in whatever order: its counts add up, its outcomes stay."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import ledger.chunks
import ledger.jobs
from contract.names import DEFAULT_TENANT
from contract.states import JobState
from ledger import counting, outcomes
from ledger.connect import Ledger
from ledger.records import Attempt, ChunkOutput, ChunkRecord, ItemError, JobRecord
from tests.ledger.jobs_recorded import BROKEN, a_spec, found, running

SIZES = (1, 2, 3)
STAGES = 2

Step = tuple[str, int]

steps = st.lists(
    st.tuples(
        st.sampled_from(
            # Beginning comes first and often, or little else could happen.
            ["begin"] * 6
            + ["succeed", "fail", "give up", "checkpoint", "hand back", "advance"] * 2
            + ["lose", "cancel", "settle", "close"]
        ),
        st.integers(0, 30),
    ),
    max_size=25,
)


@dataclass
class Life:
    """A job of three chunks in two stages, and every attempt ever begun at it."""

    ledger: Ledger
    job_id: str
    attempts: list[Attempt] = field(default_factory=list)

    async def step(self, what: str, number: int) -> None:
        chunks, jobs = self.ledger.chunks, self.ledger.jobs
        index = number % len(SIZES)
        if what == "begin":
            begun = await chunks.begin_attempt(self.job_id, index, number % STAGES)
            if isinstance(begun, Attempt):
                self.attempts.append(begun)
        elif what == "lose":
            await chunks.record_lost(self.job_id, index, BROKEN)
        elif what == "cancel":
            await jobs.request_cancel(self.job_id, DEFAULT_TENANT)
        elif what == "settle":
            await jobs.settle(self.job_id)
        elif what == "close":
            await jobs.settle(self.job_id)
            ends = [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED]
            await jobs.close(self.job_id, ends[number % 3], error=None, result=b"%d" % number)
        elif self.attempts:
            await self._use(what, self.attempts[number % len(self.attempts)], number)

    async def _use(self, what: str, attempt: Attempt, number: int) -> None:
        """What the holder of an attempt may do, be it still current or long stale."""
        chunks = self.ledger.chunks
        if what != "checkpoint":
            # All else is the last thing a worker does with its attempt.
            self.attempts.remove(attempt)
        failed = number % (attempt.item_count + 1)
        errors = tuple(
            ItemError(item=item, type="T", message=str(number), stage=attempt.stage)
            for item in range(failed)
        )
        output = ChunkOutput(body=b"[%d]" % number, item_errors=errors)
        if what == "succeed":
            await chunks.record(outcomes.succeeded(attempt, output))
        elif what == "fail":
            await chunks.record(outcomes.failed(attempt, BROKEN, output, items_failed=failed))
        elif what == "give up":
            await chunks.record(outcomes.given_up(attempt, BROKEN))
        elif what == "checkpoint":
            await chunks.record(outcomes.put_off(attempt, output, seconds=0))
        elif what == "hand back":
            await chunks.record(outcomes.handed_back(attempt))
        elif what == "advance" and attempt.stage < STAGES - 1:
            await chunks.record(outcomes.advanced(attempt, output))

    async def job(self) -> JobRecord:
        return await found(self.ledger, self.job_id)

    async def finished(self) -> dict[int, tuple[ChunkRecord, ChunkOutput]]:
        """Every chunk that has an outcome, with what it left behind."""
        return {
            chunk.index: (chunk, output)
            async for chunk, output in self.ledger.chunks.stream(self.job_id)
            if chunk.state.is_terminal
        }


@pytest.fixture(autouse=True)
def time_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may hold only because two writes are a millisecond apart."""
    for module in (ledger.chunks, ledger.jobs):
        monkeypatch.setattr(module, "now_ms", lambda: 1_795_000_000_000)


def each_example_has_its_own_job(max_examples: int) -> settings:
    return settings(
        max_examples=max_examples, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )


@each_example_has_its_own_job(max_examples=40)
@given(steps=steps)
def test_the_counts_always_add_up_to_the_total(
    loop: asyncio.Runner, ledger: Ledger, steps: Sequence[Step]
) -> None:
    async def live() -> None:
        life = Life(ledger, await running(ledger, SIZES, spec=a_spec(stages=STAGES)))
        for what, number in steps:
            await life.step(what, number)
            check_counts(await life.job())
            await check_what_is_kept(life)
        await life.step("close", 0)
        job = await life.job()
        check_counts(job)
        assert job.state.is_terminal
        assert job.counts.pending == job.counts.running == 0

    loop.run(live())


async def check_what_is_kept(life: Life) -> None:
    """What the trigger has added up is what counting the rows gives."""
    database = life.ledger.database
    kept = (await counting.running_counts(database, {life.job_id: len(SIZES)}))[life.job_id]
    assert kept == await counting.counted(database, life.job_id)


def check_counts(job: JobRecord) -> None:
    counts = job.counts
    states = (counts.pending, counts.running, counts.succeeded, counts.failed, counts.cancelled)
    assert sum(states) == job.total_chunks == len(SIZES)
    assert min(states) >= 0
    assert counts.items_succeeded >= 0
    assert 0 <= counts.items_succeeded + counts.items_failed <= job.total_items == sum(SIZES)
    grouped = sum(group.count for group in job.errors)
    # While a job runs its failures are not grouped anew at each look.
    assert grouped == counts.failed if job.state.is_terminal else grouped <= counts.failed


@each_example_has_its_own_job(max_examples=40)
@given(steps=steps)
@example(steps=[("begin", 2), ("lose", 2), ("fail", 3)])
def test_a_recorded_outcome_never_changes(
    loop: asyncio.Runner, ledger: Ledger, steps: Sequence[Step]
) -> None:
    async def live() -> None:
        life = Life(ledger, await running(ledger, SIZES, spec=a_spec(stages=STAGES)))
        finished: dict[int, tuple[ChunkRecord, ChunkOutput]] = {}
        for what, number in steps:
            await life.step(what, number)
            now = await life.finished()
            assert {index: now[index] for index in finished} == finished
            finished = now

    loop.run(live())


@each_example_has_its_own_job(max_examples=25)
@given(steps=steps)
@example(steps=[("cancel", 0), ("close", 6), ("close", 8)])
def test_a_closed_job_never_changes(
    loop: asyncio.Runner, ledger: Ledger, steps: Sequence[Step]
) -> None:
    async def live() -> None:
        life = Life(ledger, await running(ledger, SIZES, spec=a_spec(stages=STAGES)))
        closed: tuple[JobRecord, bytes | None] | None = None
        for what, number in steps:
            await life.step(what, number)
            job, result = await life.job(), await ledger.jobs.result(life.job_id)
            if closed is not None:
                assert (job, result) == closed
            if job.state.is_terminal:
                closed = job, result

    loop.run(live())
