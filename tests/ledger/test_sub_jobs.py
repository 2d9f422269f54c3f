"""The jobs that a job is made of, as its workflow plans, hands out and ends them."""

import asyncio

import pytest

from fanfold.contract.job_spec import Execution
from fanfold.contract.names import DEFAULT_TENANT
from fanfold.contract.states import JobState
from fanfold.ledger import outcomes
from fanfold.ledger.connect import Ledger
from fanfold.ledger.records import ChunkCounts, ChunkOutput
from fanfold.ledger.sub_jobs import SubJob, SubJobs
from tests.ledger.jobs_recorded import (
    begun,
    chunks_of,
    found,
    hold,
    ours,
    succeed,
)
from tests.ledger.raw_sql import rows
from tests.ledger.steered import chunk_states
from tests.ledger.test_redrive_trees import redrive_all
from tests.ledger.test_tenants import everything
from tests.ledger.trees import (
    FROM_BEFORE,
    Tree,
    ended,
    grown,
    leaf,
    opened,
    parallel,
    records,
    sequence,
    states,
)
from tests.ledger.twice import WrittenTwice

STEPS = sequence(first=leaf(1), then=FROM_BEFORE, part=parallel(a=leaf(1, 1), b=leaf(1)))


async def sub_job(ledger: Ledger, tree: Tree, path: str) -> SubJob:
    parent = tree[path.rpartition("/")[0]]
    jobs = await ours(ledger).sub_jobs.all_of(parent)
    return next(job for job in jobs if job.id == tree[path])


# --- planned and handed out -------------------------------------------------------------------


async def test_those_that_have_not_ended_are_planned_in_order_some_at_a_time(
    ledger: Ledger,
) -> None:
    tree = await grown(ledger, parallel(**{f"s{at}": leaf(1) for at in range(6)}))
    sub_jobs = ours(ledger).sub_jobs
    await ended(ledger, tree, "s1", JobState.FAILED)
    await ended(ledger, tree, "s3", JobState.PARTIALLY_SUCCEEDED)
    await sub_jobs.cancel_unbegun(tree["s4"])
    await ours(ledger).steering.pause(tree["s5"])

    first = await sub_jobs.unfinished(tree.root, after=-1, limit=2)
    assert [(job.name, job.state, job.has_begun) for job in first] == [
        ("s0", "pending", False),
        ("s2", "pending", False),
    ]
    rest = await sub_jobs.unfinished(tree.root, after=first[-1].position, limit=9)
    assert [(job.name, job.state) for job in rest] == [("s5", "paused")]
    assert [job.name for job in await sub_jobs.all_of(tree.root)] == list(tree.ids)
    assert await sub_jobs.count_unfinished(tree.root) == 3
    # Those that came to no end of their own say nothing of failures.
    assert await sub_jobs.states_by_end(tree.root) == ["failed", "partially_succeeded"]


async def test_what_is_handed_out_runs_as_was_decided_unless_it_has_begun(
    ledger: Ledger, ledger_url: str
) -> None:
    auto = leaf(1, execution=Execution.AUTO)
    tree = await grown(ledger, parallel(a=auto, b=leaf(1, execution=Execution.WORKFLOW), c=auto))
    await opened(ledger, tree, "c")
    sub_jobs = SubJobs(WrittenTwice(ledger.database), DEFAULT_TENANT)
    jobs = await sub_jobs.all_of(tree.root)
    await sub_jobs.hand_out(jobs, Execution.ACTIVITY)
    assert [job.spec.execution for job in await sub_jobs.all_of(tree.root)] == [
        *(Execution.ACTIVITY, Execution.WORKFLOW, Execution.AUTO),
    ]
    handed_out = "SELECT COUNT(*) FROM jobs WHERE workflow_started_at > 0 AND parent_id IS NOT NULL"
    assert rows(ledger_url, handed_out) == [(3,)]
    # Gateways do not compare it with its workflow.
    checked = await ledger.starting.to_check(unchecked_since=2**60, limit=9)
    assert [job.id for job in checked] == [tree.root]


