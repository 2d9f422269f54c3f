"""What slow work is compared with: the loop one writes by hand, a semaphore around each call.

A process of its own, which records nothing and forgets all when it dies:

- `python -m benchmarks.plain_loop wait COUNT WIDTH SECONDS`: so many waits of so long;
- `python -m benchmarks.plain_loop call COUNT WIDTH URL RETRY_SECONDS`: for each item a call of the
  limited service, tried again until it succeeds.

Prints one object of JSON: the seconds it took, and when each wait began and ended.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable

import httpx

from benchmarks.occupancy import Span

_SUCCEEDED = 200


async def run_waits(count: int, width: int, seconds: float) -> list[Span]:
    """At most `width` at a time."""
    semaphore = asyncio.Semaphore(width)
    spans: list[Span] = []

    async def wait(_: int) -> None:
        async with semaphore:
            began = time.time()
            await asyncio.sleep(seconds)
            spans.append((began, time.time()))

    await _for_each(count, wait)
    return spans


async def run_calls(count: int, width: int, url: str, retry_seconds: float) -> None:
    """At most `width` at a time; an item that waits for its next try is not among them."""
    semaphore = asyncio.Semaphore(width)
    async with httpx.AsyncClient(base_url=url) as client:

        async def call(item: int) -> None:
            while True:
                async with semaphore:
                    response = await client.get(f"/items/{item}")
                if response.status_code == _SUCCEEDED:
                    return
                await asyncio.sleep(retry_seconds)

        await _for_each(count, call)


async def _for_each(count: int, work: Callable[[int], Awaitable[None]]) -> None:
    await asyncio.gather(*(work(number) for number in range(count)))


def main(kind: str, count: str, width: str, *more: str) -> None:
    """Run it, and print the figures."""
    began = time.perf_counter()
    spans: list[Span] = []
    if kind == "wait":
        spans = asyncio.run(run_waits(int(count), int(width), float(more[0])))
    else:
        asyncio.run(run_calls(int(count), int(width), more[0], float(more[1])))
    figures = {"seconds": time.perf_counter() - began, "spans": spans}
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
