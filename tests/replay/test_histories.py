"""Committed histories hold nothing of the machine that recorded them, and are what they say."""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.history_files import scrubbed
from scripts.history_recorder import HISTORIES
from scripts.record_histories import HISTORIES_THAT_MUST_FAIL, IDENTITY

FILES = sorted([*HISTORIES.glob("*.json"), *HISTORIES_THAT_MUST_FAIL.glob("*.json")])

# What a machine would leave: `/home/...` and `C:\\...`, a Python file, process@host. Jobs that
# SubmitJob gives back have their addresses.
TRACE_OF_A_MACHINE = re.compile(r"(?<![\w.])/(?!jobs/)\w+/|[A-Z]:\\|\.py\b|\d+@\w")

# What a scenario is about, by an event that its history must have.
TELLING_EVENT = {
    "JobWorkflow__cancel": "WORKFLOW_EXECUTION_CANCELED",
    "JobWorkflow__child_terminated": "CHILD_WORKFLOW_EXECUTION_TERMINATED",
    "JobWorkflow__shard_terminated": "CHILD_WORKFLOW_EXECUTION_TERMINATED",
    "JobWorkflow__shards_lend_slots": "WORKFLOW_EXECUTION_SIGNALED",
    "JobWorkflow__shards_cancelled": "CHILD_WORKFLOW_EXECUTION_CANCELED",
    "JobWorkflow__blocks_full": "WORKFLOW_EXECUTION_SIGNALED",
    "JobWorkflow__blocks_shard_terminated": "CHILD_WORKFLOW_EXECUTION_TERMINATED",
    "JobWorkflow__quick_chunk_retried": "TIMER_FIRED",
    "ShardWorkflow__blocks": "ACTIVITY_TASK_COMPLETED",
    "ShardWorkflow__blocks_cancelled": "ACTIVITY_TASK_CANCELED",
    "ShardWorkflow__blocks_make_way": "WORKFLOW_EXECUTION_SIGNALED",
    "ShardWorkflow__blocks_put_off": "ACTIVITY_TASK_COMPLETED",
    "ShardWorkflow__blocks_wait_long": "TIMER_FIRED",
    "ShardWorkflow__shards_put_off": "TIMER_FIRED",
    "ShardWorkflow__blocks_tolerance_exceeded": "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED",
    "ShardWorkflow__shards": "CHILD_WORKFLOW_EXECUTION_FAILED",
    "ShardWorkflow__shards_cancelled": "CHILD_WORKFLOW_EXECUTION_CANCELED",
    "ShardWorkflow__shards_lend_slots": "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED",
    "JobWorkflow__partial_failure": "CHILD_WORKFLOW_EXECUTION_FAILED",
    "JobWorkflow__success": "WORKFLOW_EXECUTION_COMPLETED",
    "ChunkWorkflow__cancel": "ACTIVITY_TASK_CANCELED",
    "ChunkWorkflow__partial_failure": "ACTIVITY_TASK_FAILED",
    "ChunkWorkflow__items_failed": "WORKFLOW_EXECUTION_COMPLETED",
    "ChunkWorkflow__quick_chunk_cancelled": "WORKFLOW_EXECUTION_CANCELED",
    "ChunkWorkflow__quick_chunk_retried": "MARKER_RECORDED",
    "ChunkWorkflow__quick_chunks": "MARKER_RECORDED",
    "ChunkWorkflow__success": "ACTIVITY_TASK_COMPLETED",
    "SubmitJob__cancelled": "REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED",
    "SubmitJob__cancelled_before_its_time": "TIMER_CANCELED",
    "SubmitJob__gateway_was_quicker": "START_CHILD_WORKFLOW_EXECUTION_FAILED",
    "SubmitJob__job_terminated": "CHILD_WORKFLOW_EXECUTION_TERMINATED",
    "SubmitJob__refused": "WORKFLOW_EXECUTION_FAILED",
    "SubmitJob__submitted": "WORKFLOW_PROPERTIES_MODIFIED",
}


def fields(value: Any) -> Iterator[tuple[str, str]]:
    """Every field that holds text, by its name; what payloads hold, decoded."""
    if isinstance(value, list):
        for child in value:
            yield from fields(child)
    if isinstance(value, dict):
        for name, child in value.items():
            if isinstance(child, str):
                yield name, base64.b64decode(child).decode() if name == "data" else child
            yield from fields(child)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_history_names_no_machine_and_no_path(path: Path) -> None:
    history = json.loads(path.read_text())
    found = list(fields(history))
    assert len(found) > 20
    assert [text for _, text in found if TRACE_OF_A_MACHINE.search(text)] == []
    assert {text for name, text in found if name == "identity"} <= {IDENTITY, "history-service"}
    assert scrubbed(history) == history


@pytest.mark.parametrize(("name", "event"), TELLING_EVENT.items(), ids=TELLING_EVENT)
def test_a_history_shows_what_its_scenario_is_about(name: str, event: str) -> None:
    history = json.loads((HISTORIES / f"{name}.json").read_text())
    assert f"EVENT_TYPE_{event}" in {one["eventType"] for one in history["events"]}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_history_is_small(path: Path) -> None:
    assert path.stat().st_size < 40_000
