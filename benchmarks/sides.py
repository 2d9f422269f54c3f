"""Who takes part in chunks a second: each started afresh for its turn, and alone while it runs."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.jobs import double_job, finished_at, run_to_the_end
from benchmarks.lab5_running import running_lab5
from benchmarks.peers.running import running_celery, running_dbos
from benchmarks.processes import cpu_seconds, stack_pids
from benchmarks.progress import Progress
from fanfold.client.http import Fanfold
from fanfold.devstack.running import running


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side did once."""

    chunks_per_second: float
    cpu_ms_a_chunk: dict[str, float]


@dataclass(frozen=True, slots=True)
class Side:
    """One of those compared."""

    name: str
    each: str
    """What it calls one of the many: chunks, children, tasks."""
    run: Callable[[int, int, Path, Progress], Turn]
    """Its turn: number of chunks, of those to warm up with, an empty directory, the display."""

    def take_turn(self, chunks: int, warm_up_chunks: int, progress: Progress) -> Turn:
        """Start, warm up, measure, stop; raises NotAvailable where it cannot run here."""
        with tempfile.TemporaryDirectory(prefix="fanfold-bench-") as directory:
            return self.run(chunks, warm_up_chunks, Path(directory), progress)


def _run_fanfold(
    execution: str, chunks: int, warm_up_chunks: int, directory: Path, progress: Progress
) -> Turn:
    with running(directory) as stack, Fanfold(stack.url) as fanfold:
        run_to_the_end(fanfold, double_job(warm_up_chunks, execution), progress)
        pids = stack_pids(stack)
        before = cpu_seconds(pids)
        posted_at = time.time()
        job = run_to_the_end(fanfold, double_job(chunks, execution), progress)
        after = cpu_seconds(pids)
    seconds = finished_at(job) - posted_at
    return _turn(chunks, seconds, {name: after[name] - before[name] for name in after})


def _run_lab5(chunks: int, warm_up_chunks: int, directory: Path, _: Progress) -> Turn:
    with running_lab5(directory) as lab5:
        lab5.run(warm_up_chunks)
        return _turn(chunks, *lab5.run(chunks))


def _run_celery(chunks: int, warm_up_chunks: int, directory: Path, progress: Progress) -> Turn:
    with running_celery(directory, progress) as celery:
        celery.run(warm_up_chunks)
        return _turn(chunks, *celery.run(chunks))


def _run_dbos(chunks: int, warm_up_chunks: int, directory: Path, progress: Progress) -> Turn:
    with running_dbos(directory, progress) as dbos:
        dbos.run(warm_up_chunks)
        return _turn(chunks, *dbos.run(chunks))


def _turn(chunks: int, seconds: float, cpu: dict[str, float]) -> Turn:
    return Turn(chunks / seconds, {name: used * 1000 / chunks for name, used in cpu.items()})


SIDES: dict[str, Side] = {
    "workflow": Side("Fanfold, workflow", "chunks", partial(_run_fanfold, "workflow")),
    "activity": Side("Fanfold, activity", "chunks", partial(_run_fanfold, "activity")),
    "lab5": Side("Lab 5", "children", _run_lab5),
    "dbos": Side("DBOS", "child workflows", _run_dbos),
    "celery": Side("Celery", "tasks", _run_celery),
}
