"""Errors of a job made of jobs: those of all below it, merged, with where they were first."""

import pytest

from fanfold.contract.failures import Failure
from fanfold.contract.states import JobState
from fanfold.ledger import error_groups
from fanfold.ledger.compensating import Due
from fanfold.ledger.connect import Ledger
from fanfold.ledger.records import ErrorGroup
from tests.ledger.jobs_recorded import fail, found, ours, succeed
from tests.ledger.test_redrive_trees import redrive_one
from tests.ledger.trees import Tree, ended, grown, leaf, opened, parallel, sequence, undone

OFTEN = Failure(type="Often", message="in each")
ONCE = Failure(type="Once", message="here")


async def broken(ledger: Ledger) -> Tree:
    """A tree of which some jobs fail, and go on failing."""
    tree = await grown(
        ledger,
        parallel(
            good=leaf(1, 1),
            part=sequence(early=leaf(1, 1, 1), late=undone(1, 2)),
            other=leaf(1, 1),
        ),
    )
    await opened(ledger, tree, "good", "part/early", "part/late", "other")
    await fail(ledger, tree["other"], 0, OFTEN)
    await fail(ledger, tree["part/late"], 1, OFTEN)
    await succeed(ledger, tree["part/late"], 0)
    await fail(ledger, tree["part/early"], 1, ONCE)
    await fail(ledger, tree["part/early"], 2, OFTEN)
    return tree


async def end(ledger: Ledger, tree: Tree, *paths: str) -> None:
    """Let these jobs end, with what is left of them."""
    for path in paths:
        await ended(ledger, tree, path, JobState.SUCCEEDED)


def merged(tree: Tree) -> tuple[ErrorGroup, ...]:
    early = tree["part/early"]
    return (
        # One of it in one job, two in one chunk of the next, and one in the last.
        ErrorGroup("Often", "in each", 4, 2, 0, early),
        ErrorGroup("Once", "here", 1, 1, 0, early),
    )


@pytest.mark.parametrize("path", ["", "part"])
async def test_failures_below_are_merged_while_it_runs_and_once_it_has_ended(
    ledger: Ledger, path: str
) -> None:
    tree = await broken(ledger)
    expected = merged(tree)
    if path:
        often, once = expected
        expected = (ErrorGroup(often.type, often.message, 3, 2, 0, often.first_job), once)
    assert (await found(ledger, tree[path])).errors == expected
    # Some have ended, some have not.
    await end(ledger, tree, "part/early")
    assert (await found(ledger, tree[path])).errors == expected
    await end(ledger, tree, "good", "part/late", "part", "other", "")
    assert (await found(ledger, tree[path])).errors == expected


async def test_of_a_job_below_first_job_says_nothing(ledger: Ledger) -> None:
    tree = await broken(ledger)
    groups = (await found(ledger, tree["part/early"])).errors
    assert [group.first_job for group in groups] == [None, None]


async def test_what_fails_in_undoing_is_no_error_of_the_tree(ledger: Ledger) -> None:
    tree = await broken(ledger)
    before = (await found(ledger, tree.root)).errors
    await ours(ledger).compensating.record(Due(tree["part/late"], 1))
    (undoing,) = await ours(ledger).sub_jobs.compensations(tree.root)
    await ours(ledger).jobs.open(undoing.id)
    await fail(ledger, undoing.id, 0, Failure(type="Undoing", message="failed"))
    assert (await found(ledger, tree.root)).errors == before
    late = await found(ledger, tree["part/late"])
    assert [group.type for group in late.errors] == ["Often"]


async def test_what_runs_again_is_no_error_until_it_fails_again(ledger: Ledger) -> None:
    tree = await broken(ledger)
    await end(ledger, tree, "good", "part/early", "part/late", "part", "other", "")
    assert await redrive_one(ledger, tree, "part/early")
    late = tree["part/late"]
    assert (await found(ledger, tree.root)).errors == (
        ErrorGroup("Often", "in each", 3, 1, 0, late),
    )
    assert (await found(ledger, tree["part"])).errors == (
        ErrorGroup("Often", "in each", 2, 1, 0, late),
    )
    await end(ledger, tree, "part/early", "part", "")
    assert (await found(ledger, tree.root)).errors == (
        ErrorGroup("Often", "in each", 3, 1, 0, late),
    )


async def test_the_most_frequent_groups_of_all_are_kept(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(error_groups, "MAX_ERROR_GROUPS", 2)
    tree = await grown(ledger, parallel(a=leaf(1, 1), b=leaf(1, 1)))
    await opened(ledger, tree, "a", "b")
    for path, index, message in (("a", 0, "x"), ("a", 1, "y"), ("b", 0, "z"), ("b", 1, "z")):
        await fail(ledger, tree[path], index, Failure(type="T", message=message))
    assert (await found(ledger, tree.root)).errors == (
        ErrorGroup("T", "z", 2, 0, 0, tree["b"]),
        ErrorGroup("T", "x", 1, 0, 0, tree["a"]),
    )
