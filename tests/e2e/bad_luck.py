"""What happens to the processes of a stack: kills, and stops by a signal."""

import os
import signal
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from fanfold.devstack.running import RunningStack
from tests.e2e.drawn_steps import WORKERS
from tests.waiting import eventually

GRACE_SECONDS: Final = 2.0
"""An attempt begins in the ledger. Until its processor is called, its worker reads the chunk's
data, and starts a thread: milliseconds, but of a machine that three workers share."""
_MOST_KILLS: Final = 2
"""In an example: after each a chunk waits for its worker's heartbeat to run out."""
_SECONDS_BETWEEN_STOPS: Final = 3.0
"""So long, and as short as they are, stops keep each beat well below its limit. Past that, a chunk
may run elsewhere while it goes on here: its fence then decides."""


@dataclass(slots=True)
class Stops:
    """When workers were stopped by a signal, and let go on: what is late for that is excused."""

    spans: list[tuple[int, float, float]] = field(default_factory=list)
    """Process, and from when until when."""

    def latest_start(self, pid: int, at: float) -> float:
        """Until when a processor may be called, of what had begun at this time."""
        latest = at + GRACE_SECONDS
        for stopped, since, until in sorted(self.spans, key=lambda span: span[1]):
            if stopped == pid and since <= latest and until > at:
                latest = max(latest, until + GRACE_SECONDS)
        return latest


class BadLuck:
    """Kills and stops processes of a stack, which starts those that died again."""

    def __init__(self, stack: RunningStack, note: Callable[[str], None]) -> None:
        self.stops = Stops()
        self._stack = stack
        self._note = note
        self._kills = 0
        self._to_come: list[threading.Timer] = []

    @property
    def may_kill(self) -> bool:
        return self._kills < _MOST_KILLS

    def kill_worker(self, pick: int, busy: Collection[int]) -> None:
        """Kill one that is busy, if there is any; else the one that was picked."""
        self._kills += 1
        pid = self._worker(pick, busy)
        self._note(f"kill worker {pid}")
        _signal(pid, signal.SIGKILL)

    def kill_gateway_in(self, seconds: float) -> None:
        self._kills += 1
        pid = self._pid("gateway")
        self._note(f"kill gateway {pid} in {seconds}")
        self._later(seconds, pid, signal.SIGKILL)

    def stop_worker(self, pick: int, busy: Collection[int], seconds: float) -> None:
        """Stop a worker, and let it go on a while later, whatever happens until then."""
        now = time.monotonic()
        if any(now < until + _SECONDS_BETWEEN_STOPS for _, _, until in self.stops.spans):
            return
        pid = self._worker(pick, busy)
        self._note(f"stop worker {pid} for {seconds}")
        self.stops.spans.append((pid, now, now + seconds))
        _signal(pid, signal.SIGSTOP)
        self._later(seconds, pid, signal.SIGCONT)

    def be_over(self) -> None:
        """Wait for what is still to come."""
        for timer in self._to_come:
            timer.join()

    def _worker(self, pick: int, busy: Collection[int]) -> int:
        pids = [self._pid(f"worker-{number}") for number in range(WORKERS)]
        of_these = [pid for pid in pids if pid in busy] or pids
        return of_these[pick % len(of_these)]

    def _pid(self, name: str) -> int:
        def found() -> int:
            try:
                return self._stack.pid(name)
            except (FileNotFoundError, ValueError):
                return 0

        return eventually(found, what=f"{name} is there")

    def _later(self, seconds: float, pid: int, number: int) -> None:
        timer = threading.Timer(seconds, _signal, (pid, number))
        timer.start()
        self._to_come.append(timer)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it was killed before
