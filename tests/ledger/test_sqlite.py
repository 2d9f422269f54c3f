"""SQLite alone: one file, many processes, a disk that is full or taken."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fanfold.ledger.connect import Ledger, connect
from fanfold.ledger.database import LedgerFailure, LedgerUnavailable, Statement
from fanfold.ledger.databases.sqlite import SqliteDatabase
from tests.ledger.jobs_recorded import begun, found, ours, record, running
from tests.ledger.test_writes import adding, names

pytestmark = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)

ROOT = Path(__file__).parents[2]

RECORDS_JOBS = """
import asyncio, sys
from fanfold.ledger import outcomes
from fanfold.ledger.connect import connect
from tests.ledger.jobs_recorded import ours, begun, running
from fanfold.ledger.records import ChunkOutput

async def main():
    async with connect(sys.argv[1]) as ledger:
        print("ready", flush=True)
        sys.stdin.readline()
        for _ in range(int(sys.argv[2])):
            job_id = await running(ledger, [1, 1])
            for index in (0, 1):
                attempt = await begun(ledger, job_id, index)
                done = outcomes.succeeded(attempt, ChunkOutput(body=b"[1]"))
                await ours(ledger).work.record(done)

asyncio.run(main())
"""


MEETS_A_FULL_DISK = """
import asyncio, resource, sys
from fanfold.ledger.connect import connect
from fanfold.ledger.database import LedgerUnavailable
from tests.ledger.test_writes import adding, names

