"""One supervised process: started, noted in a pid file, started again when it dies."""

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import sys
import time
from collections import deque
from pathlib import Path

from fanfold.contract.settings import EXIT_BAD_SETTINGS

_log = logging.getLogger("fanfold.up")

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
# One that ran this long was well; its death says nothing about the next start.
_STEADY_SECONDS = 10.0
_PR_SET_PDEATHSIG = 1


class GaveUp(Exception):
    """A process cannot run as it is set up; the message holds its own last words."""


class SupervisedProcess:
    """A command that is kept running until it is stopped."""

    def __init__(
        self,
        name: str,
        command: list[str],
        *,
        environment: dict[str, str],
        directory: Path,
        niceness: int = 0,
    ) -> None:
        """Prepare the command with its whole environment.

        Its pid file and its log go to `run/` and `logs/` in the directory. The higher its
        niceness, the more it leaves the processors to others.
        """
        self.name = name
        self._command = command
        self._environment = environment
        self._niceness = niceness
        self._pid_file = directory / "run" / f"{name}.pid"
        self.log_file = directory / "logs" / f"{name}.log"
        self._process: asyncio.subprocess.Process | None = None
        self._is_stopping = False

    async def keep_running(self) -> None:
        """Start the process, and again whenever it dies. Ends when stopped.

        Raises GaveUp where it ends by saying that its settings are wrong.
        """
        pause = _FIRST_PAUSE_SECONDS
        while not self._is_stopping:
            started = time.monotonic()
            code = await self._run_once()
            if self._is_stopping:
                return
            if code == EXIT_BAD_SETTINGS:
                raise GaveUp(self.last_words())
            if time.monotonic() - started > _STEADY_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            _log.warning("%s died (exit code %d), starting it again", self.name, code)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def stop(self, *, timeout_seconds: float) -> None:
        """Ask the process to end; kill it where it does not in time."""
        self._is_stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        _signal(process, signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), timeout_seconds)
        except TimeoutError:
            _log.warning("%s does not stop, killing it", self.name)
            _signal(process, signal.SIGKILL)
            await process.wait()

    def last_words(self) -> str:
        """The last line of the process's log."""
        with self.log_file.open(errors="replace") as log:
            lines = deque((line.strip() for line in log if line.strip()), maxlen=1)
        return lines[0] if lines else f"{self.name} ended without a word"

    async def _run_once(self) -> int:
        with self.log_file.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C is for the supervisor, which stops its processes in order.
                start_new_session=True,
                preexec_fn=self._prepare,
            )
        self._pid_file.write_text(f"{self._process.pid}\n")
        try:
            return await self._process.wait()
        finally:
            self._pid_file.unlink(missing_ok=True)

    def _prepare(self) -> None:
        """What the new process does before it becomes the command."""
        if _PRCTL is not None:
            _PRCTL(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if self._niceness:
            os.nice(self._niceness)
            # Linux may weigh sessions, each with a niceness of its own, before processes.
            with contextlib.suppress(OSError):
                Path("/proc/self/autogroup").write_text(str(self._niceness))


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except ProcessLookupError:
        return  # it ended by itself meanwhile


# On Linux, the kernel ends a process whose supervisor was killed.
_PRCTL = ctypes.CDLL(None).prctl if sys.platform.startswith("linux") else None