async def test_what_was_planned_in_a_run_is_not_handed_out_in_the_next(
    ledger: Ledger, ledger_url: str
) -> None:
    tree = await grown(ledger, parallel(a=leaf(1, execution=Execution.AUTO)))
    (job,) = await ours(ledger).sub_jobs.all_of(tree.root)
    rows(ledger_url, f"UPDATE jobs SET run = 2 WHERE id = '{job.id}'")
    await ours(ledger).sub_jobs.hand_out([job], Execution.ACTIVITY)
    (job,) = await ours(ledger).sub_jobs.all_of(tree.root)
    assert job.spec.execution is Execution.AUTO


# --- ended before they began ------------------------------------------------------------------


@pytest.mark.parametrize("is_paused", [True, False])
async def test_a_job_whose_condition_is_not_met_is_skipped_with_its_chunks(
    ledger: Ledger, is_paused: bool
) -> None:
    tree = await grown(ledger, sequence(first=leaf(1), second=leaf(1, 1)))
    await opened(ledger, tree, "")
    if is_paused:
        await ours(ledger).steering.pause(tree["second"])

    await SubJobs(WrittenTwice(ledger.database), DEFAULT_TENANT).skip(tree["second"])

    job = await found(ledger, tree["second"])
    assert (job.state, job.counts) == (JobState.SKIPPED, ChunkCounts(cancelled=2))
    assert job.finished_at is not None
    assert await chunk_states(ledger, job.id) == ["cancelled"] * 2
    root = await found(ledger, tree.root)
    assert root.counts == ChunkCounts(pending=1, cancelled=2)
    assert root.jobs == {JobState.PENDING: 1, JobState.SKIPPED: 1}


@pytest.mark.parametrize("what", ["skip", "cancel_unbegun"])
async def test_a_job_that_has_begun_is_not_ended_as_if_it_had_not(
    ledger: Ledger, what: str
) -> None:
    tree = await grown(ledger, sequence(first=leaf(1), second=leaf(1)))
    await opened(ledger, tree, "first")
    before = await everything(ledger)
    await getattr(ours(ledger).sub_jobs, what)(tree["first"])
    assert await everything(ledger) == before


async def test_a_job_that_is_being_cancelled_is_not_skipped_but_cancelled(ledger: Ledger) -> None:
    tree = await grown(ledger, sequence(first=leaf(1), second=leaf(1)))
    await ours(ledger).jobs.request_cancel(tree["second"])
    await ours(ledger).sub_jobs.skip(tree["second"])
    assert (await found(ledger, tree["second"])).state is JobState.CANCELLED


async def test_a_job_that_is_opened_as_it_is_ended_is_one_or_the_other(
    ledger: Ledger, another: Ledger
) -> None:
    for _ in range(10):
        tree = await grown(ledger, sequence(first=leaf(1, 1)))
        (_, state), _ = await asyncio.gather(
            ours(another).jobs.open(tree["first"]),
            ours(ledger).sub_jobs.cancel_unbegun(tree["first"]),
        )
        chunks = set(await chunk_states(ledger, tree["first"]))
        assert (state, chunks) in [("running", {"pending"}), ("cancelled", {"cancelled"})]


# --- stopped with the job above ---------------------------------------------------------------


