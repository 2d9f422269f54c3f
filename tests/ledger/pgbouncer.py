"""PgBouncer, which lends connections of a PostgreSQL for one transaction each."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.ledger.conftest import PostgresqlServer
from tests.waiting import eventually

CONFIGURATION = """
[databases]
* = host={socket_directory} user=postgres

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
max_client_conn = 200
"""


@contextmanager
def pgbouncer(server: PostgresqlServer, url: str) -> Iterator[str]:
    """The URL of the same database by way of a pooler in transaction mode."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("needs pgbouncer: scripts/install-pgbouncer.sh installs it, as root, on Debian")
    parameters = conninfo_to_dict(url)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with TemporaryDirectory(prefix="fanfold-pgbouncer-") as directory:
        file = Path(directory) / "pgbouncer.ini"
        file.write_text(CONFIGURATION.format(socket_directory=parameters["host"], port=port))
        # It refuses to run as root, and so does PostgreSQL, which has a user of its own then.
        user = server.system_user
        as_user = [] if user is None else ["-u", user]
        Path(directory).chmod(0o755)
        process = subprocess.Popen(
            [program, "--quiet", *as_user, str(file)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        through = f"postgresql://postgres@127.0.0.1:{port}/{parameters['dbname']}"

        def answers() -> bool:
            assert process.poll() is None, process.stderr and process.stderr.read()
            try:
                with psycopg.connect(through):
                    return True
            except psycopg.OperationalError:
                return False

        try:
            eventually(answers, what="pgbouncer answers")
            yield through
        finally:
            process.terminate()
            process.communicate(timeout=10)
