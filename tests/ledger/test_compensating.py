"""What undoes: recorded once however often it is due, last one first, and stopped by nothing."""

import asyncio
import json

import pytest

from fanfold.contract.job_spec import Controls, Execution
from fanfold.contract.names import DEFAULT_TENANT
from fanfold.contract.states import JobState
from fanfold.ledger import compensating, outcomes
from fanfold.ledger.compensating import COMPENSATION, Compensating, Due
from fanfold.ledger.connect import Ledger
from fanfold.ledger.records import BlockRun, ChunkCounts, JobRecord
from fanfold.ledger.redriving import Selection
from fanfold.ledger.run_again import Redrive
from tests.ledger.jobs_recorded import (
    BROKEN,
    begun,
    claimed_starts,
    fail,
    found,
    new_token,
    ours,
    record,
    succeed,
)
from tests.ledger.redriven import IN_PART
from tests.ledger.steered import chunk_states, state_of
from tests.ledger.test_tenants import everything
from tests.ledger.trees import (
    UNDO,
    Tree,
    ended,
    grown,
    leaf,
    opened,
    parallel,
    sequence,
    undone,
)
from tests.ledger.twice import WrittenTwice

LABELLED = Controls(max_concurrency=7, max_per_second=5, deadline_seconds=9, labels={"a": "b"})


async def bookings(ledger: Ledger) -> Tree:
    """A sequence of which two jobs came to something, and one did not."""
    tree = await grown(
        ledger,
        sequence(
            *(1, 2, 3, 4),
            flight=undone(),
            hotel=leaf(1, 1, compensate=UNDO, controls=LABELLED),
            car=undone(1),
            none=leaf(1),
        ),
    )
    await opened(ledger, tree, "flight", "hotel", "car", "none")
    for index in (0, 3):
        await succeed(ledger, tree["flight"], index, b'"%d"' % index)
    await fail(ledger, tree["flight"], 1)
    attempt = await begun(ledger, tree["flight"], 2)
    part = outcomes.succeeded_partially(attempt, BROKEN, IN_PART)
    await ours(ledger).work.record(part)
    await succeed(ledger, tree["hotel"], 0)
    await fail(ledger, tree["hotel"], 1)
    await fail(ledger, tree["car"], 0)
    await succeed(ledger, tree["none"], 0)
    for path in ("flight", "hotel", "car", "none"):
        await ended(ledger, tree, path, JobState.PARTIALLY_SUCCEEDED)
    return tree


async def due(ledger: Ledger, tree: Tree) -> list[Due]:
    place = (await found(ledger, tree.root)).place
    return await ours(ledger).compensating.due(tree.root, place.position, place.last_position)


async def recorded(ledger: Ledger, tree: Tree) -> list[JobRecord]:
    """All that is due recorded; the jobs that undo, in the order in which they run."""
    for one in await due(ledger, tree):
        await ours(ledger).compensating.record(one)
    jobs = await ours(ledger).sub_jobs.compensations(tree.root)
    return [await found(ledger, job.id) for job in jobs]


async def test_what_succeeded_of_jobs_that_say_how_to_undo_is_due_last_one_first(
    ledger: Ledger,
) -> None:
    tree = await bookings(ledger)
    flight, hotel = Due(tree["flight"], 1), Due(tree["hotel"], 1)
    assert await due(ledger, tree) == [hotel, flight]
    place = (await found(ledger, tree["hotel"])).place
    of = ours(ledger).compensating
    assert await of.due(tree.root, 0, place.position - 1) == [flight]
    assert await of.due(tree["hotel"], place.position, place.last_position) == [hotel]
    await of.record(hotel)
    assert await due(ledger, tree) == [flight]


async def test_each_chunk_that_succeeded_is_undone_last_one_first(ledger: Ledger) -> None:
    tree = await bookings(ledger)
    hotel, flight = await recorded(ledger, tree)
    for job, path in ((hotel, "hotel"), (flight, "flight")):
        assert (job.place.path, job.place.parent) == (f"{path}/{COMPENSATION}", tree[path])
        assert (job.place.root, job.place.compensates_run) == (tree.root, 1)
        assert job.spec.stages == (UNDO,)
        assert job.controls.name == COMPENSATION
        assert job.controls.max_concurrency == 1, "one after another"
    assert flight.total_chunks == flight.total_items == 3
    assert flight.spec.execution is Execution.WORKFLOW
    assert hotel.controls.labels == {"a": "b"}
    assert (hotel.controls.max_per_second, hotel.controls.deadline_seconds) == (None, None)
    undone_items = [
        json.loads((await ours(ledger).chunks.items(flight.id, index)) or b"") for index in range(3)
    ]
    assert undone_items == [
        [{"items": [3, 3, 3, 3], "result": "3"}],
        [{"items": [2, 2, 2], "result": [10, None, 12, None]}],
        [{"items": [0], "result": "0"}],
    ]
    await ours(ledger).jobs.open(flight.id)
    run = BlockRun(block=1, number=1)
    claimed = await ours(ledger).work.claim(flight.id, run, job_run=1, token=new_token())
    assert claimed is not None
    assert (claimed.index, json.loads(claimed.input)[0]["result"]) == (0, "3")


