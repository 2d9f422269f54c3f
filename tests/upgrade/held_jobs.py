"""Jobs that are held in their middle, so that releases can change under them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.journeys import begun, children, finish, results, submit
from tests.waiting import eventually

EXECUTIONS = ("workflow", "activity")
OLD_TASK_QUEUE = "fanfold-jobs"


@dataclass(frozen=True)
class Held:
    """A job whose chunks wait at a gate of its own."""

    id: str
    gate: Path
    chunks: int

    def open(self) -> None:
        (self.gate / "open").touch()

    def has_begun(self, attempts: int) -> bool:
        return len(begun(self.gate)) >= attempts


def hold(api: httpx.Client, gate: Path, *, chunks: int, held: Iterable[int], **job: Any) -> Held:
    """Post a job that doubles a number a chunk, and wait until those named are at the gate."""
    gate.mkdir(parents=True)
    held = set(held)
    for index in set(range(chunks)) - held:
        (gate / f"open-{index}").touch()
    accepted = submit(
        api,
        **{
            "chunks": [[index] for index in range(chunks)],
            "processor": "gated",
            "options": {"directory": str(gate)},
            "reducer": "sum",
            # So an attempt that is lost, or counted though it was not the chunk's, is seen.
            "retry": {"max_attempts": 1},
        }
        | job,
    )
    this = Held(accepted["id"], gate, chunks)
    eventually(
        lambda: {int(name.split("-")[1]) for name in begun(gate)} >= held,
        what=f"chunks {held} of {this.id} are at the gate",
        timeout_seconds=60,
    )
    return this


def hold_retried(api: httpx.Client, gate: Path, calls: Path, *, execution: str) -> Held:
    """The same, where every second chunk waits for its second attempt at a stage before.

    They wait for longer than the test takes.
    """
    gate.mkdir(parents=True)
    calls.mkdir()
    chunks = 8
    accepted = submit(
        api,
        chunks=[[index] for index in range(chunks)],
        stages=[
            {
                "processor": "picky",
                "options": {"directory": str(calls)},
                "retry": {
                    "max_attempts": 2,
                    "initial_interval_seconds": 600,
                    "max_interval_seconds": 600,
                },
            },
            {
                "processor": "gated",
                "options": {"directory": str(gate)},
                "retry": {"max_attempts": 1},
            },
        ],
        reducer="sum",
        execution=execution,
        max_concurrency=chunks,
    )
    this = Held(accepted["id"], gate, chunks)
    eventually(
        lambda: this.has_begun(chunks // 2) and len(list(calls.iterdir())) == chunks,
        what=f"half of {this.id} is at the gate, half was tried once",
    )
    return this


def finish_doubled(api: httpx.Client, job: Held, *, times: int = 2) -> None:
    """Let the job go, and see that each of its chunks has the one result it can have."""
    job.open()
    finished = finish(api, job.id, timeout_seconds=90)
    assert finished["state"] == "succeeded", finished
    assert finished["result"] == times * sum(range(job.chunks))
    assert [line["result"] for line in results(api, job.id)] == [
        [times * index] for index in range(job.chunks)
    ]


def attempts(api: httpx.Client, job: Held) -> set[int]:
    return {child["attempts"] for child in children(api, job.id)}
