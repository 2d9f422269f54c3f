"""What is done for a tree reads the rows of that tree, beside others however large.

As in test_query_plans.py, on a ledger without statistics; and on PostgreSQL with them too.
"""

import re
from collections.abc import Sequence

import psycopg
import pytest

from fanfold.contract.failures import Failure
from fanfold.contract.job_spec import Execution
from fanfold.contract.names import DEFAULT_TENANT
from fanfold.contract.states import ChunkState, JobState
from fanfold.ledger.closing import Closing
from fanfold.ledger.compensating import Compensating
from fanfold.ledger.connect import Ledger
from fanfold.ledger.database import Value
from fanfold.ledger.error_groups import RunningErrorGroups
from fanfold.ledger.jobs import Jobs
from fanfold.ledger.migrate import migrate
from fanfold.ledger.recording import Recording
from fanfold.ledger.records import now_ms
from fanfold.ledger.redriving import Redriving, Selection
from fanfold.ledger.retention import Retention
from fanfold.ledger.starting import Places, Starting
from fanfold.ledger.steering import Steering
from fanfold.ledger.sub_jobs import SubJobs
from tests.ledger.jobs_recorded import chunks_of, fail, found, ours, record
from tests.ledger.raw_sql import rows
from tests.ledger.test_query_plans import Listening, plans_on_sqlite
from tests.ledger.trees import (
    FROM_BEFORE,
    ended,
    grown,
    leaf,
    opened,
    parallel,
    sequence,
    to_record,
    undone,
)

OTHERS = 3_000
"""Sub-jobs of another tree, and jobs alone, each with a chunk."""
Heard = dict[str, Sequence[Value]]
# A part of the jobs that is read as a whole: those under way, say.
_PART = "jobs_(under_way|to_start|unfinished|receiving|expiring|finished)"


@pytest.fixture
def ledger_url(empty_url: str) -> str:
    """A ledger of this test's own: what is left of others may have been counted."""
    migrate(empty_url)
    return empty_url


async def others(ledger: Ledger, ledger_url: str) -> None:
    """Another tree and many jobs, some at each place of their lives."""
    tree = await grown(ledger, parallel(part=parallel(one=leaf(1))))
    await opened(ledger, tree, "part/one")
    alone = await record(ledger)
    columns = [
        column
        for (column,) in rows(
            ledger_url,
            "SELECT name FROM pragma_table_info('jobs')"
            if ledger_url.startswith("sqlite")
            else "SELECT column_name FROM information_schema.columns WHERE table_name = 'jobs' "
            "AND table_schema = 'public'",
        )
        if column not in ("id", "position", "last_position", "parent_id", "workflow_started_at")
    ]
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {OTHERS}) "
    for job_id in (tree["part/one"], alone):
        rows(
            ledger_url,
            f"{numbers} INSERT INTO jobs ({', '.join(columns)}, id, position, last_position, "
            f"parent_id, workflow_started_at) SELECT {', '.join(columns)}, id || '_' || i, "
            # Ten of a parent.
            "position + i, position + i, parent_id || '_' || i / 10, "
            f"CASE WHEN i < 100 THEN 1 END FROM jobs, n WHERE id = '{job_id}'",
        )
        rows(
            ledger_url,
            f"{numbers} INSERT INTO chunks (job_id, idx, tenant, state, item_count) "
            f"SELECT '{job_id}_' || i, 0, 'default', 'pending', 1 FROM n",
        )
    for job_id in (tree.root, tree["part"]):
        rows(
            ledger_url,
            f"{numbers} INSERT INTO job_ancestors (job_id, ancestor_id) "
            f"SELECT '{tree['part/one']}_' || i, '{job_id}' FROM n",
        )
    rows(ledger_url, f"UPDATE jobs SET last_position = {OTHERS + 2} WHERE id = '{tree.root}'")


