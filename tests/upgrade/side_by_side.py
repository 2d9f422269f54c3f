"""Processes of two releases on one ledger and one Temporal, started and stopped one by one."""

import asyncio
import itertools
import os
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from temporalio.client import Client, WorkflowExecutionDescription
from temporalio.service import RPCError, RPCStatusCode

from fanfold.devstack import temporal_server
from fanfold.devstack.running import free_ports
from tests.upgrade.releases import Release
from tests.waiting import eventually

_STOP_TIMEOUT_SECONDS = 15.0


class Process:
    """A process that is stopped at the end of the test, if not before."""

    def __init__(
        self, name: str, command: list[str], *, log: Path, cwd: Path, environment: dict[str, str]
    ) -> None:
        self.name = name
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command, cwd=cwd, env=environment, stdout=output, stderr=output
            )

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def says(self, words: str) -> bool:
        assert self.is_running, f"{self.name} has ended: {self.said}"
        return words in self.said

    def stop(self) -> None:
        """Ask the process to end, and wait for it."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Gateway:
    """A gateway, and HTTP to it."""

    def __init__(self, process: Process, port: int) -> None:
        self.process = process
        self.api = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)

    def is_answering(self) -> bool:
        assert self.process.is_running, f"{self.process.name} has ended: {self.process.said}"
        try:
            return self.api.get("/livez").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        self.api.close()
        self.process.stop()


class SideBySide:
    """One ledger and one Temporal server; processes of any release on them."""

    def __init__(self, directory: Path, stopping: ExitStack) -> None:
        self._directory = directory
        self._stopping = stopping
        self._numbers = itertools.count()
        self._ledger = directory / "ledger.db"
        self._temporal_port, ui_port = free_ports(2)
        self._environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TEMPORAL_", "FANFOLD_"))
        } | {
            "TEMPORAL_CONFIG_FILE": os.devnull,
            "TEMPORAL_ADDRESS": self.temporal_address,
            "TEMPORAL_NAMESPACE": "default",
            "FANFOLD_DATA_DIR": str(directory),
            "FANFOLD_LEDGER_URL": f"sqlite:///{self._ledger}",
            "FANFOLD_PROCESSORS": "tests.e2e.processors:gated,tests.e2e.processors:picky",
            "FANFOLD_RECONCILE_INTERVAL_SECONDS": "0.2",
        }
        server = temporal_server.command(
            database=directory / "temporal.db", port=self._temporal_port, ui_port=ui_port
        )
        self._start("temporal", server, directory, temporal_server.ENVIRONMENT)
        eventually(self._is_temporal_up, what="Temporal is up")

    @property
    def temporal_address(self) -> str:
        return f"127.0.0.1:{self._temporal_port}"

    def starting_gateway(self, release: Release, **settings: str) -> Gateway:
        """A gateway that does not answer yet, perhaps."""
        (port,) = free_ports(1)
        process = self._start_module(release, "app.main", FANFOLD_HTTP_PORT=str(port), **settings)
        return Gateway(process, port)

    def starting_worker(self, release: Release) -> Process:
        """A worker that is not ready yet, perhaps."""
        return self._start_module(release, "workers.main")

    def gateway(self, release: Release, **settings: str) -> Gateway:
        gateway = self.starting_gateway(release, **settings)
        eventually(gateway.is_answering, what=f"the {release.name} gateway answers")
        return gateway

    def worker(self, release: Release) -> Process:
        worker = self.starting_worker(release)
        eventually(partial(worker.says, "is ready"), what=f"the {release.name} worker is ready")
        return worker

    def task_queue(self, job_id: str) -> str | None:
        """The task queue of a job's workflow; None where there is none."""
        found = self._describe(job_id)
        return found.task_queue if found else None

    def open_workflows(self, job_id: str) -> list[str]:
        """The ids of a job's workflows that are still open."""

        async def ask() -> list[str]:
            client = await Client.connect(self.temporal_address)
            query = f"WorkflowId STARTS_WITH '{job_id}' AND ExecutionStatus = 'Running'"
            return [found.id async for found in client.list_workflows(query)]

        return asyncio.run(ask())

    def rows(self, query: str, *parameters: str) -> list[tuple[Any, ...]]:
        """What the ledger's own tables hold."""
        with closing(sqlite3.connect(f"file:{self._ledger}?mode=ro", uri=True)) as ledger:
            return ledger.execute(query, parameters).fetchall()

    def _start_module(self, release: Release, module: str, **settings: str) -> Process:
        name = f"{release.name}-{module}"
        command = [sys.executable, "-m", f"{release.package}{module}"]
        return self._start(name, command, release.tree, release.environment() | settings)

    def _start(
        self, name: str, command: list[str], cwd: Path, environment: dict[str, str]
    ) -> Process:
        process = Process(
            name,
            command,
            log=self._directory / f"{next(self._numbers)}-{name}.log",
            cwd=cwd,
            environment=self._environment | environment,
        )
        self._stopping.callback(process.stop)
        return process

    def _is_temporal_up(self) -> bool:
        try:
            self._describe("none")
        except RuntimeError:
            return False
        return True

    def _describe(self, workflow_id: str) -> WorkflowExecutionDescription | None:
        async def ask() -> WorkflowExecutionDescription | None:
            client = await Client.connect(self.temporal_address)
            try:
                return await client.get_workflow_handle(workflow_id).describe()
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
                return None

        return asyncio.run(ask())
