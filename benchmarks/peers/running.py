"""Celery and DBOS, running as their documentation has it, and asked to run so many tasks."""

import json
import select
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.measurement import NotAvailable, Unexpected
from benchmarks.peers.environment import python_with
from benchmarks.peers.work import FAILS_IF_DIVISIBLE_BY
from benchmarks.processes import conversing, cpu_seconds, is_listening, started, wait_until
from benchmarks.progress import Progress
from fanfold.devstack.running import free_ports

_ANSWER_TIMEOUT_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class RunningPeer:
    """A process that is told how many tasks, and the processes that do the work."""

    name: str
    starter: "subprocess.Popen[bytes]"
    processes: Mapping[str, "subprocess.Popen[bytes]"]

    def run(self, tasks: int) -> tuple[float, dict[str, float]]:
        """Seconds that so many tasks take, and the CPU seconds by kind of process.

        Raises Unexpected unless one in ten failed and all others succeeded.
        """
        before = cpu_seconds(self._pids())
        answer = self._ask(tasks)
        after = cpu_seconds(self._pids())
        failing = tasks // FAILS_IF_DIVISIBLE_BY
        if (answer["succeeded"], answer["failed"]) != (tasks - failing, failing):
            raise Unexpected(f"{self.name} with {tasks} tasks gave {answer}")
        return answer["seconds"], {name: after[name] - before[name] for name in after}

    def _ask(self, tasks: int) -> dict[str, float]:
        if self.starter.stdin is None or self.starter.stdout is None:
            raise RuntimeError("the starter was started without pipes")
        self.starter.stdin.write(f"{tasks}\n".encode())
        self.starter.stdin.flush()
        deadline = time.monotonic() + _ANSWER_TIMEOUT_SECONDS
        while not select.select([self.starter.stdout], [], [], 1.0)[0]:
            self._check_alive()
            if time.monotonic() > deadline:
                raise Unexpected(f"{self.name} with {tasks} tasks does not end")
        line = self.starter.stdout.readline()
        if not line:
            raise Unexpected(f"{self.name} ended by itself (exit code {self.starter.wait()})")
        answer: dict[str, float] = json.loads(line)
        return answer

    def _check_alive(self) -> None:
        """A client waits for ever for what no worker does."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise Unexpected(f"{self.name}: {name} ended by itself ({process.returncode})")

    def _pids(self) -> dict[str, list[int]]:
        """Each process with the workers it forked."""
        return {
            name: [
                process.pid,
                *(child.pid for child in psutil.Process(process.pid).children(recursive=True)),
            ]
            for name, process in self.processes.items()
        }


@contextmanager
def running_celery(directory: Path, progress: Progress) -> Iterator[RunningPeer]:
    """Redis, a worker with a process a core, a client; raises NotAvailable without them."""
    python = python_with("celery", progress)
    (port,) = free_ports(1)
    redis_command = [_redis_server(progress), "--port", str(port), "--dir", str(directory)]
    worker_command = [str(python), "-m", "celery", "--app", "benchmarks.peers.celery_tasks"]
    environment = {"BENCH_REDIS_URL": f"redis://127.0.0.1:{port}/0"}
    with started(redis_command, log=directory / "redis.log") as redis:
        wait_until(lambda: is_listening(port), redis)
        with (
            started(
                [*worker_command, "worker"], log=directory / "worker.log", environment=environment
            ) as worker,
            conversing(
                [str(python), "-m", "benchmarks.peers.celery_starter"],
                log=directory / "starter.log",
                environment=environment,
            ) as starter,
        ):
            yield RunningPeer("Celery", starter, {"redis": redis, "workers": worker})


@contextmanager
def running_dbos(directory: Path, progress: Progress) -> Iterator[RunningPeer]:
    """One process with an SQLite file; raises NotAvailable where it cannot be installed."""
    python = python_with("dbos", progress)
    command = [str(python), "-m", "benchmarks.peers.dbos_app", str(directory / "dbos.sqlite")]
    with conversing(command, log=directory / "dbos.log") as process:
        yield RunningPeer("DBOS", process, {"process": process})


def _redis_server(progress: Progress) -> str:
    """The one that a package carries, else one on the PATH."""
    try:
        return str(python_with("redis", progress).parent / "redis-server")
    except NotAvailable:
        found = shutil.which("redis-server")
    if found is None:
        raise NotAvailable("there is no redis-server, neither as a package nor on the PATH")
    return found
