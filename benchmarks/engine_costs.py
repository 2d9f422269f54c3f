"""Part e: what a chunk costs the engine: events, server transactions, Temporal Cloud actions."""

import asyncio
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks.histories import ACTION_RULE, JobHistories, read_histories
from benchmarks.jobs import double_job, run_to_the_end
from benchmarks.measurement import Figures, Findings, Grid, NotAvailable, NotRun, Unexpected
from benchmarks.processes import stack_pids
from benchmarks.progress import Progress
from benchmarks.server_metrics import ACTIONS, PERSISTENCE, VISIBILITY, ServerMetrics
from benchmarks.sizes import FANFOLD_MODES, Sizes
from fanfold.client.http import Fanfold
from fanfold.devstack.running import running

# The server works off what a finished job leaves in its queues.
_SETTLE_SECONDS = 2.0
_READS = ("Get", "List", "Read", "Count", "Watch", "Describe", "Assert")
_HEARTBEAT = "RecordActivityTaskHeartbeat"
_SHOWN_OPERATIONS = 4


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one job, all of it."""

    chunks: int
    histories: JobHistories
    counted: dict[str, Counter[str]]
    """The server's own counters, by counter and by what it counts."""

    def writes(self, counter: str) -> Counter[str]:
        """What wrote to the server's database, by operation."""
        return Counter(
            {
                operation: count
                for operation, count in self.counted[counter].items()
                if not operation.startswith(_READS)
            }
        )

    @property
    def transactions(self) -> Counter[str]:
        """The server's writes to its database, by operation."""
        return self.writes(PERSISTENCE)

    @property
    def heartbeats(self) -> int:
        """Those that reached the server."""
        actions = self.counted[ACTIONS]
        return sum(count for kind, count in actions.items() if _HEARTBEAT in kind)


def measure(sizes: Sizes, progress: Progress, figures: Figures) -> Findings:
    """One job in each mode, with the server's counters before and after."""
    measured: dict[str, Costs] = {}
    for mode in FANFOLD_MODES:
        try:
            measured[mode] = _measure(mode, sizes, progress)
        except (NotAvailable, Unexpected) as error:
            yield NotRun(part="e", name=f"{mode} mode", reason=str(error))
            continue
        figures[mode] = _figures(measured[mode])
    if measured:
        yield _grid(measured)


def _measure(mode: str, sizes: Sizes, progress: Progress) -> Costs:
    with (
        tempfile.TemporaryDirectory(prefix="fanfold-bench-") as directory,
        running(Path(directory)) as stack,
        Fanfold(stack.url) as fanfold,
    ):
        metrics = ServerMetrics(stack_pids(stack)["server"][0])
        run_to_the_end(fanfold, double_job(sizes.warm_up_chunks, mode), progress)
        time.sleep(_SETTLE_SECONDS)
        before = metrics.read()
        job = run_to_the_end(fanfold, double_job(sizes.cost_chunks, mode), progress)
        time.sleep(_SETTLE_SECONDS)
        after = metrics.read()
        progress.now(f"{mode}: reading the job's histories")
        histories = asyncio.run(read_histories(stack.temporal_address, job.id, with_chunks=True))
    counted = {name: after[name] - before[name] for name in after}
    costs = Costs(sizes.cost_chunks, histories, counted)
    progress.note(
        f"{mode}: {_per_chunk(costs.histories.events.total(), costs)} events, "
        f"{_per_chunk(costs.transactions.total(), costs)} transactions, "
        f"{_per_chunk(costs.histories.actions + costs.heartbeats, costs)} actions a chunk"
    )
    return costs


def _figures(costs: Costs) -> Figures:
    return {
        "chunks": costs.chunks,
        "workflows": dict(costs.histories.workflows),
        "events": dict(costs.histories.events),
        "largest_history": costs.histories.largest,
        "actions_by_rule": costs.histories.actions + costs.heartbeats,
        "counted_by_the_server": {name: dict(count) for name, count in costs.counted.items()},
    }


def _grid(measured: dict[str, Costs]) -> Grid:
    chunks = next(iter(measured.values())).chunks

    def row(name: str, total: dict[str, int]) -> tuple[str, ...]:
        return (name, *(_per_chunk(total[mode], costs) for mode, costs in measured.items()))

    operations: Counter[str] = sum((one.transactions for one in measured.values()), Counter())
    return Grid(
        part="e",
        title=f"For each chunk of a job of {chunks:,}",
        columns=("", *(f"{mode} mode" for mode in measured)),
        rows=(
            row("workflows", {m: c.histories.workflows.total() for m, c in measured.items()}),
            row(
                "events in histories", {m: c.histories.events.total() for m, c in measured.items()}
            ),
            row("server transactions", {m: c.transactions.total() for m, c in measured.items()}),
            *(
                row(f"- {operation}", {m: c.transactions[operation] for m, c in measured.items()})
                for operation, _ in operations.most_common(_SHOWN_OPERATIONS)
            ),
            row(
                "server reads",
                {
                    mode: costs.counted[PERSISTENCE].total() - costs.transactions.total()
                    for mode, costs in measured.items()
                },
            ),
            row(
                "writes of the server's workflow list",
                {mode: costs.writes(VISIBILITY).total() for mode, costs in measured.items()},
            ),
            row(
                "Temporal Cloud actions, by rule",
                {mode: c.histories.actions + c.heartbeats for mode, c in measured.items()},
            ),
            row(
                "actions as the server counts them",
                {mode: costs.counted[ACTIONS].total() for mode, costs in measured.items()},
            ),
            (
                "largest history of the job, events",
                *(f"{max(costs.histories.largest.values()):,}" for costs in measured.values()),
            ),
        ),
        note=f"The rule: {ACTION_RULE}. The job's own workflows are in every figure.",
    )


def _per_chunk(count: int, costs: Costs) -> str:
    share = count / costs.chunks
    return f"{share:.1f}" if share >= 1 else f"{share:.3f}"
