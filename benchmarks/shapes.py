"""Part k: the same waits as chunks and as jobs of their own, side by side and one after another."""

import math
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.jobs import double_job, finished_at, run_to_the_end, wait
from benchmarks.measurement import Figures, Findings, Measurement, Unexpected, listed
from benchmarks.progress import Progress
from benchmarks.sizes import Sizes
from fanfold.client.http import Fanfold
from fanfold.devstack.running import running

WIDTH = 20
"""So many at a time, where they run side by side."""

_SECONDS = 0.05
_PARALLEL, _SEQUENCE = f"sub-jobs, {WIDTH} at a time", "a sequence of sub-jobs"


def measure(sizes: Sizes, progress: Progress, figures: Figures) -> Findings:
    """Each shape in turns, on one stack; then how much the sequence loses."""
    shapes = _shapes(sizes.pieces)
    seconds: dict[str, list[float]] = {name: [] for name in shapes}
    with (
        tempfile.TemporaryDirectory(prefix="fanfold-bench-") as directory,
        running(Path(directory)) as stack,
        Fanfold(stack.url) as fanfold,
    ):
        run_to_the_end(fanfold, double_job(sizes.warm_up_chunks, "workflow"), progress)
        for number in range(1, sizes.shape_rounds + 1):
            for name, (shape, _) in shapes.items():
                progress.now(f"{name}, round {number} of {sizes.shape_rounds}")
                seconds[name].append(_run(fanfold, shape, sizes.pieces, progress))
    for name, (_, at_a_time) in shapes.items():
        progress.note(f"{name}: {listed(seconds[name], 2)} s")
        yield Measurement(
            part="k",
            name=f"{sizes.pieces} waits of {_SECONDS * 1000:.0f} ms as {name}",
            value=statistics.median(seconds[name]),
            unit="s",
            target=None,
            is_more_better=False,
            details=(
                f"({listed(seconds[name], 2)})",
                f"the waits alone {math.ceil(sizes.pieces / at_a_time) * _SECONDS:.2f} s",
            ),
        )
    figures["seconds"] = seconds
    yield Measurement(
        part="k",
        name=f"- {_SEQUENCE} against {_PARALLEL}: times as long",
        value=statistics.median(seconds[_SEQUENCE]) / statistics.median(seconds[_PARALLEL]),
        unit="",
        target=None,
        is_more_better=False,
        details=(),
    )


def _shapes(pieces: int) -> dict[str, tuple[dict[str, Any], int]]:
    """The requests, each with how many waits run at a time."""
    work = {
        "processor": "double",
        "options": {"delay_seconds": [_SECONDS, _SECONDS]},
        "reducer": "sum",
        "execution": "workflow",
    }
    chunks = {**work, "chunks": [[1]] * pieces}
    jobs = {**work, "jobs": {str(number): {"chunks": [[1]]} for number in range(pieces)}}
    return {
        f"chunks of one job, {WIDTH} at a time": ({**chunks, "max_concurrency": WIDTH}, WIDTH),
        "chunks of one job, one at a time": ({**chunks, "max_concurrency": 1}, 1),
        _PARALLEL: ({**jobs, "max_jobs": WIDTH}, WIDTH),
        _SEQUENCE: ({**jobs, "order": "sequence"}, 1),
    }


def _run(fanfold: Fanfold, shape: dict[str, Any], pieces: int, progress: Progress) -> float:
    """Seconds from before the POST to the end of the job."""
    posted_at = time.time()
    job = wait(fanfold, fanfold.submit(shape), progress)
    job = fanfold.get(job.id)
    if (job.state, job.result) != ("succeeded", 2 * pieces):
        raise Unexpected(f"job {job.id} ended {job.state} with {job.chunks}")
    return finished_at(job) - posted_at
