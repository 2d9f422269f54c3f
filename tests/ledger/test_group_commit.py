"""Group commit: whatever becomes of a transaction, nobody is left waiting for it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from fanfold.ledger.database import LedgerUnavailable, Statement
from fanfold.ledger.databases.group_commit import Answer, GroupCommit, Script

SCRIPT = (Statement("SELECT 1"),)


def writes(commit: Callable[[list[Script]], Awaitable[list[Answer]]]) -> GroupCommit:
    return GroupCommit(commit, max_writers=1, max_scripts=10)


async def committed(scripts: list[Script]) -> list[Answer]:
    return [[] for _ in scripts]


async def test_a_script_that_comes_when_the_last_writer_ends_is_written() -> None:
    group = writes(committed)
    async with asyncio.timeout(5):
        for _ in range(3):
            # In the moment in which the one before is answered.
            assert await group.write(SCRIPT) == []


async def test_whatever_a_commit_raises_reaches_its_callers_and_no_later_one() -> None:
    failures = [OSError("the lock is gone"), KeyError("a defect")]

    async def commit(scripts: list[Script]) -> list[Answer]:
        if failures:
            raise failures.pop()
        return await committed(scripts)

    group = writes(commit)
    for reason in ("a defect", "the lock is gone"):
        together = asyncio.gather(*(group.write(SCRIPT) for _ in range(3)), return_exceptions=True)
        outcomes = await asyncio.wait_for(together, 5)
        assert [type(outcome) for outcome in outcomes] == [LedgerUnavailable] * 3
        assert {reason in str(outcome) for outcome in outcomes} == {True}
    assert await asyncio.wait_for(group.write(SCRIPT), 5) == []


async def test_a_writer_that_is_cancelled_leaves_nobody_waiting() -> None:
    begun = asyncio.Event()

    async def commit(_scripts: list[Script]) -> list[Answer]:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    group = writes(commit)
    write = asyncio.create_task(group.write(SCRIPT))
    await begun.wait()
    (writer,) = group._writers
    writer.cancel()
    with pytest.raises(LedgerUnavailable, match="the process ends"):
        await asyncio.wait_for(write, 5)
    assert group._writers == set()
