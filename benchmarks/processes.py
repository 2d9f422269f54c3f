"""Processes of a benchmark: started, waited for, their CPU time read; none outlives the run."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from fanfold.devstack.running import RunningStack

ROOT = Path(__file__).parents[1]

_READY_TIMEOUT_SECONDS = 60.0
_STOP_TIMEOUT_SECONDS = 10.0


@contextmanager
def started(
    command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process, stopped at the end of the block, whatever ends it."""
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - the command is ours
            command,
            cwd=ROOT,
            env=os.environ | (environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Ctrl-C is for the benchmark, which stops its processes in order.
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _stop(process)


@contextmanager
def conversing(
    command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that is spoken to over pipes, stopped at the end of the block."""
    with log.open("ab") as errors:
        process = subprocess.Popen(  # noqa: S603 - the command is ours
            command,
            cwd=ROOT,
            env=os.environ | (environment or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _stop(process)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def output_of(command: Sequence[str]) -> str:
    """What a command prints; raises CalledProcessError where it fails."""
    return subprocess.run(  # noqa: S603 - the command is ours
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True, text=True
    ).stdout


def wait_until(
    is_ready: Callable[[], bool], process: "subprocess.Popen[bytes]", *, pause_seconds: float = 0.05
) -> None:
    """Return once it is ready; raises RuntimeError where the process ends, or takes too long."""
    deadline = time.monotonic() + _READY_TIMEOUT_SECONDS
    while not is_ready():
        if process.poll() is not None or time.monotonic() > deadline:
            command = " ".join(map(str, process.args)) if isinstance(process.args, list) else ""
            raise RuntimeError(f"did not get ready (exit code {process.poll()}): {command}")
        time.sleep(pause_seconds)


def is_listening(port: int) -> bool:
    """Whether something accepts connections at this port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def cpu_seconds(pids: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """CPU time used so far by each group of processes."""
    return {name: sum(_cpu_seconds(pid) for pid in group) for name, group in pids.items()}


def stack_pids(stack: RunningStack) -> dict[str, list[int]]:
    """The processes of a stack by what they do."""
    groups: dict[str, list[int]] = {"server": [], "workers": [], "gateway": []}
    for pid_file in sorted((stack.data_dir / "run").glob("*.pid")):
        kind = {"temporal": "server", "gateway": "gateway"}.get(pid_file.stem, "workers")
        groups[kind].append(stack.pid(pid_file.stem))
    return groups


def _cpu_seconds(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        # A database's process may end right after it was listed.
        return 0.0
    return float(times.user + times.system)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
