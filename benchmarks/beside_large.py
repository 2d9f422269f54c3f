"""Part i: jobs of four quick chunks, posted one after the other while a large job runs."""

import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.jobs import double_job, finished_at, run_to_the_end, wait
from benchmarks.measurement import Figures, Findings, Measurement, Unexpected, listed, percentile
from benchmarks.progress import Progress
from benchmarks.sizes import Sizes
from fanfold.client.http import Fanfold
from fanfold.client.models import Job
from fanfold.devstack.running import running

TARGET_SECONDS = 1.0

_CHUNKS_OF_A_SMALL_JOB = 4
_MAX_CONCURRENCY = 500
_EXECUTION = "activity"
# Of the large job's chunks: small ones come once it is under way, and not in its last moments.
_BEGIN_AT, _END_AT = 0.05, 0.8
_PAUSE_SECONDS = 0.01

_ALONE = "alone"
_PRIORITIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "the same priority": ({}, {}),
    "priority 1 against 5": ({"priority": 1}, {"priority": 5}),
}
"""What the small jobs and the large one ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeLoad:
    """A large job, which has a chunk for every slot of the workers as soon as one is free."""

    name: str
    chunks: int
    seconds: tuple[float, float]
    """How long a chunk takes, from and to."""
    rounds: int

    def request(self) -> dict[str, Any]:
        """The job to submit."""
        return double_job(self.chunks, _EXECUTION) | {
            "options": {"delay_seconds": list(self.seconds)},
            "max_concurrency": _MAX_CONCURRENCY,
        }


@dataclass(slots=True)
class Turns:
    """What was measured with one pair of priorities."""

    large_rates: list[float] = field(default_factory=list)
    small_seconds: list[float] = field(default_factory=list)


def measure(sizes: Sizes, progress: Progress, figures: Figures) -> Findings:
    """Each load alone and beside small jobs, in turns."""
    loads = (
        LargeLoad(
            name="chunks of 20 to 50 ms",
            chunks=sizes.beside_chunks,
            seconds=(0.02, 0.05),
            rounds=sizes.beside_rounds,
        ),
        LargeLoad(
            name="chunks of 400 to 600 ms",
            chunks=sizes.beside_slow_chunks,
            seconds=(0.4, 0.6),
            rounds=1,
        ),
    )
    for load in loads:
        turns = _take_turns(load, progress)
        figures[load.name] = {
            name: {"large_rates": one.large_rates, "small_seconds": one.small_seconds}
            for name, one in turns.items()
        }
        yield from _lines(load, turns)


def _take_turns(load: LargeLoad, progress: Progress) -> dict[str, Turns]:
    turns = {name: Turns() for name in (_ALONE, *_PRIORITIES)}
    with (
        tempfile.TemporaryDirectory(prefix="fanfold-bench-") as directory,
        running(Path(directory)) as stack,
        Fanfold(stack.url) as fanfold,
    ):
        run_to_the_end(fanfold, _small_job(), progress)
        for _ in range(load.rounds):
            alone = run_to_the_end(fanfold, load.request(), progress)
            turns[_ALONE].large_rates.append(_rate(alone))
            for name, (of_small, of_large) in _PRIORITIES.items():
                turn = turns[name]
                large = fanfold.submit(load.request() | of_large)
                turn.small_seconds += _beside(fanfold, large, _small_job() | of_small, progress)
                large = wait(fanfold, large, progress)
                if large.state != "succeeded":
                    raise Unexpected(f"job {large.id} ended {large.state} with {large.chunks}")
                turn.large_rates.append(_rate(large))
                progress.note(f"{load.name}, {name}: {listed(turn.small_seconds, 2)} s")
    return turns


def _small_job() -> dict[str, Any]:
    """In the mode that a job of its size gets; none of its chunks fails."""
    return double_job(_CHUNKS_OF_A_SMALL_JOB, "auto")


def _beside(fanfold: Fanfold, large: Job, small: dict[str, Any], progress: Progress) -> list[float]:
    """Seconds from POST to the end of each small job, as many as come while the large one runs.

    One that was posted in time counts, however long it takes.
    """
    seconds: list[float] = []
    while (share := _share_finished(large := fanfold.get(large.id))) < _END_AT:
        if large.is_finished:
            break
        if share < _BEGIN_AT:
            time.sleep(_PAUSE_SECONDS)
            continue
        posted_at = time.time()
        seconds.append(finished_at(run_to_the_end(fanfold, small, progress)) - posted_at)
    if not seconds:
        raise Unexpected(f"job {large.id} was over before a small one was posted")
    return seconds


def _share_finished(job: Job) -> float:
    return job.chunks.finished / job.chunks.total


def _rate(job: Job) -> float:
    """Chunks a second from its start to its end."""
    if job.started_at is None:
        raise Unexpected(f"job {job.id} is {job.state} and was never started")
    return job.chunks.total / (finished_at(job) - job.started_at.timestamp())


def _lines(load: LargeLoad, turns: dict[str, Turns]) -> Findings:
    alone = turns[_ALONE].large_rates
    for name in _PRIORITIES:
        seconds = turns[name].small_seconds
        yield Measurement(
            part="i",
            name=(
                f"a job of {_CHUNKS_OF_A_SMALL_JOB} quick chunks beside one of {load.chunks:,} "
                f"{load.name}, {name}: POST to finished, at the median"
            ),
            value=statistics.median(seconds),
            unit="s",
            target=TARGET_SECONDS,
            is_more_better=False,
            details=(
                f"p95 {percentile(seconds, 95):.2f} s, slowest {max(seconds):.2f} s",
                f"{len(seconds)} jobs, one after the other ({listed(seconds, 2)})",
            ),
        )
        rates = turns[name].large_rates
        yield Measurement(
            part="i",
            name="- the large job's rate meanwhile, against alone",
            value=statistics.median(rates) / statistics.median(alone),
            unit="",
            target=None,
            is_more_better=True,
            details=(_described("beside them", rates), _described("alone", alone)),
        )


def _described(how: str, rates: list[float]) -> str:
    return f"{how} {statistics.median(rates):,.0f} chunks/s ({listed(rates)})"
