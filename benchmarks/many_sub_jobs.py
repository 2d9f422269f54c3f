"""Part l: a job made of 1,000 jobs of ten trivial chunks each, and its root polled meanwhile."""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.histories import read_histories
from benchmarks.jobs import finished_at, run_to_the_end, wait
from benchmarks.large_job import pids_of
from benchmarks.measurement import Figures, Findings, Measurement, Unexpected, percentile
from benchmarks.memory import watched
from benchmarks.polls_under_load import P99_TARGET_MS, drive, while_running
from benchmarks.progress import Progress
from benchmarks.sizes import Sizes
from fanfold.client.http import Fanfold
from fanfold.client.models import Job
from fanfold.devstack.running import RunningStack, running

TARGET_SECONDS: Final = 30.0
TARGET_EVENTS: Final = 10_000
TARGET_TIMES_A_JOB: Final = 2.0

_CHUNKS: Final = 10
_MAX_JOBS: Final = 20
_WORK: Final[dict[str, Any]] = {"processor": "double", "options": {}, "reducer": "sum"}


@dataclass(frozen=True, slots=True)
class _Tree:
    """What it took, and what the polls of its root took meanwhile."""

    root: Job
    seconds: float
    latencies_ms: list[float]
    events: int
    """In the history of the root's workflow."""
    peaks_mib: dict[str, float]


def measure(sizes: Sizes, progress: Progress, figures: Figures) -> Findings:
    """Run it, polled all the time; then read its root, and a job of as many chunks."""
    chunks = sizes.sub_jobs
    alone = {**_WORK, "chunks": [[1]] * chunks, "execution": "activity"}
    with (
        tempfile.TemporaryDirectory(prefix="fanfold-bench-") as directory,
        running(Path(directory)) as stack,
        Fanfold(stack.url) as fanfold,
    ):
        job = run_to_the_end(fanfold, alone, progress)
        tree = _run(stack, fanfold, sizes, progress)
        progress.now("reading the root, and a job without any below it")
        reads = {one.id: _read(stack, one, sizes) for one in (tree.root, job)}
    root_ms, job_ms = reads[tree.root.id], reads[job.id]
    p99 = percentile(tree.latencies_ms, 99)
    progress.note(f"{sizes.sub_jobs:,} sub-jobs: {tree.seconds:.1f} s, polls p99 {p99:.1f} ms")
    figures.update(
        seconds=tree.seconds,
        polls=len(tree.latencies_ms),
        p99_ms=p99,
        events=tree.events,
        peaks_mib=tree.peaks_mib,
        root_ms=root_ms,
        job_ms=job_ms,
    )
    yield from _lines(tree, sizes)
    yield Measurement(
        part="l",
        name=f"- GET of its root, once finished, against a job of {chunks:,} chunks: times as long",
        value=root_ms / job_ms,
        unit="",
        target=TARGET_TIMES_A_JOB,
        is_more_better=False,
        details=(f"medians {root_ms:.2f} and {job_ms:.2f} ms",),
    )


def _run(stack: RunningStack, fanfold: Fanfold, sizes: Sizes, progress: Progress) -> _Tree:
    part = {"chunks": [[1]] * _CHUNKS}
    jobs = {f"part-{number}": part for number in range(sizes.sub_jobs)}
    latencies: list[float] = []
    with watched(pids_of(stack)) as memory:
        job = fanfold.submit({**_WORK, "jobs": jobs, "max_jobs": _MAX_JOBS})
        begun = job.created_at.timestamp()
        while not job.is_finished:
            progress.now(f"{job.chunks.finished:,} of {job.chunks.total:,} chunks")
            polled = drive(stack, job.links.self, sizes.root_polls_per_second)
            job = fanfold.get(job.id)
            if job.chunks.total != sizes.sub_jobs * _CHUNKS:
                raise Unexpected(f"job {job.id} has {job.chunks}")
            latencies += while_running(polled["due_at"], polled["latencies_ms"], job)
    job = wait(fanfold, job, progress)
    if (job.state, job.result) != ("succeeded", 2 * _CHUNKS * sizes.sub_jobs):
        raise Unexpected(f"job {job.id} ended {job.state} with {job.chunks}")
    histories = asyncio.run(read_histories(stack.temporal_address, job.id, with_chunks=False))
    return _Tree(
        root=job,
        seconds=finished_at(job) - begun,
        latencies_ms=latencies,
        events=max(histories.largest.values()),
        peaks_mib=memory.peaks_mib,
    )


def _read(stack: RunningStack, job: Job, sizes: Sizes) -> float:
    """The median of its reads in milliseconds, each of which asks the ledger: so does `?run=`."""
    path = f"{job.links.self}?run=1"
    return percentile(drive(stack, path, sizes.root_polls_per_second)["latencies_ms"], 50)


def _lines(tree: _Tree, sizes: Sizes) -> Findings:
    what = f"{sizes.sub_jobs:,} sub-jobs of {_CHUNKS} chunks, {_MAX_JOBS} at a time"
    ours = {name: peak for name, peak in tree.peaks_mib.items() if name != "temporal"}
    latencies = tree.latencies_ms
    yield Measurement(
        part="l",
        name=f"{what}, from recorded to finished",
        value=tree.seconds,
        unit="s",
        target=TARGET_SECONDS,
        is_more_better=False,
        details=(f"{tree.seconds * 1000 / sizes.sub_jobs:.0f} ms a sub-job, polled meanwhile",),
    )
    yield Measurement(
        part="l",
        name=f"p99 of {sizes.root_polls_per_second} polls a second of their root meanwhile",
        value=percentile(latencies, 99),
        unit="ms",
        target=P99_TARGET_MS,
        is_more_better=False,
        details=(
            f"p50 {percentile(latencies, 50):.1f} ms, the slowest {max(latencies):.1f} ms",
            f"{len(latencies):,} polls, counted from when each was due",
        ),
    )
    yield Measurement(
        part="l",
        name="the history of the root's workflow",
        value=tree.events,
        unit="events",
        target=TARGET_EVENTS,
        is_more_better=False,
        details=(),
    )
    yield Measurement(
        part="l",
        name="most memory of a process meanwhile, but for the Temporal server",
        value=max(ours.values()),
        unit="MiB",
        target=None,
        is_more_better=False,
        details=(", ".join(f"{name} {peak:,.0f} MiB" for name, peak in tree.peaks_mib.items()),),
    )
