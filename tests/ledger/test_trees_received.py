"""A job made of jobs whose data arrives in parts: sealed, or given up, with all below it."""

from collections.abc import Mapping

import pytest

from fanfold.contract.failures import Failure
from fanfold.contract.names import DEFAULT_TENANT
from fanfold.contract.states import JobState
from fanfold.ledger.connect import Ledger
from fanfold.ledger.database import Database
from fanfold.ledger.recording import Recording
from fanfold.ledger.records import ChunkCounts, now_ms
from fanfold.ledger.redriving import Selection
from fanfold.ledger.run_again import Redrive
from tests.ledger.jobs_recorded import begun, chunks_of, claimed_starts, found, ours
from tests.ledger.meanwhile import Meanwhile
from tests.ledger.raw_sql import rows
from tests.ledger.trees import (
    FROM_BEFORE,
    Tree,
    ended,
    leaf,
    opened,
    parallel,
    records,
    sequence,
    states,
    to_record,
)
from tests.ledger.twice import WrittenTwice

GIVEN = parallel(
    gets=leaf(), has=leaf(1, 1), below=sequence(also_gets=leaf(), then=FROM_BEFORE, has=leaf(5))
)
NEVER = Failure(type="NeverSealed", message="too late")


async def receiving(ledger: Ledger, *parts: int) -> Tree:
    """A tree whose root receives, with so many items in each of its parts."""
    new, tree = to_record(GIVEN)
    await ours(ledger).recording.record(new, None)
    for number, size in enumerate(parts, start=1):
        upload = await ours(ledger).uploads.begin(tree.root, number)
        await ours(ledger).uploads.add(upload, 0, chunks_of([size]))
        await ours(ledger).uploads.complete(upload, number, max_chunks=99, max_items=99)
    return tree


async def seal(ledger: Ledger, tree: Tree, database: Database | None = None) -> bool:
    root = await found(ledger, tree.root)
    recording = Recording(database or ledger.database, DEFAULT_TENANT)
    return await recording.seal(tree.root, root.spec, root.controls, root.revision)


async def totals(ledger: Ledger, tree: Tree) -> Mapping[str, tuple[int, int]]:
    jobs = await records(ledger, tree)
    return {path: (job.total_chunks, job.total_items) for path, job in jobs.items()}


OWN = {"has": (2, 2), "below/then": (0, 0), "below/has": (1, 5)}
UNSEALED = {"gets": (0, 0), "below": (1, 5), "below/also_gets": (0, 0)}


async def test_what_has_arrived_is_counted_until_it_is_sealed_and_nothing_starts(
    ledger: Ledger,
) -> None:
    tree = await receiving(ledger, 3, 4)
    assert await totals(ledger, tree) == {"": (2, 7), **OWN, **UNSEALED}
    assert (await states(ledger, tree)) == dict.fromkeys(tree.ids, "pending") | {"": "receiving"}
    assert await claimed_starts(ledger) == []


@pytest.mark.parametrize("times", [1, 2])
async def test_what_arrived_becomes_the_chunks_of_all_that_get_it(
    ledger: Ledger, ledger_url: str, times: int
) -> None:
    tree = await receiving(ledger, 3, 4)

    database = WrittenTwice(ledger.database) if times == 2 else ledger.database
    assert await seal(ledger, tree, database) == (times == 1), "the second time there is no more"

    assert await totals(ledger, tree) == {
        "": (2 + 2 * 2 + 1, 7 + 2 + 7 + 5),
        "gets": (2, 7),
        "below": (2 + 1, 7 + 5),
        "below/also_gets": (2, 7),
        **OWN,
    }
    assert await claimed_starts(ledger) == [tree.root]
    for path in ("gets", "below/also_gets"):
        await opened(ledger, tree, path)
        for index, size in enumerate((3, 4)):
            assert (await begun(ledger, tree[path], index)).input == chunks_of([size])[0].body
    assert rows(ledger_url, "SELECT COUNT(*) FROM inputs") == [(2 + 2 + 1,)]
    assert rows(ledger_url, "SELECT COUNT(*) FROM received_chunks") == [(0,)]


