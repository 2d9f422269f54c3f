"""How much memory processes have while something runs, looked at many times a second."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil

_PAUSE_SECONDS = 0.1
_MIB = 2**20


@dataclass(slots=True)
class MemoryOverTime:
    """Resident memory of each process at each moment, in MiB."""

    seconds: list[float] = field(default_factory=list)
    mib: dict[str, list[float]] = field(default_factory=dict)

    @property
    def peaks_mib(self) -> dict[str, float]:
        """The most that each process had."""
        return {name: max(values) for name, values in self.mib.items() if values}


@contextmanager
def watched(pids: Mapping[str, int]) -> Iterator[MemoryOverTime]:
    """Watch these processes until the block ends."""
    processes = {name: psutil.Process(pid) for name, pid in pids.items()}
    seen = MemoryOverTime(mib={name: [] for name in processes})
    ended = threading.Event()
    started = time.monotonic()

    def watch() -> None:
        while True:
            seen.seconds.append(round(time.monotonic() - started, 2))
            for name, process in processes.items():
                try:
                    seen.mib[name].append(round(process.memory_info().rss / _MIB, 1))
                except psutil.NoSuchProcess:
                    seen.mib[name].append(0.0)  # it died; what follows will say so
            if ended.wait(_PAUSE_SECONDS):
                return

    thread = threading.Thread(target=watch, name="memory", daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()