async def test_all_below_a_job_that_is_stopped_ends_and_keeps_what_it_had(
    ledger: Ledger,
) -> None:
    tree = await grown(
        ledger,
        parallel(
            done=leaf(1),
            runs=leaf(1, 1, 1),
            waits=leaf(1),
            rests=leaf(1),
            part=parallel(begun=leaf(1), never=leaf(1, 1)),
            never=sequence(a=leaf(1), b=FROM_BEFORE),
        ),
    )
    await ended(ledger, tree, "done", JobState.SUCCEEDED)
    await opened(ledger, tree, "runs", "waits", "rests", "part/begun")
    await succeed(ledger, tree["runs"], 0)
    running = await begun(ledger, tree["runs"], 1)
    await hold(ledger, tree["waits"], 0)
    assert await ours(ledger).closing.wait(tree["waits"])
    await ours(ledger).steering.pause(tree["rests"])
    beside = await grown(ledger, STEPS)

    await ours(ledger).closing.settle_below(tree.root)

    assert await states(ledger, tree) == dict.fromkeys(tree.ids, "cancelled") | {
        "": "running",
        "done": "succeeded",
    }
    assert await chunk_states(ledger, tree["runs"]) == ["succeeded", "cancelled", "cancelled"]
    assert await chunk_states(ledger, tree["waits"]) == ["failed"], "given up"
    root = await found(ledger, tree.root)
    assert root.counts == ChunkCounts(
        succeeded=2, failed=1, cancelled=2 + 1 + 1 + 2 + 1, items_succeeded=2, items_failed=1
    )
    for job in (await records(ledger, tree)).values():
        assert job.counts.open == job.counts.held == 0
    # A worker that comes back late changes nothing.
    await ours(ledger).work.record(outcomes.succeeded(running, ChunkOutput(body=b"[1]")))
    assert (await found(ledger, tree.root)).counts == root.counts
    assert await ours(ledger).closing.close(tree.root, JobState.CANCELLED, error=None)
    assert set((await states(ledger, beside)).values()) == {"pending"}
    await ours(ledger).closing.settle_below(tree.root)


async def test_settling_what_is_below_a_part_leaves_the_others_alone(ledger: Ledger) -> None:
    tree = await grown(ledger, parallel(part=parallel(a=leaf(1)), other=leaf(1)))
    await opened(ledger, tree, "other")
    await ours(ledger).closing.settle_below(tree["part"])
    assert await states(ledger, tree) == {
        "": "running",
        "part": "pending",
        "part/a": "cancelled",
        "other": "running",
    }


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED])
async def test_no_job_is_closed_while_one_that_it_is_made_of_is_open(
    ledger: Ledger, state: JobState
) -> None:
    tree = await grown(ledger, parallel(part=parallel(a=leaf(1)), empty=sequence(b=FROM_BEFORE)))
    await opened(ledger, tree, "part/a", "empty/b")
    await succeed(ledger, tree["part/a"], 0)
    closing = ours(ledger).closing
    for path in ("", "part", "empty"):
        assert not await closing.close(tree[path], state, error=None, result=b"1"), path
        assert await ours(ledger).jobs.result(tree[path]) is None
    for path in ("part/a", "part", "empty/b", "empty", ""):
        assert await closing.close(tree[path], state, error=None), path


# --- items of the job before ------------------------------------------------------------------


async def give(ledger: Ledger, tree: Tree, path: str, sizes: list[int]) -> None:
    job, sub_jobs = await sub_job(ledger, tree, path), ours(ledger).sub_jobs
    await sub_jobs.give_input(job, await sub_jobs.ancestors(job.id), chunks_of(sizes))


async def totals(ledger: Ledger, tree: Tree) -> list[tuple[int, int]]:
    return [(job.total_chunks, job.total_items) for job in (await records(ledger, tree)).values()]


async def test_items_are_given_once_and_counted_for_all_above(
    ledger: Ledger, another: Ledger
) -> None:
    tree = await grown(ledger, parallel(part=sequence(first=leaf(1), then=FROM_BEFORE)))
    await opened(ledger, tree, "part/first")

    await asyncio.gather(
        *(give(each, tree, "part/then", [2, 3]) for each in (ledger, another, ledger, another))
    )
    await give(ledger, tree, "part/then", [7])

    assert await totals(ledger, tree) == [(3, 6), (3, 6), (1, 1), (2, 5)]
    assert (await found(ledger, tree.root)).counts == ChunkCounts(pending=3)
    await opened(ledger, tree, "part/then")
    attempt = await begun(ledger, tree["part/then"], 1)
    assert (attempt.input, attempt.item_count) == (b"[1,1,1]", 3)
    await ended(ledger, tree, "part/first", JobState.SUCCEEDED)


