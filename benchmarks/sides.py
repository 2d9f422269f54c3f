"""Who takes part in chunks a second: each started afresh for its turn, and alone while it runs."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.jobs import double_job, finished_at, run_to_the_end
from benchmarks.lab5_running import running_lab5
from benchmarks.peers.running import running_celery, running_dbos
from benchmarks.postgresql import running_postgresql
from benchmarks.processes import cpu_seconds, stack_pids
from benchmarks.progress import Progress
from fanfold.client.http import Fanfold
from fanfold.devstack.running import running

Pids = Callable[[], dict[str, list[int]]]
"""The processes of a stack by what they do, its database's too where that has its own."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class FanfoldSide:
    """How Fanfold is set up for its turn; what is not said is as `fanfold up` has it."""

    execution: str
    on_postgresql: bool = False
    workers: int | None = None

    def run(self, chunks: int, warm_up_chunks: int, directory: Path, progress: Progress) -> Turn:
        """One job on a stack of its own."""
        with self._stack(directory) as (url, pids), Fanfold(url) as fanfold:
            run_to_the_end(fanfold, double_job(warm_up_chunks, self.execution), progress)
            before = cpu_seconds(pids())
            posted_at = time.time()
            job = run_to_the_end(fanfold, double_job(chunks, self.execution), progress)
            after = cpu_seconds(pids())
        seconds = finished_at(job) - posted_at
        return _turn(chunks, seconds, {name: after[name] - before[name] for name in after})

    @contextmanager
    def _stack(self, directory: Path) -> Iterator[tuple[str, Pids]]:
        """The gateway's URL, and the processes to watch."""
        settings = {} if self.workers is None else {"FANFOLD_WORKERS": str(self.workers)}
        if not self.on_postgresql:
            with running(directory, settings) as stack:
                yield stack.url, lambda: stack_pids(stack)
            return
        with (
            running_postgresql() as postgresql,
            running(directory, settings | {"FANFOLD_LEDGER_URL": postgresql.url}) as stack,
        ):
            yield stack.url, lambda: stack_pids(stack) | {"PostgreSQL": postgresql.pids()}


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


def _fanfold(name: str, side: FanfoldSide) -> Side:
    return Side(f"Fanfold, {name}", "chunks", side.run)


SIDES: dict[str, Side] = {
    "workflow": _fanfold("workflow", FanfoldSide(execution="workflow")),
    "activity": _fanfold("activity", FanfoldSide(execution="activity")),
    "workflow_postgresql": _fanfold(
        "workflow, PostgreSQL", FanfoldSide(execution="workflow", on_postgresql=True)
    ),
    "activity_postgresql": _fanfold(
        "activity, PostgreSQL", FanfoldSide(execution="activity", on_postgresql=True)
    ),
    "one_worker": _fanfold(
        "activity, one worker process", FanfoldSide(execution="activity", workers=1)
    ),
    "one_worker_postgresql": _fanfold(
        "activity, one worker process, PostgreSQL",
        FanfoldSide(execution="activity", on_postgresql=True, workers=1),
    ),
    "lab5": Side("Lab 5", "children", _run_lab5),
    "dbos": Side("DBOS", "child workflows", _run_dbos),
    "celery": Side("Celery", "tasks", _run_celery),
}
