"""Finished jobs are deleted: gone at once for everyone, their data in small steps."""

import asyncio
import itertools

import pytest

from fanfold.contract.names import JobId, TenantId
from fanfold.contract.states import JobState
from fanfold.ledger import outcomes, retention
from fanfold.ledger.connect import Ledger, connect
from fanfold.ledger.database import Statement
from fanfold.ledger.records import BlockRun, IdempotencyKey, now_ms
from tests.ledger.jobs_recorded import begun, found, labelled, ours, record, running, succeed
from tests.ledger.raw_sql import rows

LABELS = {"team": "data"}
KEY = IdempotencyKey(key="mine", body_hash=b"1")
OF_JOBS = (
    *(
        "attempts",
        "block_runs",
        "chunks",
        "idempotency_keys",
        "inputs",
        "job_counts",
        "job_labels",
        "job_results",
        "jobs",
    ),
    *("purges", "results"),
)


async def finished(
    ledger: Ledger,
    sizes: tuple[int, ...] = (1, 2),
    *,
    body: bytes = b"[1]",
    key: IdempotencyKey | None = None,
    keep_ms: int | None = None,
) -> JobId:
    """A job that came to its end, with something in every table that jobs are in."""
    job_id = await record(ledger, sizes, controls=labelled(LABELS), key=key, keep_ms=keep_ms)
    assert await ours(ledger).jobs.open(job_id) == (True, JobState.RUNNING)
    for index in range(len(sizes)):
        await succeed(ledger, job_id, index, body)
    await ours(ledger).closing.close(job_id, JobState.SUCCEEDED, error=None, result=b"1")
    await ledger.database.write(
        Statement(
            "INSERT INTO attempts (job_id, idx, run, stage, number, state) "
            "SELECT job_id, idx, 1, 0, 1, 'failed' FROM chunks WHERE job_id = ?",
            (job_id,),
        )
    )
    return job_id


def left(ledger_url: str) -> dict[str, int]:
    """The tables that still hold rows of jobs, and how many."""
    counts = {table: rows(ledger_url, f"SELECT COUNT(*) FROM {table}")[0][0] for table in OF_JOBS}
    return {table: count for table, count in counts.items() if count}


async def delete_all(ledger: Ledger) -> int:
    """Delete until nothing is left to be; the number of steps."""
    steps = 0
    while await ledger.retention.delete_some():
        steps += 1
    return steps


async def test_a_purged_job_is_gone_at_once_with_its_labels_and_its_key(ledger: Ledger) -> None:
    job_id = await finished(ledger, key=KEY)

    assert await ours(ledger).jobs.purge(job_id)

    assert await ours(ledger).jobs.find(job_id) is None
    assert await ours(ledger).jobs.state(job_id) is None
    listed = await ours(ledger).jobs.page(state=None, labels=LABELS, before=None, limit=10)
    assert listed == []
    again = await record(ledger, key=KEY)
    assert (await found(ledger, again)).counts.pending == 1


async def test_every_row_of_a_purged_job_is_deleted_and_none_of_another(
    ledger: Ledger, ledger_url: str
) -> None:
    await finished(ledger, key=KEY)
    before = left(ledger_url)
    assert set(before) == set(OF_JOBS) - {"block_runs", "purges"}
    job_id = await finished(ledger)

    await ours(ledger).jobs.purge(job_id)
    await delete_all(ledger)

    assert left(ledger_url) == before


async def test_a_job_that_has_not_finished_is_not_purged(ledger: Ledger, ledger_url: str) -> None:
    job_id = await running(ledger)

    assert not await ours(ledger).jobs.purge(job_id)
    await ours(ledger).jobs.request_cancel(job_id)
    assert not await ours(ledger).jobs.purge(job_id)

    assert (await found(ledger, job_id)).state is JobState.CANCELLING
    assert "purges" not in left(ledger_url)


async def test_a_job_is_purged_once_and_by_its_tenant_alone(ledger: Ledger) -> None:
    job_id = await finished(ledger)

    assert not await ledger.of(TenantId("another")).jobs.purge(job_id)
    outcomes = await asyncio.gather(*(ours(ledger).jobs.purge(job_id) for _ in range(3)))

    assert sorted(outcomes) == [False, False, True]
    assert not await ours(ledger).jobs.purge(job_id)


