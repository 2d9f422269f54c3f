"""What deleted jobs took of the disk is given back."""

from pathlib import Path

import alembic.command
import alembic.config
import pytest
from sqlalchemy import create_engine

from fanfold.contract.states import JobState
from fanfold.ledger import migrate as migrate_module
from fanfold.ledger.connect import Ledger, connect
from fanfold.ledger.databases import sqlite
from fanfold.ledger.databases.sqlite import SqliteDatabase
from tests.ledger.jobs_recorded import found, ours, record, running, succeed
from tests.ledger.raw_sql import rows

MIB = 1024 * 1024
BODY = b'["' + b"x" * 200_000 + b'"]'

on_sqlite = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)


def size_of(url: str, suffix: str = "") -> int:
    return Path(url.removeprefix("sqlite:///") + suffix).stat().st_size


async def purge_a_large_job(ledger: Ledger) -> None:
    job_id = await running(ledger, [1] * 100)
    for index in range(100):
        await succeed(ledger, job_id, index, BODY)
    await ours(ledger).closing.close(job_id, JobState.SUCCEEDED, error=None)
    await ours(ledger).jobs.purge(job_id)
    while await ledger.retention.delete_some():
        pass


async def test_giving_space_back_comes_to_an_end_and_keeps_every_job(ledger: Ledger) -> None:
    kept = await record(ledger, [1, 2])
    await purge_a_large_job(ledger)
    while await ledger.database.give_space_back():
        pass
    assert (await found(ledger, kept)).total_items == 3
    assert not await ledger.database.give_space_back()


@on_sqlite
async def test_the_file_shrinks_after_a_purge(ledger: Ledger, ledger_url: str) -> None:
    before = size_of(ledger_url)
    await purge_a_large_job(ledger)
    assert size_of(ledger_url) > 15 * MIB

    steps = 0
    while await ledger.database.give_space_back():
        steps += 1

    assert steps > 10
    assert size_of(ledger_url) < before + MIB
    assert rows(ledger_url, "PRAGMA integrity_check") == [("ok",)]


@on_sqlite
async def test_a_few_free_pages_are_kept_for_the_next_rows(ledger: Ledger, ledger_url: str) -> None:
    await purge_a_large_job(ledger)
    while await ledger.database.give_space_back():
        pass
    ((free,),) = rows(ledger_url, "PRAGMA freelist_count")
    ((pages,),) = rows(ledger_url, "PRAGMA page_count")
    assert 0 < free <= pages * sqlite.KEPT_FREE_SHARE + 1


@on_sqlite
async def test_the_log_is_cut_back_after_a_large_transaction(
    ledger: Ledger, ledger_url: str
) -> None:
    database = ledger.database
    assert isinstance(database, SqliteDatabase)
    connection, _ = database._writer._open()
    connection.execute(f"PRAGMA journal_size_limit = {MIB}")
    await record(ledger, [200_000] * 20)
    assert size_of(ledger_url, "-wal") > 2 * MIB
    await record(ledger)
    assert size_of(ledger_url, "-wal") <= MIB


async def test_a_file_of_an_older_release_can_shrink_once_it_is_upgraded(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    make_old(url)
    assert rows(url, "PRAGMA auto_vacuum") == [(0,)]
    rows(url, "INSERT INTO catalog (kind, name, entry, published_at) VALUES ('a', 'b', '{}', 0)")

    async with connect(url) as ledger:
        await purge_a_large_job(ledger)
        while await ledger.database.give_space_back():
            pass

    assert size_of(url) < MIB
    assert rows(url, "SELECT name FROM catalog") == [("b",)]


def make_old(url: str) -> None:
    """A file as the first release made it."""
    config = alembic.config.Config()
    config.set_main_option(
        "script_location", str(Path(migrate_module.__file__).parent / "migrations")
    )
    engine = create_engine(url)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "0001")
        connection.commit()
    engine.dispose()
