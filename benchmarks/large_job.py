"""Part f: one job of 1,000,000 items in 100,000 chunks, sent as a file, in activity mode."""

import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.histories import JobHistories, read_histories
from benchmarks.items_file import write_items
from benchmarks.jobs import double_job, finished_at, run_to_the_end, wait
from benchmarks.measurement import Figures, Findings, Grid, Measurement, Unexpected
from benchmarks.memory import MemoryOverTime, watched
from benchmarks.progress import Progress
from benchmarks.sizes import Sizes
from benchmarks.uploading import post_file
from fanfold.client.http import Fanfold
from fanfold.client.models import Job
from fanfold.devstack.running import RunningStack, running

TARGET_SECONDS = 60.0
TARGET_MIB = 500.0

_EXECUTION = "activity"
_SERVER = "temporal"
_DATABASES = ("ledger.db", "temporal.db")
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class LargeJob:
    """What it took."""

    job: Job
    upload_seconds: float
    run_seconds: float
    memory: MemoryOverTime
    histories: JobHistories
    disk_mib: dict[str, float]


def measure(sizes: Sizes, progress: Progress, figures: Figures) -> Findings:
    """Send it, watch every process until it is finished, look at what it left."""
    with tempfile.TemporaryDirectory(prefix="fanfold-bench-") as directory:
        items = Path(directory) / "items.ndjson"
        progress.now(f"writing a file of {sizes.large_items:,} items")
        write_items(items, sizes.large_items)
        with running(Path(directory) / "stack") as stack:
            large = _run(stack, items, sizes, progress)
    progress.note(
        f"{large.job.chunks.total:,} chunks: sent in {large.upload_seconds:.1f} s, "
        f"finished {large.run_seconds:.1f} s later"
    )
    figures.update(
        chunks=large.job.chunks.total,
        upload_seconds=large.upload_seconds,
        run_seconds=large.run_seconds,
        memory_seconds=large.memory.seconds,
        memory_mib=large.memory.mib,
        largest_history=large.histories.largest,
        disk_mib=large.disk_mib,
    )
    yield from _lines(large)
    yield _grid(large)


def _run(stack: RunningStack, items: Path, sizes: Sizes, progress: Progress) -> LargeJob:
    with Fanfold(stack.url) as fanfold:
        run_to_the_end(fanfold, double_job(sizes.warm_up_chunks, _EXECUTION), progress)
        request = {
            "processor": "count_by",
            "options": {"field": "country"},
            "reducer": "merge_counts",
            "chunk_size": sizes.large_chunk_size,
            "execution": _EXECUTION,
        }
        progress.now(f"sending {sizes.large_items:,} items")
        with watched(pids_of(stack)) as memory:
            posted = time.perf_counter()
            accepted = post_file(stack.url, request, items)
            upload_seconds, accepted_at = time.perf_counter() - posted, time.time()
            job = wait(fanfold, fanfold.get(accepted["id"]), progress)
    _check(job, sizes)
    progress.now("reading the job's histories")
    histories = asyncio.run(read_histories(stack.temporal_address, job.id, with_chunks=False))
    return LargeJob(
        job=job,
        upload_seconds=upload_seconds,
        run_seconds=finished_at(job) - accepted_at,
        memory=memory,
        histories=histories,
        disk_mib={name: _size_mib(stack.data_dir, name) for name in _DATABASES},
    )


def _check(job: Job, sizes: Sizes) -> None:
    """Raises Unexpected unless every item was counted, once."""
    chunks = sizes.large_items // sizes.large_chunk_size
    counted = sum(job.result.values()) if isinstance(job.result, dict) else 0
    if job.chunks.succeeded != chunks or counted != sizes.large_items:
        raise Unexpected(f"job {job.id} ended {job.state}, {job.chunks}, {counted} items counted")


def pids_of(stack: RunningStack) -> dict[str, int]:
    """The processes of a stack by their names."""
    files = sorted((stack.data_dir / "run").glob("*.pid"))
    return {file.stem: stack.pid(file.stem) for file in files}


def _size_mib(directory: Path, database: str) -> float:
    """With its write-ahead log."""
    return sum(file.stat().st_size for file in directory.glob(f"{database}*")) / _MIB


def _lines(large: LargeJob) -> Findings:
    chunks, items = large.job.chunks.total, large.job.items.total
    what = f"{chunks:,} chunks, {items:,} items, {_EXECUTION} mode"
    peaks = large.memory.peaks_mib
    ours = {name: peak for name, peak in peaks.items() if name != _SERVER}
    largest = max(large.histories.largest.values())
    yield Measurement(
        part="f",
        name=f"one job of {what}, from accepted to finished",
        value=large.run_seconds,
        unit="s",
        target=TARGET_SECONDS,
        is_more_better=False,
        details=(
            f"{chunks / large.run_seconds:,.0f} chunks/s, the fold included",
            f"the upload before it took {large.upload_seconds:.1f} s",
            f"largest history {largest:,} events",
            "on disk: " + ", ".join(f"{k} {v:,.0f} MiB" for k, v in large.disk_mib.items()),
        ),
    )
    yield Measurement(
        part="f",
        name="most memory of a process meanwhile, but for the Temporal server",
        value=max(ours.values()),
        unit="MiB",
        target=TARGET_MIB,
        is_more_better=False,
        details=(", ".join(f"{name} {peak:,.0f} MiB" for name, peak in peaks.items()),),
    )


def _grid(large: LargeJob) -> Grid:
    return Grid(
        part="f",
        title="The large job's workflows",
        columns=("", "histories", "events", "largest"),
        rows=tuple(
            (
                kind,
                f"{count:,}",
                f"{large.histories.events[kind]:,}",
                f"{large.histories.largest[kind]:,}",
            )
            for kind, count in sorted(large.histories.workflows.items())
        ),
    )
