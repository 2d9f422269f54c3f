"""In part b: where the time of a job of one chunk goes, by its histories and the ledger's times."""

import asyncio
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from benchmarks.measurement import Figures, Findings, Grid, NotRun, reason_of

_TITLE = "Where the time of a job of one chunk goes"
_POSTED = "posted"
_STEPS = {
    "created": "the request is sent, read and checked",
    "workflow started": "job and chunk are written; the gateway claims it, starts `JobWorkflow`",
    "workflow at a worker": "Temporal stores it and hands its first task to a worker",
    "opened": "`open_job`: the job is running, its chunk known",
    "child started": "the task goes back with the child in it, Temporal starts that",
    "child at a worker": "Temporal stores it and hands its first task to a worker",
    "claimed": "the child's first task asks for its activity; that begins the attempt",
    "ran, and recorded": "the processor, and the outcome in the ledger",
    "child closed": "the activity's answer, the child's last task",
    "parent told": "Temporal stores the child's end and hands the parent a task",
    "closed": "`close_job`: counts, fold, the job's end in the ledger",
    "answered": "the gateway sees the end, reads the job and answers",
}
"""What ends each span, in order, and what is done in it."""

Moments = dict[str, float]
"""When each of them was, in seconds of the one clock that all processes here have."""


@dataclass(frozen=True, slots=True)
class SmallJob:
    """A job of one chunk as its client saw it."""

    posted_at: float
    answered_at: float
    job: dict[str, Any]
    child: dict[str, Any]

    @property
    def started_ms(self) -> float:
        """From before POST until its chunk started, by the ledger's clock, which is this one."""
        return (_seconds(self.child["started_at"]) - self.posted_at) * 1000

    @property
    def finished_ms(self) -> float:
        """From before POST until the answer was here."""
        return (self.answered_at - self.posted_at) * 1000


def measure(
    address: str, jobs: Sequence[SmallJob], accepted_ms: Sequence[float], figures: Figures
) -> Findings:
    """The table of the jobs' spans, while the server has their histories."""
    try:
        moments = asyncio.run(_read(address, jobs))
    except Exception as error:  # noqa: BLE001 - a job that runs in other steps has its times still
        yield NotRun(part="b", name=_TITLE, reason=reason_of(error))
        return
    figures["moments"] = moments
    yield _grid(moments, accepted_ms)


async def _read(address: str, jobs: Sequence[SmallJob]) -> list[Moments]:
    client = await Client.connect(address)
    return [await _moments(client, small) for small in jobs]


def _grid(moments: Sequence[Moments], accepted_ms: Sequence[float]) -> Grid:
    """The median of each span, and its share of the whole; below it, when a 202 is here."""
    spans = {
        end: statistics.median((one[end] - one[begin]) * 1000 for one in moments)
        for begin, end in pairwise((_POSTED, *_STEPS))
    }
    whole = sum(spans.values())
    return Grid(
        part="b",
        title=f"{_TITLE} (medians)",
        columns=("until", "ms", "share", "what is done meanwhile"),
        rows=tuple(
            (end, f"{milliseconds:.1f}", f"{milliseconds / whole:.0%}", _STEPS[end])
            for end, milliseconds in spans.items()
        ),
        note=(
            f"Together {whole:.0f} ms; the sum of medians is not quite the median of sums. "
            f"A POST that waits for nothing has its 202 in {statistics.median(accepted_ms):.0f} ms."
        ),
    )


async def _moments(client: Client, small: SmallJob) -> Moments:
    parent = await _events(client, small.job["id"])
    child = await _events(client, small.child["workflow_id"])
    closed_at = _seconds(small.job["finished_at"])
    return {
        _POSTED: small.posted_at,
        "created": _seconds(small.job["created_at"]),
        "workflow started": next(_times(parent, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)),
        "workflow at a worker": next(_times(parent, EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED)),
        "opened": _seconds(small.job["started_at"]),
        "child started": next(_times(child, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)),
        "child at a worker": next(_times(child, EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED)),
        "claimed": _seconds(small.child["started_at"]),
        "ran, and recorded": _seconds(small.child["finished_at"]),
        "child closed": next(_times(child, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED)),
        # The one in which the job closes: the last before its end.
        "parent told": max(
            time
            for time in _times(parent, EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED)
            if time < closed_at
        ),
        "closed": closed_at,
        "answered": small.answered_at,
    }


async def _events(client: Client, workflow_id: str) -> list[HistoryEvent]:
    handle = client.get_workflow_handle(workflow_id)
    return [event async for event in handle.fetch_history_events()]


def _times(events: Sequence[HistoryEvent], kind: EventType.ValueType) -> Iterator[float]:
    return (
        event.event_time.seconds + event.event_time.nanos / 1e9
        for event in events
        if event.event_type == kind
    )


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