async def test_what_is_written_twice_is_given_once(ledger: Ledger) -> None:
    tree = await grown(ledger, sequence(first=leaf(1), then=FROM_BEFORE))
    twice = SubJobs(WrittenTwice(ledger.database), DEFAULT_TENANT)
    job = await sub_job(ledger, tree, "then")
    await twice.give_input(job, [tree.root], chunks_of([2, 3]))
    assert await totals(ledger, tree) == [(3, 6), (1, 1), (2, 5)]


@pytest.mark.parametrize("has_begun", [True, False])
async def test_a_job_that_has_begun_or_ended_is_given_nothing(
    ledger: Ledger, has_begun: bool
) -> None:
    tree = await grown(ledger, sequence(first=leaf(1), then=FROM_BEFORE))
    if has_begun:
        await opened(ledger, tree, "then")
    else:
        await ours(ledger).sub_jobs.cancel_unbegun(tree["then"])
    before = await everything(ledger)
    await give(ledger, tree, "then", [2])
    assert await everything(ledger) == before


async def test_a_job_that_is_given_no_items_ends_as_one_without_any(ledger: Ledger) -> None:
    tree = await grown(ledger, sequence(first=leaf(1), then=FROM_BEFORE))
    await give(ledger, tree, "then", [])
    assert await totals(ledger, tree) == [(1, 1), (1, 1), (0, 0)]
    await ended(ledger, tree, "then", JobState.SUCCEEDED)


async def test_what_was_given_and_did_not_run_is_given_anew_in_the_next_run(
    ledger: Ledger, ledger_url: str
) -> None:
    tree = await grown(ledger, parallel(part=sequence(first=leaf(1, 1), then=FROM_BEFORE)))
    await ended(ledger, tree, "part/first", JobState.PARTIALLY_SUCCEEDED)
    await give(ledger, tree, "part/then", [2, 3])
    # All of it is stopped, just before the next one begins.
    await ours(ledger).closing.settle_below(tree.root)
    await ended(ledger, tree, "", JobState.CANCELLED)
    assert await redrive_all(ledger, tree)
    before = await found(ledger, tree.root)
    assert (before.total_chunks, before.counts.pending) == (4, 1 + 2)
    await ended(ledger, tree, "part/first", JobState.SUCCEEDED)

    for sizes in ([4], [5]):
        await give(ledger, tree, "part/then", sizes)

    assert await totals(ledger, tree) == [(3, 6), (3, 6), (2, 2), (1, 4)]
    assert (await found(ledger, tree.root)).counts == ChunkCounts(
        pending=1, succeeded=2, items_succeeded=2
    )
    assert rows(ledger_url, "SELECT COUNT(*) FROM kept_outputs") == [(0,)]
    await opened(ledger, tree, "part/then")
    assert (await begun(ledger, tree["part/then"], 0, run=2)).input == b"[0,0,0,0]"
    await ours(ledger).closing.settle_below(tree.root)
    assert (await found(ledger, tree.root)).counts.cancelled == 1


async def test_what_was_given_and_has_run_is_not_taken_back(ledger: Ledger) -> None:
    tree = await grown(ledger, sequence(first=leaf(1), then=FROM_BEFORE))
    await ended(ledger, tree, "first", JobState.SUCCEEDED)
    await give(ledger, tree, "then", [2, 3])
    await ended(ledger, tree, "then", JobState.FAILED)
    await ended(ledger, tree, "", JobState.FAILED)
    assert await redrive_all(ledger, tree)
    before = await everything(ledger)
    await give(ledger, tree, "then", [7])
    assert await everything(ledger) == before