async def live(ledger: Ledger) -> dict[str, Heard]:  # noqa: PLR0915 - a life has many steps
    """Have a small tree live through all that a tree may; the statements, by what is done."""
    heard: dict[str, Heard] = {}
    database = Listening(ledger.database)

    def hear(what: str) -> None:
        heard.setdefault(what, {}).update(database.heard)
        database.heard.clear()

    tenant = DEFAULT_TENANT
    jobs = Jobs(database, tenant, RunningErrorGroups(database))
    sub_jobs, starting = SubJobs(database, tenant), Starting(database)
    closing, steering = Closing(database, tenant), Steering(database, tenant)
    redriving, undoing = Redriving(database, tenant), Compensating(database, tenant)

    tree = await grown(
        ledger,
        parallel(
            part=sequence(first=undone(1, 1), then=FROM_BEFORE, last=leaf(1)),
            other=parallel(a=leaf(1), b=leaf(1)),
        ),
    )
    new, receiving = to_record(parallel(gets=leaf(), has=leaf(1)))
    await ours(ledger).recording.record(new, None)
    upload = await ours(ledger).uploads.begin(receiving.root, 1)
    await ours(ledger).uploads.add(upload, 0, chunks_of([1]))
    await ours(ledger).uploads.complete(upload, 1, max_chunks=9, max_items=9)
    root = await found(ledger, receiving.root)
    await Recording(database, tenant).seal(root.id, root.spec, root.controls, root.revision)
    hear("seal")
    await starting.to_start(Places(10_000), limit=20)
    await starting.to_check(unchecked_since=now_ms() + 1, limit=20)
    hear("gateways")
    await jobs.page(state=None, labels={}, before="job_z", limit=20)
    await jobs.page(state=JobState.PENDING, labels={}, before=None, limit=20)
    hear("list")
    await jobs.page(state=JobState.PENDING, labels={}, before=None, limit=20, parent=tree.root)
    await jobs.sub_jobs(tree.root, limit=20)
    await jobs.sub_jobs(tree.root, state=JobState.PENDING, after=(1, "job"), limit=20)
    root = await found(ledger, tree.root)
    await jobs.leaves(root, counted=["items_failed"], limit=20)
    await jobs.leaves(root)
    hear("below")
    await opened(ledger, tree, "part/first", "other/a", "other/b")
    planned = await sub_jobs.unfinished(tree["part"], after=-1, limit=20)
    await sub_jobs.all_of(tree["part"])
    await sub_jobs.count_unfinished(tree["part"])
    await sub_jobs.hand_out(planned, Execution.WORKFLOW)
    await ended(ledger, tree, "part/first", JobState.PARTIALLY_SUCCEEDED)
    await sub_jobs.states_by_end(tree["part"])
    above = await sub_jobs.ancestors(tree["part/then"])
    await sub_jobs.give_input(planned[1], above, chunks_of([1]))
    await sub_jobs.skip(tree["part/then"])
    await sub_jobs.cancel_unbegun(tree["part/last"])
    hear("plan")
    await fail(ledger, tree["other/a"], 0)
    await jobs.find(tree.root)
    await steering.pause(tree.root)
    await steering.resume(tree.root)
    await steering.prioritize_below(tree.root, 1)
    await jobs.request_cancel(tree["other"])
    hear("steer")
    await closing.settle_below(tree["other"])
    await closing.close(tree["other"], JobState.CANCELLED, error=None)
    last = root.place.last_position
    for due in await undoing.due(tree.root, 0, last):
        await undoing.record(due)
    await sub_jobs.compensations(tree.root)
    await undoing.hand_over(tree.root)
    failure = Failure(type="T", message="m")
    assert await closing.close(tree["part"], JobState.FAILED, error=failure)
    assert await closing.close(tree.root, JobState.FAILED, error=failure)
    hear("end")
    root = await found(ledger, tree.root)
    states = [ChunkState.FAILED, ChunkState.CANCELLED]
    below = await redriving.select_below(root, Selection(states=states))
    await redriving.select_below(root, Selection(error_types=["Broken"]))
    assert await redriving.redrive_below(root, below, None)
    hear("redrive")
    await ours(ledger).closing.settle_below(tree.root)
    assert await ours(ledger).closing.close(tree.root, JobState.FAILED, error=failure)
    await Retention(database).expire(finished_before=now_ms() + 1)
    hear("expire")
    return heard


@pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
async def test_sqlite_reads_the_rows_of_that_tree_alone(ledger: Ledger, ledger_url: str) -> None:
    await others(ledger, ledger_url)
    for what, heard in (await live(ledger)).items():
        assert heard, what
        for sql, step in plans_on_sqlite(ledger_url, heard):
            if re.search(rf"SCAN jobs USING (COVERING )?INDEX {_PART}\b", step):
                continue
            whole = re.search(
                r"SCAN (jobs|chunks|inputs|results|job_counts|job_ancestors|above|below|root)\b",
                step,
            )
            assert not whole, (what, step, sql)
            # Of a job of which another one is made: by its key, or by its place in its tree.
            assert "(tenant=?)" not in step, (what, step, sql)


LISTED = {
    "gateways": {"jobs_to_start", "jobs_under_way", "jobs_unfinished"},
    "list": {"jobs_by_tenant", "jobs_by_state"},
    "below": {"jobs_of_parent", "jobs_of_root"},
}


@pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
async def test_sqlite_lists_and_starts_by_indexes_without_the_jobs_of_other_trees(
    ledger: Ledger, ledger_url: str
) -> None:
    await others(ledger, ledger_url)
    heard = await live(ledger)
    for what, indexes in LISTED.items():
        steps = [step for _, step in plans_on_sqlite(ledger_url, heard[what])]
        used = {name for step in steps for name in re.findall(r"INDEX (jobs_\w+)", step)}
        assert used >= indexes, (what, steps)


@pytest.mark.parametrize("has_statistics", [False, True])
@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)
async def test_postgresql_reads_the_rows_of_that_tree_alone(
    ledger: Ledger, ledger_url: str, has_statistics: bool
) -> None:
    await others(ledger, ledger_url)
    heard = await live(ledger)
    if has_statistics:
        rows(ledger_url, "ANALYZE")
    with psycopg.connect(ledger_url, cursor_factory=psycopg.ClientCursor) as connection:
        for what, statements in heard.items():
            plans = []
            for sql, parameters in statements.items():
                explain = f"EXPLAIN (COSTS OFF) {sql.replace('?', '%s')}".encode()
                plan = "\n".join(row[0] for row in connection.execute(explain, parameters))
                assert not re.search(r"Seq Scan on (jobs|chunks|job_ancestors)\b", plan), (
                    what,
                    plan,
                    sql,
                )
                plans.append(plan)
            used = set(re.findall(r"\b(jobs_\w+)\b", "\n".join(plans)))
            assert has_statistics or used >= LISTED.get(what, set()), (what, plans)
        connection.rollback()
