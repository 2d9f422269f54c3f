"""Migrations: whichever process comes first, whatever kills it, the tables are right."""

import fcntl
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from fanfold.ledger import migrate as migrate_module
from fanfold.ledger.connect import connect
from fanfold.ledger.database import LedgerUnavailable
from fanfold.ledger.databases.sqlite import lock_file
from fanfold.ledger.migrate import HEAD, migrate
from tests.ledger.jobs_recorded import found, record
from tests.ledger.raw_sql import revisions, rows, tables
from tests.waiting import eventually

ROOT = Path(migrate_module.__file__).parents[1]
TABLES = {
    *("alembic_version", "attempts", "catalog", "chunks", "idempotency_keys", "inputs"),
    *("block_lanes", "block_runs", "child_cancels", "kept_outputs", "ledger_identity", "purges"),
    *("job_ancestors", "job_counts", "job_labels", "job_paces", "job_results", "job_runs"),
    *("job_streaks", "jobs", "received_chunks", "results", "uploads"),
}

WAITS_FOR_THE_WORD = """
import sys
from fanfold.ledger.migrate import migrate
print("ready", flush=True)
sys.stdin.readline()
migrate(sys.argv[1])
"""

DIES_HALF_WAY = """
import os, signal, sys
from sqlalchemy import Engine, event
from fanfold.ledger.migrate import migrate

created = []

@event.listens_for(Engine, "after_cursor_execute")
def die(connection, cursor, statement, *_):
    created.extend(["table"] if "CREATE TABLE" in statement else [])
    if len(created) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

migrate(sys.argv[1])
"""

SAYS_WHAT_IT_LOADED = """
import asyncio, sys
from fanfold.ledger.connect import connect

async def main():
    async with connect(sys.argv[1]):
        print(sorted({"alembic", "sqlalchemy", "psycopg"} & set(sys.modules)))

asyncio.run(main())
"""


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_head_is_the_newest_migration_there_is() -> None:
    names = sorted(path.name for path in (ROOT / "ledger/migrations/versions").glob("[0-9]*.py"))
    assert names[-1].partition("_")[0] == HEAD


def test_a_fresh_database_gets_all_tables(empty_url: str) -> None:
    migrate(empty_url)
    assert tables(empty_url) == TABLES
    assert revisions(empty_url) == [HEAD]


def test_both_databases_get_the_same_columns_in_the_same_order(
    tmp_path: Path, migrated_postgresql: str
) -> None:
    sqlite = f"sqlite:///{tmp_path / 'ledger.db'}"
    migrate(sqlite)
    columns = {
        table: [row[1] for row in rows(sqlite, f"SELECT * FROM pragma_table_info('{table}')")]
        for table in TABLES
    }
    found_columns: dict[str, list[str]] = {table: [] for table in TABLES}
    for table, column in rows(
        migrated_postgresql,
        "SELECT table_name, column_name FROM information_schema.columns "
        "WHERE table_schema = 'public' ORDER BY table_name, ordinal_position",
    ):
        found_columns[table].append(column)
    assert found_columns == columns
    assert {table for table in TABLES if "tenant" in columns[table]} == TABLES - {
        *("alembic_version", "block_runs", "catalog", "job_counts", "ledger_identity"),
        *("purges", "received_chunks", "attempts", "block_lanes", "child_cancels"),
        *("job_ancestors", "job_paces", "job_streaks", "kept_outputs"),
    }


async def test_migrating_again_keeps_what_is_there(empty_url: str) -> None:
    async with connect(empty_url) as ledger:
        job_id = await record(ledger, [1, 2])
    migrate(empty_url)
    async with connect(empty_url) as ledger:
        assert (await found(ledger, job_id)).total_items == 3


async def test_a_ledger_keeps_its_id_and_shares_it_with_no_other(
    empty_url: str, tmp_path: Path
) -> None:
    async with connect(empty_url) as ledger, connect(empty_url) as again:
        assert again.id == ledger.id
        async with connect(f"sqlite:///{tmp_path / 'another.db'}") as another:
            assert len({ledger.id, another.id} - {""}) == 2


