"""The jobs that are measured, run to their end and checked: a wrong job has no speed."""

import time
from collections.abc import Callable
from typing import Any

from benchmarks.measurement import Unexpected
from benchmarks.progress import Progress
from fanfold.client.http import Fanfold
from fanfold.client.models import Job

FAILS_IF_DIVISIBLE_BY = 10
"""Of the values from 1 on: one in ten chunks, children or tasks fails, for good, at once."""

_STANDS_STILL_SECONDS = 120.0
_PAUSE_SECONDS = 0.01


def double_job(chunks: int, execution: str) -> dict[str, Any]:
    """A job of trivial chunks of one item each, one in ten failing."""
    return {
        "name": f"{chunks} trivial chunks",
        "chunks": [[value] for value in range(1, chunks + 1)],
        "processor": "double",
        "options": {"fail_if_divisible_by": FAILS_IF_DIVISIBLE_BY},
        "retry": {"max_attempts": 1},
        "execution": execution,
    }


def finished_at(job: Job) -> float:
    """The ledger's own time of the end: it does not wait for a client to ask."""
    if job.finished_at is None:
        raise Unexpected(f"{job.id} is {job.state}")
    return job.finished_at.timestamp()


def wait(fanfold: Fanfold, job: Job, progress: Progress) -> Job:
    """The job once it is finished; raises Unexpected where it gets no further for two minutes."""
    finished, moved_at = -1, time.monotonic()
    while not job.is_finished:
        job = fanfold.get(job.id, wait_seconds=1)
        progress.now(f"ours: {job.chunks.finished:,} of {job.chunks.total:,} chunks")
        if job.chunks.finished != finished:
            finished, moved_at = job.chunks.finished, time.monotonic()
        elif time.monotonic() - moved_at > _STANDS_STILL_SECONDS:
            raise Unexpected(f"job {job.id} stands still: {job.state}, {job.chunks}")
    return job


def wait_for(fanfold: Fanfold, job: Job, is_so: Callable[[Job], bool]) -> Job:
    """The running job once that is so of it, asked every 10 ms.

    Raises Unexpected where it is finished before, or is not so for two minutes.
    """
    deadline = time.monotonic() + _STANDS_STILL_SECONDS
    while not is_so(job := fanfold.get(job.id)):
        if job.is_finished or time.monotonic() > deadline:
            raise Unexpected(
                f"waited for job {job.id} in vain: {job.state}, {job.chunks}, "
                f"max_concurrency {job.max_concurrency}"
            )
        time.sleep(_PAUSE_SECONDS)
    return job


def run_to_the_end(fanfold: Fanfold, request: dict[str, Any], progress: Progress) -> Job:
    """The finished job; raises Unexpected unless those chunks failed that had to, and no other."""
    job = wait(fanfold, fanfold.submit(request), progress)
    divisor = request["options"].get("fail_if_divisible_by")
    failing = job.chunks.total // divisor if divisor else 0
    if (job.chunks.succeeded, job.chunks.failed) != (job.chunks.total - failing, failing):
        raise Unexpected(f"job {job.id} ended {job.state} with {job.chunks}")
    return job
