"""Redrive in a tree: what failed below runs again, and what is above and after it with that."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from fanfold.contract.names import DEFAULT_TENANT
from fanfold.contract.states import ChunkState, JobState
from fanfold.ledger.compensating import Due
from fanfold.ledger.connect import Ledger
from fanfold.ledger.database import Database, UniqueViolation
from fanfold.ledger.idempotency import KeyTaken
from fanfold.ledger.records import IdempotencyKey
from fanfold.ledger.redriving import Redriving, Selection
from fanfold.ledger.run_again import Redrive
from tests.ledger.jobs_recorded import (
    claimed_starts,
    fail,
    found,
    hold,
    ours,
    succeed,
)
from tests.ledger.meanwhile import Meanwhile, Noting
from tests.ledger.steered import chunk_states
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
    undone,
)
from tests.ledger.twice import WrittenTwice

KEY = IdempotencyKey(key="mine", body_hash=b"1")
UNSUCCESSFUL = Selection(
    states=[ChunkState.FAILED, ChunkState.PARTIALLY_SUCCEEDED, ChunkState.CANCELLED]
)
FAILED = Selection(states=[ChunkState.FAILED])
EVERYTHING = replace(UNSUCCESSFUL, with_folds=True)


async def broken(ledger: Ledger) -> Tree:
    """A tree that has ended: of a part, some chunks failed; a sequence broke at its first job."""
    tree = await grown(
        ledger,
        parallel(
            part=parallel(good=leaf(1), bad=leaf(1, 1, 1)),
            steps=sequence(first=leaf(1, 1), second=leaf(1), third=parallel(a=leaf(1), b=leaf(1))),
        ),
    )
    await ended(ledger, tree, "part/good", JobState.SUCCEEDED)
    await ended(ledger, tree, "part/bad", JobState.PARTIALLY_SUCCEEDED)
    await ended(ledger, tree, "part", JobState.PARTIALLY_SUCCEEDED)
    await ended(ledger, tree, "steps/first", JobState.FAILED)
    await break_off(ledger, tree)
    return tree


async def break_off(ledger: Ledger, tree: Tree) -> None:
    """End what comes after the first job of the sequence, and all above."""
    for path in ("steps/second", "steps/third"):
        job = await found(ledger, tree[path])
        await ours(ledger).closing.settle_below(job.id)
        if job.run == 1:
            await ours(ledger).sub_jobs.cancel_unbegun(job.id)
        else:
            await ours(ledger).closing.settle(job.id, job.run)
            assert await ours(ledger).closing.close(job.id, JobState.CANCELLED, error=None)
    await ended(ledger, tree, "steps", JobState.FAILED)
    await ended(ledger, tree, "", JobState.PARTIALLY_SUCCEEDED)


async def redrive_all(
    ledger: Ledger,
    tree: Tree,
    selection: Selection = UNSUCCESSFUL,
    *,
    database: Database | None = None,
    key: IdempotencyKey | None = None,
    path: str = "",
) -> bool:
    redriving = Redriving(database or ledger.database, DEFAULT_TENANT)
    job = await found(ledger, tree[path])
    return await redriving.redrive_below(job, await redriving.select_below(job, selection), key)


async def redrive_one(
    ledger: Ledger, tree: Tree, path: str, database: Database | None = None
) -> bool:
    redriving = Redriving(database or ledger.database, DEFAULT_TENANT)
    job = await found(ledger, tree[path])
    selected = await redriving.select(job.id, UNSUCCESSFUL)
    return await redriving.redrive(
        job, Redrive(spec=job.spec, controls=job.controls, selected=selected)
    )


async def runs(ledger: Ledger, tree: Tree) -> dict[str, int]:
    return {path: job.run for path, job in (await records(ledger, tree)).items()}


AGAIN = {
    "": 2,
    "part": 2,
    "part/good": 1,
    "part/bad": 2,
    "steps": 2,
    "steps/first": 2,
    "steps/second": 2,
    "steps/third": 2,
    "steps/third/a": 2,
    "steps/third/b": 2,
}


@pytest.mark.parametrize("times", [1, 2])
async def test_all_that_failed_below_runs_again_with_all_above_and_after_it(
    ledger: Ledger, times: int
) -> None:
    tree = await broken(ledger)
    before = await records(ledger, tree)

    database = WrittenTwice(ledger.database) if times == 2 else ledger.database
    assert await redrive_all(ledger, tree, FAILED, database=database) == (times == 1)

    assert await runs(ledger, tree) == AGAIN
    after = dict.fromkeys(AGAIN, "pending") | {"part/good": "succeeded"}
    assert await states(ledger, tree) == after
    assert await chunk_states(ledger, tree["part/bad"]) == ["succeeded", "pending", "succeeded"]
    for path in ("steps/first", "steps/second", "steps/third/a"):
        assert set(await chunk_states(ledger, tree[path])) == {"pending"}
    root = await found(ledger, tree.root)
    assert (root.counts.pending, root.counts.succeeded) == (1 + 2 + 1 + 2, 1 + 2)
    for path in ("", "part", "steps"):
        assert await ours(ledger).jobs.result(tree[path]) is None
        ended_as = await ours(ledger).jobs.earlier_run(tree[path], 1)
        now = await found(ledger, tree[path])
        assert ended_as == replace(before[path], revision=now.revision, jobs=None)
    assert await claimed_starts(ledger) == [tree.root]


async def test_one_job_that_runs_again_opens_what_is_above_and_after_it_alone(
    ledger: Ledger,
) -> None:
    tree = await broken(ledger)
    assert await redrive_one(ledger, tree, "steps/first")
    assert await runs(ledger, tree) == AGAIN | {"part": 1, "part/bad": 1}


async def test_a_part_of_a_tree_is_redriven_alone_and_opens_what_is_above(ledger: Ledger) -> None:
    tree = await broken(ledger)
    assert await redrive_all(ledger, tree, path="part")
    assert await runs(ledger, tree) == dict.fromkeys(AGAIN, 1) | {"": 2, "part": 2, "part/bad": 2}


async def test_what_a_job_came_to_before_it_missed_its_turn_stays(ledger: Ledger) -> None:
    tree = await grown(ledger, sequence(first=leaf(1, 1), second=leaf(1, 1, 1)))
    await ended(ledger, tree, "first", JobState.PARTIALLY_SUCCEEDED)
    await ended(ledger, tree, "second", JobState.PARTIALLY_SUCCEEDED)
    await ended(ledger, tree, "", JobState.PARTIALLY_SUCCEEDED)
    assert await redrive_all(ledger, tree)
    # This time it does not come to the second, which is what it was.
    await ended(ledger, tree, "first", JobState.FAILED)
    await ours(ledger).closing.settle_below(tree.root)
    await ended(ledger, tree, "", JobState.FAILED)
    assert await chunk_states(ledger, tree["second"]) == ["succeeded", "failed", "succeeded"]

    assert await redrive_one(ledger, tree, "first")

    assert await runs(ledger, tree) == {"": 3, "first": 3, "second": 3}
    assert await chunk_states(ledger, tree["second"]) == ["succeeded", "failed", "succeeded"]
    await ended(ledger, tree, "first", JobState.SUCCEEDED)
    await ended(ledger, tree, "second", JobState.PARTIALLY_SUCCEEDED)


# --- all or nothing ---------------------------------------------------------------------------


async def changed(ledger: Ledger, tree: Tree, path: str) -> None:
    """Somebody changes the labels of a job that has ended."""
    job = await found(ledger, tree[path])
    controls = replace(job.controls, labels={"a": "b"})
    assert await ours(ledger).steering.change(job.id, job.revision, job.spec, controls, None)


Change = Callable[[Ledger, Tree], Awaitable[object]]
CHANGES: dict[str, Change] = {
    "of the job itself": lambda ledger, tree: changed(ledger, tree, ""),
    "of one that was selected": lambda ledger, tree: changed(ledger, tree, "steps/first"),
    "of one that gets its turn": lambda ledger, tree: changed(ledger, tree, "steps/third/b"),
    "by a redrive of another part": lambda ledger, tree: redrive_one(ledger, tree, "part/bad"),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_where_one_job_has_changed_nothing_runs_again(ledger: Ledger, change: str) -> None:
    tree = await broken(ledger)
    after_change = list[object]()

    async def happens() -> None:
        await CHANGES[change](ledger, tree)
        after_change.append(await everything(ledger))

    assert not await redrive_all(
        ledger, tree, FAILED, database=Meanwhile(ledger.database, happens), key=KEY
    )
    assert [await everything(ledger)] == after_change


async def test_where_the_one_job_has_changed_nothing_above_it_is_opened(ledger: Ledger) -> None:
    tree = await broken(ledger)
    database = Meanwhile(ledger.database, lambda: changed(ledger, tree, "part/bad"))
    assert not await redrive_one(ledger, tree, "part/bad", database)
    assert await runs(ledger, tree) == dict.fromkeys(AGAIN, 1)


@pytest.mark.parametrize("whole", [True, False])
async def test_what_is_written_again_once_it_has_ended_again_changes_nothing(
    ledger: Ledger, whole: bool
) -> None:
    tree, noting = await broken(ledger), Noting(ledger.database)
    if whole:
        assert await redrive_all(ledger, tree, database=noting)
        await ended(ledger, tree, "part/bad", JobState.SUCCEEDED)
        await ended(ledger, tree, "part", JobState.SUCCEEDED)
        await ended(ledger, tree, "steps/first", JobState.FAILED)
        await break_off(ledger, tree)
    else:
        assert await redrive_one(ledger, tree, "part/bad", noting)
        for path in ("part/bad", "part", ""):
            await ended(ledger, tree, path, JobState.SUCCEEDED)
    before = await everything(ledger)
    (script,) = noting.scripts
    with pytest.raises(UniqueViolation):
        await ledger.database.write(*script)
    assert await everything(ledger) == before


async def test_a_key_stands_for_the_redrive_of_a_tree(ledger: Ledger) -> None:
    tree, other = await broken(ledger), await broken(ledger)
    assert await redrive_all(ledger, tree, key=KEY)
    with pytest.raises(KeyTaken) as taken:
        await redrive_all(ledger, other, key=KEY)
    assert taken.value.job_id == tree.root
    assert await runs(ledger, other) == dict.fromkeys(AGAIN, 1)


# --- what is left alone -----------------------------------------------------------------------


async def test_what_is_held_runs_again_and_nothing_is_opened_for_it(ledger: Ledger) -> None:
    tree = await grown(ledger, sequence(first=leaf(1), second=leaf(1), third=leaf(1)))
    await opened(ledger, tree, "first")
    await hold(ledger, tree["first"], 0)
    assert await ours(ledger).closing.wait(tree["first"])
    # One that a client has cancelled alone stays so.
    await ours(ledger).sub_jobs.cancel_unbegun(tree["third"])

    job = await found(ledger, tree["first"])
    held = await ours(ledger).redriving.select(job.id, Selection(states=[ChunkState.HELD]))
    again = Redrive(spec=job.spec, controls=job.controls, selected=held)
    assert await ours(ledger).redriving.redrive(job, again)

    assert await runs(ledger, tree) == dict.fromkeys(("", "first", "second", "third"), 1)
    assert list((await states(ledger, tree)).values()) == [
        *("running", "running", "pending", "cancelled")
    ]


async def test_what_was_skipped_is_not_selected_and_what_undid_neither(ledger: Ledger) -> None:
    tree = await grown(ledger, sequence(first=undone(1, 1), skipped=leaf(1)))
    await opened(ledger, tree, "first")
    await succeed(ledger, tree["first"], 0)
    await fail(ledger, tree["first"], 1)
    await ended(ledger, tree, "first", JobState.PARTIALLY_SUCCEEDED)
    await ours(ledger).sub_jobs.skip(tree["skipped"])
    await ours(ledger).compensating.record(Due(tree["first"], 1))
    (undoing,) = await ours(ledger).sub_jobs.compensations(tree.root)
    await ours(ledger).jobs.open(undoing.id)
    await fail(ledger, undoing.id, 0)
    assert await ours(ledger).closing.close(undoing.id, JobState.FAILED, error=None)
    await ended(ledger, tree, "", JobState.FAILED)
    root = await found(ledger, tree.root)
    below = await ours(ledger).redriving.select_below(root, Selection())
    assert [job.id for job, _ in below.of] == [tree["first"]]
    for selection, expected in (
        (UNSUCCESSFUL, [1]),
        (Selection(states=[ChunkState.SUCCEEDED]), [0]),
        (Selection(error_types=["Broken"]), [1]),
        (Selection(error_types=["Other"]), []),
    ):
        below = await ours(ledger).redriving.select_below(root, selection)
        assert [one.index for _, chunks in below.of for one in chunks] == expected
        assert below.chunks == len(expected)


@pytest.mark.parametrize("path", ["", "part", "part/bad"])
async def test_jobs_of_which_only_the_fold_is_left_are_opened_again(
    ledger: Ledger, path: str
) -> None:
    """With all above them; no chunk is touched."""
    tree = await grown(ledger, parallel(part=parallel(good=leaf(1), bad=leaf(1)), other=leaf(1)))
    for each in ("part/good", "other"):
        await ended(ledger, tree, each, JobState.SUCCEEDED)
    await opened(ledger, tree, "part/bad")
    await succeed(ledger, tree["part/bad"], 0)
    failed = [each for each in ("part/bad", "part", "") if path.startswith(each)]
    for each in ("part/bad", "part", ""):
        state = JobState.FAILED if each in failed else JobState.SUCCEEDED
        assert await ours(ledger).closing.close(tree[each], state, error=None)
    before = await records(ledger, tree)

    below = await ours(ledger).redriving.select_below(before[""], EVERYTHING)
    assert [job.id for job, _ in below.of] == [tree[path]]
    assert below.chunks == 0
    assert await ours(ledger).redriving.redrive_below(before[""], below, None)

    runs = {each: job.run for each, job in (await records(ledger, tree)).items()}
    assert {each for each, run in runs.items() if run == 2} == {*failed}
    assert await chunk_states(ledger, tree["part/bad"]) == ["succeeded"]
    assert await claimed_starts(ledger) == [tree.root]


async def test_what_undoes_is_redriven_by_itself_and_started_by_gateways(ledger: Ledger) -> None:
    tree = await grown(ledger, parallel(part=undone(1), other=leaf(1)))
    await ended(ledger, tree, "part", JobState.SUCCEEDED)
    await ended(ledger, tree, "other", JobState.FAILED)
    await ours(ledger).compensating.record(Due(tree["part"], 1))
    (undoing,) = await ours(ledger).sub_jobs.compensations(tree.root)
    assert await claimed_starts(ledger) == []
    await ours(ledger).jobs.open(undoing.id)
    await fail(ledger, undoing.id, 0)
    assert await ours(ledger).closing.close(undoing.id, JobState.FAILED, error=None)
    await ended(ledger, tree, "", JobState.FAILED)
    before = await records(ledger, tree)

    job = await found(ledger, undoing.id)
    selected = await ours(ledger).redriving.select(job.id, UNSUCCESSFUL)
    again = Redrive(spec=job.spec, controls=job.controls, selected=selected)
    assert await ours(ledger).redriving.redrive(job, again)

    assert await claimed_starts(ledger) == [undoing.id]
    assert (await found(ledger, undoing.id)).run == 2
    now = await records(ledger, tree)
    assert {path: (job.state, job.run) for path, job in now.items()} == {
        path: (job.state, job.run) for path, job in before.items()
    }
    # Nobody waits for it, nor ends it: it has a life of its own.
    assert await redrive_all(ledger, tree)
    assert await ours(ledger).sub_jobs.compensations(tree.root) == []
    await ours(ledger).jobs.request_cancel(tree.root)
    await ours(ledger).closing.settle_below(tree.root)
    assert await ours(ledger).closing.close(tree.root, JobState.CANCELLED, error=None)
    assert (await found(ledger, undoing.id)).state is JobState.PENDING
    assert await ours(ledger).jobs.open(undoing.id, 2) == (True, JobState.RUNNING)
