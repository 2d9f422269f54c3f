"""PostgreSQL alone: connections that die, are taken or are left after an error."""

import asyncio

import psycopg
import pytest

from fanfold.contract.states import JobState
from fanfold.ledger.connect import Ledger
from fanfold.ledger.database import Statement
from fanfold.ledger.databases import postgresql as postgresql_module
from tests.ledger.jobs_recorded import begun, found, ours, record, running
from tests.ledger.test_writes import adding


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
async def test_a_connection_that_died_is_replaced_unnoticed(
    ledger: Ledger, ledger_url: str
) -> None:
    job_id = await running(ledger)
    with psycopg.connect(ledger_url, autocommit=True) as other:
        ended = other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND backend_type = 'client backend'"
        ).fetchall()
    assert (True,) in ended
    assert (await begun(ledger, job_id)).number == 1
    assert (await found(ledger, job_id)).counts.running == 1


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
async def test_a_row_that_another_transaction_takes_is_passed_over(
    ledger: Ledger, ledger_url: str
) -> None:
    await ledger.database.write(adding("a"), adding("b"))
    claim = Statement(
        "UPDATE catalog SET published_at = 1 WHERE name IN (SELECT name FROM catalog "
        f"ORDER BY name {ledger.database.skip_locked}) RETURNING name"
    )
    with psycopg.connect(ledger_url) as other:
        other.execute("SELECT 1 FROM catalog WHERE name = 'a' FOR UPDATE")
        (((name,),),) = await ledger.database.write(claim)
        assert name == "b"


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
async def test_a_write_that_fails_leaves_its_connection_fit_for_use(ledger: Ledger) -> None:
    job_id = await record(ledger)
    for _ in range(2 * postgresql_module.MAX_CONNECTIONS):
        with pytest.raises(Exception, match="jobs_pkey"):
            await record(ledger, job_id=job_id)
    assert await ours(ledger).jobs.open(job_id) == (True, JobState.RUNNING)


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
async def test_more_callers_than_connections_all_get_their_turn(ledger: Ledger) -> None:
    count = 5 * postgresql_module.MAX_CONNECTIONS
    job_id = await running(ledger, [1] * count)
    attempts = await asyncio.gather(*(begun(ledger, job_id, index) for index in range(count)))
    assert {attempt.number for attempt in attempts} == {1}
    assert (await found(ledger, job_id)).counts.running == count
