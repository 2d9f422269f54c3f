"""A kept-alive HTTP connection that sends one request again and again, on bare sockets.

An HTTP library spends more time on a request than the gateway, and would measure itself.
"""

import asyncio
import re
from collections.abc import Callable

_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_END_OF_HEAD = b"\r\n\r\n"


class Connection(asyncio.Protocol):
    """Asks when told to, and says when the whole answer is there; one request at a time."""

    def __init__(self, request: bytes, on_answer: Callable[["Connection"], None]) -> None:
        """Made by `open_connections`."""
        self.last_answer_bytes = 0
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Raises what went wrong; never has a result."""
        self._request = request
        self._on_answer = on_answer
        self._received = bytearray()
        self._answer_bytes = 0
        self._transport: asyncio.Transport | None = None

    def ask(self) -> None:
        """Send the request."""
        if self._transport is not None:
            self._transport.write(self._request)

    def close(self) -> None:
        """Hang up."""
        self.broken.cancel()
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The event loop's: connected."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        """The event loop's: a part of an answer."""
        self._received += data
        if not self._answer_bytes and not self._read_head():
            return
        if len(self._received) < self._answer_bytes:
            return
        self.last_answer_bytes, self._answer_bytes = self._answer_bytes, 0
        self._received.clear()
        self._on_answer(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The event loop's: disconnected."""
        self._break(exc or ConnectionError("the server hung up"))

    def _read_head(self) -> bool:
        """Whether the head is there; it says how long the answer is."""
        head_bytes = self._received.find(_END_OF_HEAD)
        if head_bytes < 0:
            return False
        head = bytes(self._received[:head_bytes])
        length = _LENGTH.search(head)
        if not head.startswith(b"HTTP/1.1 200 ") or length is None:
            self._break(RuntimeError(head.decode(errors="replace")))
            return False
        self._answer_bytes = head_bytes + len(_END_OF_HEAD) + int(length.group(1))
        return True

    def _break(self, error: Exception) -> None:
        if not self.broken.done():
            self.broken.set_exception(error)


async def open_connections(
    port: int, path: str, count: int, on_answer: Callable[[Connection], None]
) -> list[Connection]:
    """So many connections to 127.0.0.1, each to ask for the path."""
    loop = asyncio.get_running_loop()
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: */*\r\n\r\n".encode()
    connections = []
    for _ in range(count):
        _, connection = await loop.create_connection(
            lambda: Connection(request, on_answer), "127.0.0.1", port
        )
        connections.append(connection)
    return connections


async def finish(connections: list[Connection], done: asyncio.Event) -> None:
    """Wait until done, then hang up; raises what broke a connection before."""
    waiting = asyncio.create_task(_wait(done))
    broken = [connection.broken for connection in connections]
    try:
        ended, _ = await asyncio.wait([waiting, *broken], return_when=asyncio.FIRST_COMPLETED)
        for each in ended:
            each.result()
    finally:
        waiting.cancel()
        for connection in connections:
            connection.close()


async def _wait(done: asyncio.Event) -> None:
    await done.wait()
