"""Asks one address as fast as it answers, over kept-alive connections, as a process of its own.

`python -m benchmarks.http_driver PORT PATH CONNECTIONS SECONDS` prints one object of JSON:
requests a second, p50 and p99 in milliseconds, the size of an answer, and which share of
a core the driver itself used (near 1 it would measure itself).
"""

import asyncio
import json
import sys
import time

from benchmarks.http_connection import Connection, finish, open_connections
from benchmarks.measurement import percentile


async def drive(port: int, path: str, count: int, seconds: float) -> dict[str, float]:
    """Keep so many connections busy for so long."""
    asked_at: dict[Connection, float] = {}
    latencies: list[float] = []
    finished: set[Connection] = set()
    done = asyncio.Event()

    def ask(connection: Connection) -> None:
        asked_at[connection] = time.perf_counter()
        connection.ask()

    def answered(connection: Connection) -> None:
        now = time.perf_counter()
        latencies.append(now - asked_at[connection])
        if now < deadline:
            ask(connection)
            return
        finished.add(connection)
        if len(finished) == count:
            done.set()

    connections = await open_connections(port, path, count, answered)
    cpu_before, started = time.process_time(), time.perf_counter()
    deadline = started + seconds
    for connection in connections:
        ask(connection)
    await finish(connections, done)
    elapsed = time.perf_counter() - started
    return {
        "requests_per_second": len(latencies) / elapsed,
        "p50_ms": percentile(latencies, 50) * 1000,
        "p99_ms": percentile(latencies, 99) * 1000,
        "answer_bytes": connections[0].last_answer_bytes,
        "driver_cpu": (time.process_time() - cpu_before) / elapsed,
    }


if __name__ == "__main__":
    _port, _path, _count, _seconds = sys.argv[1:]
    _figures = asyncio.run(drive(int(_port), _path, int(_count), float(_seconds)))
    sys.stdout.write(json.dumps(_figures) + "\n")
