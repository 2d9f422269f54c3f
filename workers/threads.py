"""Time limits: for awaitables, and for functions in threads that can be told to stop.

Each call gets a fresh daemon thread. A pool would lose a slot to every function that
blocks for ever in C code, where no exception can reach it; and no such thread may
keep a stopping worker alive.
"""

import asyncio
import ctypes
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

Result = TypeVar("Result")


class Interrupted(BaseException):
    """Raised inside the thread to end it; not an Exception, so that user code lets it pass."""


class OutOfTime(TimeoutError):
    """The time limit was reached; a TimeoutError of user code is something else."""


async def within(awaitable: Awaitable[Result], *, timeout_seconds: float) -> Result:
    """What the awaitable gives; raises OutOfTime, having cancelled it, after the time limit."""
    limit = asyncio.timeout(timeout_seconds)
    try:
        async with limit:
            return await awaitable
    except TimeoutError:
        if limit.expired():
            raise OutOfTime from None
        raise


async def run_in_thread(function: Callable[[], Result], *, timeout_seconds: float) -> Result:
    """What `function` returns or raises.

    Raises OutOfTime after the time limit. Then, and when cancelled, the thread gets
    an Interrupted at its next line of Python; it is not waited for.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Result] = loop.create_future()

    def settle(result: Result | None, error: Exception | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # no error: there is a result

    def run() -> None:
        try:
            outcome = _outcome(function)
            loop.call_soon_threadsafe(settle, *outcome)
        except (Interrupted, RuntimeError):
            return  # told to stop, or the loop is closed: nobody waits any more

    thread = threading.Thread(target=run, name="processor", daemon=True)
    thread.start()
    try:
        return await within(done, timeout_seconds=timeout_seconds)
    finally:
        if not done.done() or done.cancelled():
            _interrupt(thread)


def _outcome(function: Callable[[], Result]) -> tuple[Result | None, Exception | None]:
    """What the function returned or raised, the latter as something a future may hold."""
    try:
        return function(), None
    except StopIteration as error:
        return None, RuntimeError(f"StopIteration: {error}")
    except Exception as error:  # noqa: BLE001 - handed to the caller
        return None, error
    except Interrupted:
        raise
    except BaseException as error:  # noqa: BLE001 - user code that wants to end its process
        return None, RuntimeError(f"{type(error).__name__}: {error}")


def _interrupt(thread: threading.Thread) -> None:
    if thread.ident is not None and thread.is_alive():
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(Interrupted)
        )