async def test_jobs_expire_that_finished_too_long_ago(ledger: Ledger, ledger_url: str) -> None:
    old, new, unfinished = await finished(ledger), await finished(ledger), await running(ledger)
    rows(ledger_url, f"UPDATE jobs SET finished_at = 1000 WHERE id = '{old}'")

    assert await ledger.retention.expire(finished_before=1000) == 0
    assert await ledger.retention.expire(finished_before=1001) == 1
    assert await ledger.retention.expire(finished_before=1001) == 0

    assert await ours(ledger).jobs.find(old) is None
    assert (await found(ledger, new)).state is JobState.SUCCEEDED
    assert (await found(ledger, unfinished)).state is JobState.RUNNING


async def test_a_job_that_asks_for_less_expires_earlier(ledger: Ledger) -> None:
    short, long = await finished(ledger, keep_ms=0), await finished(ledger, keep_ms=60_000)

    assert await ledger.retention.expire(finished_before=0) == 1

    assert await ours(ledger).jobs.find(short) is None
    assert (await found(ledger, long)).state is JobState.SUCCEEDED


async def test_jobs_expire_some_at_a_time_the_oldest_first(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, ledger_url: str
) -> None:
    monkeypatch.setattr(retention, "MAX_JOBS_EXPIRED_AT_ONCE", 2)
    jobs = [await finished(ledger) for _ in range(3)]
    for place, job_id in enumerate(jobs):
        rows(ledger_url, f"UPDATE jobs SET finished_at = {3 - place} WHERE id = '{job_id}'")

    assert await ledger.retention.expire(finished_before=now_ms()) == 2

    assert (await found(ledger, jobs[0])).id == jobs[0]


async def test_data_is_deleted_by_the_number_of_rows(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, ledger_url: str
) -> None:
    monkeypatch.setattr(retention, "MAX_ROWS_A_STEP", 10)
    job_id = await finished(ledger, (1,) * 25)
    await ours(ledger).jobs.purge(job_id)
    data = ("inputs", "results", "attempts", "chunks")

    counts = [sum(left(ledger_url).get(table, 0) for table in data)]
    while await ledger.retention.delete_some():
        counts.append(sum(left(ledger_url).get(table, 0) for table in data))

    assert counts[0] == 100
    assert counts[-1] == 0
    assert all(before - after <= 10 for before, after in itertools.pairwise(counts))
    assert left(ledger_url) == {}


async def test_data_is_deleted_by_its_size(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, ledger_url: str
) -> None:
    monkeypatch.setattr(retention, "MAX_BYTES_A_STEP", 10_000)
    job_id = await finished(ledger, (1,) * 6, body=b'["' + b"x" * 6_000 + b'"]')
    await ours(ledger).jobs.purge(job_id)

    counts = [6]
    while await ledger.retention.delete_some():
        counts.append(left(ledger_url).get("results", 0))

    assert counts[:4] == [6, 4, 2, 0]
    assert left(ledger_url) == {}


async def test_many_small_jobs_are_deleted_in_one_step(ledger: Ledger, ledger_url: str) -> None:
    for _ in range(5):
        await ours(ledger).jobs.purge(await finished(ledger))

    assert await delete_all(ledger) == 1
    assert left(ledger_url) == {}


async def test_two_gateways_may_delete_at_once(ledger: Ledger, ledger_url: str) -> None:
    for size in (700, 1, 300):
        await ours(ledger).jobs.purge(await finished(ledger, (1,) * size))

    async with connect(ledger_url) as other:
        await asyncio.gather(*(delete_all(each) for each in (ledger, ledger, other, other)))

    assert left(ledger_url) == {}


async def test_a_worker_that_comes_back_late_leaves_nothing_behind(
    ledger: Ledger, ledger_url: str
) -> None:
    job_id = await running(ledger)
    attempt = await begun(ledger, job_id)
    await ours(ledger).jobs.request_cancel(job_id)
    await ours(ledger).closing.settle(job_id, run=1)
    await ours(ledger).closing.close(job_id, JobState.CANCELLED, error=None)
    await ours(ledger).jobs.purge(job_id)
    await delete_all(ledger)

    await ours(ledger).work.record(outcomes.handed_back(attempt))
    await ours(ledger).work.take_over(job_id, BlockRun(block=1, number=2))
    await ours(ledger).closing.settle(job_id, run=1)
    await ours(ledger).closing.close(job_id, JobState.FAILED, error=None, result=b"1")

    assert left(ledger_url) == {}
