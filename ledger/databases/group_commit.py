"""Group commit: what comes while a transaction is under way goes into the next one.

An idle ledger so writes at once, a busy one in batches, and nothing waits for more.
"""

import asyncio
from collections.abc import Awaitable, Callable

from fanfold.ledger.database import Batch, LedgerUnavailable, Row, Statement

Script = tuple[Statement | Batch, ...]
Answer = list[list[Row]] | Exception
"""The rows of each statement of a script, or what its caller is to get raised."""
Commit = Callable[[list[Script]], Awaitable[list[Answer]]]

_Waiting = tuple[Script, asyncio.Future[list[list[Row]]]]


class GroupCommit:
    """Gathers scripts and has them committed together; belongs to one event loop."""

    def __init__(self, commit: Commit, *, max_writers: int, max_scripts: int) -> None:
        """Commit up to `max_scripts` in a transaction, `max_writers` transactions at a time.

        `commit` answers for each script of its group. Whatever it raises instead, all
        callers of the group get.
        """
        self._commit = commit
        self._max_writers = max_writers
        self._max_scripts = max_scripts
        self._waiting: list[_Waiting] = []
        self._writers: set[asyncio.Task[None]] = set()

    async def write(self, script: Script) -> list[list[Row]]:
        """The rows of each statement, once the script is committed."""
        done: asyncio.Future[list[list[Row]]] = asyncio.get_running_loop().create_future()
        self._waiting.append((script, done))
        if len(self._writers) < self._max_writers:
            writer = asyncio.create_task(self._flush())
            self._writers.add(writer)
            writer.add_done_callback(self._writers.discard)
        # A caller that goes away takes nothing back: its script stays where it waits.
        return await done

    async def close(self) -> None:
        """Finish what waits."""
        await asyncio.gather(*self._writers)

    async def _flush(self) -> None:
        """Commit what waits, until nothing does."""
        try:
            while self._waiting:
                group = self._waiting[: self._max_scripts]
                del self._waiting[: self._max_scripts]
                await self._commit_group(group)
        finally:
            # Not left to the callback, which runs later: a script that came in between
            # would take this writer for one that still looks at what waits.
            writer = asyncio.current_task()
            if writer is not None:
                self._writers.discard(writer)

    async def _commit_group(self, group: list[_Waiting]) -> None:
        answers: list[Answer] = []
        try:
            answers = await self._commit([script for script, _ in group])
        except Exception as error:  # noqa: BLE001 - handed to those whose scripts they are
            answers = [_unknown(error) for _ in group]
        finally:
            # Nobody is left waiting, whatever it was that ended this.
            answers += [_unknown(None) for _ in group[len(answers) :]]
            for (_, done), answer in zip(group, answers, strict=True):
                _hand_over(done, answer)


def _unknown(error: Exception | None) -> LedgerUnavailable:
    return LedgerUnavailable(f"the write broke off: {error or 'the process ends'}")


def _hand_over(done: asyncio.Future[list[list[Row]]], answer: Answer) -> None:
    if done.done():
        return
    if isinstance(answer, Exception):
        done.set_exception(answer)
        done.exception()  # a caller that went away is no reason to log
    else:
        done.set_result(answer)
