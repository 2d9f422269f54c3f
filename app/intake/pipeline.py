"""Feeds what a client sends to a thread that makes chunks of it, and stores these in batches.

With backpressure: the client waits for the thread, the thread for the store. At most a few
megabytes are in memory, and the event loop only passes them on.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Executor, Future
from typing import Final

from starlette.requests import ClientDisconnect

from fanfold.app.http.errors import MalformedRequest, RequestTimeout
from fanfold.ledger.records import NewChunk

BUFFER_BYTES: Final = 256 * 1024
BATCH_BYTES: Final = 4 * 1024 * 1024
BATCH_CHUNKS: Final = 1000
SIGN_OF_LIFE_SECONDS: Final = 60
"""How often an upload too slow to fill a batch is touched: else it would look abandoned."""

Store = Callable[[list[NewChunk]], Awaitable[None]]
"""Stores the next chunks; an empty list only says that the upload goes on."""


class _BrokenOff(Exception):
    """The upload has failed: nothing more of it is read."""


class _Buffer:
    """A bounded buffer from the event loop to one thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._has_room = asyncio.Event()
        self._changed = threading.Condition()
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._is_ended = False
        self._is_broken = False

    async def put(self, piece: bytes) -> None:
        with self._changed:
            self._pieces.append(piece)
            self._size += len(piece)
            is_full = self._size >= BUFFER_BYTES
            if is_full:
                self._has_room.clear()
            self._changed.notify()
        if is_full:
            await self._has_room.wait()

    def end(self) -> None:
        with self._changed:
            self._is_ended = True
            self._changed.notify()

    def break_off(self) -> None:
        with self._changed:
            self._is_broken = True
            self._changed.notify()

    def blocks(self) -> Iterator[bytes]:
        """In the thread: what has arrived, block by block, until the end."""
        while True:
            with self._changed:
                while not (self._pieces or self._is_ended or self._is_broken):
                    self._changed.wait()
                if self._is_broken:
                    raise _BrokenOff
                block = b"".join(self._pieces)
                self._pieces.clear()
                self._size = 0
            self._loop.call_soon_threadsafe(self._has_room.set)
            if not block:
                return
            yield block


async def store_chunks(
    pieces: AsyncIterator[bytes],
    make: Callable[[Iterator[bytes]], Iterator[NewChunk]],
    store: Store,
    *,
    threads: Executor,
    longest_silence_seconds: float,
) -> None:
    """Run `make` in a thread over what the client sends, and store the chunks that it yields.

    Raises what `make` and `store` raise, RequestTimeout if the client falls silent, and
    MalformedRequest if it disconnects. The thread has ended when this returns.
    """
    loop = asyncio.get_running_loop()
    buffer = _Buffer()
    making = loop.run_in_executor(threads, _store_all, make, buffer, store, loop)
    feeding = asyncio.create_task(_feed(pieces, buffer, store, longest_silence_seconds))
    try:
        await asyncio.wait([making, feeding], return_when=asyncio.FIRST_COMPLETED)
        if not making.done():
            # The client has sent all, or will send no more, which is then raised here.
            await feeding
        await asyncio.shield(making)
    finally:
        feeding.cancel()
        buffer.break_off()
        await asyncio.gather(making, feeding, return_exceptions=True)


async def _feed(
    pieces: AsyncIterator[bytes], buffer: _Buffer, store: Store, longest_silence_seconds: float
) -> None:
    said = time.monotonic()
    try:
        while True:
            async with asyncio.timeout(longest_silence_seconds):
                piece = await anext(pieces, None)
            if piece is None:
                break
            if piece:
                await buffer.put(piece)
            if time.monotonic() - said > SIGN_OF_LIFE_SECONDS:
                await store([])
                said = time.monotonic()
    except TimeoutError:
        detail = f"Nothing more arrived for {longest_silence_seconds:g} seconds."
        raise RequestTimeout("body_timeout", detail, headers={"Connection": "close"}) from None
    except ClientDisconnect:
        raise MalformedRequest("upload_broken_off", "The data ended before it was whole.") from None
    buffer.end()


def _store_all(
    make: Callable[[Iterator[bytes]], Iterator[NewChunk]],
    buffer: _Buffer,
    store: Store,
    loop: asyncio.AbstractEventLoop,
) -> None:
    """In the thread. While one batch is being stored, the next one is made."""
    storing: Future[None] | None = None
    batch: list[NewChunk] = []
    size = 0

    def hand_over() -> None:
        nonlocal storing, batch, size
        if storing is not None:
            storing.result()
        storing = asyncio.run_coroutine_threadsafe(_stored(store, batch), loop)
        batch, size = [], 0

    try:
        for chunk in make(buffer.blocks()):
            batch.append(chunk)
            size += len(chunk.body)
            if size >= BATCH_BYTES or len(batch) >= BATCH_CHUNKS:
                hand_over()
        if batch:
            hand_over()
    finally:
        if storing is not None:
            storing.result()


async def _stored(store: Store, batch: list[NewChunk]) -> None:
    await store(batch)
