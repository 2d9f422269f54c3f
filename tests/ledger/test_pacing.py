"""Turns: as far apart as the rate says, whoever asks, none before its time, none hoarded."""

import asyncio
from itertools import pairwise

import pytest

import fanfold.ledger.pacing
import fanfold.ledger.recording
from fanfold.contract.job_spec import Controls
from fanfold.contract.names import DEFAULT_TENANT, JobId
from fanfold.ledger.connect import Ledger, connect
from fanfold.ledger.pacing import HORIZON_MS, SAVED_MS, Pacing, Turns
from tests.ledger.jobs_recorded import found, ours, running
from tests.ledger.test_work import NOW, Clock
from tests.ledger.twice import WrittenTwice

HORIZON_SECONDS = HORIZON_MS / 1000


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    stopped = Clock()
    for module in (fanfold.ledger.pacing, fanfold.ledger.recording):
        monkeypatch.setattr(module, "now_ms", stopped)
    return stopped


async def paced(ledger: Ledger, per_second: float | None) -> JobId:
    return await running(ledger, controls=Controls(max_per_second=per_second))


async def taken(ledger: Ledger, job_id: JobId, wanted: int) -> Turns:
    turns = await ours(ledger).pacing.take_turns(job_id, wanted)
    assert turns is not None
    return turns


async def test_a_job_without_a_limit_has_no_turns(ledger: Ledger) -> None:
    assert await ours(ledger).pacing.take_turns(await paced(ledger, None), 5) is None


async def test_turns_are_given_soonest_first_and_as_far_apart_as_the_rate_says(
    ledger: Ledger,
) -> None:
    job_id = await paced(ledger, 20)
    turns = await taken(ledger, job_id, 4)
    assert turns.in_seconds == pytest.approx([0, 0.05, 0.1, 0.15])
    assert turns.more_in_seconds == 0
    assert (await taken(ledger, job_id, 2)).in_seconds == pytest.approx([0.2, 0.25])


async def test_no_turn_is_given_that_is_further_off_than_the_horizon(
    ledger: Ledger, clock: Clock
) -> None:
    job_id = await paced(ledger, 10)
    turns = await taken(ledger, job_id, 1000)
    assert turns.in_seconds == pytest.approx([0.1 * number for number in range(3)])
    assert turns.more_in_seconds == pytest.approx(0.3 - HORIZON_SECONDS)
    again = await taken(ledger, job_id, 1000)
    assert again.in_seconds == []
    assert again.more_in_seconds == pytest.approx(0.3 - HORIZON_SECONDS)
    clock.ms += 100
    assert (await taken(ledger, job_id, 1000)).in_seconds == pytest.approx([0.2])


async def test_of_a_slow_job_it_is_said_when_to_ask_again(ledger: Ledger, clock: Clock) -> None:
    job_id = await paced(ledger, 0.01)
    assert (await taken(ledger, job_id, 9)).in_seconds == [0]
    later = await taken(ledger, job_id, 9)
    assert (later.in_seconds, later.more_in_seconds) == ([], 100 - HORIZON_SECONDS)
    clock.ms += 99_800
    assert (await taken(ledger, job_id, 9)).in_seconds == pytest.approx([0.2])


@pytest.mark.parametrize("per_second", [4, 20, 1000])
async def test_of_the_time_in_which_nobody_asked_no_more_than_a_moment_is_made_up_for(
    ledger: Ledger, clock: Clock, per_second: float
) -> None:
    job_id = await paced(ledger, per_second)
    await taken(ledger, job_id, 1)
    clock.ms += 60_000
    turns = (await taken(ledger, job_id, 10_000)).in_seconds
    at_once = [seconds for seconds in turns if seconds == 0]
    assert len(at_once) == int(SAVED_MS * per_second / 1000) + 1
    for sooner, later in pairwise(turns[len(at_once) :]):
        assert later - sooner == pytest.approx(1 / per_second)


@pytest.mark.parametrize("per_second", [0.5, 3, 7.3, 40, 150])
async def test_over_several_takers_starts_keep_to_the_rate(
    ledger: Ledger, ledger_url: str, clock: Clock, per_second: float
) -> None:
    job_id = await paced(ledger, per_second)
    starts: list[float] = []
    async with connect(ledger_url) as another:
        takers = [ours(ledger).pacing, ours(another).pacing, ours(ledger).pacing]
        for _ in range(100):
            for turns in await asyncio.gather(*(taker.take_turns(job_id, 7) for taker in takers)):
                assert turns is not None
                starts += [clock.ms + seconds * 1000 for seconds in turns.in_seconds]
            clock.ms += 100
    starts.sort()
    assert starts[0] == NOW
    for first, start in enumerate(starts):
        for count, later in enumerate(starts[first:]):
            # In any time no more than the rate gives for it, and what was made up for.
            assert count <= (later - start + SAVED_MS) * per_second / 1000 + 1e-6
    # And nobody who asks often enough is left without: of ten seconds, and the horizon.
    assert len(starts) >= 9.9 * per_second


async def test_a_changed_rate_holds_for_the_turns_that_were_not_given(
    ledger: Ledger, clock: Clock
) -> None:
    job_id = await paced(ledger, 0.001)
    await taken(ledger, job_id, 1)

    async def change(per_second: float | None) -> None:
        job = await found(ledger, job_id)
        controls = Controls(max_per_second=per_second)
        assert await ours(ledger).steering.change(job_id, job.revision, job.spec, controls, None)

    clock.ms += 1000
    await change(10)
    first = await taken(ledger, job_id, 2)
    assert len(first.in_seconds) == 2
    assert first.in_seconds[1] - first.in_seconds[0] == pytest.approx(0.1)
    await change(1)
    # From then on, not from a turn that was given at the old rate.
    assert (await taken(ledger, job_id, 9)).in_seconds == [0]
    await change(None)
    assert await ours(ledger).pacing.take_turns(job_id, 1) is None


async def test_a_control_that_does_not_change_the_rate_gives_no_turn_twice(
    ledger: Ledger,
) -> None:
    job_id = await paced(ledger, 4)
    assert len((await taken(ledger, job_id, 3)).in_seconds) == 2
    job = await found(ledger, job_id)
    await ours(ledger).steering.change(
        job_id, job.revision, job.spec, Controls(name="n", max_per_second=4), None
    )
    assert (await taken(ledger, job_id, 3)).in_seconds == []


async def test_turns_that_nobody_knows_to_be_taken_are_lost_and_not_given_twice(
    ledger: Ledger,
) -> None:
    job_id = await paced(ledger, 10)
    turns = await Pacing(WrittenTwice(ledger.database), DEFAULT_TENANT).take_turns(job_id, 1)
    assert turns is not None
    assert turns.in_seconds == pytest.approx([0.1])
    assert (await taken(ledger, job_id, 1)).in_seconds == pytest.approx([0.2])
