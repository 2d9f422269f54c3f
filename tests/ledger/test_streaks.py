"""How many items failed in a row: over chunks in the order in which they were recorded."""

import asyncio
import itertools
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fanfold.contract.job_spec import Controls, JobSpec, OnFailure, StageSpec, ToleranceSpec
from fanfold.contract.names import DEFAULT_TENANT, JobId
from fanfold.contract.states import JobState
from fanfold.contract.wire import JobRef
from fanfold.ledger import outcomes
from fanfold.ledger.connect import Ledger
from fanfold.ledger.database import Statement
from fanfold.ledger.outcomes import Script
from fanfold.ledger.records import Attempt, ChunkOutput, ItemError
from fanfold.processing import ItemDropped, ValidationError
from fanfold.workers.attempts import Attempts
from fanfold.workers.processor import Processor
from tests.ledger.jobs_recorded import BROKEN, begun, closed, found, ours, record, running
from tests.ledger.raw_sql import rows
from tests.ledger.redriven import begun_again, opened, redrive

CONTROLS = Controls(tolerated_failures=ToleranceSpec(consecutive=3))

Items = str
"""A chunk's items: `s` one that succeeded, `f` one that failed, `d` one that was left out."""


def script_of(attempt: Attempt, items: Items) -> Script:
    """What a worker records of such items, in a job with a limit."""
    errors = tuple(
        ItemError(item=item, type="T", message="m", is_dropped=letter == "d")
        for item, letter in enumerate(items)
        if letter != "s"
    )
    output = ChunkOutput(body=b"[1]", item_errors=errors, by_item=True)
    if "f" not in items:
        script = outcomes.succeeded(attempt, output)
    elif "s" in items:
        script = outcomes.succeeded_partially(attempt, BROKEN, output)
    else:
        script = outcomes.failed(attempt, BROKEN, ChunkOutput(item_errors=errors, by_item=True))
    is_failed = "f" in items and "s" not in items
    return (*script, *outcomes.counted_in_a_row(attempt, output, is_failed=is_failed))


async def record_all(ledger: Ledger, job_id: JobId, chunks: Sequence[Items]) -> None:
    """Record the chunks in this order, each twice."""
    attempts = [await begun(ledger, job_id, index) for index in range(len(chunks))]
    for attempt, items in zip(attempts, chunks, strict=True):
        for _ in range(2):
            await ours(ledger).work.record(script_of(attempt, items))


async def in_a_row(ledger: Ledger, job_id: JobId) -> int:
    *_, longest = await ours(ledger).jobs.outcome_counts(job_id)
    return longest


def longest_of(chunks: Sequence[Items]) -> int:
    """What somebody who writes all items down one after another would count."""
    letters = "".join(chunks).replace("d", "")
    rows_of = itertools.groupby(letters)
    return max((len(list(row)) for letter, row in rows_of if letter == "f"), default=0)


@pytest.mark.parametrize(
    "chunks",
    [
        ["s"],
        ["f"],
        ["fff"],
        ["sf", "f", "fs"],
        ["sff", "fs", "ff"],
        ["fsf", "d", "f"],
        ["ff", "dd", "s", "f"],
        ["fdf", "dfd"],
        ["f", "sffff", "f"],
        ["ffff", "s", "f"],
        ["sf", "ss", "ff"],
    ],
)
async def test_items_that_failed_one_after_another_are_counted_over_chunks(
    ledger: Ledger, chunks: list[Items]
) -> None:
    job_id = await running(ledger, [len(items) for items in chunks], controls=CONTROLS)
    await record_all(ledger, job_id, chunks)
    assert await in_a_row(ledger, job_id) == longest_of(chunks)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chunks=st.lists(st.text("sfd", min_size=1, max_size=5), min_size=1, max_size=6))
def test_whatever_the_chunks_come_to(
    loop: asyncio.Runner, ledger: Ledger, chunks: list[Items]
) -> None:
    async def live() -> None:
        job_id = await running(ledger, [len(items) for items in chunks], controls=CONTROLS)
        await record_all(ledger, job_id, chunks)
        assert await in_a_row(ledger, job_id) == longest_of(chunks)
        counts = await ours(ledger).closing.counts(job_id)
        assert (await found(ledger, job_id)).counts == counts

    loop.run(live())


