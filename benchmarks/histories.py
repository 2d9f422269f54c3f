"""All histories of a job: of its workflow, its shards, its chunks; what they hold and cost."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

_AT_A_TIME = 16
_LOCAL_ACTIVITY = "core_local_activity"

ACTION_RULE = (
    "workflow start 1; child workflow 1 more for the command that starts it; activity 1 for each "
    "attempt; local activities 1 for each workflow task that ran any; timer 1; signal 1; "
    "heartbeats are in no history, the server counts them"
)


@dataclass(slots=True)
class JobHistories:
    """Counts over all histories of a job."""

    workflows: Counter[str] = field(default_factory=Counter)
    """Histories by workflow type; a workflow that continued as new has several."""
    events: Counter[str] = field(default_factory=Counter)
    """Events by workflow type."""
    largest: dict[str, int] = field(default_factory=dict)
    """Events of the largest history by workflow type."""
    actions: int = 0
    """By ACTION_RULE."""


async def read_histories(address: str, job_id: str, *, with_chunks: bool) -> JobHistories:
    """Walk from the job's workflow down its children.

    Without chunks, those are left out that start no workflows of their own: a hundred
    thousand small histories say nothing that one does not.
    """
    client = await Client.connect(address)
    found = JobHistories()
    level: list[tuple[str, str]] = [(job_id, "")]
    while level:
        next_level: list[tuple[str, str]] = []
        for start in range(0, len(level), _AT_A_TIME):
            some = level[start : start + _AT_A_TIME]
            for children in await asyncio.gather(*(_read(client, *one, found) for one in some)):
                next_level += children
        level = next_level if with_chunks else [one for one in next_level if _is_shard(*one)]
    return found


def _is_shard(workflow_id: str, _run_id: str) -> bool:
    return workflow_id.rpartition("/")[2].startswith("s")


async def _read(
    client: Client, workflow_id: str, run_id: str, found: JobHistories
) -> list[tuple[str, str]]:
    """Count one history; the workflows that it started, and its own earlier run."""
    handle = client.get_workflow_handle(workflow_id, run_id=run_id or None)
    events = [event async for event in handle.fetch_history_events()]
    begun = events[0].workflow_execution_started_event_attributes
    kind = begun.workflow_type.name
    found.workflows[kind] += 1
    found.events[kind] += len(events)
    found.largest[kind] = max(found.largest.get(kind, 0), len(events))
    found.actions += 1 + _actions(events)
    others = [
        (started.workflow_execution.workflow_id, started.workflow_execution.run_id)
        for event in events
        if event.event_type == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED
        for started in [event.child_workflow_execution_started_event_attributes]
    ]
    if begun.continued_execution_run_id:
        others.append((workflow_id, begun.continued_execution_run_id))
    return others


def _actions(events: list[HistoryEvent]) -> int:
    """Actions of one history but for its own start."""
    counted = 0
    tasks_with_local_activities: set[int] = set()
    for event in events:
        match event.event_type:
            case (
                EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED
                | EventType.EVENT_TYPE_TIMER_STARTED
                | EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
            ):
                counted += 1
            case EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
                # The one event of all attempts, written when the last one ended.
                counted += event.activity_task_started_event_attributes.attempt
            case EventType.EVENT_TYPE_MARKER_RECORDED:
                marker = event.marker_recorded_event_attributes
                if marker.marker_name == _LOCAL_ACTIVITY:
                    tasks_with_local_activities.add(marker.workflow_task_completed_event_id)
    return counted + len(tasks_with_local_activities)
