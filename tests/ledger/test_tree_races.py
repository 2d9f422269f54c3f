"""A tree in which several things happen at once: none is lost, nothing is left open, none waits."""

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager

import psycopg
import pytest

from fanfold.contract.job_spec import Execution
from fanfold.contract.names import DEFAULT_TENANT, JobId
from fanfold.contract.states import JobState
from fanfold.ledger import outcomes
from fanfold.ledger.closing import Closing
from fanfold.ledger.connect import Ledger, connect
from fanfold.ledger.database import Batch, Database, LedgerUnavailable, Row, Statement
from fanfold.ledger.migrate import migrate
from fanfold.ledger.records import BlockRun, ChunkCounts, ChunkOutput
from tests.ledger.conftest import PostgresqlServer
from tests.ledger.jobs_recorded import BROKEN, chunks_of, found, new_token, ours
from tests.ledger.meanwhile import Meanwhile
from tests.ledger.test_deadlocks import LATE
from tests.ledger.test_redrive_trees import UNSUCCESSFUL, redrive_one
from tests.ledger.trees import (
    FROM_BEFORE,
    Tree,
    ended,
    grown,
    leaf,
    opened,
    parallel,
    sequence,
    states,
)

on_postgresql = pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
"""On SQLite writers take turns."""


class Caught(LedgerUnavailable):
    """The script that was to be written."""

    def __init__(self, script: Sequence[Statement | Batch]) -> None:
        super().__init__("caught")
        self.script = script


class Catching(Meanwhile):
    """A database that writes nothing, and raises what it was given."""

    def __init__(self, database: Database) -> None:
        async def nothing() -> None:
            pass

        super().__init__(database, nothing)

    async def write(self, *script: Statement | Batch) -> list[list[Row]]:
        raise Caught(script)


@contextmanager
def under_way(url: str, caught: Caught) -> Iterator[psycopg.Connection]:
    """A transaction that has run the script, and is not committed yet."""
    with psycopg.connect(url) as connection:
        for one in caught.script:
            sql = one.sql.replace("?", "%s").encode()
            for parameters in one.rows if isinstance(one, Batch) else [one.parameters]:
                connection.execute(sql, parameters)
        yield connection


async def is_kept_waiting(task: asyncio.Task[bool], by: psycopg.Connection) -> bool:
    """Whether it comes to wait for a row, before it is done."""
    async with asyncio.timeout(20):
        while not task.done():
            if by.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchall():
                return True
            await asyncio.sleep(0.002)
    return False


async def caught(operation: Awaitable[object]) -> Caught:
    with pytest.raises(Caught) as error:
        await operation
    return error.value


async def about_to_end(ledger: Ledger) -> Tree:
    """A tree of which all has ended but a part and the root."""
    tree = await grown(ledger, parallel(part=parallel(a=leaf(1), b=leaf(1))))
    await ended(ledger, tree, "part/a", JobState.FAILED)
    await ended(ledger, tree, "part/b", JobState.SUCCEEDED)
    return tree


@on_postgresql
async def test_a_job_whose_sub_job_is_just_being_redriven_does_not_end(
    ledger: Ledger, ledger_url: str
) -> None:
    tree = await about_to_end(ledger)
    script = await caught(redrive_one(ledger, tree, "part/a", Catching(ledger.database)))
    with under_way(ledger_url, script) as redriving:
        closing = asyncio.create_task(
            ours(ledger).closing.close(tree["part"], JobState.FAILED, error=None)
        )
        assert await is_kept_waiting(closing, redriving)
        redriving.commit()
    assert not await closing
    assert await states(ledger, tree) == {
        "": "running",
        "part": "running",
        "part/a": "pending",
        "part/b": "succeeded",
    }


@on_postgresql
async def test_a_job_that_is_just_ending_is_opened_again_with_its_sub_job(
    ledger: Ledger, ledger_url: str
) -> None:
    tree = await about_to_end(ledger)
    script = await caught(
        Closing(Catching(ledger.database), DEFAULT_TENANT).close(
            tree["part"], JobState.FAILED, error=None, result=b"1"
        )
    )
    with under_way(ledger_url, script) as closing:
        redriving = asyncio.create_task(redrive_one(ledger, tree, "part/a"))
        assert await is_kept_waiting(redriving, closing)
        closing.commit()
    assert await redriving
    part = await found(ledger, tree["part"])
    assert (part.state, part.run) == (JobState.PENDING, 2)
    assert await ours(ledger).jobs.result(tree["part"]) is None
    assert (await found(ledger, tree["part/a"])).state is JobState.PENDING


