"""Asks one address again and again over kept-alive connections, as a process of its own.

`python -m benchmarks.http_driver PORT PATH CONNECTIONS SECONDS` prints one object of JSON:
requests a second, p50 and p99 in milliseconds, the size of an answer, and which share of
a core the driver itself used (near 1 it would measure itself).

Written on bare sockets: an HTTP library spends more time on a request than the gateway.
"""

import asyncio
import json
import re
import sys
import time

from benchmarks.measurement import percentile

_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_END_OF_HEAD = b"\r\n\r\n"


class _Asking(asyncio.Protocol):
    """One connection: a request, its whole answer, the next request."""

    def __init__(self, request: bytes, deadline: float, latencies: list[float]) -> None:
        self._request = request
        self._deadline = deadline
        self._latencies = latencies
        self._received = bytearray()
        self._answer_bytes = 0
        self._asked_at = 0.0
        self._transport: asyncio.Transport | None = None
        self.done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
            self._ask()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._answer_bytes and not self._read_head():
            return
        if len(self._received) < self._answer_bytes:
            return
        now = time.perf_counter()
        self._latencies.append(now - self._asked_at)
        answer_bytes, self._answer_bytes = self._answer_bytes, 0
        self._received.clear()
        if now < self._deadline:
            self._ask()
        elif not self.done.done():
            self.done.set_result(answer_bytes)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server hung up"))

    def _ask(self) -> None:
        if self._transport is not None:
            self._asked_at = time.perf_counter()
            self._transport.write(self._request)

    def _read_head(self) -> bool:
        """Whether the head is there; it says how long the answer is."""
        head_bytes = self._received.find(_END_OF_HEAD)
        if head_bytes < 0:
            return False
        head = bytes(self._received[:head_bytes])
        length = _LENGTH.search(head)
        if not head.startswith(b"HTTP/1.1 200 ") or length is None:
            if not self.done.done():
                self.done.set_exception(RuntimeError(head.decode(errors="replace")))
            return False
        self._answer_bytes = head_bytes + len(_END_OF_HEAD) + int(length.group(1))
        return True


async def drive(port: int, path: str, connections: int, seconds: float) -> dict[str, float]:
    """Keep so many connections busy for so long."""
    loop = asyncio.get_running_loop()
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: */*\r\n\r\n".encode()
    latencies: list[float] = []
    cpu_before, started = time.process_time(), time.perf_counter()
    asking: list[_Asking] = []
    for _ in range(connections):
        _, one = await loop.create_connection(
            lambda: _Asking(request, started + seconds, latencies), "127.0.0.1", port
        )
        asking.append(one)
    sizes = await asyncio.gather(*(one.done for one in asking))
    elapsed = time.perf_counter() - started
    return {
        "requests_per_second": len(latencies) / elapsed,
        "p50_ms": percentile(latencies, 50) * 1000,
        "p99_ms": percentile(latencies, 99) * 1000,
        "answer_bytes": sizes[0],
        "driver_cpu": (time.process_time() - cpu_before) / elapsed,
    }


if __name__ == "__main__":
    _port, _path, _connections, _seconds = sys.argv[1:]
    _figures = asyncio.run(drive(int(_port), _path, int(_connections), float(_seconds)))
    sys.stdout.write(json.dumps(_figures) + "\n")
