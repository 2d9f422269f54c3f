"""Runs a function in a thread that can be told to stop.

Each call gets a fresh daemon thread. A pool would lose a slot to every function that
blocks for ever in C code, where no exception can reach it; and no such thread may
keep a stopping worker alive.
"""

import asyncio
import ctypes
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


class Interrupted(BaseException):
    """Raised inside the thread to end it; not an Exception, so that user code lets it pass."""


async def run_in_thread(function: Callable[[], Result], *, timeout_seconds: float) -> Result:
    """What `function` returns or raises.

    Raises TimeoutError after the time limit. Then, and when cancelled, the thread gets
    an Interrupted at its next line of Python; it is not waited for.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Result] = loop.create_future()

    def settle(result: Result | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # no error: there is a result

    def run() -> None:
        result: Result | None = None
        failure: BaseException | None = None
        try:
            result = function()
        except Interrupted:
            return
        except StopIteration as error:
            failure = RuntimeError(f"StopIteration: {error}")  # no future may hold one
        except BaseException as error:  # noqa: BLE001 - SystemExit of user code is its failure
            failure = error
        if isinstance(failure, SystemExit | KeyboardInterrupt):
            failure = RuntimeError(f"{type(failure).__name__}: {failure}")
        try:
            loop.call_soon_threadsafe(settle, result, failure)
        except RuntimeError:
            return  # the loop is closed: the worker has stopped, nobody waits

    thread = threading.Thread(target=run, name="processor", daemon=True)
    thread.start()
    try:
        async with asyncio.timeout(timeout_seconds):
            return await done
    finally:
        if not done.done() or done.cancelled():
            _interrupt(thread)


def _interrupt(thread: threading.Thread) -> None:
    if thread.ident is not None and thread.is_alive():
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(Interrupted)
        )
