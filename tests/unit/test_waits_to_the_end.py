"""What a workflow waits for whatever cancellation arrives: until the workflow itself is ended."""

import asyncio

import pytest

from fanfold.workers.workflows.calls import to_the_end

pytestmark = pytest.mark.anyio


async def test_a_cancellation_does_not_end_the_wait() -> None:
    may_end = asyncio.Event()

    async def work() -> str:
        await may_end.wait()
        return "done"

    waiting = asyncio.create_task(to_the_end(work()))
    for _ in range(3):
        await asyncio.sleep(0)
        waiting.cancel()
    may_end.set()
    assert await waiting == "done"


async def test_the_wait_ends_with_what_is_waited_for() -> None:
    """A workflow that leaves its worker has all of its tasks cancelled."""
    before = asyncio.all_tasks()
    waiting = asyncio.create_task(to_the_end(asyncio.sleep(60)))
    await asyncio.sleep(0)
    for task in asyncio.all_tasks() - before:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_an_error_of_what_is_waited_for_is_raised() -> None:
    async def work() -> None:
        raise ValueError("it broke")

    with pytest.raises(ValueError, match="it broke"):
        await to_the_end(work())
