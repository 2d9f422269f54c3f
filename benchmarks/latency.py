"""Part b: how long from POST until a chunk runs, until its job is finished, and from cold."""

import json
import statistics
import tempfile
import time
from pathlib import Path

import httpx

from benchmarks import spans, start_up
from benchmarks.measurement import Figures, Findings, Measurement, Unexpected, percentile
from benchmarks.progress import Progress
from benchmarks.sizes import Sizes
from benchmarks.spans import SmallJob
from fanfold.devstack.running import running

FINISHED_TARGET_MS = 100.0

_JOB = json.dumps({"chunks": [[21]], "processor": "double", "reducer": "collect"})
_HEADERS = {"Content-Type": "application/json"}
_WAITING = {"Prefer": "wait=10"}


def measure(sizes: Sizes, progress: Progress, figures: Figures) -> Findings:
    """Small jobs one after the other, then starts of the gateway and of the whole stack."""
    with (
        tempfile.TemporaryDirectory(prefix="fanfold-bench-") as directory,
        running(Path(directory)) as stack,
        httpx.Client(base_url=stack.url, timeout=30) as http,
    ):
        progress.now("warming up")
        for _ in range(sizes.warm_up_jobs):
            _run_job(http)
        jobs: list[SmallJob] = []
        for number in range(1, sizes.small_jobs + 1):
            jobs.append(_run_job(http))
            progress.now(f"job {number} of {sizes.small_jobs}: {jobs[-1].finished_ms:.0f} ms")
        progress.now("jobs whose POST does not wait")
        accepted_ms = [_accepted_ms(http) for _ in range(sizes.small_jobs)]
        started_ms = [job.started_ms for job in jobs]
        finished_ms = [job.finished_ms for job in jobs]
        figures["first_chunk_started_ms"] = started_ms
        figures["finished_ms"] = finished_ms
        figures["accepted_ms"] = accepted_ms
        yield _line("POST to first chunk started", started_ms, None, progress)
        yield _line("POST to finished", finished_ms, FINISHED_TARGET_MS, progress)
        yield from spans.measure(stack.temporal_address, jobs, accepted_ms, figures)
    yield from start_up.measure(sizes, progress, figures)


def _line(
    name: str, milliseconds: list[float], target: float | None, progress: Progress
) -> Measurement:
    median, p95 = statistics.median(milliseconds), percentile(milliseconds, 95)
    progress.note(f"{name}: median {median:.0f} ms, p95 {p95:.0f} ms")
    return Measurement(
        part="b",
        name=f"a job of one chunk, {name}, at the median",
        value=median,
        unit="ms",
        target=target,
        is_more_better=False,
        details=(
            f"p95 {p95:.0f} ms, slowest {max(milliseconds):.0f} ms",
            f"fastest {min(milliseconds):.0f} ms",
            f"{len(milliseconds)} jobs, one after the other",
        ),
    )


def _run_job(http: httpx.Client) -> SmallJob:
    """Submit it, and have it back once it is finished."""
    posted_at = time.time()
    response = http.post("/jobs", content=_JOB, headers=_HEADERS | _WAITING)
    answered_at = time.time()
    job = response.raise_for_status().json()
    if job["state"] != "succeeded":
        raise Unexpected(f"job {job['id']} is {job['state']} after {answered_at - posted_at:.1f} s")
    child = http.get(f"/jobs/{job['id']}/children/0").raise_for_status().json()
    return SmallJob(posted_at, answered_at, job, child)


def _accepted_ms(http: httpx.Client) -> float:
    """From before POST until the 202 was here; the job is finished before the next one."""
    posted_at = time.perf_counter()
    response = http.post("/jobs", content=_JOB, headers=_HEADERS)
    milliseconds = (time.perf_counter() - posted_at) * 1000
    http.get(response.raise_for_status().headers["Location"], headers=_WAITING).raise_for_status()
    return milliseconds
