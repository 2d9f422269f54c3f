"""A service that takes so many calls at a time, as a process of its own.

`python -m benchmarks.limited_service PORT MOST`: `GET /items/N` takes 50 to 200 ms, and one call in
twenty fails with 503 after that time. Time and failures depend on the item and on how
often it was called before, so every client that tries failed calls again has the same to do.
A call beyond the limit is refused with 429, at once. `GET /figures` says what was seen.
"""

import asyncio
import random
import sys
import time
from collections import Counter
from typing import Any

import uvicorn
from fastapi import FastAPI, Response

from benchmarks.occupancy import Span

SHORTEST_SECONDS, LONGEST_SECONDS = 0.05, 0.2
FAILING_SHARE = 0.05

_REFUSED = 429
_FAILED = 503


class LimitedService:
    """Counts the calls inside it."""

    def __init__(self, most: int) -> None:
        """Take at most so many calls at a time."""
        self._limit = most
        self._calls: Counter[int] = Counter()
        """By item, those that were not refused."""
        self._inside = 0
        self._most = 0
        self._refused = 0
        self._spans: list[Span] = []

    async def call(self, item: int) -> int:
        """The status of the answer, after its time."""
        self._inside += 1
        self._most = max(self._most, self._inside)
        try:
            if self._inside > self._limit:
                self._refused += 1
                return _REFUSED
            self._calls[item] += 1
            dice = random.Random(f"{item}/{self._calls[item]}")  # noqa: S311 - repeatable
            began = time.time()
            await asyncio.sleep(dice.uniform(SHORTEST_SECONDS, LONGEST_SECONDS))
            self._spans.append((began, time.time()))
            return _FAILED if dice.random() < FAILING_SHARE else 200
        finally:
            self._inside -= 1

    def figures(self) -> dict[str, Any]:
        """What was seen so far: when each call was inside, the most at a time, those refused."""
        return {"spans": self._spans, "most": self._most, "refused": self._refused}


def create_app(service: LimitedService) -> FastAPI:
    """The service over HTTP."""
    app = FastAPI()

    @app.get("/items/{item}")
    async def call(item: int) -> Response:
        return Response(status_code=await service.call(item))

    @app.get("/figures")
    async def figures() -> dict[str, Any]:
        return service.figures()

    return app


if __name__ == "__main__":
    _port, _most = map(int, sys.argv[1:])
    uvicorn.run(create_app(LimitedService(_most)), port=_port, access_log=False, log_config=None)
