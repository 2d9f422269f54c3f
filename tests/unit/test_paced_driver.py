import asyncio

from benchmarks.measurement import percentile
from benchmarks.paced_driver import drive

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
STALL_SECONDS = 0.2


class StallingServer:
    """Answers at once, but once does nothing for a while, as a busy process would."""

    def __init__(self, stalls_at: int | None) -> None:
        self._stalls_at = stalls_at
        self.asked = 0
        self._is_free = asyncio.Event()
        self._is_free.set()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.asked += 1
                if self.asked == self._stalls_at:
                    self._is_free.clear()
                    asyncio.get_running_loop().call_later(STALL_SECONDS, self._is_free.set)
                await self._is_free.wait()
                writer.write(ANSWER)
        except asyncio.IncompleteReadError:
            writer.close()


async def latencies_ms(server: StallingServer, *, connections: int) -> list[float]:
    listening = await asyncio.start_server(server.answer, "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        figures = await drive(port, "/", connections, requests_per_second=200, requests=100)
    taken = figures["latencies_ms"]
    assert isinstance(taken, list)
    return taken


def test_every_request_is_asked_and_counted_once() -> None:
    server = StallingServer(stalls_at=None)

    taken = asyncio.run(latencies_ms(server, connections=4))

    assert len(taken) == server.asked == 100


def test_requests_that_fell_due_while_the_server_stalled_count_their_wait() -> None:
    # One connection: a driver that waits for answers would see a single slow one.
    server = StallingServer(stalls_at=20)

    taken = asyncio.run(latencies_ms(server, connections=1))

    slow = [one for one in taken if one > STALL_SECONDS * 1000 / 10]
    assert len(slow) > 10
    assert percentile(taken, 99) > STALL_SECONDS * 1000 / 2
