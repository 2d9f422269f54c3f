"""What gateways carry out: jobs to start, jobs to compare with Temporal, each claimed once."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest

from fanfold.contract.names import DEFAULT_TENANT, JobId, new_job_id
from fanfold.contract.states import JobState
from fanfold.ledger.connect import Ledger
from fanfold.ledger.records import now_ms
from fanfold.ledger.starting import CLAIM_MS, LARGE_JOB_CHUNKS, PendingStart, Places
from tests.ledger.jobs_recorded import (
    MANY_PLACES,
    a_spec,
    chunks_of,
    claimed_starts,
    closed,
    found,
    labelled,
    new_job,
    ours,
    record,
    running,
)
from tests.ledger.raw_sql import rows

EVERY_TIME = 1 << 60
LARGE = (1,) * (LARGE_JOB_CHUNKS + 1)
SMALL = (1,) * LARGE_JOB_CHUNKS

_numbers = itertools.count()


async def recorded(ledger: Ledger, count: int, sizes: Sequence[int] = (1,)) -> list[JobId]:
    """So many jobs, the oldest first: ids made in the same millisecond would have no order."""
    job_ids = [f"job_{next(_numbers):05d}" for _ in range(count)]
    return [await record(ledger, sizes, job_id=job_id) for job_id in job_ids]


async def started(ledger: Ledger, *job_ids: JobId) -> None:
    """All that is to be started is, and these are among it."""
    claimed = await claimed_starts(ledger)
    assert set(job_ids) <= set(claimed)
    await ledger.starting.release(claimed)


async def compared(
    ledger: Ledger, *, unchecked_since: int = EVERY_TIME, limit: int = 100
) -> list[tuple[str, JobState]]:
    """What is to be compared now, and is."""
    jobs = await ledger.starting.to_check(unchecked_since=unchecked_since, limit=limit)
    await ledger.starting.mark_checked(jobs)
    return [(job.id, job.state) for job in jobs]


def let_claims_run_out(url: str) -> None:
    rows(url, "UPDATE jobs SET claimed_until = 1 WHERE claimed_until > 0")


# --- starting --------------------------------------------------------------------------


async def test_recorded_jobs_are_to_be_started_oldest_first(ledger: Ledger) -> None:
    spec, controls = a_spec(stages=2), labelled({"a": "b"})
    for job_id in ("job_2", "job_1", "job_4", "job_3"):
        await record(ledger, [1, 1], job_id=job_id, spec=spec, controls=controls)
    turn = await ledger.starting.to_start(MANY_PLACES, limit=3)
    assert turn.jobs == [
        PendingStart(
            id=JobId(job_id),
            tenant=DEFAULT_TENANT,
            run=1,
            total_chunks=2,
            spec_text=spec.to_json(controls),
            controls_text=controls.to_json(spec),
        )
        for job_id in ("job_1", "job_2", "job_3")
    ]
    assert [(job.spec, job.controls) for job in turn.jobs] == [(spec, controls)] * 3
    assert await claimed_starts(ledger) == ["job_4"]


async def test_a_job_that_cannot_be_read_is_given_out_beside_the_others(
    ledger: Ledger, ledger_url: str
) -> None:
    first, second = await recorded(ledger, 2)
    rows(ledger_url, f"UPDATE jobs SET spec = 'no JSON' WHERE id = '{first}'")
    turn = await ledger.starting.to_start(MANY_PLACES, limit=10)
    assert [job.id for job in turn.jobs] == [first, second]
    with pytest.raises(ValueError, match="Expecting value"):
        _ = turn.jobs[0].spec
    assert turn.jobs[1].spec == a_spec()


async def test_a_started_job_is_not_started_again(ledger: Ledger, ledger_url: str) -> None:
    job_id = await record(ledger)
    await started(ledger, job_id)
    let_claims_run_out(ledger_url)
    assert await claimed_starts(ledger) == []
    assert await ours(ledger).jobs.state(job_id) is JobState.PENDING


async def test_a_job_that_a_worker_opened_is_not_started_again(ledger: Ledger) -> None:
    await running(ledger)
    assert await claimed_starts(ledger) == []


async def test_a_job_cancelled_before_its_start_is_never_started(ledger: Ledger) -> None:
    job_id = await record(ledger)
    await ours(ledger).jobs.request_cancel(job_id)
    assert await claimed_starts(ledger) == []


async def test_a_job_whose_workflow_was_lost_before_it_began_is_started_again(
    ledger: Ledger,
) -> None:
    job_id = await record(ledger)
    await started(ledger, job_id)
    await ledger.starting.forget_workflow([job_id])
    assert await claimed_starts(ledger) == [job_id]


async def test_a_job_that_could_not_be_started_waits_for_its_next_try(
    ledger: Ledger, ledger_url: str
) -> None:
    job_id = await record(ledger)
    await claimed_starts(ledger)
    await ledger.starting.forget_workflow([job_id], wait_ms=60_000)
    assert await claimed_starts(ledger) == []
    let_claims_run_out(ledger_url)
    assert await claimed_starts(ledger) == [job_id]


async def test_a_job_that_began_keeps_its_workflow(ledger: Ledger) -> None:
    job_id = await running(ledger)
    await ledger.starting.forget_workflow([job_id])
    assert await claimed_starts(ledger) == []
    assert (job_id, JobState.RUNNING) in await compared(ledger)


# --- places ----------------------------------------------------------------------------


async def test_no_more_jobs_are_started_than_there_are_places(ledger: Ledger) -> None:
    job_ids = await recorded(ledger, 5)
    places = Places(2)
    turn = await ledger.starting.to_start(places, limit=10)
    assert [job.id for job in turn.jobs] == job_ids[:2]
    assert turn.are_some_held_back
    await ledger.starting.release(job_ids[:2])
    assert await ours(ledger).jobs.open(job_ids[0]) == (True, JobState.RUNNING)
    # Neither opening a job nor cancelling it gives its place away; its end does.
    await ours(ledger).jobs.request_cancel(job_ids[0])
    turn = await ledger.starting.to_start(places, limit=10)
    assert (turn.jobs, turn.are_some_held_back) == ([], True)
    await closed(ledger, job_ids[0], JobState.CANCELLED)
    assert await claimed_starts(ledger, places=places) == [job_ids[2]]


async def test_with_nothing_to_start_nothing_is_held_back(ledger: Ledger) -> None:
    await running(ledger)
    turn = await ledger.starting.to_start(Places(1), limit=10)
    assert (list(turn.jobs), turn.are_some_held_back) == ([], False)


async def test_large_jobs_leave_places_for_small_ones(ledger: Ledger) -> None:
    large, small = await recorded(ledger, 5, LARGE), await recorded(ledger, 3, SMALL)
    places = Places(4)
    assert await claimed_starts(ledger, places=places) == [*large[:3], small[0]]
    await closed(ledger, small[0])
    # The free place is for small ones only, though large ones have waited for longer.
    assert await claimed_starts(ledger, places=places) == [small[1]]
    await closed(ledger, large[0])
    assert await claimed_starts(ledger, places=places) == [large[3]]


async def test_small_jobs_behind_many_large_ones_find_their_places(ledger: Ledger) -> None:
    large, small = await recorded(ledger, 6, LARGE), await recorded(ledger, 3, SMALL)
    turn = await ledger.starting.to_start(Places(8), limit=4)
    assert [job.id for job in turn.jobs] == large[:4]
    assert await claimed_starts(ledger, places=Places(5), limit=4) == [small[0]]


async def test_small_jobs_may_have_all_places(ledger: Ledger) -> None:
    small, (large,) = await recorded(ledger, 4), await recorded(ledger, 1, LARGE)
    places = Places(4)
    assert await claimed_starts(ledger, places=places) == small
    await closed(ledger, small[0])
    assert await claimed_starts(ledger, places=places) == [large]


async def test_a_large_job_gets_the_only_place(ledger: Ledger) -> None:
    large = await record(ledger, LARGE)
    assert await claimed_starts(ledger, places=Places(1)) == [large]


# --- comparing -------------------------------------------------------------------------


async def test_only_unfinished_jobs_with_a_workflow_are_compared(ledger: Ledger) -> None:
    under_way, finished = await running(ledger), await running(ledger)
    with_workflow = await record(ledger)
    await started(ledger, with_workflow)
    await record(ledger)
    await closed(ledger, finished)
    expected = {with_workflow: JobState.PENDING, under_way: JobState.RUNNING}
    assert dict(await compared(ledger)) == expected


async def test_a_job_just_compared_is_left_alone_for_a_while(ledger: Ledger) -> None:
    job_id = await running(ledger)
    soon = now_ms() + 60_000
    assert await compared(ledger, unchecked_since=soon) == [(job_id, JobState.RUNNING)]
    checked_before = (await found(ledger, job_id)).created_at
    assert await compared(ledger, unchecked_since=checked_before) == []
    assert len(await compared(ledger, unchecked_since=soon)) == 1


async def test_a_job_that_could_not_be_compared_is_the_next_one(ledger: Ledger) -> None:
    job_id = await running(ledger)
    since = now_ms() + 1
    (claimed,) = await ledger.starting.to_check(unchecked_since=since, limit=10)
    assert await ledger.starting.to_check(unchecked_since=since, limit=10) == []
    await ledger.starting.release([job_id])
    assert await ledger.starting.to_check(unchecked_since=since, limit=10) == [claimed]


async def test_jobs_are_compared_in_turns(ledger: Ledger) -> None:
    job_ids = {await running(ledger) for _ in range(3)}
    seen = set()
    for _ in range(3):
        ((job_id, _),) = await compared(ledger, limit=1)
        seen.add(job_id)
        # The clock the ledger goes by counts milliseconds.
        moment = now_ms()
        while now_ms() == moment:
            pass
    assert seen == job_ids


async def test_a_job_to_be_cancelled_comes_first_and_then_like_any_other(ledger: Ledger) -> None:
    first = await running(ledger)
    cancelled = await record(ledger)
    await ours(ledger).jobs.request_cancel(cancelled)
    assert await compared(ledger, limit=1) == [(cancelled, JobState.CANCELLING)]
    assert await compared(ledger, unchecked_since=1) == []
    assert {job_id for job_id, _ in await compared(ledger)} == {first, cancelled}
    await closed(ledger, cancelled, JobState.CANCELLED)
    assert [job_id for job_id, _ in await compared(ledger)] == [first]


async def test_a_job_cancelled_while_it_is_compared_is_looked_at_again_at_once(
    ledger: Ledger,
) -> None:
    job_id = await running(ledger)
    jobs = await ledger.starting.to_check(unchecked_since=EVERY_TIME, limit=10)
    await ours(ledger).jobs.request_cancel(job_id)
    await ledger.starting.mark_checked(jobs)
    assert await compared(ledger, unchecked_since=1) == [(job_id, JobState.CANCELLING)]


# --- jobs that whoever records them starts ------------------------------------------------


async def recorded_to_be_claimed(
    ledger: Ledger, sizes: Sequence[int] = (1,), *, start_at: int | None = None
) -> JobId:
    """A job that its recorder starts, as SubmitJob does."""
    controls = replace(labelled({}), start_at=start_at)
    job = replace(new_job(new_job_id(), controls=controls), own_start_ms=CLAIM_MS)
    await ours(ledger).recording.record(job, chunks_of(sizes))
    return job.id


async def test_a_job_is_left_to_its_recorder_until_its_claim_has_run_out(
    ledger: Ledger, ledger_url: str
) -> None:
    job_id = await recorded_to_be_claimed(ledger)
    assert await claimed_starts(ledger) == []
    let_claims_run_out(ledger_url)
    assert await claimed_starts(ledger) == [job_id]


async def test_a_job_is_left_to_its_recorder_for_a_while_from_its_time_on(
    ledger: Ledger, ledger_url: str
) -> None:
    starts_at = now_ms() + 60_000
    job_id = await recorded_to_be_claimed(ledger, start_at=starts_at)
    assert rows(ledger_url, "SELECT claimed_until FROM jobs") == [(starts_at + CLAIM_MS,)]
    assert await ledger.starting.claim(job_id, MANY_PLACES)


async def test_its_recorder_claims_a_job_once_and_it_has_its_place(
    ledger: Ledger, ledger_url: str
) -> None:
    job_id = await recorded_to_be_claimed(ledger)
    assert await ledger.starting.claim(job_id, Places(1))
    assert await ledger.starting.claim(job_id, Places(1)), "asked for again, it has its claim"
    waiting = await recorded_to_be_claimed(ledger)
    assert not await ledger.starting.claim(waiting, Places(1))
    let_claims_run_out(ledger_url)
    # Where its recorder died just then, a check finds it.
    assert await compared(ledger) == [(job_id, JobState.PENDING)]
    await ledger.starting.forget_workflow([job_id])
    assert await claimed_starts(ledger) == [job_id, waiting]


async def test_a_job_that_finds_no_place_is_left_to_the_gateways_too(ledger: Ledger) -> None:
    first, second = await recorded_to_be_claimed(ledger), await recorded_to_be_claimed(ledger)
    assert await ledger.starting.claim(first, Places(1))
    assert not await ledger.starting.claim(second, Places(1))
    assert await claimed_starts(ledger) == [second]
    assert await ledger.starting.claim(second, Places(1)), "it is started, so there is no wait"


async def test_a_large_job_waits_for_one_of_the_places_of_large_jobs(ledger: Ledger) -> None:
    first, second = [await recorded_to_be_claimed(ledger, LARGE) for _ in range(2)]
    assert await ledger.starting.claim(first, Places(2))
    assert not await ledger.starting.claim(second, Places(2))
    small = await recorded_to_be_claimed(ledger, SMALL)
    assert await ledger.starting.claim(small, Places(2))


async def test_a_paused_job_waits_and_a_cancelled_one_does_not(ledger: Ledger) -> None:
    job_id = await recorded_to_be_claimed(ledger)
    await ours(ledger).steering.pause(job_id)
    assert not await ledger.starting.claim(job_id, MANY_PLACES)
    await ours(ledger).jobs.request_cancel(job_id)
    assert await ledger.starting.claim(job_id, MANY_PLACES)
    assert (await found(ledger, job_id)).state is JobState.CANCELLING
