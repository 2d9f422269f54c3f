"""Parts a and b: chunks a second in the default mode, beside Lab 5's children a second.

Ours does more for each: an activity, two ledger transactions synced to disk, a durable
server file. Each side is started afresh for each of its turns, and alone while it runs.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.lab5 import FAILS_IF_DIVISIBLE_BY
from benchmarks.lab5_running import running_lab5
from benchmarks.measurement import Measurement, Unexpected, listed
from benchmarks.processes import cpu_seconds, stack_pids
from benchmarks.progress import Progress
from benchmarks.sizes import Sizes
from client.http import Fanfold
from client.models import Job
from devstack.running import running

TARGET_RATIO = 0.9
TARGET_RATIO_LARGE = 0.8


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side did once."""

    chunks_per_second: float
    cpu_ms_a_chunk: dict[str, float]


def measure_default(sizes: Sizes, progress: Progress) -> Iterator[Measurement]:
    """Part a: as many chunks as Lab 5 has children."""
    yield _compare(
        "a",
        sizes,
        progress,
        chunks=sizes.chunks,
        pairs=sizes.pairs,
        target=TARGET_RATIO,
    )


def measure_large(sizes: Sizes, progress: Progress) -> Iterator[Measurement]:
    """Part b: more chunks in one job than Lab 5's code ever starts."""
    yield _compare(
        "b",
        sizes,
        progress,
        chunks=sizes.large_chunks,
        pairs=sizes.large_pairs,
        target=TARGET_RATIO_LARGE,
    )


def double_job(chunks: int) -> dict[str, Any]:
    """A job of trivial chunks in the default mode, one in ten failing."""
    return {
        "name": f"{chunks} trivial chunks",
        "chunks": [[value] for value in range(1, chunks + 1)],
        "processor": "double",
        "options": {"fail_if_divisible_by": FAILS_IF_DIVISIBLE_BY},
        "retry": {"max_attempts": 1},
    }


def run_to_the_end(fanfold: Fanfold, request: dict[str, Any], progress: Progress) -> Job:
    """The finished job; raises Unexpected unless those chunks failed that had to, and no other."""
    job = fanfold.submit(request)
    while not job.is_finished:
        job = fanfold.get(job.id, wait_seconds=1)
        progress.now(f"ours: {job.chunks.finished:,} of {job.chunks.total:,} chunks")
    divisor = request["options"].get("fail_if_divisible_by")
    failing = job.chunks.total // divisor if divisor else 0
    if (job.chunks.succeeded, job.chunks.failed) != (job.chunks.total - failing, failing):
        raise Unexpected(f"job {job.id} ended {job.state} with {job.chunks}")
    return job


def _compare(
    part: str, sizes: Sizes, progress: Progress, *, chunks: int, pairs: int, target: float
) -> Measurement:
    ours: list[Turn] = []
    theirs: list[Turn] = []
    for number in range(1, pairs + 1):
        progress.now(f"pair {number} of {pairs}: Lab 5")
        theirs.append(_run_lab5(sizes.chunks, sizes.warm_up_chunks))
        progress.now(f"pair {number} of {pairs}: ours")
        ours.append(_run_ours(chunks, sizes.warm_up_chunks, progress))
        progress.note(
            f"pair {number} of {pairs}: ours {ours[-1].chunks_per_second:.1f} chunks/s, "
            f"Lab 5 {theirs[-1].chunks_per_second:.1f} children/s"
        )
    our_median, their_median = _median(ours), _median(theirs)
    return Measurement(
        part=part,
        name=f"{chunks:,} chunks in one job, against Lab 5 with {sizes.chunks} children",
        value=our_median / their_median,
        unit="",
        target=target,
        is_more_better=True,
        details=(
            f"ours {our_median:.1f} chunks/s ({_rates(ours)})",
            f"Lab 5 {their_median:.1f} children/s ({_rates(theirs)})",
            f"CPU a chunk, ours: {_cpu(ours)}",
            f"CPU a child, Lab 5: {_cpu(theirs)}",
        ),
    )


def _run_ours(chunks: int, warm_up_chunks: int, progress: Progress) -> Turn:
    with (
        tempfile.TemporaryDirectory(prefix="fanfold-bench-") as directory,
        running(Path(directory)) as stack,
        Fanfold(stack.url) as fanfold,
    ):
        run_to_the_end(fanfold, double_job(warm_up_chunks), progress)
        pids = stack_pids(stack)
        before = cpu_seconds(pids)
        posted_at = time.time()
        job = run_to_the_end(fanfold, double_job(chunks), progress)
        after = cpu_seconds(pids)
    # The ledger's own time of the end: it does not wait for a client to ask.
    seconds = datetime.fromisoformat(job.finished_at or "").timestamp() - posted_at
    return _turn(chunks, seconds, {name: after[name] - before[name] for name in after})


def _run_lab5(children: int, warm_up_children: int) -> Turn:
    with (
        tempfile.TemporaryDirectory(prefix="fanfold-bench-") as directory,
        running_lab5(Path(directory)) as lab5,
    ):
        lab5.run(warm_up_children)
        return _turn(children, *lab5.run(children))


def _turn(chunks: int, seconds: float, cpu: dict[str, float]) -> Turn:
    return Turn(chunks / seconds, {name: used * 1000 / chunks for name, used in cpu.items()})


def _median(turns: list[Turn]) -> float:
    return statistics.median(turn.chunks_per_second for turn in turns)


def _rates(turns: list[Turn]) -> str:
    return listed([turn.chunks_per_second for turn in turns])


def _cpu(turns: list[Turn]) -> str:
    """The median CPU time a chunk of each kind of process."""
    return ", ".join(
        f"{name} {statistics.median(turn.cpu_ms_a_chunk[name] for turn in turns):.1f} ms"
        for name in turns[0].cpu_ms_a_chunk
    )
