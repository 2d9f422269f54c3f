"""Part b: how long from POST until a chunk runs, until its job is finished, and from cold."""

import json
import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path

import httpx

from benchmarks import start_up
from benchmarks.measurement import Figures, Findings, Measurement, Unexpected, percentile
from benchmarks.progress import Progress
from benchmarks.sizes import Sizes
from fanfold.devstack.running import running

FINISHED_TARGET_MS = 150.0

_JOB = json.dumps({"chunks": [[21]], "processor": "double", "reducer": "collect"})
_HEADERS = {"Content-Type": "application/json", "Prefer": "wait=10"}


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
        started_ms: list[float] = []
        finished_ms: list[float] = []
        for number in range(1, sizes.small_jobs + 1):
            started, finished = _run_job(http)
            started_ms.append(started)
            finished_ms.append(finished)
            progress.now(f"job {number} of {sizes.small_jobs}: {finished:.0f} ms")
    figures["first_chunk_started_ms"] = started_ms
    figures["finished_ms"] = finished_ms
    yield _line("POST to first chunk started", started_ms, None, progress)
    yield _line("POST to finished", finished_ms, FINISHED_TARGET_MS, progress)
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


def _run_job(http: httpx.Client) -> tuple[float, float]:
    """Milliseconds from before POST until its chunk started, and until the answer was here."""
    posted_at, started = time.time(), time.perf_counter()
    response = http.post("/jobs", content=_JOB, headers=_HEADERS)
    finished_ms = (time.perf_counter() - started) * 1000
    job = response.raise_for_status().json()
    if job["state"] != "succeeded":
        raise Unexpected(f"job {job['id']} is {job['state']} after {finished_ms:.0f} ms")
    child = http.get(f"/jobs/{job['id']}/children/0").raise_for_status().json()
    # The ledger's clock is this machine's, as is ours.
    started_at = datetime.fromisoformat(child["started_at"]).timestamp()
    return (started_at - posted_at) * 1000, finished_ms
