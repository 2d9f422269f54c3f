"""A tree is removed as a whole: all of it, nothing else, and no part of it alone."""

import asyncio
from typing import Any

import psycopg
import pytest

from fanfold.contract.job_spec import Controls
from fanfold.contract.states import JobState
from fanfold.ledger import retention
from fanfold.ledger.compensating import Due
from fanfold.ledger.connect import Ledger
from fanfold.ledger.records import IdempotencyKey, now_ms
from tests.ledger.jobs_recorded import fail, found, ours, succeed
from tests.ledger.raw_sql import rows
from tests.ledger.test_redrive_trees import UNSUCCESSFUL
from tests.ledger.test_retention import delete_all, finished
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
    states,
    undone,
)

KEY = IdempotencyKey(key="mine", body_hash=b"1")
PACED = Controls(max_concurrency=10, max_per_second=5, labels={"a": "b"})


async def a_life(ledger: Ledger, **given: Any) -> Tree:
    """A tree that has ended, with something in every table that jobs are in."""
    tree = await grown(
        ledger,
        parallel(
            *(1, 2),
            part=sequence(first=undone(), second=leaf(controls=PACED)),
            other=leaf(1, compensate=UNDO),
        ),
        **given,
    )
    await opened(ledger, tree, "part/first", "part/second", "other")
    for path in ("part/first", "part/second"):
        await succeed(ledger, tree[path], 0)
        await fail(ledger, tree[path], 1)
    await ended(ledger, tree, "other", JobState.SUCCEEDED)
    for path in ("part/first", "part/second", "part"):
        await ended(ledger, tree, path, JobState.FAILED)
    for path in ("part/first", "other"):
        await ours(ledger).compensating.record(Due(tree[path], 1))
    for undoing in await ours(ledger).sub_jobs.compensations(tree.root):
        await ours(ledger).jobs.open(undoing.id)
        await succeed(ledger, undoing.id, 0)
        assert await ours(ledger).closing.close(undoing.id, JobState.SUCCEEDED, error=None)
    await ended(ledger, tree, "", JobState.FAILED)
    root = await found(ledger, tree.root)
    below = await ours(ledger).redriving.select_below(root, UNSUCCESSFUL)
    assert await ours(ledger).redriving.redrive_below(root, below, None)
    # The other part too: what was undone runs again.
    for path in ("part/first", "part/second", "part", "other", ""):
        await ended(ledger, tree, path, JobState.PARTIALLY_SUCCEEDED)
    return tree


async def test_every_row_of_a_purged_tree_is_deleted_and_none_of_another(ledger: Ledger) -> None:
    await a_life(ledger)
    await finished(ledger)
    before = await everything(ledger)
    tree = await a_life(ledger, key=KEY)

    assert await ours(ledger).jobs.purge(tree.root)

    for job_id in (tree.root, *tree.ids.values()):
        assert await ours(ledger).jobs.find(job_id) is None
    await delete_all(ledger)
    assert await everything(ledger) == before


async def test_no_part_of_a_tree_is_purged_alone(ledger: Ledger) -> None:
    tree = await a_life(ledger)
    before = await everything(ledger)
    for path in ("part", "part/first"):
        assert not await ours(ledger).jobs.purge(tree[path])
    (undoing,) = await ours(ledger).jobs.sub_jobs(tree["other"], limit=9)
    assert not await ours(ledger).jobs.purge(undoing.id)
    assert await everything(ledger) == before


@pytest.mark.parametrize("keep_ms", [None, 0])
async def test_no_part_of_a_tree_expires_before_the_whole(
    ledger: Ledger, ledger_url: str, keep_ms: int | None
) -> None:
    tree = await grown(ledger, parallel(part=sequence(a=leaf(1)), b=leaf(1)), keep_ms=keep_ms)
    for path in ("part/a", "part"):
        await ended(ledger, tree, path, JobState.SUCCEEDED)
    rows(ledger_url, "UPDATE jobs SET finished_at = 1000 WHERE finished_at IS NOT NULL")
    assert await ledger.retention.expire(finished_before=now_ms()) == 0
    for path in ("b", ""):
        await ended(ledger, tree, path, JobState.SUCCEEDED)

    late = now_ms() + 1 if keep_ms is None else 0
    assert await ledger.retention.expire(finished_before=late) == 1
    assert await ledger.retention.expire(finished_before=late) == 0

    await delete_all(ledger)
    assert rows(ledger_url, "SELECT COUNT(*) FROM jobs") == [(0,)]
    assert rows(ledger_url, "SELECT COUNT(*) FROM inputs") == [(0,)]


async def test_of_large_trees_few_expire_at_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "MAX_JOBS_EXPIRED_AT_ONCE", 5)
    for count in (6, 1, 1):
        tree = await grown(ledger, parallel(**{f"s{at}": leaf(1) for at in range(count)}))
        for path in (*tree.ids, ""):
            await ended(ledger, tree, path, JobState.SUCCEEDED)
    await finished(ledger)
    expired = [await ledger.retention.expire(finished_before=now_ms() + 1) for _ in range(3)]
    assert expired == [1, 3, 0]


async def test_a_tree_that_has_not_ended_is_not_purged_whatever_has_ended_below(
    ledger: Ledger,
) -> None:
    tree = await grown(ledger, parallel(a=leaf(1), b=leaf(1)))
    await ended(ledger, tree, "a", JobState.SUCCEEDED)
    before = await everything(ledger)
    assert not await ours(ledger).jobs.purge(tree.root)
    assert not await ours(ledger).jobs.purge(tree["a"])
    assert await everything(ledger) == before


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
async def test_a_tree_that_is_redriven_while_it_is_purged_stays_whole(
    ledger: Ledger, ledger_url: str
) -> None:
    """On SQLite writers take turns."""
    tree = await a_life(ledger)
    before = await states(ledger, tree)
    with psycopg.connect(ledger_url) as redriving:
        # As a redrive does, and takes a moment.
        redriving.execute(
            "UPDATE jobs SET finished_at = NULL, summary = NULL, state = 'pending' WHERE id = %s",
            (tree.root,),
        )
        purging = asyncio.create_task(ours(ledger).jobs.purge(tree.root))
        await asyncio.sleep(0.02)
        redriving.commit()
    assert not await purging

    await delete_all(ledger)

    assert await states(ledger, tree) == before | {"": "pending"}
    assert rows(ledger_url, "SELECT job_id FROM purges") == []
    assert len(await ours(ledger).chunks.page(tree["part/first"], after=-1, limit=9)) == 2
