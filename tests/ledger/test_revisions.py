"""The revision of a job rises with every change that a client can see, and with no other."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fanfold.contract.names import DEFAULT_TENANT, JobId, new_job_id
from fanfold.contract.states import JobState
from fanfold.ledger.connect import Ledger
from fanfold.ledger.database import Statement
from fanfold.ledger.records import NewChunk
from tests.ledger.jobs_recorded import (
    a_spec,
    closed,
    found,
    labelled,
    new_job,
    ours,
    record,
    running,
    succeed,
)

Change = Callable[[Ledger, JobId], Awaitable[Any]]


async def revision_of(ledger: Ledger, job_id: JobId) -> int:
    return (await found(ledger, job_id)).revision


async def _changed_controls(ledger: Ledger, job_id: JobId) -> None:
    await ledger.database.write(
        Statement(
            "UPDATE jobs SET controls = ? WHERE id = ?",
            (labelled({"a": "b"}).to_json(a_spec()), job_id),
        )
    )


CHANGES: dict[str, Change] = {
    "cancelled": lambda ledger, job_id: ours(ledger).jobs.request_cancel(job_id),
    "closed": lambda ledger, job_id: closed(ledger, job_id, JobState.FAILED),
    "changed in its controls": _changed_controls,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
async def test_what_a_client_can_see_raises_it(ledger: Ledger, change: Change) -> None:
    job_id, other = await running(ledger), await running(ledger)
    before = await revision_of(ledger, job_id), await revision_of(ledger, other)

    await change(ledger, job_id)

    assert await revision_of(ledger, job_id) > before[0]
    assert await revision_of(ledger, other) == before[1]


async def test_a_new_job_has_the_first_and_opening_raises_it(ledger: Ledger) -> None:
    job_id = await record(ledger)
    assert await revision_of(ledger, job_id) == 1
    await ours(ledger).jobs.open(job_id)
    assert await revision_of(ledger, job_id) == 2


async def test_every_part_that_comes_and_the_seal_raise_it(ledger: Ledger) -> None:
    job_id, controls = new_job_id(), labelled({})
    await ours(ledger).recording.record(new_job(job_id, controls=controls), None)
    revisions = [await revision_of(ledger, job_id)]
    for part in (1, 2):
        upload = await ours(ledger).uploads.begin(job_id, part)
        await ours(ledger).uploads.add(upload, 0, [NewChunk(item_count=1, body=b"[1]")])
        await ours(ledger).uploads.complete(upload, part, max_chunks=9, max_items=9)
        revisions.append(await revision_of(ledger, job_id))
    assert await ours(ledger).recording.seal(job_id, a_spec(), controls, revisions[-1])
    revisions.append(await revision_of(ledger, job_id))
    assert sorted(set(revisions)) == revisions


async def test_looking_after_a_job_does_not_raise_it(ledger: Ledger) -> None:
    job_id = await running(ledger, [1, 1])
    before = await revision_of(ledger, job_id)

    checked = await ledger.starting.to_check(unchecked_since=1 << 60, limit=9)
    assert [(job.id, job.tenant, job.state) for job in checked] == [
        (job_id, DEFAULT_TENANT, JobState.RUNNING)
    ]
    await ledger.starting.mark_checked(checked)
    await ours(ledger).jobs.open(job_id)
    await succeed(ledger, job_id, 0)
    assert not await ours(ledger).closing.close(job_id, JobState.SUCCEEDED, error=None)

    assert await revision_of(ledger, job_id) == before


async def test_a_close_raises_it_once_however_often_it_is_written(ledger: Ledger) -> None:
    job_id = await running(ledger)
    await closed(ledger, job_id)
    before = await revision_of(ledger, job_id)
    assert await ours(ledger).closing.close(job_id, JobState.FAILED, error=None)
    assert await revision_of(ledger, job_id) == before
