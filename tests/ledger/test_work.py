"""What is left to do of a job: planned in pages, claimed once each, in the order that is due."""

import asyncio
import time

import pytest

import fanfold.ledger.outcomes
import fanfold.ledger.work
from fanfold.contract.names import JobId
from fanfold.contract.states import ChunkState, JobState
from fanfold.ledger import outcomes
from fanfold.ledger.connect import Ledger, connect
from fanfold.ledger.records import Attempt, BlockRun, ChunkOutput, NoAttempt
from fanfold.ledger.work import Outlook
from tests.ledger.jobs_recorded import (
    BROKEN,
    a_spec,
    begun,
    fail,
    new_token,
    ours,
    record,
    running,
    succeed,
)

NOTHING = ChunkOutput()
DONE = ChunkOutput(body=b"[1]")
NOW = 1_795_000_000_000
FIRST_RUN = BlockRun(block=7, number=1)
SECOND_RUN = BlockRun(block=7, number=2)


class Clock:
    """The time that the ledger goes by."""

    def __init__(self) -> None:
        self.ms = NOW

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    stopped = Clock()
    for module in (fanfold.ledger.outcomes, fanfold.ledger.work):
        monkeypatch.setattr(module, "now_ms", stopped)
    return stopped


async def claimed(
    ledger: Ledger, job_id: JobId, *, run: BlockRun = FIRST_RUN, above: int = -1
) -> Attempt | None:
    return await ours(ledger).work.claim(job_id, run, job_run=1, token=new_token(), above=above)


async def claimed_indexes(ledger: Ledger, job_id: JobId, count: int, above: int = -1) -> list[int]:
    attempts = [await claimed(ledger, job_id, above=above) for _ in range(count)]
    return [attempt.index for attempt in attempts if attempt is not None]


async def put_off(ledger: Ledger, job_id: JobId, index: int, seconds: float) -> None:
    attempt = await begun(ledger, job_id, index)
    await ours(ledger).work.record(outcomes.put_off(attempt, BROKEN, NOTHING, seconds=seconds))


async def state_of(ledger: Ledger, job_id: JobId, index: int = 0) -> ChunkState:
    chunk = await ours(ledger).chunks.find(job_id, index)
    assert chunk is not None
    return chunk.state


# --- tokens ----------------------------------------------------------------------------


async def test_a_hand_back_written_again_leaves_the_next_holder_its_attempt(
    ledger: Ledger,
) -> None:
    job_id = await running(ledger)
    hand_back = outcomes.handed_back(await begun(ledger, job_id))
    await ours(ledger).work.record(hand_back)
    next_holder = await begun(ledger, job_id)

    await ours(ledger).work.record(hand_back)
    await ours(ledger).work.record(outcomes.succeeded(next_holder, DONE))

    assert await state_of(ledger, job_id) is ChunkState.SUCCEEDED
    counts = await ours(ledger).closing.settle(job_id, run=1)
    assert (counts.succeeded, counts.cancelled) == (1, 0)


async def test_a_begin_made_again_gives_the_same_attempt(ledger: Ledger) -> None:
    job_id = await running(ledger, [1, 1])
    token = new_token()
    first = await ours(ledger).work.begin(job_id, 0, 0, job_run=1, token=token)
    await begun(ledger, job_id, 1)

    assert await ours(ledger).work.begin(job_id, 0, 0, job_run=1, token=token) == first

    chunk = await ours(ledger).chunks.find(job_id, 0)
    assert chunk is not None
    assert chunk.attempts == 1


@pytest.mark.parametrize("end", ["handed back", "put off", "succeeded", "advanced"])
async def test_a_begin_made_again_after_its_attempt_ended_begins_nothing(
    ledger: Ledger, end: str
) -> None:
    job_id = await running(ledger, spec=a_spec(stages=2))
    token = new_token()
    attempt = await ours(ledger).work.begin(job_id, 0, 0, job_run=1, token=token)
    assert isinstance(attempt, Attempt)
    scripts = {
        "handed back": outcomes.handed_back(attempt),
        "put off": outcomes.put_off(attempt, BROKEN, NOTHING, seconds=0),
        "succeeded": outcomes.succeeded(attempt, DONE),
        "advanced": outcomes.advanced(attempt, DONE),
    }
    await ours(ledger).work.record(scripts[end])
    before = await ours(ledger).chunks.find(job_id, 0)

    assert isinstance(
        await ours(ledger).work.begin(job_id, 0, 0, job_run=1, token=token), NoAttempt
    )

    assert await ours(ledger).chunks.find(job_id, 0) == before


async def test_a_claim_made_again_gives_the_same_chunk_and_records_what_went_before_once(
    ledger: Ledger,
) -> None:
    job_id = await running(ledger, [1] * 5)
    first = await claimed(ledger, job_id)
    assert first is not None
    ending, token = outcomes.succeeded(first, DONE), new_token()
    answers = []
    for _ in range(2):
        answers.append(
            await ours(ledger).work.claim(
                job_id, FIRST_RUN, job_run=1, token=token, above=0, after=ending
            )
        )
        await claimed(ledger, job_id)

    assert answers[0] is not None
    assert answers[0] == answers[1]
    assert (answers[0].index, answers[0].number) == (1, 1)
    counts = await ours(ledger).closing.counts(job_id)
    assert (counts.succeeded, counts.running, counts.pending) == (1, 3, 1)


