"""A processor under a test's control."""

import asyncio
from collections.abc import Callable
from typing import Any, Self

from fanfold.processing import ProcessorContext
from tests.workflows.running import PATIENCE_SECONDS


class Gate:
    """Every chunk waits in `gate` until it is let go; who is in there can be seen.

    The workers run in the test's own event loop, so test and processor share this.
    """

    def __init__(self) -> None:
        self.begun: list[int] = []
        """Chunk indexes in the order they came in; one that comes again counts again."""
        self.inside: set[int] = set()
        self.most_inside = 0
        self._let_go: set[int] = set()
        self._is_open = False
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """However the test ended, its workers have nothing to wait for."""
        self.open()

    async def gate(self, item: Any, *, context: ProcessorContext) -> Any:
        """The processor: gives back the item once its chunk is let go."""
        index = context.chunk_index
        self.begun.append(index)
        self.inside.add(index)
        self.most_inside = max(self.most_inside, len(self.inside))
        self._tell()
        try:
            while not (self._is_open or index in self._let_go):
                await self._changed.wait()
        finally:
            self.inside.discard(index)
            self._tell()
        return item

    def let_go(self, *indexes: int) -> None:
        self._let_go.update(indexes)
        self._tell()

    def open(self) -> None:
        """Let everything go, now and from now on."""
        self._is_open = True
        self._tell()

    async def until_inside(self, *indexes: int) -> None:
        """Wait until exactly these chunks are in there."""
        await self._until(lambda: self.inside == set(indexes))

    async def until_full(self, count: int) -> None:
        """Wait until so many chunks are in there."""
        await self._until(lambda: len(self.inside) == count)

    async def until_begun(self, count: int) -> None:
        """Wait until so many attempts have begun."""
        await self._until(lambda: len(self.begun) >= count)

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                await self._changed.wait()

    def _tell(self) -> None:
        """Wake everyone who waits for a change; the next change has an event of its own."""
        self._changed.set()
        self._changed = asyncio.Event()
