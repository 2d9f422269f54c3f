"""An idempotency key has one job, whoever asks at the same moment."""

import asyncio

import pytest

from fanfold.contract.names import DEFAULT_TENANT, JobId, TenantId, new_job_id
from fanfold.ledger.connect import Ledger, connect
from fanfold.ledger.database import LedgerFailure
from fanfold.ledger.idempotency import KeyTaken
from fanfold.ledger.records import IdempotencyKey
from tests.ledger.jobs_recorded import labelled, ours, record

OTHER = TenantId("other")
KEY = IdempotencyKey(key="invoice 7", body_hash=b"\x00\xffhash")


async def all_jobs(ledger: Ledger, tenant: TenantId = DEFAULT_TENANT) -> list[str]:
    page = await ledger.of(tenant).jobs.page(state=None, labels={}, before=None, limit=1000)
    return [job.id for job in page]


async def test_a_key_that_is_taken_names_its_job_and_the_hash_of_its_body(ledger: Ledger) -> None:
    first = await record(ledger, [1, 1], key=KEY)
    with pytest.raises(KeyTaken) as taken:
        await record(ledger, [1], key=IdempotencyKey(key=KEY.key, body_hash=b"another"))
    assert (taken.value.job_id, taken.value.body_hash) == (first, KEY.body_hash)
    assert await all_jobs(ledger) == [first]


async def test_two_tenants_may_use_the_same_key(ledger: Ledger) -> None:
    one = await record(ledger, key=KEY)
    theirs = await record(ledger, key=KEY, tenant=OTHER)
    assert await all_jobs(ledger) == [one]
    assert await all_jobs(ledger, OTHER) == [theirs]


async def test_jobs_without_a_key_do_not_meet(ledger: Ledger) -> None:
    jobs = {await record(ledger), await record(ledger)}
    assert set(await all_jobs(ledger)) == jobs


async def test_a_job_that_could_not_be_recorded_leaves_its_key_free(ledger: Ledger) -> None:
    unstorable = labelled({"a": "\ud800"})
    with pytest.raises(LedgerFailure):
        await record(ledger, controls=unstorable, key=KEY)
    assert await all_jobs(ledger) == []
    job_id = await record(ledger, key=KEY)
    assert await all_jobs(ledger) == [job_id]


async def test_of_two_gateways_racing_with_one_key_one_wins(
    ledger: Ledger, ledger_url: str
) -> None:
    async def submit(gateway: Ledger, key: IdempotencyKey) -> tuple[JobId | None, JobId, bytes]:
        """The job made here, the job that has the key, and the hash with it."""
        job_id = new_job_id()
        try:
            await record(gateway, [1] * 20, key=key, job_id=job_id)
        except KeyTaken as taken:
            return None, taken.job_id, taken.body_hash
        return job_id, job_id, key.body_hash

    async with connect(ledger_url) as second:
        for number in range(15):
            key = IdempotencyKey(key=f"race {number}", body_hash=b"%d" % number)
            answers = await asyncio.gather(
                *(submit(gateway, key) for gateway in (ledger, second) for _ in range(2))
            )
            (winner,) = {made for made, _, _ in answers if made is not None}
            assert {answer[1:] for answer in answers} == {(winner, key.body_hash)}
            assert len(await ours(ledger).chunks.page(winner, after=-1, limit=50)) == 20
    assert len(await all_jobs(ledger)) == 15
