"""In part g: many jobs at once beside one large job, and jobs of one chunk."""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from benchmarks.jobs import finished_at, run_to_the_end, wait
from benchmarks.measurement import Figures, Findings, Measurement, Unexpected, listed
from benchmarks.progress import Progress
from benchmarks.sizes import Sizes
from benchmarks.slow_loads import waiting_job
from fanfold.client.http import Fanfold
from fanfold.devstack.running import RunningStack, running

TARGET_OF_MANY_TO_ONE = 0.8
TARGET_JOBS_A_SECOND = 60.0

_CHUNK_SECONDS = 0.01
_EXECUTION = "activity"
_CONNECTIONS = 32


def measure(sizes: Sizes, progress: Progress, figures: Figures) -> Findings:
    """The rates of one job and of many, in turns; then how fast jobs of one chunk go through."""
    one: list[float] = []
    many: list[float] = []
    single: list[float] = []
    for number in range(1, sizes.slow_rounds + 1):
        for jobs, chunks, execution, rates in (
            (1, sizes.jobs_at_once * sizes.chunks_of_a_job, _EXECUTION, one),
            (sizes.jobs_at_once, sizes.chunks_of_a_job, _EXECUTION, many),
            (sizes.jobs_of_one_chunk, 1, "auto", single),
        ):
            what = (
                f"jobs {jobs:,}, chunks of each {chunks:,}, round {number} of {sizes.slow_rounds}"
            )
            progress.now(what)
            seconds = _seconds(jobs, waiting_job(chunks, _CHUNK_SECONDS, execution), progress)
            rates.append(jobs * chunks / seconds)
            progress.note(f"{what}: {rates[-1]:,.1f} chunks/s")
    figures["jobs"] = {
        "chunks_per_second_of_one_job": one,
        "chunks_per_second_of_many_jobs": many,
        "jobs_per_second": single,
    }
    yield _many_against_one(sizes, many, one)
    yield Measurement(
        part="g",
        name=f"{sizes.jobs_of_one_chunk:,} jobs of one chunk posted at once, jobs a second",
        value=statistics.median(single),
        unit="",
        target=TARGET_JOBS_A_SECOND,
        is_more_better=True,
        details=(f"({listed(single, 1)})",),
    )


def _many_against_one(sizes: Sizes, many: list[float], one: list[float]) -> Measurement:
    jobs, chunks = sizes.jobs_at_once, sizes.chunks_of_a_job
    return Measurement(
        part="g",
        name=(
            f"{jobs:,} jobs of {chunks:,} chunks of {_CHUNK_SECONDS * 1000:.0f} ms at once, "
            f"against one job of {jobs * chunks:,}, {_EXECUTION} mode"
        ),
        value=statistics.median(many) / statistics.median(one),
        unit="",
        target=TARGET_OF_MANY_TO_ONE,
        is_more_better=True,
        details=(
            f"many jobs {statistics.median(many):,.0f} chunks/s ({listed(many)})",
            f"one job {statistics.median(one):,.0f} chunks/s ({listed(one)})",
        ),
    )


def _seconds(jobs: int, request: dict[str, Any], progress: Progress) -> float:
    """From before the first POST to the end of the last job, on a stack of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="fanfold-bench-") as directory,
        running(Path(directory)) as stack,
        Fanfold(stack.url) as fanfold,
    ):
        run_to_the_end(fanfold, waiting_job(1, _CHUNK_SECONDS, _EXECUTION), progress)
        posted_at = time.time()
        ids = asyncio.run(_post(stack, request, jobs))
        finished = [wait(fanfold, fanfold.get(job_id), progress) for job_id in ids]
    unsuccessful = [job.id for job in finished if job.state != "succeeded"]
    if unsuccessful:
        raise Unexpected(f"{len(unsuccessful)} of {jobs} jobs did not succeed")
    return max(map(finished_at, finished)) - posted_at


async def _post(stack: RunningStack, request: dict[str, Any], jobs: int) -> list[str]:
    """The ids of so many jobs, posted as fast as the gateway takes them."""
    limits = httpx.Limits(max_connections=_CONNECTIONS)
    async with httpx.AsyncClient(base_url=stack.url, timeout=60, limits=limits) as http:
        answers = await asyncio.gather(*(http.post("/jobs", json=request) for _ in range(jobs)))
    return [answer.raise_for_status().json()["id"] for answer in answers]
