"""Part j: what a person on call does to a large job: a change of its width, a redrive of a few."""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.jobs import double_job, finished_at, run_to_the_end, wait, wait_for
from benchmarks.measurement import Figures, Findings, Measurement, Unexpected, listed
from benchmarks.progress import Progress
from benchmarks.sizes import Sizes
from benchmarks.slow_loads import waiting_job
from fanfold.client.http import Fanfold
from fanfold.client.models import Job
from fanfold.devstack.running import running

TARGET_SECONDS = 2.0
FAILED = 10

_EXECUTION = "activity"
_NARROW, _WIDE = 20, 80
"""Values of `max_concurrency`, both of which the workers of two cores have slots for."""
_CHUNK_SECONDS = 0.5
# Of the new width: when so many run, it is full but for chunks that are just changing over.
_FULL = 0.95


def measure(sizes: Sizes, progress: Progress, figures: Figures) -> Findings:
    """Redrives of a finished job, then changes of a running one."""
    with (
        tempfile.TemporaryDirectory(prefix="fanfold-bench-") as directory,
        running(Path(directory)) as stack,
        Fanfold(stack.url) as fanfold,
    ):
        run_to_the_end(fanfold, double_job(sizes.warm_up_chunks, _EXECUTION), progress)
        yield from _redrives(fanfold, sizes, progress, figures)
        yield from _changes(fanfold, sizes, progress, figures)


def _redrives(fanfold: Fanfold, sizes: Sizes, progress: Progress, figures: Figures) -> Findings:
    """The failed chunks run again as they are, and fail again; at last they are corrected."""
    every = sizes.steered_chunks // FAILED
    request = double_job(sizes.steered_chunks, _EXECUTION)
    job = run_to_the_end(fanfold, request | {"options": {"fail_if_divisible_by": every}}, progress)
    seconds: list[float] = []
    for number in range(1, sizes.redrives + 1):
        progress.now(f"redrive {number} of {sizes.redrives}")
        posted_at = time.time()
        again = wait(fanfold, fanfold.redrive(job.id), progress)
        seconds.append(finished_at(again) - posted_at)
        _check(again, run=number + 1, failed=FAILED)
    corrections = [
        {"index": index, "item": 0, "value": 1}
        for index in range(every - 1, sizes.steered_chunks, every)
    ]
    posted_at = time.time()
    corrected = wait(fanfold, fanfold.redrive(job.id, corrections=corrections), progress)
    corrected_seconds = finished_at(corrected) - posted_at
    _check(corrected, run=sizes.redrives + 2, failed=0)
    progress.note(f"redrives: {listed(seconds, 2)} s, corrected {corrected_seconds:.2f} s")
    figures.update(redrive_seconds=seconds, corrected_redrive_seconds=corrected_seconds)
    yield Measurement(
        part="j",
        name=(
            f"redrive of {FAILED} failed of {sizes.steered_chunks:,} chunks, {_EXECUTION} mode, "
            "POST to finished, at the median"
        ),
        value=statistics.median(seconds),
        unit="s",
        target=TARGET_SECONDS,
        is_more_better=False,
        details=(
            f"one after the other ({listed(seconds, 2)})",
            f"the last one, with corrections: {corrected_seconds:.2f} s",
        ),
    )


def _check(job: Job, *, run: int, failed: int) -> None:
    """Raises Unexpected unless that run has ended, with all the other chunks as they were."""
    succeeded = job.chunks.total - failed
    if (job.run, job.chunks.succeeded, job.chunks.failed) != (run, succeeded, failed):
        raise Unexpected(f"run {job.run} of job {job.id} ended {job.state} with {job.chunks}")


def _changes(fanfold: Fanfold, sizes: Sizes, progress: Progress, figures: Figures) -> Findings:
    """Up and down in turns; then the job is cancelled, which else would take very long."""
    request = waiting_job(sizes.steered_chunks, _CHUNK_SECONDS, _EXECUTION)
    job = fanfold.submit(request | {"max_concurrency": _NARROW})
    wait_for(fanfold, job, _is_filled)
    changes: dict[str, list[float]] = {"upwards": [], "downwards": []}
    for number in range(1, sizes.changes + 1):
        progress.now(f"change {number} of {sizes.changes} of max_concurrency")
        changes["upwards"].append(_change(fanfold, job, _WIDE, _is_filled))
        changes["downwards"].append(_change(fanfold, job, _NARROW, _is_within))
    fanfold.cancel(job.id)
    cancelled = wait(fanfold, job, progress)
    if cancelled.chunks.failed:
        raise Unexpected(f"job {job.id} ended {cancelled.state} with {cancelled.chunks}")
    for direction, seconds in changes.items():
        progress.note(f"max_concurrency {direction}: {listed(seconds, 2)} s")
        figures[f"max_concurrency_{direction}_seconds"] = seconds
        before, after = (_NARROW, _WIDE) if direction == "upwards" else (_WIDE, _NARROW)
        yield Measurement(
            part="j",
            name=(
                f"max_concurrency from {before} to {after} of a running job of "
                f"{sizes.steered_chunks:,} chunks, PATCH until so many run"
            ),
            value=max(seconds),
            unit="s",
            target=TARGET_SECONDS,
            is_more_better=False,
            details=(
                f"the slowest of {listed(seconds, 2)} s",
                f"chunks of {_CHUNK_SECONDS} s, which are not ended",
            ),
        )


def _change(fanfold: Fanfold, job: Job, width: int, is_in_force: Callable[[Job], bool]) -> float:
    """Seconds from before the PATCH."""
    began = time.perf_counter()
    fanfold.update(job.id, max_concurrency=width)
    wait_for(fanfold, job, is_in_force)
    return time.perf_counter() - began


def _is_filled(job: Job) -> bool:
    return job.chunks.running >= (job.max_concurrency or 0) * _FULL


def _is_within(job: Job) -> bool:
    return job.chunks.running <= (job.max_concurrency or 0)
