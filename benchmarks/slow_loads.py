"""Slow work, done by Fanfold and by the hand-written loop: waits, and calls of a limited service.

Each side is started afresh for each turn, and is alone while it runs; so is the service.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx

from benchmarks.jobs import double_job, finished_at, run_to_the_end
from benchmarks.measurement import Figures, Unexpected
from benchmarks.occupancy import Occupancy, Span, occupancy_of
from benchmarks.processes import is_listening, output_of, started, wait_until
from benchmarks.progress import Progress
from fanfold.client.http import Fanfold
from fanfold.client.models import Job
from fanfold.devstack.running import free_ports, running

_WARM_UP_CHUNKS = 20
_RETRY_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side did once."""

    seconds: float
    in_flight: Occupancy


class Load(Protocol):
    """Slow work with a limit on how much of it is in flight."""

    @property
    def name(self) -> str:
        """In words, for the table."""

    @property
    def width(self) -> int:
        """The most that may be in flight."""

    @property
    def ideal_seconds(self) -> float | None:
        """How long it takes if the window is always full; None where it depends on the service."""

    def by_fanfold(self, progress: Progress) -> Turn:
        """One job on a stack of its own."""

    def by_the_loop(self) -> Turn:
        """The hand-written loop, in a process of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingChunks:
    """Chunks that wait for so long and do nothing else."""

    chunks: int
    seconds: float
    execution: str
    width: int = 20

    @property
    def name(self) -> str:
        """In words, for the table."""
        milliseconds = self.seconds * 1000
        return (
            f"{self.chunks:,} chunks of {milliseconds:.0f} ms, {self.width} at a time, "
            f"{self.execution} mode"
        )

    @property
    def ideal_seconds(self) -> float:
        """With a window that is always full."""
        return self.chunks * self.seconds / self.width

    def by_fanfold(self, progress: Progress) -> Turn:
        """One job of `double` with a delay."""
        request = waiting_job(self.chunks, self.seconds, self.execution)
        request["max_concurrency"] = self.width
        with _fanfold(progress, {}) as fanfold:
            seconds, job = _run(fanfold, request, progress)
            return Turn(seconds, occupancy_of(_spans(fanfold, job)))

    def by_the_loop(self) -> Turn:
        """The same waits under a semaphore."""
        figures = _run_loop("wait", str(self.chunks), str(self.width), str(self.seconds))
        return Turn(figures["seconds"], occupancy_of(figures["spans"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class CallsOfAService:
    """Items that each need a call of a service which takes so many at a time."""

    items: int
    width: int = 20
    ideal_seconds: None = None

    @property
    def name(self) -> str:
        """In words, for the table."""
        return (
            f"{self.items:,} items, each a call of 50 to 200 ms to a service that takes "
            f"{self.width} at a time, 5 % of the calls failing"
        )

    def by_fanfold(self, progress: Progress) -> Turn:
        """One job of a user's processor, an item a chunk: a failed call is repeated alone."""
        processors = {"FANFOLD_PROCESSORS": "benchmarks.calling_processor:call_service"}
        with _service(self.width) as url, _fanfold(progress, processors) as fanfold:
            request = {
                "items": list(range(self.items)),
                "chunk_size": 1,
                "processor": "call_service",
                "options": {"url": url},
                "execution": "activity",
                "max_concurrency": self.width,
                "retry": {
                    "max_attempts": 10,
                    "initial_interval_seconds": _RETRY_SECONDS,
                    "backoff_coefficient": 1,
                },
            }
            seconds, _ = _run(fanfold, request, progress)
            return Turn(seconds, self._seen_by(url))

    def by_the_loop(self) -> Turn:
        """The same calls under a semaphore, with the same wait before the next try."""
        with _service(self.width) as url:
            figures = _run_loop("call", str(self.items), str(self.width), url, str(_RETRY_SECONDS))
            return Turn(figures["seconds"], self._seen_by(url))

    def _seen_by(self, url: str) -> Occupancy:
        """What the service saw; raises Unexpected where it was called too seldom."""
        seen = httpx.get(f"{url}/figures").raise_for_status().json()
        if len(seen["spans"]) < self.items:
            raise Unexpected(f"the service took {len(seen['spans']):,} calls, {self.items:,} due")
        return Occupancy(occupancy_of(seen["spans"]).mean, seen["most"])


def waiting_job(chunks: int, seconds: float, execution: str) -> dict[str, Any]:
    """A job of chunks of one item that take so long and succeed."""
    options = {"delay_seconds": [seconds, seconds]}
    return double_job(chunks, execution) | {"options": options}


@contextmanager
def _fanfold(progress: Progress, settings: Mapping[str, str]) -> Iterator[Fanfold]:
    """A client of a stack that has run a job."""
    with (
        tempfile.TemporaryDirectory(prefix="fanfold-bench-") as directory,
        running(Path(directory), settings) as stack,
        Fanfold(stack.url) as fanfold,
    ):
        run_to_the_end(fanfold, double_job(_WARM_UP_CHUNKS, "activity"), progress)
        yield fanfold


@contextmanager
def _service(width: int) -> Iterator[str]:
    """The base URL of the limited service."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "benchmarks.limited_service", str(port), str(width)]
    with (
        tempfile.TemporaryDirectory(prefix="fanfold-bench-") as directory,
        started(command, log=Path(directory) / "service.log") as process,
    ):
        wait_until(lambda: is_listening(port), process)
        yield f"http://127.0.0.1:{port}"


def _run(fanfold: Fanfold, request: dict[str, Any], progress: Progress) -> tuple[float, Job]:
    posted_at = time.time()
    job = run_to_the_end(fanfold, request, progress)
    return finished_at(job) - posted_at, job


def _spans(fanfold: Fanfold, job: Job) -> list[Span]:
    """From each child's start to its end, as its results say."""
    return [
        (child.started_at.timestamp(), child.finished_at.timestamp())
        for child in fanfold.results(job.id)
        if child.started_at is not None and child.finished_at is not None
    ]


def _run_loop(*arguments: str) -> Figures:
    figures: Figures = json.loads(
        output_of([sys.executable, "-m", "benchmarks.plain_loop", *arguments])
    )
    return figures
