"""A Temporal server and workers as processes of their own, each started and stopped by itself."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fanfold.devstack import temporal_server
from fanfold.devstack.running import free_ports
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Worker:
    """A running worker."""

    log_file: Path
    process: "subprocess.Popen[bytes]"

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> str:
        return self.log_file.read_text()

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log()
        return "is ready" in self.log()


@contextmanager
def temporal_alone(directory: Path) -> Iterator[str]:
    """A Temporal server that no worker polls yet; its address."""
    port, ui_port = free_ports(2)
    command = temporal_server.command(
        database=directory / "temporal.db", port=port, ui_port=ui_port
    )
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.terminate()


@contextmanager
def worker_alone(directory: Path, address: str, **settings: str) -> Iterator[Worker]:
    """A worker on the Temporal there, with its ledger in the directory; stopped at the end."""
    directory.mkdir(exist_ok=True)
    environment = os.environ | {
        "FANFOLD_DATA_DIR": str(directory),
        "TEMPORAL_ADDRESS": address,
        **settings,
    }
    log_file = directory / "worker.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "fanfold.workers.main"],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        worker = Worker(log_file, process)
        eventually(worker.is_ready, what="the worker is ready")
        yield worker
    finally:
        process.terminate()
        process.wait(timeout=15)