# --- claims ----------------------------------------------------------------------------


async def test_chunks_are_claimed_in_order_those_whose_wait_is_over_first(
    ledger: Ledger, clock: Clock
) -> None:
    job_id = await running(ledger, [1] * 6)
    await put_off(ledger, job_id, 4, seconds=2)
    await put_off(ledger, job_id, 3, seconds=3)
    await put_off(ledger, job_id, 1, seconds=3.001)
    clock.ms += 3000

    assert await claimed_indexes(ledger, job_id, 9) == [4, 3, 0, 2, 5]

    clock.ms += 1
    assert await claimed_indexes(ledger, job_id, 9) == [1]


async def test_a_claim_above_an_index_passes_over_those_up_to_it_but_for_due_ones(
    ledger: Ledger, clock: Clock
) -> None:
    job_id = await running(ledger, [1] * 5)
    await put_off(ledger, job_id, 0, seconds=1)
    clock.ms += 1000
    assert await claimed_indexes(ledger, job_id, 9, above=2) == [0, 3, 4]
    assert await claimed_indexes(ledger, job_id, 9) == [1, 2]


async def test_nothing_is_claimed_of_a_job_that_does_not_run(ledger: Ledger) -> None:
    waiting, stopped = await record(ledger), await running(ledger)
    await ours(ledger).jobs.request_cancel(stopped)
    for job_id in (waiting, stopped, JobId("job_none")):
        assert await claimed(ledger, job_id) is None


async def test_a_run_of_a_block_that_was_taken_over_claims_and_begins_nothing(
    ledger: Ledger,
) -> None:
    job_id = await running(ledger, [1, 1])
    before = await claimed(ledger, job_id)
    assert before is not None

    await ours(ledger).work.take_over(job_id, SECOND_RUN)

    assert await claimed(ledger, job_id) is None
    refused = await ours(ledger).work.begin(
        job_id, 1, 0, job_run=1, token=new_token(), within=FIRST_RUN
    )
    assert isinstance(refused, NoAttempt)
    assert await claimed(ledger, job_id, run=BlockRun(block=8, number=1)) is not None
    taken = await claimed(ledger, job_id, run=SECOND_RUN)
    assert taken is not None
    assert {taken.index, before.index} <= {0, 1}
    await ours(ledger).work.record(outcomes.succeeded(before, DONE))
    assert await state_of(ledger, job_id, before.index) is ChunkState.RUNNING


async def test_what_the_run_before_had_begun_counts_and_is_claimed_again(ledger: Ledger) -> None:
    job_id = await running(ledger, [1, 1])
    other_block = await claimed(ledger, job_id, run=BlockRun(block=8, number=1))
    assert await claimed(ledger, job_id) is not None

    await ours(ledger).work.take_over(job_id, SECOND_RUN)

    again = await claimed(ledger, job_id, run=SECOND_RUN)
    assert again is not None
    assert other_block is not None
    assert (other_block.index, again.index, again.number) == (0, 1, 2)


async def test_a_take_over_written_again_leaves_the_run_what_it_has_begun(ledger: Ledger) -> None:
    job_id = await running(ledger)
    await ours(ledger).work.take_over(job_id, SECOND_RUN)
    attempt = await claimed(ledger, job_id, run=SECOND_RUN)
    assert attempt is not None

    for late in (SECOND_RUN, FIRST_RUN):
        await ours(ledger).work.take_over(job_id, late)
    await ours(ledger).work.record(outcomes.succeeded(attempt, DONE))

    assert await state_of(ledger, job_id) is ChunkState.SUCCEEDED


async def test_claimers_on_two_connections_share_all_chunks_and_none_twice(
    ledger: Ledger, ledger_url: str
) -> None:
    count = 120
    job_id = await running(ledger, [1] * count)

    async def claim_all(one: Ledger, block: int) -> list[Attempt]:
        mine = []
        # Nothing may be left for a moment only, while another one claims the last.
        while (
            await ours(one).work.outlook(job_id, BlockRun(block=block, number=1), limit=1)
        ).ready:
            attempt = await claimed(one, job_id, run=BlockRun(block=block, number=1))
            mine += [attempt] if attempt is not None else []
        return mine

    async with connect(ledger_url) as other, asyncio.timeout(60):
        claimers = (claim_all(each, block) for each in (ledger, other) for block in range(4))
        shares = await asyncio.gather(*claimers)

    assert sorted(each.index for share in shares for each in share) == list(range(count))
    assert {attempt.number for share in shares for attempt in share} == {1}
    assert all(any(shares[half : half + 4]) for half in (0, 4))


# --- waits -----------------------------------------------------------------------------


