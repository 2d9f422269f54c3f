"""Lab 5's own set-up, running: a development server with default flags, in memory, one worker."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.lab5 import FAILS_IF_DIVISIBLE_BY
from benchmarks.measurement import Unexpected
from benchmarks.processes import cpu_seconds, output_of, started, wait_until
from fanfold.devstack.running import free_ports
from fanfold.devstack.temporal_server import binary


@dataclass(frozen=True, slots=True)
class RunningLab5:
    """The address of its server, and its processes."""

    address: str
    pids: dict[str, list[int]]

    def run(self, children: int) -> tuple[float, dict[str, float]]:
        """Seconds that so many children take, and the CPU seconds by kind of process.

        Raises Unexpected unless one in ten failed and all others succeeded.
        """
        before = cpu_seconds(self.pids)
        answer = json.loads(
            output_of(
                [sys.executable, "-m", "benchmarks.lab5_starter", self.address, str(children)]
            )
        )
        after = cpu_seconds(self.pids)
        failing = children // FAILS_IF_DIVISIBLE_BY
        if (answer["succeeded"], answer["failed"]) != (children - failing, failing):
            raise Unexpected(f"Lab 5 with {children} children gave {answer}")
        return answer["seconds"], {name: after[name] - before[name] for name in after}


@contextmanager
def running_lab5(directory: Path) -> Iterator[RunningLab5]:
    """Server and worker, stopped at the end; their logs are in the directory."""
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    server_command = [str(binary()), "server", "start-dev", "--headless", "--port", str(port)]
    worker_command = [sys.executable, "-m", "benchmarks.lab5_worker", address]
    with started(server_command, log=directory / "lab5-server.log") as server:
        wait_until(lambda: _has_namespace(address), server)
        with started(worker_command, log=directory / "lab5-worker.log") as worker:
            yield RunningLab5(address, {"server": [server.pid], "workers": [worker.pid]})


def _has_namespace(address: str) -> bool:
    described = subprocess.run(  # noqa: S603 - the command is ours
        [str(binary()), "operator", "namespace", "describe", "default", "--address", address],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return described.returncode == 0