async def test_of_two_redrives_of_one_tree_at_once_each_part_runs_again_once(
    ledger: Ledger, another: Ledger
) -> None:
    for _ in range(5):
        tree = await grown(ledger, parallel(a=leaf(1), part=parallel(b=leaf(1), c=leaf(1))))
        for path in ("a", "part/b", "part/c", "part", ""):
            await ended(ledger, tree, path, JobState.FAILED)
        root = await found(ledger, tree.root)
        below = await ours(ledger).redriving.select_below(root, UNSUCCESSFUL)
        done = await asyncio.gather(
            redrive_one(ledger, tree, "a"),
            redrive_one(another, tree, "part/b"),
            ours(another).redriving.redrive_below(root, below, None),
        )
        runs = {path: (await found(ledger, job_id)).run for path, job_id in tree.ids.items()}
        assert (await found(ledger, tree.root)).run == 2
        # All of it by the one, or a part by each of the others, or by one of these.
        assert done[2] == (not any(done[:2]))
        assert (runs["a"], runs["part/b"]) == tuple(
            2 if is_done or done[2] else 1 for is_done in done[:2]
        )
        assert runs["part/c"] == (2 if done[2] else 1)
        for path in ("a", "part/b", "part/c"):
            above = tree.ids.get("part", tree.root) if "/" in path else tree.root
            if not (await found(ledger, tree[path])).state.is_terminal:
                assert not (await found(ledger, above)).state.is_terminal


# --- no two wait for each other ---------------------------------------------------------------

LEAVES, CHUNKS = 4, 12


async def work(ledger: Ledger, job_id: JobId, seed: int) -> None:
    """Claim and end chunks of a job until none is left."""
    run = BlockRun(block=seed, number=1)
    while await ours(ledger).work.page(job_id, after=-1, limit=1):
        claimed = await ours(ledger).work.claim_some(
            job_id, run, job_run=1, token=new_token(), count=3
        )
        for attempt in claimed:
            script = outcomes.failed(attempt, BROKEN, ChunkOutput())
            if attempt.index % 3:
                script = outcomes.succeeded(attempt, ChunkOutput(body=b"[1]"))
            await ours(ledger).work.record(script)
        if not claimed:
            await asyncio.sleep(0.01)  # it is paused, or the others have what is left


async def plan(ledger: Ledger, tree: Tree) -> None:
    """Hand out a sequence, and give its second job its items."""
    of = ours(ledger).sub_jobs
    for path in tree.ids:
        if path.endswith("/then"):
            (job,) = await of.unfinished(tree[path.partition("/")[0]], after=-1, limit=1)
            await of.hand_out([job], Execution.ACTIVITY)
            await of.give_input(job, await of.ancestors(job.id), chunks_of([1, 1]))


async def steer(ledger: Ledger, tree: Tree) -> None:
    for priority in (1, 2, 4):
        await ours(ledger).steering.pause(tree.root)
        await ours(ledger).steering.prioritize_below(tree.root, priority)
        await ours(ledger).steering.resume(tree.root)
        jobs = await ledger.starting.to_check(unchecked_since=2**60, limit=20)
        await ledger.starting.mark_checked(jobs)


async def test_all_that_happens_in_a_tree_at_once_gets_through_and_is_counted(
    postgresql: PostgresqlServer,
) -> None:
    """The server looks for deadlocks so late that a test which needs it to fails."""
    node = parallel(
        **{f"leaf{at}": leaf(*[1] * CHUNKS) for at in range(LEAVES)},
        **{f"steps{at}": sequence(first=leaf(1), then=FROM_BEFORE) for at in range(LEAVES)},
    )
    with postgresql.new_database() as url:
        migrate(url)
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute(LATE.format(admin.info.dbname).encode())
        async with connect(url) as one, connect(url) as other, asyncio.timeout(60):
            tree = await grown(one, node)
            for at in range(LEAVES):
                await opened(one, tree, f"leaf{at}")
                await ended(one, tree, f"steps{at}/first", JobState.SUCCEEDED)
            await asyncio.gather(
                *(
                    work(each, tree[f"leaf{at}"], seed)
                    for at in range(LEAVES)
                    for seed, each in ((2 * at, one), (2 * at + 1, other))
                ),
                *(plan(each, tree) for each in (one, other)),
                *(steer(each, tree) for each in (one, other)),
            )
            root = await found(one, tree.root)
            done = root.counts.succeeded + root.counts.failed
            assert (root.total_chunks, done) == (LEAVES * (CHUNKS + 3), LEAVES * (CHUNKS + 1))
            assert root.counts.pending == 2 * LEAVES
            jobs = [await found(one, job_id) for job_id in tree.ids.values()]
            leaves = [job.counts for job in jobs if not job.is_parent]
            assert root.counts == ChunkCounts(
                pending=sum(counts.pending for counts in leaves),
                succeeded=sum(counts.succeeded for counts in leaves),
                failed=sum(counts.failed for counts in leaves),
                items_succeeded=sum(counts.items_succeeded for counts in leaves),
                items_failed=sum(counts.items_failed for counts in leaves),
            )
            # And then all of it is stopped, by everybody at once.
            await asyncio.gather(
                ours(one).jobs.request_cancel(tree.root),
                *(ours(each).closing.settle_below(tree.root) for each in (one, other, one)),
            )
            await ours(other).closing.settle_below(tree.root)
            assert await ours(one).closing.close(tree.root, JobState.CANCELLED, error=None)
            assert (await found(one, tree.root)).counts.open == 0
