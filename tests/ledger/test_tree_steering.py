"""Controls of a tree, and of a part of it: what is below goes along, and nothing beside it."""

import asyncio
from dataclasses import replace

import pytest

from fanfold.contract.job_spec import Controls
from fanfold.contract.names import DEFAULT_TENANT
from fanfold.contract.states import JobState
from fanfold.ledger.connect import Ledger
from fanfold.ledger.database import Statement
from fanfold.ledger.error_groups import RunningErrorGroups
from fanfold.ledger.jobs import Jobs
from fanfold.ledger.records import BlockRun
from fanfold.ledger.steering import Steering
from tests.ledger.jobs_recorded import MANY_PLACES, begun, found, hold, new_token, ours
from tests.ledger.meanwhile import Meanwhile
from tests.ledger.test_tenants import everything
from tests.ledger.trees import (
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

RUN = BlockRun(block=1, number=1)
FAR_AHEAD = 2**60


async def stock(ledger: Ledger) -> Tree:
    """A tree that runs, with jobs in all states below it."""
    tree = await grown(
        ledger,
        parallel(
            part=sequence(runs=leaf(1, 1), never=leaf(1)),
            done=leaf(1),
            waits=leaf(1),
            never=parallel(a=leaf(1)),
        ),
    )
    await ended(ledger, tree, "done", JobState.SUCCEEDED)
    await opened(ledger, tree, "part/runs", "waits")
    await hold(ledger, tree["waits"], 0)
    assert await ours(ledger).closing.wait(tree["waits"])
    return tree


RUNNING = {
    "": "running",
    "part": "running",
    "part/runs": "running",
    "part/never": "pending",
    "done": "succeeded",
    "waits": "waiting",
    "never": "pending",
    "never/a": "pending",
}
PAUSED = {
    path: "paused" if state in ("running", "pending") else state for path, state in RUNNING.items()
}
CANCELLING = dict.fromkeys(RUNNING, "cancelling") | {"done": "succeeded"}


def steering(ledger: Ledger, times: int) -> Steering:
    return Steering(
        WrittenTwice(ledger.database) if times == 2 else ledger.database, DEFAULT_TENANT
    )


def jobs(ledger: Ledger, times: int) -> Jobs:
    database = WrittenTwice(ledger.database) if times == 2 else ledger.database
    return Jobs(database, DEFAULT_TENANT, RunningErrorGroups(database))


@pytest.mark.parametrize("times", [1, 2])
async def test_a_tree_is_paused_and_resumed_as_a_whole(ledger: Ledger, times: int) -> None:
    tree = await stock(ledger)
    assert await steering(ledger, times).pause(tree.root) == (times == 1)
    assert await states(ledger, tree) == PAUSED
    claimed = await ours(ledger).work.claim(tree["part/runs"], RUN, job_run=1, token=new_token())
    assert claimed is None
    assert await steering(ledger, times).resume(tree.root) == (times == 1)
    assert await states(ledger, tree) == RUNNING
    # Their workflows are told; those that have none yet, and the others, need not be.
    told = await ledger.starting.to_check(unchecked_since=1, limit=99)
    assert {job.id for job in told} == {tree[path] for path in ("", "part", "part/runs")}
    assert not any(job.is_told for job in told)


async def test_a_part_is_paused_alone_and_may_run_on_under_a_job_that_is_paused(
    ledger: Ledger,
) -> None:
    tree, of = await stock(ledger), ours(ledger).steering
    below = {path: state for path, state in PAUSED.items() if path.startswith("part")}
    assert await of.pause(tree["part"])
    assert await states(ledger, tree) == RUNNING | below
    assert await of.pause(tree.root)
    assert await of.resume(tree["part/runs"])
    assert await states(ledger, tree) == PAUSED | {"part/runs": "running"}


@pytest.mark.parametrize("control", ["pause", "resume"])
async def test_a_job_in_no_state_for_a_control_leaves_those_below_alone(
    ledger: Ledger, control: str
) -> None:
    tree = await stock(ledger)
    if control == "resume":
        await ours(ledger).steering.pause(tree["part/runs"])
    await ours(ledger).jobs.request_cancel(tree["part/never"])
    for state in ("cancelling", "failed"):
        is_so = "UPDATE jobs SET state = ? WHERE id = ?"
        await ledger.database.write(Statement(is_so, (state, tree["part"])))
        before = await everything(ledger)
        assert not await getattr(ours(ledger).steering, control)(tree["part"])
        assert await everything(ledger) == before


async def test_a_tree_is_cancelled_as_a_whole_and_nothing_in_it_begins(ledger: Ledger) -> None:
    tree = await stock(ledger)
    for times in (1, 2):
        assert await jobs(ledger, times).request_cancel(tree.root) == (times == 1)
        assert await states(ledger, tree) == CANCELLING
    claimed = await ours(ledger).work.claim(tree["part/runs"], RUN, job_run=1, token=new_token())
    assert claimed is None
    assert await ours(ledger).jobs.open(tree["never/a"]) == (False, JobState.CANCELLING)
    # The workflows below hear of it from the one above.
    told = await ledger.starting.to_check(unchecked_since=1, limit=99)
    assert [job.id for job in told] == [tree.root]


async def test_a_part_is_cancelled_alone(ledger: Ledger) -> None:
    tree = await stock(ledger)
    assert await ours(ledger).jobs.request_cancel(tree["part"])
    assert await states(ledger, tree) == RUNNING | {
        path: state for path, state in CANCELLING.items() if path.startswith("part")
    }
    told = await ledger.starting.to_check(unchecked_since=1, limit=99)
    assert [job.id for job in told] == [tree["part"]]


async def test_a_tree_that_drains_is_told_where_it_has_begun(ledger: Ledger) -> None:
    tree = await stock(ledger)
    attempt = await begun(ledger, tree["part/runs"])
    assert await ours(ledger).jobs.request_cancel(tree.root, is_draining=True)
    assert await states(ledger, tree) == CANCELLING
    told = await ledger.starting.to_check(unchecked_since=1, limit=99)
    assert {job.id for job in told} == {tree[path] for path in ("", "part", "part/runs", "waits")}
    assert all(job.is_draining for job in told)
    standing = await ours(ledger).watch.standing(attempt.job_id, RUN)
    assert standing.is_draining

    # And where it is asked for without that: all is to stop after all.
    assert not await ours(ledger).jobs.request_cancel(tree.root)
    for job in tree.ids.values():
        terms = await ours(ledger).jobs.terms(job)
        assert terms is not None
        assert not terms.is_draining


async def test_what_drains_below_stops_where_the_job_above_is_cancelled(ledger: Ledger) -> None:
    tree = await stock(ledger)
    assert await ours(ledger).jobs.request_cancel(tree["part"], is_draining=True)
    assert await ours(ledger).jobs.request_cancel(tree.root)
    standing = await ours(ledger).watch.standing(tree["part/runs"], RUN)
    assert (standing.job_state, standing.is_draining) == (JobState.CANCELLING, False)


async def priorities(ledger: Ledger, tree: Tree) -> dict[str, int]:
    return {path: job.controls.priority for path, job in (await records(ledger, tree)).items()}


@pytest.mark.parametrize("times", [1, 2])
async def test_all_that_has_not_ended_below_a_job_gets_its_priority(
    ledger: Ledger, times: int
) -> None:
    tree = await stock(ledger)
    before = await records(ledger, tree)
    await steering(ledger, times).prioritize_below(tree.root, 1)
    assert await priorities(ledger, tree) == dict.fromkeys(RUNNING, 1) | {"": 3, "done": 3}
    after = await records(ledger, tree)
    for path, job in before.items():
        assert after[path].spec == job.spec
        assert replace(after[path].controls, priority=3) == job.controls
    told = await ledger.starting.to_check(unchecked_since=1, limit=99)
    assert {job.id for job in told} == {tree[path] for path in ("part", "part/runs", "waits")}


async def test_a_change_of_a_job_below_in_between_is_kept_and_it_gets_its_priority(
    ledger: Ledger,
) -> None:
    tree = await stock(ledger)

    async def change() -> None:
        job = await found(ledger, tree["part/runs"])
        named = Controls(max_concurrency=5, name="another")
        assert await ours(ledger).steering.change(job.id, job.revision, job.spec, named, None)

    async with asyncio.timeout(20):
        await Steering(Meanwhile(ledger.database, change), DEFAULT_TENANT).prioritize_below(
            tree["part"], 2
        )

    job = await found(ledger, tree["part/runs"])
    assert (job.controls.name, job.controls.priority) == ("another", 2)
    assert await priorities(ledger, tree) == dict.fromkeys(RUNNING, 3) | {
        "part/runs": 2,
        "part/never": 2,
    }


async def test_gateways_start_and_compare_roots_alone(ledger: Ledger) -> None:
    tree = await grown(ledger, parallel(part=sequence(a=leaf(1)), b=leaf(1)))
    (start,) = (await ledger.starting.to_start(MANY_PLACES, limit=9)).jobs
    assert (start.id, start.total_chunks) == (tree.root, 2)
    await ledger.starting.release([start.id])
    await opened(ledger, tree, "part/a", "b")
    (checked,) = await ledger.starting.to_check(unchecked_since=FAR_AHEAD, limit=9)
    assert checked.id == tree.root