async def test_a_job_of_which_nothing_has_arrived_is_not_sealed_whatever_others_have(
    ledger: Ledger,
) -> None:
    tree = await receiving(ledger)
    assert not await seal(ledger, tree)
    assert await totals(ledger, tree) == {"": (0, 0), **OWN, **UNSEALED}


async def cancel(ledger: Ledger, tree: Tree, path: str) -> None:
    """Cancel a sub-job; the gateways' loop finds that it has no workflow, and closes it."""
    assert await ours(ledger).jobs.request_cancel(tree[path])
    await ours(ledger).closing.settle_below(tree[path])
    await ours(ledger).closing.settle(tree[path], 1)
    assert await ours(ledger).closing.close(tree[path], JobState.CANCELLED, error=None, run=1)


async def test_a_sub_job_that_is_cancelled_while_data_arrives_gets_none_of_it(
    ledger: Ledger,
) -> None:
    tree = await receiving(ledger, 3)
    await cancel(ledger, tree, "gets")

    assert await seal(ledger, tree)

    assert (await totals(ledger, tree))[""] == (2 + 1 + 1, 2 + 3 + 5)
    assert (await found(ledger, tree["gets"])).total_chunks == 0
    await ended(ledger, tree, "has", JobState.SUCCEEDED)
    await ours(ledger).closing.settle_below(tree.root)
    assert await ours(ledger).closing.close(tree.root, JobState.FAILED, error=None)


async def test_a_sub_job_that_is_cancelled_just_before_the_seal_has_it_tried_again(
    ledger: Ledger,
) -> None:
    tree = await receiving(ledger, 3)
    meanwhile = Meanwhile(ledger.database, lambda: cancel(ledger, tree, "gets"))
    before = await totals(ledger, tree)

    assert not await seal(ledger, tree, meanwhile)

    assert await totals(ledger, tree) == before
    assert (await found(ledger, tree.root)).state is JobState.RECEIVING
    assert await seal(ledger, tree)
    assert (await totals(ledger, tree))["gets"] == (0, 0)


@pytest.mark.parametrize("state", [JobState.CANCELLED, JobState.FAILED])
async def test_what_is_not_sealed_ends_with_all_below_it(ledger: Ledger, state: JobState) -> None:
    tree, closing = await receiving(ledger, 3), ours(ledger).closing
    await ours(ledger).steering.pause(tree["below"])

    async def end() -> bool:
        if state is JobState.CANCELLED:
            return await closing.discard(tree.root)
        return await closing.give_up(tree.root, NEVER, silent_since=now_ms() + 1000)

    assert await end()
    assert not await end()

    assert await states(ledger, tree) == dict.fromkeys(tree.ids, "cancelled") | {"": state}
    # What had arrived is no part of it, and what came with it is.
    assert await totals(ledger, tree) == {"": (3, 7), **OWN, **UNSEALED}
    for path, job in (await records(ledger, tree)).items():
        assert job.counts == ChunkCounts(cancelled=job.total_chunks), path
    chunks = await ours(ledger).chunks.page(tree["has"], after=-1, limit=9)
    assert [str(chunk.state) for chunk in chunks] == ["cancelled"] * 2


async def test_what_was_redriven_below_ends_with_what_is_not_sealed(ledger: Ledger) -> None:
    tree = await receiving(ledger, 3)
    await cancel(ledger, tree, "has")
    job = await found(ledger, tree["has"])
    selected = await ours(ledger).redriving.select(job.id, Selection())
    again = Redrive(spec=job.spec, controls=job.controls, selected=selected)
    assert await ours(ledger).redriving.redrive(job, again)
    assert (await found(ledger, tree["has"])).state is JobState.PENDING

    assert await ours(ledger).closing.discard(tree.root)

    assert (await found(ledger, tree["has"])).state is JobState.CANCELLED
    assert (await found(ledger, tree["has"])).counts == ChunkCounts(cancelled=2)