async def main():
    async with connect(sys.argv[1]) as ledger:
        await ledger.database.write(adding("a"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        for name in "bc":
            try:
                await ledger.database.write(adding(name))
            except LedgerUnavailable as error:
                print(type(error).__name__)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        await ledger.database.write(adding("d"))
        print(await names(ledger))

asyncio.run(main())
"""


def sqlite(ledger: Ledger) -> SqliteDatabase:
    database = ledger.database
    assert isinstance(database, SqliteDatabase)
    return database


def writer(ledger: Ledger) -> sqlite3.Connection:
    connection, _ = sqlite(ledger)._writer._open()
    return connection


def close_the_connection(ledger: Ledger) -> None:
    writer(ledger).close()


def close_the_lock(ledger: Ledger) -> None:
    _, lock = sqlite(ledger)._writer._open()
    os.close(lock.fileno())


def make_it_read_only(ledger: Ledger) -> None:
    writer(ledger).execute("PRAGMA query_only = on")


def test_two_processes_write_at_once_and_both_get_through(
    loop: asyncio.Runner, ledger: Ledger, ledger_url: str
) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RECORDS_JOBS, ledger_url, "25"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate(timeout=60)[1] for process in processes] == ["", ""]
    listing = ours(ledger).jobs.page(state=None, labels={}, before=None, limit=100)
    jobs = loop.run(listing)
    assert len(jobs) == 50
    assert {job.counts.succeeded for job in jobs} == {2}


async def test_a_value_of_no_known_kind_fails_its_own_write_only(ledger: Ledger) -> None:
    write = ledger.database.write
    outcomes = await asyncio.gather(
        write(adding("a")), write(adding("b", {"a": 1})), write(adding("c")), return_exceptions=True
    )
    assert [isinstance(outcome, Exception) for outcome in outcomes] == [False, True, False]
    assert await names(ledger) == ["a", "c"]


async def test_a_full_disk_is_reported_and_passes(ledger: Ledger) -> None:
    ((pages,),) = await ledger.database.read("PRAGMA page_count")
    writer(ledger).execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LedgerUnavailable, match=r"ledger\.db: database or disk is full"):
        await record(ledger, [1] * 500)
    job_id = await record(ledger, [1] * 500)
    assert (await found(ledger, job_id)).counts.pending == 500


def test_a_file_that_cannot_grow_is_reported_and_passes(ledger_url: str) -> None:
    process = subprocess.run(
        [sys.executable, "-c", MEETS_A_FULL_DISK, ledger_url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.stderr == ""
    assert process.stdout.split("\n") == [*["LedgerUnavailable"] * 2, "['a', 'd']", ""]


@pytest.mark.parametrize("harm", [close_the_connection, close_the_lock, make_it_read_only])
async def test_a_writer_beyond_use_is_reported_and_replaced(
    ledger: Ledger, harm: Callable[[Ledger], None]
) -> None:
    await ledger.database.write(adding("a"))
    harm(ledger)
    together = [ledger.database.write(adding(name)) for name in "bcd"]
    outcomes = await asyncio.wait_for(asyncio.gather(*together, return_exceptions=True), 10)
    assert [type(outcome) for outcome in outcomes] == [LedgerUnavailable] * 3
    await asyncio.wait_for(ledger.database.write(adding("e")), 10)
    assert await names(ledger) == ["a", "e"]


async def test_a_transaction_ended_by_one_script_fails_for_all_and_for_no_later_one(
    ledger: Ledger,
) -> None:
    outcomes = await asyncio.gather(
        ledger.database.write(adding("a")),
        ledger.database.write(Statement("ROLLBACK"), Statement("SELECT absent")),
        ledger.database.write(adding("c")),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [LedgerUnavailable] * 3
    await ledger.database.write(adding("d"))
    assert await names(ledger) == ["d"]


async def test_a_reader_beyond_use_is_replaced(ledger: Ledger) -> None:
    reader = sqlite(ledger)._reader
    assert reader is not None
    reader.close()
    with pytest.raises(LedgerFailure, match="closed database"):
        await names(ledger)
    assert await names(ledger) == []


async def test_writes_and_reads_after_the_end_are_refused(ledger_url: str) -> None:
    async with connect(ledger_url) as ledger:
        pass
    for _ in range(2):
        with pytest.raises(LedgerUnavailable):
            await ledger.database.write(adding("a"))
        with pytest.raises(LedgerUnavailable):
            await names(ledger)


async def test_a_file_locked_for_too_long_is_reported_and_passes(
    ledger: Ledger, ledger_url: str
) -> None:
    writer(ledger).execute("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(ledger_url.removeprefix("sqlite:///"), isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnavailable, match="locked"):
            await ledger.database.write(adding("a"))
        assert await names(ledger) == []
    finally:
        other.close()
    await ledger.database.write(adding("a"))
    assert await names(ledger) == ["a"]


async def test_reads_go_on_while_another_process_writes(ledger: Ledger, ledger_url: str) -> None:
    job_id = await running(ledger)
    other = sqlite3.connect(ledger_url.removeprefix("sqlite:///"), isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE jobs SET state = 'failed'")
        assert (await found(ledger, job_id)).state == "running"
    finally:
        other.close()


async def test_what_was_acknowledged_survives_a_power_cut(ledger: Ledger) -> None:
    (mode,) = writer(ledger).execute("PRAGMA journal_mode").fetchone()
    (synchronous,) = writer(ledger).execute("PRAGMA synchronous").fetchone()
    full = 2
    assert (mode, synchronous) == ("wal", full)


async def test_more_writes_than_one_transaction_takes_are_all_done(ledger: Ledger) -> None:
    job_id = await running(ledger, [1] * 1200)
    attempts = await asyncio.gather(*(begun(ledger, job_id, index) for index in range(1200)))
    assert {attempt.number for attempt in attempts} == {1}
    assert (await found(ledger, job_id)).counts.running == 1200


async def test_closing_finishes_what_waits_to_be_written(ledger_url: str) -> None:
    async with connect(ledger_url) as ledger:
        job_id = await running(ledger, [1] * 50)
        begins = [asyncio.create_task(begun(ledger, job_id, index)) for index in range(50)]
        await asyncio.wait(begins[:1])
    assert len(await asyncio.gather(*begins)) == 50
    async with connect(ledger_url) as ledger:
        assert (await found(ledger, job_id)).counts.running == 50


async def test_a_file_that_disappeared_is_reported(ledger_url: str) -> None:
    directory = Path(ledger_url.removeprefix("sqlite:///")).parent
    with pytest.raises(LedgerUnavailable, match="unable to open"):
        SqliteDatabase(directory / "absent" / "ledger.db")
    async with connect(ledger_url) as ledger:
        assert await names(ledger) == []


async def test_rows_to_claim_are_picked_without_a_word_about_locks(ledger: Ledger) -> None:
    await ledger.database.write(adding("a"))
    claim = f"SELECT name FROM catalog ORDER BY name {ledger.database.skip_locked}"
    ((name,),) = await ledger.database.read(claim)
    assert name == "a"
