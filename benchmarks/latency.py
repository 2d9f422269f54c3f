"""Part c: how long a client waits for a job of one chunk, from POST to its answer."""

import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from benchmarks.measurement import Measurement, Unexpected, percentile
from benchmarks.progress import Progress
from benchmarks.sizes import Sizes
from devstack.running import running

TARGET_MS = 250.0

_JOB = json.dumps({"chunks": [[21]], "processor": "double", "reducer": "collect"})
_HEADERS = {"Content-Type": "application/json", "Prefer": "wait=10"}


def measure(sizes: Sizes, progress: Progress) -> Iterator[Measurement]:
    """The median and 95th percentile of one job after the other."""
    with (
        tempfile.TemporaryDirectory(prefix="fanfold-bench-") as directory,
        running(Path(directory)) as stack,
        httpx.Client(base_url=stack.url, timeout=30) as http,
    ):
        progress.now("warming up")
        for _ in range(sizes.warm_up_jobs):
            _milliseconds_of_a_job(http)
        times: list[float] = []
        for number in range(1, sizes.small_jobs + 1):
            times.append(_milliseconds_of_a_job(http))
            progress.now(f"job {number} of {sizes.small_jobs}: {times[-1]:.0f} ms")
    median, p95 = statistics.median(times), percentile(times, 95)
    progress.note(f"median {median:.0f} ms, p95 {p95:.0f} ms")
    yield Measurement(
        part="c",
        name="a job of one chunk, POST to finished, at the median",
        value=median,
        unit="ms",
        target=TARGET_MS,
        is_more_better=False,
        details=(
            f"p95 {p95:.0f} ms, fastest {min(times):.0f} ms, slowest {max(times):.0f} ms",
            f"{len(times)} jobs, one after the other",
        ),
    )


def _milliseconds_of_a_job(http: httpx.Client) -> float:
    started = time.perf_counter()
    response = http.post("/jobs", content=_JOB, headers=_HEADERS)
    milliseconds = (time.perf_counter() - started) * 1000
    job = response.raise_for_status().json()
    if job["state"] != "succeeded":
        raise Unexpected(f"job {job['id']} is {job['state']} after {milliseconds:.0f} ms")
    return milliseconds