def test_processes_that_start_together_migrate_once(empty_url: str) -> None:
    processes = [python(WAITS_FOR_THE_WORD, empty_url) for _ in range(4)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=60)
        # On a slow machine those that wait say so.
        unexpected = [line for line in errors.splitlines() if "waiting for another" not in line]
        assert (process.returncode, unexpected) == (0, [])
    assert tables(empty_url) == TABLES
    assert revisions(empty_url) == [HEAD]


def test_a_migration_that_waits_for_another_process_says_so(
    empty_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with held_by_another_process(empty_url) as let_go:
        migrating = threading.Thread(target=migrate, args=(empty_url,))
        migrating.start()
        eventually(lambda: "waiting for another process" in caplog.text, what="the log says so")
        assert tables(empty_url) == set()
        let_go()
        migrating.join()
    assert tables(empty_url) == TABLES


@contextmanager
def held_by_another_process(url: str) -> Iterator[Callable[[], None]]:
    """The lock that whoever migrates holds."""
    if url.startswith("sqlite"):
        with lock_file(Path(url.removeprefix("sqlite:///"))).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield lock.close
    else:
        with psycopg.connect(url) as connection:
            # The release before takes it for its session, this one for its transaction.
            connection.execute(f"SELECT pg_advisory_lock({migrate_module._ADVISORY_LOCK})".encode())
            yield connection.close


def test_a_url_that_makes_no_sense_is_named_in_the_error(migrated_postgresql: str) -> None:
    with pytest.raises(LedgerUnavailable, match=r"pooler=session in the URL; .*transaction"):
        migrate(f"{migrated_postgresql}&pooler=session")
    with pytest.raises(LedgerUnavailable, match="nonsense"):
        migrate(f"{migrated_postgresql}&nonsense=1")


@pytest.mark.parametrize("created", [1, 4, 9])
def test_a_migration_killed_half_way_leaves_nothing(empty_url: str, created: int) -> None:
    process = python(DIES_HALF_WAY, empty_url, str(created))
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (-signal.SIGKILL, "")
    assert tables(empty_url) == set()
    migrate(empty_url)
    assert tables(empty_url) == TABLES
    assert revisions(empty_url) == [HEAD]


async def test_a_ledger_newer_than_this_code_is_left_alone(empty_url: str) -> None:
    migrate(empty_url)
    rows(empty_url, "UPDATE alembic_version SET version_num = '9999'")
    rows(empty_url, "ALTER TABLE jobs ADD COLUMN of_the_future INTEGER")
    async with connect(empty_url) as ledger:
        job_id = await record(ledger)
        assert (await found(ledger, job_id)).id == job_id
    assert revisions(empty_url) == ["9999"]


def test_a_ledger_that_is_up_to_date_opens_without_the_migration_library(ledger_url: str) -> None:
    process = python(SAYS_WHAT_IT_LOADED, ledger_url)
    output, errors = process.communicate(timeout=60)
    driver = [] if ledger_url.startswith("sqlite") else ["psycopg"]
    assert (output.strip(), errors) == (str(driver), "")


def test_the_directory_of_a_new_ledger_is_made(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a' / 'b' / 'ledger.db'}"
    migrate(url)
    assert revisions(url) == [HEAD]


def test_a_file_that_is_no_ledger_is_named_in_the_error(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes " * 100)
    with pytest.raises(LedgerUnavailable, match=r"notes\.txt: file is not a database"):
        migrate(f"sqlite:///{path}")
    assert path.read_text().startswith("these are my notes")


def test_a_path_that_cannot_be_made_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerUnavailable, match=r"file/below/ledger\.db"):
        migrate(f"sqlite:///{tmp_path / 'file' / 'below' / 'ledger.db'}")


def test_a_server_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable, match="PostgreSQL: "):
        migrate(f"postgresql:///fanfold?host={tmp_path}")


def test_a_database_that_does_not_exist_is_named_in_the_error(migrated_postgresql: str) -> None:
    url = migrated_postgresql.replace("/fanfold_", "/absent_")
    with pytest.raises(LedgerUnavailable, match="absent_"):
        migrate(url)