async def test_a_wait_is_kept_to_the_millisecond(ledger: Ledger, clock: Clock) -> None:
    job_id = await running(ledger)
    await put_off(ledger, job_id, 0, seconds=0.1234)
    clock.ms = NOW + 122
    refused = await ours(ledger).work.begin(job_id, 0, 0, job_run=1, token=new_token())
    assert isinstance(refused, NoAttempt)
    assert (refused.chunk_state, refused.due_in_seconds) == (ChunkState.PENDING, 0.001)
    assert await claimed(ledger, job_id) is None
    clock.ms = NOW + 123
    assert (await begun(ledger, job_id)).number == 2


async def test_what_is_begun_waits_no_more(ledger: Ledger, clock: Clock) -> None:
    job_id = await running(ledger)
    await put_off(ledger, job_id, 0, seconds=1)
    clock.ms += 1000
    await ours(ledger).work.record(outcomes.handed_back(await begun(ledger, job_id)))
    assert await ours(ledger).work.outlook(job_id, FIRST_RUN, limit=5) == Outlook(
        job_state=JobState.RUNNING, ready=1, due_in_seconds=None
    )


async def test_the_outlook_counts_what_is_ready_and_tells_when_the_next_is_due(
    ledger: Ledger, clock: Clock
) -> None:
    job_id = await running(ledger, [1] * 6)
    await put_off(ledger, job_id, 0, seconds=1)
    await put_off(ledger, job_id, 1, seconds=9.5)
    await succeed(ledger, job_id, 2)
    await begun(ledger, job_id, 3)

    async def outlook(limit: int) -> tuple[int, float | None]:
        found = await ours(ledger).work.outlook(job_id, FIRST_RUN, limit=limit)
        assert found.job_state is JobState.RUNNING
        return found.ready, found.due_in_seconds

    assert await outlook(5) == (2, 1.0)
    assert await outlook(1) == (1, 1.0)
    clock.ms += 1000
    assert await outlook(5) == (3, 0.0)
    await begun(ledger, job_id, 0)
    assert await outlook(5) == (2, 8.5)
    clock.ms += 8500
    assert await claimed_indexes(ledger, job_id, 9) == [1, 4, 5]
    assert await outlook(5) == (0, None)


async def test_there_is_no_outlook_where_nothing_may_be_claimed(ledger: Ledger) -> None:
    fenced, stopped, waiting = [await record(ledger) for _ in range(3)]
    for job_id in (fenced, stopped):
        await ours(ledger).jobs.open(job_id)
    await ours(ledger).work.take_over(fenced, SECOND_RUN)
    await ours(ledger).jobs.request_cancel(stopped)
    states = {fenced: None, stopped: JobState.CANCELLING, waiting: JobState.PENDING}
    for job, state in [*states.items(), (JobId("none"), None)]:
        assert await ours(ledger).work.outlook(job, FIRST_RUN, limit=5) == Outlook(
            job_state=state, ready=0, due_in_seconds=None
        )


# --- planning --------------------------------------------------------------------------


async def test_pages_hold_exactly_the_open_chunks_in_order(ledger: Ledger) -> None:
    job_id = await running(ledger, [1] * 12)
    await succeed(ledger, job_id, 0)
    await fail(ledger, job_id, 5)
    await succeed(ledger, job_id, 11)
    await put_off(ledger, job_id, 2, seconds=60)
    await put_off(ledger, job_id, 9, seconds=0)
    await begun(ledger, job_id, 4)
    await begun(ledger, job_id, 10)
    other = await running(ledger, [1] * 3)

    pages, after = [], -1
    while page := await ours(ledger).work.page(job_id, after=after, limit=4):
        pages.append(page)
        after = page[-1]

    assert pages == [[1, 2, 3, 4], [6, 7, 8, 9], [10]]
    await ours(ledger).closing.settle(other, run=1)
    assert await ours(ledger).work.page(other, after=-1, limit=4) == []


async def test_what_was_lost_on_the_way_is_offered_again_and_does_not_count(
    ledger: Ledger,
) -> None:
    job_id = await running(ledger, [1] * 3)
    lost = await begun(ledger, job_id, 1)
    await begun(ledger, job_id, 2)
    await fail(ledger, job_id, 0)

    await ours(ledger).work.offer_again(job_id, run=1)

    await ours(ledger).work.record(outcomes.failed(lost, BROKEN, NOTHING))
    chunks = await ours(ledger).chunks.page(job_id, after=-1, limit=9)
    assert [(str(chunk.state), chunk.attempts) for chunk in chunks] == [
        ("failed", 1),
        ("pending", 0),
        ("pending", 0),
    ]
    assert [(await begun(ledger, job_id, index)).number for index in (1, 2)] == [1, 1]


async def test_a_wait_begins_with_its_record(ledger: Ledger) -> None:
    job_id = await running(ledger)
    started = time.time()
    await put_off(ledger, job_id, 0, seconds=30)
    found = await ours(ledger).work.outlook(job_id, FIRST_RUN, limit=1)
    assert found.due_in_seconds is not None
    assert 30 - (time.time() - started) - 0.002 <= found.due_in_seconds <= 30
