"""Part h: which 50 of 1,000,000 items failed, asked as a user asks, with what was submitted."""

import json
import statistics
import tempfile
import time
from pathlib import Path

import httpx

from benchmarks.jobs import wait
from benchmarks.measurement import Figures, Findings, Measurement, Unexpected
from benchmarks.progress import Progress
from benchmarks.sizes import Sizes
from benchmarks.uploading import post_file
from fanfold.client.http import Fanfold
from fanfold.devstack.running import running

TARGET_MS = 50.0
FAILED = 50

_CHUNK_SIZE = 100
_ASKED = 40


def measure(sizes: Sizes, progress: Progress, figures: Figures) -> Findings:
    """Run a job of which so many items fail, and list them again and again."""
    with tempfile.TemporaryDirectory(prefix="fanfold-bench-") as directory:
        items = Path(directory) / "items.ndjson"
        with items.open("w") as lines:
            lines.writelines(f"{number}\n" for number in range(1, sizes.large_items + 1))
        with running(Path(directory) / "stack") as stack, Fanfold(stack.url) as fanfold:
            progress.now(f"sending {sizes.large_items:,} items")
            job = {
                "processor": "double",
                "options": {"fail_if_divisible_by": sizes.large_items // FAILED},
                "retry": {"max_attempts": 1},
                "chunk_size": _CHUNK_SIZE,
            }
            accepted = post_file(stack.url, job, items)
            finished = wait(fanfold, fanfold.get(accepted["id"]), progress)
            if finished.items.failed != FAILED:
                raise Unexpected(f"job {finished.id} ended {finished.state}, {finished.items}")
            milliseconds = _listed(stack.url, finished.id, sizes)
    figures.update(items=finished.items.total, milliseconds=milliseconds)
    yield Measurement(
        part="h",
        name=f"a listing of the {FAILED} failed items of {finished.items.total:,}, at the median",
        value=statistics.median(milliseconds),
        unit="ms",
        target=TARGET_MS,
        is_more_better=False,
        details=(f"the first {milliseconds[0]:.1f} ms, the slowest {max(milliseconds):.1f} ms",),
    )


def _listed(url: str, job_id: str, sizes: Sizes) -> list[float]:
    """How long each listing took, checked to be the right one."""
    expected = [number * (sizes.large_items // FAILED) for number in range(1, FAILED + 1)]
    milliseconds: list[float] = []
    with httpx.Client(base_url=url) as api:
        for _ in range(_ASKED):
            asked = time.perf_counter()
            answer = api.get(f"/jobs/{job_id}/items", params={"state": "failed"})
            milliseconds.append((time.perf_counter() - asked) * 1000)
            found = [item["value"] for item in json.loads(answer.content)["items"]]
            if found != expected:
                raise Unexpected(f"job {job_id} has other failed items: {found[:5]} ...")
    return milliseconds
