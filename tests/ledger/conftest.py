"""A fresh ledger of each kind for every test, and tests that are coroutines."""

import asyncio
import inspect
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import psycopg
import pytest

from fanfold.ledger.connect import Ledger, connect
from fanfold.ledger.migrate import migrate
from tests.postgresql import start_server

# How long an example takes is decided by what else the machine does.
hypothesis.settings.register_profile("fanfold", deadline=None)
hypothesis.settings.load_profile("fanfold")

_numbers = itertools.count()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine in the event loop of its fixtures."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    given = pyfuncitem.funcargs
    names = pyfuncitem._fixtureinfo.argnames
    loop = given["loop"]
    assert isinstance(loop, asyncio.Runner)
    loop.run(pyfuncitem.obj(**{name: given[name] for name in names}))
    return True


@pytest.fixture(autouse=True)
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


class PostgresqlServer:
    """A real server in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.start()
        with psycopg.connect(self._server.get_uri(), autocommit=True) as admin:
            # Nothing here has to survive a power cut.
            admin.execute("ALTER SYSTEM SET fsync = off")
            admin.execute("SELECT pg_reload_conf()")

    @property
    def system_user(self) -> str | None:
        """Whom it runs as, where that is not who runs the tests."""
        name: str | None = self._server.system_user
        return name

    def url(self, database: str) -> str:
        url: str = self._server.get_uri(database)
        return url

    @contextmanager
    def new_database(self) -> Iterator[str]:
        name = f"fanfold_{next(_numbers)}"
        with psycopg.connect(self._server.get_uri(), autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name}".encode())
            yield self.url(name)
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    def start(self) -> None:
        self._server = start_server(self._directory)

    def stop(self) -> None:
        self._server.cleanup()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    with tempfile.TemporaryDirectory(prefix="fanfold-postgresql-") as directory:
        server = PostgresqlServer(Path(directory))
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql: PostgresqlServer) -> Iterator[str]:
    with postgresql.new_database() as url:
        migrate(url)
        yield url


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without a table in it."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'ledger.db'}"
        return
    with request.getfixturevalue("postgresql").new_database() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A ledger without a job in it, migrated once for all tests."""
    if request.param == "sqlite":
        path = tmp_path / "ledger.db"
        shutil.copyfile(request.getfixturevalue("migrated_sqlite"), path)
        return f"sqlite:///{path}"
    url: str = request.getfixturevalue("migrated_postgresql")
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' "
            "AND tablename NOT IN ('alembic_version', 'ledger_identity')"
        )
        for (table,) in tables.fetchall():
            connection.execute(f"DELETE FROM {table}".encode())
    return url


@pytest.fixture
def ledger(loop: asyncio.Runner, ledger_url: str) -> Iterator[Ledger]:
    opened = connect(ledger_url)
    try:
        yield loop.run(opened.__aenter__())
    finally:
        loop.run(opened.__aexit__(None, None, None))


@pytest.fixture
def another(
    loop: asyncio.Runner,
    ledger: Ledger,  # noqa: ARG001 - opened first, closed last
    ledger_url: str,
) -> Iterator[Ledger]:
    """The same ledger, as another process has it."""
    opened = connect(ledger_url)
    try:
        yield loop.run(opened.__aenter__())
    finally:
        loop.run(opened.__aexit__(None, None, None))