async def test_it_is_recorded_once_however_often_and_by_however_many(
    ledger: Ledger, another: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = await bookings(ledger)
    monkeypatch.setattr(compensating, "_BATCH_BYTES", 1)
    all_due = await due(ledger, tree)
    twice = Compensating(WrittenTwice(ledger.database), DEFAULT_TENANT)
    await asyncio.gather(
        *(
            of.record(one)
            for one in all_due
            for of in (ours(ledger).compensating, ours(another).compensating, twice)
        )
    )
    before = await everything(ledger)
    for one in all_due:
        await ours(ledger).compensating.record(one)
    assert await everything(ledger) == before
    jobs = await recorded(ledger, tree)
    assert [(job.place.path, job.total_chunks) for job in jobs] == [
        ("hotel/compensation", 1),
        ("flight/compensation", 3),
    ]
    for job in jobs:
        assert await chunk_states(ledger, job.id) == ["pending"] * job.total_chunks


async def test_it_counts_for_nothing_but_itself(ledger: Ledger) -> None:
    tree = await bookings(ledger)
    before = await found(ledger, tree.root)
    hotel, flight = await recorded(ledger, tree)
    await ours(ledger).jobs.open(hotel.id)
    await fail(ledger, hotel.id, 0)
    root = await found(ledger, tree.root)
    assert (root.counts, root.errors, root.jobs) == (before.counts, before.errors, before.jobs)
    assert [job.place.path for job in await ours(ledger).jobs.leaves(root)] == list(tree.ids)
    assert [job.id for job in await ours(ledger).sub_jobs.all_of(tree["flight"])] == []
    # But it is one of the jobs of the one that it undoes.
    (shown,) = await ours(ledger).jobs.sub_jobs(tree["flight"], limit=9)
    assert shown == flight
    assert (await found(ledger, tree["hotel"])).jobs == {JobState.RUNNING: 1}
    assert await ours(ledger).closing.close(hotel.id, JobState.FAILED, error=None)
    assert await ours(ledger).closing.close(tree.root, JobState.FAILED, error=None)
    assert (await found(ledger, tree.root)).counts == before.counts


async def redriven(ledger: Ledger, tree: Tree, path: str, *indexes: int) -> None:
    job = await found(ledger, tree[path])
    selected = await ours(ledger).redriving.select(job.id, Selection(indexes=indexes))
    again = Redrive(spec=job.spec, controls=job.controls, selected=selected)
    assert await ours(ledger).redriving.redrive(job, again)


async def test_of_a_later_run_only_what_ran_in_it_is_undone(ledger: Ledger) -> None:
    tree = await grown(ledger, parallel(part=undone(1, 1, 1)))
    await opened(ledger, tree, "part")
    await succeed(ledger, tree["part"], 0)
    await fail(ledger, tree["part"], 1)
    await fail(ledger, tree["part"], 2)
    await ended(ledger, tree, "part", JobState.FAILED)
    (first,) = await recorded(ledger, tree)
    assert first.total_chunks == 1
    for expected in ([], [1, 2]):
        run = (await found(ledger, tree["part"])).run + 1
        await redriven(ledger, tree, "part", 1, 2)
        await opened(ledger, tree, "part")
        for index in (1, 2):
            what = succeed if expected else fail
            await what(ledger, tree["part"], index, run=run)
        assert await due(ledger, tree) == ([Due(tree["part"], run)] if expected else [])
        await ours(ledger).closing.settle(first.id, 1)
        await ours(ledger).closing.close(first.id, JobState.CANCELLED, error=None)
        if not expected:
            await ended(ledger, tree, "part", JobState.FAILED)
    (third,) = await recorded(ledger, tree)
    assert (third.place.compensates_run, third.total_chunks) == (3, 2)
    both = await ours(ledger).jobs.sub_jobs(tree["part"], limit=9)
    assert [job.place.compensates_run for job in both] == [1, 3]


async def test_it_is_not_recorded_of_a_run_that_is_over_or_of_a_job_that_is_gone(
    ledger: Ledger,
) -> None:
    tree = await bookings(ledger)
    stale = await due(ledger, tree)
    await redriven(ledger, tree, "hotel", 1)
    await redriven(ledger, tree, "flight", 1)
    before = await everything(ledger)
    for one in stale:
        await ours(ledger).compensating.record(one)
    assert await everything(ledger) == before
    await ours(ledger).compensating.record(Due(await record(ledger), 1))
    assert await ours(ledger).sub_jobs.compensations(tree.root) == []


async def test_nothing_that_stops_the_job_stops_it(ledger: Ledger) -> None:
    tree = await bookings(ledger)
    hotel, flight = await recorded(ledger, tree)
    await ours(ledger).jobs.open(hotel.id)

    await ours(ledger).jobs.request_cancel(tree.root)
    # Whoever closes the job may be killed after each of these, and begins anew.
    for _ in range(2):
        await ours(ledger).closing.settle_below(tree.root)

    assert await state_of(ledger, hotel.id) is JobState.RUNNING
    assert await state_of(ledger, flight.id) is JobState.PENDING
    assert [job.id for job in await recorded(ledger, tree)] == [hotel.id, flight.id]


async def test_a_pause_of_the_job_holds_it_up_and_it_is_resumed_with_it(ledger: Ledger) -> None:
    tree = await bookings(ledger)
    jobs = await recorded(ledger, tree)
    assert await ours(ledger).steering.pause(tree.root)
    assert [await state_of(ledger, job.id) for job in jobs] == ["paused", "paused"]
    assert await ours(ledger).steering.resume(tree.root)
    assert [await state_of(ledger, job.id) for job in jobs] == ["pending", "pending"]
    # A job that ends is in no state for it, and leaves it alone.
    await ours(ledger).jobs.request_cancel(tree.root)
    assert not await ours(ledger).steering.pause(tree.root)
    assert [await state_of(ledger, job.id) for job in jobs] == ["pending", "pending"]


async def test_where_the_workflow_of_the_job_is_gone_gateways_see_to_it(ledger: Ledger) -> None:
    tree = await bookings(ledger)
    hotel, flight = await recorded(ledger, tree)
    handed_out = await ours(ledger).sub_jobs.compensations(tree.root)
    await ours(ledger).sub_jobs.hand_out(handed_out[:1], Execution.WORKFLOW)
    assert await claimed_starts(ledger) == []

    await ours(ledger).compensating.hand_over(tree.root)
    await ours(ledger).closing.settle_below(tree.root)

    assert await ours(ledger).closing.close(tree.root, JobState.FAILED, error=None)
    assert await claimed_starts(ledger) == [flight.id]
    # The other one may have been started; a gateway finds out that it was not.
    checked = await ledger.starting.to_check(unchecked_since=2**60, limit=9)
    assert hotel.id in {job.id for job in checked}
    await ledger.starting.forget_workflow([hotel.id])
    assert await claimed_starts(ledger) == [hotel.id]
    for job in (hotel, flight):
        await ours(ledger).jobs.open(job.id)
        for index in range(job.total_chunks):
            await succeed(ledger, job.id, index)
        assert await ours(ledger).closing.close(job.id, JobState.SUCCEEDED, error=None)
    assert (await found(ledger, tree.root)).state is JobState.FAILED


async def test_a_job_alone_is_undone_too(ledger: Ledger) -> None:
    spec = (await found(ledger, await record(ledger))).spec
    tree = Tree(await record(ledger, (1, 1), spec=spec), {})
    assert await due(ledger, tree) == []
    tree = await grown(ledger, undone(1, 1))
    await opened(ledger, tree, "")
    await succeed(ledger, tree.root, 0)
    await fail(ledger, tree.root, 1)
    assert await due(ledger, tree) == [Due(tree.root, 1)]
    (undoing,) = await recorded(ledger, tree)
    assert (undoing.place.path, undoing.place.root) == (COMPENSATION, tree.root)
    assert not await ours(ledger).closing.close(tree.root, JobState.FAILED, error=None)
    page = await ours(ledger).jobs.page(state=None, labels={}, before=None, limit=9)
    assert undoing.id not in {job.id for job in page}
    await ours(ledger).jobs.open(undoing.id)
    await succeed(ledger, undoing.id, 0)
    assert await ours(ledger).closing.close(undoing.id, JobState.SUCCEEDED, error=None)
    assert await ours(ledger).closing.close(tree.root, JobState.FAILED, error=None)
    job = await found(ledger, tree.root)
    assert job.counts == ChunkCounts(succeeded=1, failed=1, items_succeeded=1, items_failed=1)
