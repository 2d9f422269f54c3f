"""SubmitJob on a real stack, while what it needs is killed."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from fanfold.devstack import temporal_server
from fanfold.devstack.running import RunningStack
from tests.e2e.faults import kill
from tests.e2e.journeys import begun, finish
from tests.waiting import eventually

NewStack = Callable[..., RunningStack]


def temporal(stack: RunningStack, *arguments: str) -> Any:
    """Run the command line of Temporal; what it prints, which is JSON."""
    command = [str(temporal_server.binary()), "workflow", *arguments, "--workflow-id", "of-a-test"]
    command += ["--address", stack.temporal_address, "--output", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def start(stack: RunningStack, gate: Path) -> None:
    body = {
        "chunks": [[1], [2]],
        "processor": "gated",
        "options": {"directory": str(gate)},
        "reducer": "sum",
    }
    given = ("--type", "SubmitJob", "--task-queue", "fanfold-jobs", "--input", json.dumps(body))
    temporal(stack, "start", *given)


def only_job(stack: RunningStack) -> str:
    with httpx.Client(base_url=stack.url, timeout=60) as api:
        (job,) = api.get("/jobs").json()["jobs"]
        finish(api, job["id"])
    job_id: str = job["id"]
    return job_id


def test_kills_of_everything_in_turn_leave_one_job_that_is_given_back(
    new_stack: NewStack, gate: Path
) -> None:
    stack = new_stack(FANFOLD_WORKERS="1")
    start(stack, gate)
    eventually(lambda: len(begun(gate)) == 2, what="its job runs")
    for name in ("worker-0", "gateway", "temporal"):
        kill(stack, name)
    eventually(lambda: len(begun(gate)) == 4, what="its chunks run again", timeout_seconds=60)
    (gate / "open").touch()
    job = temporal(stack, "result")["result"]
    assert (job["state"], job["result"]) == ("succeeded", 6)
    assert job["id"] == only_job(stack)


def test_kills_of_its_worker_at_any_moment_leave_one_job(new_stack: NewStack, gate: Path) -> None:
    stack = new_stack(FANFOLD_WORKERS="1")
    (gate / "open").touch()
    start(stack, gate)
    # From before the first task until after the last: each kill is somewhere else.
    for _ in range(4):
        kill(stack, "worker-0")
    job = temporal(stack, "result")["result"]
    assert (job["state"], job["result"]) == ("succeeded", 6)
    assert job["id"] == only_job(stack)


def test_it_needs_no_gateway(new_stack: NewStack, gate: Path) -> None:
    stack = new_stack()
    os.kill(stack.pid("gateway"), signal.SIGSTOP)
    try:
        (gate / "open").touch()
        start(stack, gate)
        job = temporal(stack, "result")["result"]
    finally:
        os.kill(stack.pid("gateway"), signal.SIGCONT)
    assert (job["state"], job["result"]) == ("succeeded", 6)
