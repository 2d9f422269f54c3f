"""What tests of faults have in common: jobs that are held in mid-run, and how things are broken."""

import asyncio
import os
import signal
import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
from temporalio.client import Client

from fanfold.devstack import temporal_server
from fanfold.devstack.running import RunningStack
from tests.e2e.journeys import begun, children, finish, submit
from tests.waiting import eventually

VALUES = list(range(12))
DOUBLED = sum(2 * value for value in VALUES)
EXECUTIONS = ("workflow", "activity")


def client(stack: RunningStack) -> httpx.Client:
    return httpx.Client(base_url=stack.url, timeout=30)


@dataclass(frozen=True)
class Gated:
    """A job whose chunks wait in a directory of its own."""

    id: str
    execution: str
    gate: Path

    def open(self) -> None:
        (self.gate / "open").touch()

    def begun(self) -> set[str]:
        return begun(self.gate)

    def has_begun(self, attempts: int) -> bool:
        return len(self.begun()) == attempts


def submit_gated(api: httpx.Client, gate: Path) -> list[Gated]:
    """A job in each execution, over the same chunks; each is held with four of them running."""
    jobs: list[Gated] = []
    for execution in EXECUTIONS:
        directory = gate / execution
        directory.mkdir()
        job = submit(
            api,
            chunks=[[value] for value in VALUES],
            processor="gated",
            options={"directory": str(directory)},
            execution=execution,
            reducer="sum",
            max_concurrency=4,
            retry={"max_attempts": 3, "initial_interval_seconds": 0.1},
        )
        assert job["execution"] == execution
        jobs.append(Gated(job["id"], execution, directory))
    for one in jobs:
        eventually(partial(one.has_begun, 4), what=f"{one.execution}: four chunks are running")
    return jobs


def finish_doubled(api: httpx.Client, jobs: list[Gated]) -> None:
    """Let all jobs go, and see them succeed."""
    for one in jobs:
        one.open()
    for one in jobs:
        job = finish(api, one.id, timeout_seconds=90)
        assert (one.execution, job["state"], job["result"]) == (one.execution, "succeeded", DOUBLED)


def attempts(api: httpx.Client, job: Gated) -> list[int]:
    return [child["attempts"] for child in children(api, job.id)]


def kill(stack: RunningStack, name: str) -> None:
    """kill -9, and wait until the stack has started the process anew."""
    dead = stack.pid(name)
    os.kill(dead, signal.SIGKILL)

    def is_replaced() -> bool:
        try:
            return stack.pid(name) != dead
        except (FileNotFoundError, ValueError):
            return False

    eventually(is_replaced, what=f"{name} is started again")


def terminate(stack: RunningStack, workflow_id: str) -> None:
    """Do what somebody could do in Temporal's own UI."""
    command = [str(temporal_server.binary()), "workflow", "terminate"]
    command += ["--workflow-id", workflow_id, "--address", stack.temporal_address]
    subprocess.run([*command, "--reason", "by hand"], check=True, capture_output=True, timeout=30)


def is_answering(api: httpx.Client) -> bool:
    try:
        return api.get("/livez").status_code == 200
    except httpx.TransportError:
        return False


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def all_have_ended(stack: RunningStack, job_id: str) -> bool:
    async def ask() -> bool:
        temporal = await Client.connect(stack.temporal_address)
        for name in ("s00000", *(f"c{index:07d}" for index in VALUES)):
            handle = temporal.get_workflow_handle(f"{job_id}/{name}")
            try:
                if (await handle.describe()).close_time is None:
                    return False
            except Exception:  # noqa: BLE001, S112 - it was never started
                continue
        return True

    return asyncio.run(ask())
