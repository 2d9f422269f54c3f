"""A stack of its own for the demo, a test or a benchmark: free ports, started, stopped."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_START_TIMEOUT_SECONDS = 60.0
_STOP_TIMEOUT_SECONDS = 15.0
_CHECKOUT = Path(__file__).parents[2]


@dataclass(slots=True)
class RunningStack:
    """A `fanfold up` in another process, and how to reach it."""

    data_dir: Path
    directory: Path
    python: str
    http_port: int
    temporal_port: int
    ui_port: int
    environment: dict[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        """Base URL of the gateway."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def temporal_address(self) -> str:
        """Host and port of the Temporal server."""
        return f"127.0.0.1:{self.temporal_port}"

    def pid(self, name: str) -> int:
        """The process id of `temporal`, `gateway`, `worker-0`, ...; raises FileNotFoundError."""
        return int((self.data_dir / "run" / f"{name}.pid").read_text())

    def start(self) -> None:
        """Start the stack and wait until it is ready; raises RuntimeError where it is not."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        output = self.data_dir / "up.log"
        output.touch(mode=0o600)
        with output.open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603 - a Python of ours
                [self.python, "-m", "fanfold.cli.main", "up"],
                cwd=self.directory,
                env=os.environ | self.environment,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _START_TIMEOUT_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            if "Fanfold is ready" in output.read_text():
                return
            time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"the stack did not start: {output.read_text()}")

    def stop(self) -> None:
        """Stop the stack, by force where it does not stop by itself."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(_STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


def prepare(
    data_dir: Path,
    settings: Mapping[str, str] | None = None,
    *,
    directory: Path = _CHECKOUT,
    python: str = sys.executable,
) -> RunningStack:
    """A stack on free ports that is not started yet; `settings` are environment variables.

    The command is given in the directory, where processors are looked for, to this Python.
    """
    http_port, temporal_port, ui_port = free_ports(3)
    environment = {
        "FANFOLD_DATA_DIR": str(data_dir),
        "FANFOLD_HTTP_PORT": str(http_port),
        "FANFOLD_TEMPORAL_PORT": str(temporal_port),
        "FANFOLD_TEMPORAL_UI_PORT": str(ui_port),
        **(settings or {}),
    }
    return RunningStack(data_dir, directory, python, http_port, temporal_port, ui_port, environment)


@contextmanager
def running(
    data_dir: Path, settings: Mapping[str, str] | None = None, *, directory: Path = _CHECKOUT
) -> Iterator[RunningStack]:
    """A running stack, stopped at the end."""
    stack = prepare(data_dir, settings, directory=directory)
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nothing listens on at the moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
