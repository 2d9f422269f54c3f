"""Part i: jobs of four quick chunks, posted one after the other while a large job runs."""

import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.jobs import double_job, finished_at, run_to_the_end, wait, wait_for
from benchmarks.measurement import Figures, Findings, Measurement, Unexpected, listed, percentile
from benchmarks.progress import Progress
from benchmarks.sizes import FANFOLD_MODES, Sizes
from fanfold.client.http import Fanfold
from fanfold.client.models import Job
from fanfold.devstack.running import running

TARGET_SECONDS = 1.0

_CHUNKS_OF_A_SMALL_JOB = 4
_MAX_CONCURRENCY = 500
_EXECUTION = "activity"
# Of the large job's chunks: small ones come once it is under way, and not in its last moments.
_BEGIN_AT, _END_AT = 0.05, 0.8
# Beside one large job; only one that stands still lets so many pass.
_MOST_SMALL_JOBS = 500

_ALONE = "alone"


@dataclass(frozen=True, slots=True)
class Case:
    """What the small jobs and the large one ask for beside the default."""

    name: str
    small: dict[str, Any]
    large: dict[str, Any]


_CASES = tuple(
    Case(f"{execution} mode, {name}", {"execution": execution} | small, large)
    for execution in FANFOLD_MODES
    for name, small, large in (
        ("same priority", {}, {}),
        ("priority 1 against 5", {"priority": 1}, {"priority": 5}),
    )
)


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
    """What was measured in one case."""

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
    turns = {name: Turns() for name in (_ALONE, *(case.name for case in _CASES))}
    with (
        tempfile.TemporaryDirectory(prefix="fanfold-bench-") as directory,
        running(Path(directory)) as stack,
        Fanfold(stack.url) as fanfold,
    ):
        for execution in FANFOLD_MODES:
            run_to_the_end(fanfold, double_job(_CHUNKS_OF_A_SMALL_JOB, execution), progress)
        for _ in range(load.rounds):
            alone = run_to_the_end(fanfold, load.request(), progress)
            turns[_ALONE].large_rates.append(_rate(alone))
            for case in _CASES:
                turn = turns[case.name]
                large = fanfold.submit(load.request() | case.large)
                turn.small_seconds += _beside(fanfold, large, case.small, progress)
                large = wait(fanfold, large, progress)
                if large.state != "succeeded":
                    raise Unexpected(f"job {large.id} ended {large.state} with {large.chunks}")
                turn.large_rates.append(_rate(large))
                progress.note(f"{load.name}, {case.name}: {listed(turn.small_seconds, 2)} s")
    return turns


def _beside(fanfold: Fanfold, large: Job, asked: dict[str, Any], progress: Progress) -> list[float]:
    """Seconds from POST to the end of each small job, as many as come while the large one runs.

    One that was posted in time counts, however long it takes.
    """
    # None of its chunks fails.
    small = double_job(_CHUNKS_OF_A_SMALL_JOB, _EXECUTION) | asked
    seconds: list[float] = []
    large = wait_for(fanfold, large, lambda job: _share_finished(job) >= _BEGIN_AT)
    while _share_finished(large) < _END_AT and len(seconds) < _MOST_SMALL_JOBS:
        posted_at = time.time()
        seconds.append(finished_at(run_to_the_end(fanfold, small, progress)) - posted_at)
        large = fanfold.get(large.id)
    if not seconds:
        raise Unexpected(f"job {large.id} was nearly over before a small one was posted")
    return seconds


def _share_finished(job: Job) -> float:
    return job.chunks.finished / job.chunks.total


def _rate(job: Job) -> float:
    """Chunks a second from its start to its end."""
    if job.started_at is None:
        raise Unexpected(f"job {job.id} is {job.state} and was never started")
    return job.chunks.total / (finished_at(job) - job.started_at.timestamp())


def _lines(load: LargeLoad, turns: dict[str, Turns]) -> Findings:
    for case in _CASES:
        seconds = turns[case.name].small_seconds
        yield Measurement(
            part="i",
            name=(
                f"a job of {_CHUNKS_OF_A_SMALL_JOB} quick chunks beside one of {load.chunks:,} "
                f"{load.name}, {case.name}: POST to finished, at the median"
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
    medians = {name: statistics.median(one.large_rates) for name, one in turns.items()}
    yield Measurement(
        part="i",
        name="- the large job's rate meanwhile, against alone, where that is least",
        value=min(medians[case.name] for case in _CASES) / medians[_ALONE],
        unit="",
        target=None,
        is_more_better=True,
        details=tuple(
            f"{name} {medians[name]:,.0f} chunks/s ({listed(one.large_rates)})"
            for name, one in turns.items()
        ),
    )
