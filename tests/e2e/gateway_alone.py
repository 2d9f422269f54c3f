"""A gateway as a process of its own, without Temporal and workers: jobs are taken, and wait."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from fanfold.devstack.running import free_ports
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Gateway:
    """A running gateway."""

    port: int
    log_file: Path
    process: "subprocess.Popen[bytes]"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log(self) -> str:
        return self.log_file.read_text()

    def is_answering(self) -> bool:
        assert self.process.poll() is None, self.log()
        try:
            return httpx.get(f"{self.url}/livez").status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def gateway_alone(directory: Path, **settings: str) -> Iterator[Gateway]:
    """A gateway on a free port, with its ledger in the directory unless a setting says where."""
    port, nothing_there = free_ports(2)
    environment = os.environ | {
        "FANFOLD_DATA_DIR": str(directory / "data"),
        "FANFOLD_HTTP_PORT": str(port),
        "TEMPORAL_ADDRESS": f"127.0.0.1:{nothing_there}",
        **settings,
    }
    log_file = directory / "gateway.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "fanfold.app.main"],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        gateway = Gateway(port, log_file, process)
        eventually(gateway.is_answering, what="the gateway answers")
        yield gateway
    finally:
        process.terminate()
        process.wait(timeout=15)
