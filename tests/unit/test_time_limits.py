"""Time limits end a processor that would run for ever, and none of them blocks the worker."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from fanfold.contract.job_spec import RetrySpec
from fanfold.workers.execution import End
from fanfold.workers.threads import run_in_thread
from tests.unit.attempted import an_attempt, attempted, outcome_of
from tests.waiting import eventually


def spinning_item(item: int) -> int:
    while item:
        pass
    return item


def spinning_chunk(chunk: list[int]) -> int:
    while chunk:
        pass
    return 0


async def waiting_item(item: int) -> int:
    while item:
        await asyncio.Event().wait()
    return item


async def waiting_chunk(chunk: list[int]) -> int:
    await asyncio.Event().wait()
    return len(chunk)


def processor_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "processor"]


@pytest.mark.parametrize("function", [spinning_item, spinning_chunk, waiting_item, waiting_chunk])
def test_a_processor_that_loops_for_ever_is_ended(function: Callable[..., Any]) -> None:
    outcome = attempted(function, [1, 2], timeout_seconds=0.1)
    assert outcome.failure is not None
    assert (outcome.failure.type, outcome.failure.retryable) == ("TimeoutError", True)
    assert outcome.failure.message == f"'{function.__name__}' did not finish within 0.1 seconds"
    assert outcome.end is End.AGAIN
    eventually(lambda: not processor_threads(), what="the thread has ended")


def test_a_time_limit_may_be_final() -> None:
    retry = RetrySpec(non_retryable=("TimeoutError",))
    outcome = attempted(spinning_chunk, [1], timeout_seconds=0.05, retry=retry)
    assert outcome.failure is not None
    assert not outcome.failure.retryable


@pytest.mark.parametrize("function", [spinning_item, waiting_item])
def test_items_that_were_done_in_time_are_kept(function: Callable[..., Any]) -> None:
    outcome = attempted(function, [0, 0, 5, 0], timeout_seconds=1)
    assert outcome.output.body == b"[0,0,null,null]"
    assert [error.item for error in outcome.output.item_errors] == [2, 3]
    assert outcome.items_failed_here == 2


def test_a_synchronous_processor_does_not_block_the_loop() -> None:
    begun, released = threading.Event(), threading.Event()

    def blocking(item: int) -> int:
        begun.set()
        assert released.wait(30)
        return item

    async def main() -> bytes:
        running = asyncio.create_task(outcome_of(blocking, an_attempt([1])))
        assert await asyncio.to_thread(begun.wait, 30)
        assert not running.done()
        released.set()
        return (await running).output.body

    assert asyncio.run(main()) == b"[1]"


def test_many_blocking_processors_run_side_by_side() -> None:
    together = threading.Barrier(20, timeout=30)

    def meeting(item: int) -> int:
        together.wait()
        return item

    async def main() -> list[bytes]:
        outcomes = await asyncio.gather(
            *(outcome_of(meeting, an_attempt([number])) for number in range(20))
        )
        return [outcome.output.body for outcome in outcomes]

    assert asyncio.run(main()) == [b"[%d]" % number for number in range(20)]


def test_a_cancelled_attempt_ends_its_thread() -> None:
    begun = threading.Event()

    def spinning(item: int) -> int:
        begun.set()
        return spinning_item(item)

    async def main() -> None:
        running = asyncio.create_task(outcome_of(spinning, an_attempt([1])))
        assert await asyncio.to_thread(begun.wait, 30)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())
    eventually(lambda: not processor_threads(), what="the thread has ended")


def test_code_that_catches_every_exception_is_ended_nevertheless() -> None:
    def stubborn(chunk: list[int]) -> int:
        while chunk:
            try:
                len(chunk)
            except Exception:  # noqa: S112, BLE001 - as careless code does
                continue
        return 0

    assert attempted(stubborn, [1], timeout_seconds=0.1).failure is not None
    eventually(lambda: not processor_threads(), what="the thread has ended")


def test_what_fails_after_the_time_limit_is_no_part_of_the_attempt() -> None:
    def late(item: int) -> int:
        try:
            while item == 0:
                pass
        finally:
            raise ValueError("too late")

    outcome = attempted(late, list(range(20_000)), timeout_seconds=0.1)
    assert {error.type for error in outcome.output.item_errors} == {"TimeoutError"}
    eventually(lambda: not processor_threads(), what="the thread has ended")


def test_a_thread_that_cannot_be_ended_is_not_waited_for() -> None:
    released = threading.Event()

    def deaf(chunk: list[int]) -> bool:
        assert chunk
        # Waits in C, where no exception gets in.
        return released.wait(60)

    started = time.monotonic()
    outcome = attempted(deaf, [1], timeout_seconds=0.1)
    released.set()
    assert outcome.failure is not None
    assert outcome.failure.type == "TimeoutError"
    assert time.monotonic() - started < 30


async def impatient_async(chunk: list[int]) -> int:
    async with asyncio.timeout(0.01):
        await asyncio.Event().wait()
    return len(chunk)


def impatient(chunk: list[int]) -> int:
    raise TimeoutError(*chunk[1:])


@pytest.mark.parametrize("function", [impatient, impatient_async])
def test_a_time_limit_of_the_users_own_is_not_taken_for_ours(function: Callable[..., Any]) -> None:
    outcome = attempted(function, [1], timeout_seconds=20)
    assert outcome.failure is not None
    assert outcome.failure.type == "TimeoutError"
    assert "20 seconds" not in outcome.failure.message


def test_an_asynchronous_processor_cannot_end_the_worker() -> None:
    async def leaving(item: int) -> int:
        raise SystemExit(item)

    outcome = attempted(leaving, [3])
    assert outcome.failure is not None
    assert "SystemExit" in f"{outcome.failure.type} {outcome.failure.message}"


@pytest.mark.parametrize("error", [GeneratorExit(), asyncio.CancelledError()])
def test_no_exception_leaves_the_caller_waiting(error: BaseException) -> None:
    def raising() -> None:
        raise error

    async def main() -> None:
        with pytest.raises(Exception, match=type(error).__name__):
            await run_in_thread(raising, timeout_seconds=2)

    asyncio.run(main())


def test_a_result_and_an_exception_come_back_from_the_thread() -> None:
    def failing() -> None:
        raise KeyError("k")

    assert asyncio.run(run_in_thread(lambda: [1], timeout_seconds=5)) == [1]
    with pytest.raises(KeyError, match="k"):
        asyncio.run(run_in_thread(failing, timeout_seconds=5))
