"""The stack on one machine: Temporal, the workers, the gateway; started, watched, stopped."""

import asyncio
import contextlib
import fcntl
import http.client
import logging
import os
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fanfold.contract.settings import StackSettings
from fanfold.devstack import temporal_server
from fanfold.devstack.process import GaveUp, SupervisedProcess
from fanfold.ledger.connect import check
from fanfold.ledger.migrate import migrate

_log = logging.getLogger("fanfold.up")

_READY_TIMEOUT_SECONDS = 60.0
# Batch work leaves the processors to whoever waits for the gateway's answer.
_BATCH_NICENESS = 10
# All within ten: the workers hand their chunks back, then the server closes its file.
_STOP_SECONDS = 7.0
_STOP_TEMPORAL_SECONDS = 2.0
# Data is its owner's alone; every process that is started inherits this.
_OWNER_ONLY = 0o077
# What is made in the data directory, which may hold other files of the user's.
_MADE_HERE = ("run", "run/*", "logs", "logs/*", "ledger.db*", "temporal.db*")
# Where to ask a gateway that listens on all addresses.
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - to be replaced


class CannotStart(Exception):
    """The stack cannot be started; the message says why and what to do."""


async def run(settings: StackSettings, *, on_ready: Callable[[], None]) -> None:
    """Run everything until SIGTERM or SIGINT; leaves no process behind.

    Raises CannotStart, LedgerUnavailable or LedgerFailure, with everything stopped again.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    settings = settings.model_copy(update={"data_dir": settings.data_dir.absolute()})
    directory = settings.data_dir
    os.umask(_OWNER_ONLY)
    for name in ("run", "logs"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    _close_to_others(directory)
    with _only_stack_in(directory):
        _check_ports(settings)
        stack = _Stack(settings)
        try:
            await stack.run(stopping, on_ready)
        finally:
            await stack.stop()


class _Stack:
    def __init__(self, settings: StackSettings) -> None:
        self._settings = settings
        directory = settings.data_dir
        self._database = directory / "temporal.db"
        environment = _child_environment(settings)

        def python(name: str, module: str, niceness: int = 0) -> SupervisedProcess:
            return SupervisedProcess(
                name,
                [sys.executable, "-m", module],
                environment=environment,
                directory=directory,
                niceness=niceness,
            )

        self._temporal = SupervisedProcess(
            "temporal",
            temporal_server.command(
                database=self._database,
                port=settings.temporal_port,
                ui_port=settings.temporal_ui_port,
            ),
            environment=environment | temporal_server.ENVIRONMENT,
            directory=directory,
            niceness=_BATCH_NICENESS,
        )
        self._workers = [
            python(f"worker-{n}", "fanfold.workers.main", _BATCH_NICENESS)
            for n in range(settings.workers)
        ]
        self._gateway = python("gateway", "fanfold.app.main")
        self._environment = environment
        self._running: list[asyncio.Task[None]] = []

    async def run(self, stopping: asyncio.Event, on_ready: Callable[[], None]) -> None:
        stopped = asyncio.create_task(stopping.wait())
        starting = asyncio.create_task(self._start())
        try:
            while not starting.done() and not stopped.done():
                _raise_failed(self._running)
                await asyncio.wait(
                    [stopped, starting], timeout=0.1, return_when=asyncio.FIRST_COMPLETED
                )
            if stopped.done():
                return
            starting.result()
            on_ready()
            await asyncio.wait([stopped, *self._running], return_when=asyncio.FIRST_COMPLETED)
            _raise_failed(self._running)
        except GaveUp as error:
            raise CannotStart(str(error)) from error
        finally:
            for task in (stopped, starting):
                task.cancel()
            await asyncio.gather(stopped, starting, return_exceptions=True)

    async def stop(self) -> None:
        """Workers and gateway together, then the server they talk to."""
        async with asyncio.TaskGroup() as group:
            for process in [self._gateway, *self._workers]:
                group.create_task(process.stop(timeout_seconds=_STOP_SECONDS))
        await self._temporal.stop(timeout_seconds=_STOP_TEMPORAL_SECONDS)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _start(self) -> None:
        await self._shrink_temporal()
        self._keep_running(self._temporal)
        # The gateway takes jobs, and the workers wait, while Temporal comes up.
        await asyncio.to_thread(migrate, self._settings.ledger)
        # Workers and gateway would say so in their logs only, again and again.
        await check(self._settings.ledger)
        for process in [*self._workers, self._gateway]:
            self._keep_running(process)
        await self._prepare_temporal()
        await self._until_ready()

    def _keep_running(self, process: SupervisedProcess) -> None:
        self._running.append(asyncio.create_task(process.keep_running()))

    async def _shrink_temporal(self) -> None:
        try:
            given_back = await asyncio.to_thread(temporal_server.give_space_back, self._database)
        except sqlite3.Error as error:  # a full disk, say: the server may run all the same
            _log.warning("%s keeps the space that is free in it: %s", self._database, error)
            return
        if given_back:
            mib = given_back // (1024 * 1024)
            _log.info("%s was rewritten: %d MiB are free again", self._database, mib)

    async def _prepare_temporal(self) -> None:
        deadline = time.monotonic() + _READY_TIMEOUT_SECONDS
        command = temporal_server.retention_command(
            self._settings.temporal_port, retention_hours=self._settings.retention_hours
        )
        while await _run_quietly(command, self._environment):
            if time.monotonic() > deadline:
                raise CannotStart(f"Temporal does not come up; see {self._temporal.log_file}")
            await asyncio.sleep(0.1)
        await asyncio.to_thread(temporal_server.trim_indexes, self._database)

    async def _until_ready(self) -> None:
        deadline = time.monotonic() + _READY_TIMEOUT_SECONDS
        answer = "no answer"
        while time.monotonic() < deadline:
            status, answer = await asyncio.to_thread(_readyz, self._settings)
            if status == http.client.OK:
                return
            await asyncio.sleep(0.1)
        raise CannotStart(f"the stack does not get ready: {answer}; see {self._gateway.log_file}")


def _child_environment(settings: StackSettings) -> dict[str, str]:
    # A shell set up for another Temporal, a cloud's perhaps, must not lead away from ours.
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("TEMPORAL_")}
    return inherited | {
        "TEMPORAL_CONFIG_FILE": os.devnull,
        "FANFOLD_DATA_DIR": str(settings.data_dir),
        "FANFOLD_LEDGER_URL": settings.ledger,
        "FANFOLD_HTTP_PORT": str(settings.http_port),
        "FANFOLD_TEMPORAL_UI_URL": f"http://localhost:{settings.temporal_ui_port}",
        "TEMPORAL_ADDRESS": f"127.0.0.1:{settings.temporal_port}",
        "TEMPORAL_NAMESPACE": "default",
    }


def _check_ports(settings: StackSettings) -> None:
    wanted = (
        ("FANFOLD_HTTP_PORT", settings.http_host, settings.http_port),
        ("FANFOLD_TEMPORAL_PORT", "127.0.0.1", settings.temporal_port),
        ("FANFOLD_TEMPORAL_UI_PORT", "127.0.0.1", settings.temporal_ui_port),
    )
    for name, host, port in wanted:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise CannotStart(
                    f"port {port} cannot be used on {host} ({error.strerror}); "
                    f"stop what uses it, or choose another with {name}"
                ) from None


@contextmanager
def _only_stack_in(directory: Path) -> Iterator[None]:
    with (directory / "run" / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotStart(
                f"another stack runs in {directory}; stop it, or choose another directory "
                "with FANFOLD_DATA_DIR"
            ) from None
        yield


def _close_to_others(directory: Path) -> None:
    """Take from all but the owner what an earlier release, or the user's umask, left open."""
    made = [path for pattern in _MADE_HERE for path in directory.glob(pattern)]
    for path in [directory, *made]:
        mode = path.stat().st_mode
        if mode & _OWNER_ONLY:
            try:
                path.chmod(mode & ~_OWNER_ONLY)
            except PermissionError:
                _log.warning("%s is open to other users, and belongs to another one", path)


def _raise_failed(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise error


async def _run_quietly(command: list[str], environment: dict[str, str]) -> int:
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        return await process.wait()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        raise


def _readyz(settings: StackSettings) -> tuple[int, str]:
    host = _ANY_ADDRESS.get(settings.http_host, settings.http_host)
    connection = http.client.HTTPConnection(host, settings.http_port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        return response.status, response.read().decode()
    except OSError as error:
        return 0, str(error)
    finally:
        connection.close()