async def test_what_counts_is_the_order_of_recording_not_of_the_indexes(ledger: Ledger) -> None:
    job_id = await running(ledger, [1, 1, 1], controls=CONTROLS)
    attempts = [await begun(ledger, job_id, index) for index in range(3)]
    for index, items in ((2, "f"), (0, "f"), (1, "s")):
        await ours(ledger).work.record(script_of(attempts[index], items))
    assert await in_a_row(ledger, job_id) == 2


async def test_an_outcome_that_did_not_hold_counts_for_nothing(ledger: Ledger) -> None:
    job_id = await running(ledger, [1, 1], controls=CONTROLS)
    stale = await begun(ledger, job_id)
    holds = await begun(ledger, job_id)
    await ours(ledger).work.record(script_of(stale, "f"))
    assert await in_a_row(ledger, job_id) == 0
    await ours(ledger).work.record(script_of(holds, "f"))
    await ours(ledger).work.record(script_of(stale, "f"))
    assert await in_a_row(ledger, job_id) == 1


async def test_jobs_have_their_own_rows_and_leave_none_behind(
    ledger: Ledger, ledger_url: str
) -> None:
    one, other = [await running(ledger, [1], controls=CONTROLS) for _ in range(2)]
    for job_id in (one, other):
        await record_all(ledger, job_id, ["f"])
    assert [await in_a_row(ledger, job_id) for job_id in (one, other)] == [1, 1]
    await closed(ledger, one, JobState.FAILED)
    assert rows(ledger_url, "SELECT job_id FROM job_streaks") == [(other,)]


async def test_a_redrive_counts_anew(ledger: Ledger) -> None:
    job_id = await running(ledger, [2, 2], controls=CONTROLS)
    await record_all(ledger, job_id, ["ff", "ff"])
    await closed(ledger, job_id, JobState.FAILED)
    assert await redrive(ledger, job_id, 0)
    await opened(ledger, job_id)
    assert await in_a_row(ledger, job_id) == 0
    attempt = await begun_again(ledger, job_id, 0)
    await ours(ledger).work.record(script_of(attempt, "sf"))
    assert await in_a_row(ledger, job_id) == 1


# --- as a worker does it ----------------------------------------------------------------------


def picky(item: str) -> str:
    if item == "d":
        raise ItemDropped("not needed")
    if item == "f":
        raise ValidationError("no good")
    return item


async def run_by_a_worker(
    ledger: Ledger, chunks: Sequence[Items], spec: JobSpec
) -> tuple[JobId, list[bool]]:
    """The job, and after each of its chunks whether it was past its tolerance."""
    job_id = await record(ledger, [len(items) for items in chunks], spec=spec, controls=CONTROLS)
    for index, items in enumerate(chunks):
        body = "[" + ",".join(f'"{letter}"' for letter in items) + "]"
        await set_input(ledger, job_id, index, body)
    await ours(ledger).jobs.open(job_id)
    attempts = Attempts(ledger, {"picky": Processor(picky)}, max_result_bytes=1000)
    job = JobRef(ledger=ledger.id, id=job_id, tenant=DEFAULT_TENANT)
    exceeded = []
    for index in range(len(chunks)):
        attempt = await begun(ledger, job_id, index)
        terms = await attempts.terms(job)
        ending = await attempts.run(attempt, terms)
        assert await attempts.record(ours(ledger).work, attempt, ending.script) is None
        exceeded.append(await attempts.is_tolerance_exceeded(job, terms, index=index))
    return job_id, exceeded


async def set_input(ledger: Ledger, job_id: JobId, index: int, body: str) -> None:
    await ledger.database.write(
        Statement(
            "UPDATE inputs SET body = ? WHERE job_id = ? AND idx = ?",
            (body.encode(), job_id, index),
        )
    )


async def test_the_chunk_that_makes_one_too_many_stops_the_job_and_is_named(
    ledger: Ledger,
) -> None:
    spec = JobSpec(stages=(StageSpec(processor="picky"),))
    job_id, exceeded = await run_by_a_worker(ledger, ["sff", "df", "fs", "s"], spec)
    assert exceeded == [False, False, True, True]
    stop = await ours(ledger).closing.stopped_by(job_id)
    assert stop is not None
    assert (stop.rule, stop.index) == ("consecutive", 2)


async def test_what_is_held_makes_no_row(ledger: Ledger) -> None:
    spec = JobSpec(stages=(StageSpec(processor="picky"),), on_failure=OnFailure.HOLD)
    job_id, exceeded = await run_by_a_worker(ledger, ["ff", "ffs", "ff"], spec)
    assert exceeded == [False] * 3
    assert await in_a_row(ledger, job_id) == 0
