"""Time limits: for awaitables, and for functions in threads that can be told to stop.

Each call gets a daemon thread for itself: an idle one, or a fresh one where all are busy.
A pool of fixed size would lose a slot to every function that blocks for ever in C code,
where no exception can reach it; and no such thread may keep a stopping worker alive. One
that was interrupted is never used again.
"""

import asyncio
import contextlib
import contextvars
import ctypes
import threading
from collections.abc import Awaitable, Callable
from queue import SimpleQueue
from typing import TypeVar

Result = TypeVar("Result")

MAX_IDLE_THREADS = 64


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

    Context variables are those of the caller. Raises OutOfTime after the time limit. Then,
    and when cancelled, the thread gets an Interrupted at its next line of Python; it is not
    waited for.
    """
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()
    done: asyncio.Future[Result] = loop.create_future()
    thread = _idle.pop() if _idle else _Thread()

    def settle(result: Result | None, error: Exception | None) -> None:
        if done.cancelled():
            thread.end()  # an Interrupted may still be on its way to it
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # no error: there is a result
        if len(_idle) < MAX_IDLE_THREADS:
            _idle.append(thread)
        else:
            thread.end()

    def run() -> None:
        outcome = _outcome(function, context)
        # Last: from here on the loop may give the thread something else to do.
        loop.call_soon_threadsafe(settle, *outcome)

    thread.run(run)
    try:
        return await within(done, timeout_seconds=timeout_seconds)
    finally:
        if not done.done() or done.cancelled():
            done.cancel()
            thread.interrupt()


class _Thread:
    """A daemon thread that does one thing after the other, until it is told to end."""

    def __init__(self) -> None:
        self._next: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="idle processor", daemon=True)
        self._thread.start()

    def run(self, function: Callable[[], None]) -> None:
        self._next.put(function)

    def end(self) -> None:
        self._next.put(None)

    def interrupt(self) -> None:
        """Raise Interrupted in it, as soon as it runs Python."""
        if self._thread.ident is not None and self._thread.is_alive():
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self._thread.ident), ctypes.py_object(Interrupted)
            )

    def _run(self) -> None:
        # Interrupted: told to stop. RuntimeError: the loop is closed, and nobody waits.
        with contextlib.suppress(Interrupted, RuntimeError):
            while (function := self._next.get()) is not None:
                self._thread.name = "processor"
                function()
                self._thread.name = "idle processor"
                del function  # what it holds may be large


def _outcome(
    function: Callable[[], Result], context: contextvars.Context
) -> tuple[Result | None, Exception | None]:
    """What the function returned or raised, the latter as something a future may hold."""
    try:
        return context.run(function), None
    except StopIteration as error:
        return None, _standing_for(error)
    except Exception as error:  # noqa: BLE001 - handed to the caller
        return None, error
    except Interrupted:
        raise
    except BaseException as error:  # noqa: BLE001 - user code that wants to end its process
        return None, _standing_for(error)


def _standing_for(error: BaseException) -> RuntimeError:
    stand_in = RuntimeError(f"{type(error).__name__}: {error}")
    stand_in.__cause__ = error
    return stand_in


_idle: list[_Thread] = []
"""Changed in event loops only, when a thread is given something to do, or has done it."""
