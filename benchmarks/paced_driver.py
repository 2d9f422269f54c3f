"""Asks one address at a fixed pace, whether answers come or not, as a process of its own.

`python -m benchmarks.paced_driver PORT PATH CONNECTIONS REQUESTS_PER_SECOND REQUESTS` prints
one object of JSON: for each request the time of day at which it was due and the milliseconds
from then until its answer was there; and which share of a core the driver used.

A driver that waits for an answer before it asks again asks less while the server is slow,
and hides what it should show. Here a request that finds no free connection, or a busy
processor, waits, and its wait counts.
"""

import asyncio
import json
import sys
import time
from collections import deque

from benchmarks.http_connection import Connection, finish, open_connections


async def drive(
    port: int, path: str, count: int, requests_per_second: float, requests: int
) -> dict[str, object]:
    """Ask so often over at most so many connections."""
    loop = asyncio.get_running_loop()
    idle: deque[Connection] = deque()
    waiting: deque[float] = deque()
    asked: dict[Connection, float] = {}
    due_at: list[float] = []
    latencies_ms: list[float] = []
    done = asyncio.Event()

    def ask() -> None:
        while idle and waiting:
            connection = idle.popleft()
            asked[connection] = waiting.popleft()
            connection.ask()

    def answered(connection: Connection) -> None:
        due = asked.pop(connection)
        due_at.append(clock_at_zero + due)
        latencies_ms.append((time.perf_counter() - due) * 1000)
        idle.append(connection)
        ask()
        if len(due_at) == requests:
            done.set()

    def fall_due(number: int) -> None:
        """Take every request that is due by now, then sleep until the next."""
        while number < requests and started + number / requests_per_second <= time.perf_counter():
            waiting.append(started + number / requests_per_second)
            number += 1
        ask()
        if number < requests:
            pause = started + number / requests_per_second - time.perf_counter()
            loop.call_later(max(pause, 0), fall_due, number)

    clock_at_zero = time.time() - time.perf_counter()
    connections = await open_connections(port, path, count, answered)
    idle.extend(connections)
    cpu_before, started = time.process_time(), time.perf_counter()
    fall_due(0)
    await finish(connections, done)
    elapsed = time.perf_counter() - started
    return {
        "due_at": due_at,
        "latencies_ms": latencies_ms,
        "driver_cpu": (time.process_time() - cpu_before) / elapsed,
    }


if __name__ == "__main__":
    _port, _path, _count, _pace, _requests = sys.argv[1:]
    _figures = asyncio.run(drive(int(_port), _path, int(_count), float(_pace), int(_requests)))
    sys.stdout.write(json.dumps(_figures) + "\n")
