"""In part c: `GET /jobs/{id}` at a fixed pace while that very job runs."""

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.jobs import double_job, run_to_the_end
from benchmarks.measurement import (
    Figures,
    Finding,
    Findings,
    Measurement,
    NotAvailable,
    NotRun,
    percentile,
)
from benchmarks.processes import output_of
from benchmarks.progress import Progress
from benchmarks.sizes import Sizes
from fanfold.client.http import Fanfold
from fanfold.client.models import Job
from fanfold.devstack.running import RunningStack, running

P99_TARGET_MS = 15.0
EXECUTIONS = ("auto", "workflow")

_PERCENTILES = (10, 25, 50, 75, 90, 95, 99, 99.9)
_CONNECTIONS = 32
# A job of 10,000 chunks in activity mode takes seconds: it is asked for in short turns.
_TURN_SECONDS = 2.0
_MOST_JOBS = 12


def measure(sizes: Sizes, progress: Progress, figures: Figures) -> Findings:
    """In each mode as many polls as the sizes say, all while a job runs."""
    figures["under_load"] = {}
    figures["polls_per_second"] = sizes.polls_per_second
    figures["p99_target_ms"] = P99_TARGET_MS
    for execution in EXECUTIONS:
        try:
            yield _measure(execution, sizes, progress, figures["under_load"])
        except NotAvailable as error:
            yield NotRun(part="c", name=_name(execution, sizes), reason=str(error))


def _measure(execution: str, sizes: Sizes, progress: Progress, figures: Figures) -> Finding:
    with (
        tempfile.TemporaryDirectory(prefix="fanfold-bench-") as directory,
        running(Path(directory)) as stack,
        Fanfold(stack.url) as fanfold,
    ):
        run_to_the_end(fanfold, double_job(sizes.warm_up_chunks, execution), progress)
        latencies, jobs, driver_cpu = _poll_running_jobs(stack, fanfold, execution, sizes, progress)
    figures[execution] = {
        "polls": len(latencies),
        "jobs": jobs,
        "driver_cpu": driver_cpu,
        "percentiles": list(_PERCENTILES),
        "latency_ms": [percentile(latencies, percent) for percent in _PERCENTILES],
    }
    p50, p99 = percentile(latencies, 50), percentile(latencies, 99)
    progress.note(f"{execution}: {len(latencies):,} polls, p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    return Measurement(
        part="c",
        name=_name(execution, sizes),
        value=p99,
        unit="ms",
        target=P99_TARGET_MS,
        is_more_better=False,
        details=(
            f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, p99.9 {percentile(latencies, 99.9):.1f} ms",
            f"the slowest {max(latencies):.1f} ms",
            f"{len(latencies):,} polls of {jobs} running jobs, counted from when each was due",
            f"the driver used {driver_cpu:.2f} of a core at most",
        ),
    )


def _name(execution: str, sizes: Sizes) -> str:
    return (
        f"p99 of {sizes.polls_per_second} polls a second while a job of "
        f"{sizes.polled_chunks:,} chunks runs, execution {execution!r}"
    )


def _poll_running_jobs(
    stack: RunningStack, fanfold: Fanfold, execution: str, sizes: Sizes, progress: Progress
) -> tuple[list[float], int, float]:
    """Latencies in milliseconds, the number of jobs needed, the most CPU the driver used."""
    latencies: list[float] = []
    driver_cpu, jobs = 0.0, 0
    job: Job | None = None
    while len(latencies) < sizes.polls and jobs <= _MOST_JOBS:
        if job is None or job.is_finished:
            job = fanfold.submit(double_job(sizes.polled_chunks, execution))
            jobs += 1
        progress.now(f"{execution}: {len(latencies):,} of {sizes.polls:,} polls, job {jobs}")
        answer = drive(stack, job.links.self, sizes.polls_per_second)
        driver_cpu = max(driver_cpu, answer["driver_cpu"])
        job = fanfold.get(job.id)
        latencies += while_running(answer["due_at"], answer["latencies_ms"], job)
    if not latencies:
        raise NotAvailable("no job ran long enough to be polled")
    return latencies, jobs, driver_cpu


def drive(stack: RunningStack, path: str, per_second: int) -> Figures:
    """Two seconds of polls at this pace, and what the driver says of them."""
    command = [sys.executable, "-m", "benchmarks.paced_driver", str(stack.http_port), path]
    command += [str(_CONNECTIONS), str(per_second), str(int(per_second * _TURN_SECONDS))]
    answer: Figures = json.loads(output_of(command))
    return answer


def while_running(due_at: Sequence[float], latencies_ms: Sequence[float], job: Job) -> list[float]:
    """Those due before the job was finished: a finished one is answered from memory."""
    end = job.finished_at.timestamp() if job.finished_at else float("inf")
    return [took for due, took in zip(due_at, latencies_ms, strict=True) if due < end]
