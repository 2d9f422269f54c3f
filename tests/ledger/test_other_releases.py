"""What the release before or after has written breaks no listing, no start and no fold."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from fanfold.contract.job_spec import Controls, Execution, ToleranceSpec
from fanfold.contract.names import JobId
from fanfold.contract.states import ChunkState, JobState
from fanfold.ledger import outcomes
from fanfold.ledger.connect import Ledger
from fanfold.ledger.database import Statement
from fanfold.ledger.records import ChunkCounts, ChunkOutput, ErrorGroup, ItemError
from tests.ledger.jobs_recorded import (
    BROKEN,
    MANY_PLACES,
    begun,
    claimed_starts,
    closed,
    fail,
    found,
    labelled,
    ours,
    record,
    running,
    succeed,
)
from tests.ledger.raw_sql import rows

FIRST_RELEASE = {
    "name": "first",
    "stages": [
        {
            "processor": "double",
            "options": {},
            "retry": {
                "max_attempts": 2,
                "initial_interval_seconds": 1.0,
                "backoff_coefficient": 2.0,
                "max_interval_seconds": 60.0,
                "non_retryable": ["ValueError"],
            },
            "timeout_seconds": 300.0,
        }
    ],
    "is_staged": False,
    "reducer": "sum",
    "execution": "activity",
    "max_concurrency": 7,
    "tolerated_failures": {"count": 3, "percent": None, "min_sample": 100},
    "labels": {"team": "data"},
}
"""A job spec as release 0.1.0 wrote it, which had no other controls."""


async def changed(
    ledger: Ledger, job_id: JobId, column: str, change: Callable[[Any], object]
) -> None:
    """Change the JSON in a column of the job."""
    ((text,),) = await ledger.database.read(f"SELECT {column} FROM jobs WHERE id = ?", (job_id,))
    await ledger.database.write(
        Statement(
            f"UPDATE jobs SET {column} = ? WHERE id = ?",
            (json.dumps(change(json.loads(text))), job_id),
        )
    )


def with_a_new_field(value: dict[str, Any]) -> dict[str, Any]:
    return value | {"invented": {"later": 1}}


async def listed(ledger: Ledger) -> list[str]:
    page = await ours(ledger).jobs.page(state=None, labels={}, before=None, limit=9)
    return [job.id for job in page]


async def test_a_job_of_the_first_release_is_listed_started_and_run(
    ledger: Ledger, ledger_url: str
) -> None:
    job_id = await record(ledger)
    rows(
        ledger_url,
        f"UPDATE jobs SET controls = NULL, spec = '{json.dumps(FIRST_RELEASE)}' "
        f"WHERE id = '{job_id}'",
    )
    job = await found(ledger, job_id)
    controls = Controls(
        name="first",
        labels={"team": "data"},
        max_concurrency=7,
        tolerated_failures=ToleranceSpec(count=3),
    )
    assert job.controls == controls
    assert (job.spec.execution, job.spec.reducer) == (Execution.ACTIVITY, "sum")
    assert job.spec.stages[0].retry.non_retryable == ("ValueError",)
    (start,) = (await ledger.starting.to_start(MANY_PLACES, limit=9)).jobs
    assert (start.spec, start.controls) == (job.spec, controls)
    terms = await ours(ledger).jobs.terms(job_id)
    assert terms is not None
    assert (terms.spec, terms.controls) == (job.spec, controls)


async def test_the_first_release_finds_the_controls_in_the_spec(
    ledger: Ledger, ledger_url: str
) -> None:
    await record(ledger, controls=labelled({"a": "b"}))
    ((text,),) = rows(ledger_url, "SELECT spec FROM jobs")
    written = json.loads(text)
    assert (written["labels"], written["max_concurrency"]) == ({"a": "b"}, 10)
    assert FIRST_RELEASE.keys() <= written.keys()


async def test_new_fields_of_a_job_are_passed_over(ledger: Ledger) -> None:
    job_id = await record(ledger, controls=labelled({"a": "b"}))
    before = await found(ledger, job_id)
    for column in ("spec", "controls"):
        await changed(ledger, job_id, column, with_a_new_field)
    after = await found(ledger, job_id)
    assert (after.spec, after.controls) == (before.spec, before.controls)
    assert await claimed_starts(ledger) == [job_id]
    assert await ours(ledger).jobs.terms(job_id) is not None


async def test_new_fields_of_a_summary_are_passed_over(ledger: Ledger) -> None:
    job_id = await running(ledger, [1, 1])
    await succeed(ledger, job_id, 0)
    await fail(ledger, job_id, 1)
    assert await ours(ledger).closing.close(job_id, JobState.FAILED, error=BROKEN)
    await changed(
        ledger,
        job_id,
        "summary",
        lambda summary: with_a_new_field(
            {
                "counts": with_a_new_field(summary["counts"]),
                "errors": [with_a_new_field(group) for group in summary["errors"]],
                "error": with_a_new_field(summary["error"]),
            }
        ),
    )
    job = await found(ledger, job_id)
    assert job.counts == ChunkCounts(succeeded=1, failed=1, items_succeeded=1, items_failed=1)
    assert job.errors == (ErrorGroup("Broken", "it broke", 1, 1),)
    assert job.error == BROKEN
    assert await listed(ledger) == [job_id]


async def test_a_job_in_a_state_of_a_later_release_is_listed_as_it_is(
    ledger: Ledger, ledger_url: str
) -> None:
    job_id = await running(ledger)
    await begun(ledger, job_id)
    rows(ledger_url, f"UPDATE jobs SET state = 'hibernating' WHERE id = '{job_id}'")

    assert await listed(ledger) == [job_id]

    job = await found(ledger, job_id)
    assert (str(job.state), job.state.is_terminal) == ("hibernating", False)
    assert await ours(ledger).jobs.state(job_id) == "hibernating"
    assert await ours(ledger).jobs.open(job_id) == (False, "hibernating")
    refused = await ours(ledger).work.begin(job_id, 0, 0, job_run=1, token=-1)
    assert refused is not None
    assert not await ours(ledger).jobs.request_cancel(job_id)
    assert not await ours(ledger).jobs.purge(job_id)


async def test_a_chunk_in_a_state_of_a_later_release_is_listed_as_it_is(
    ledger: Ledger, ledger_url: str
) -> None:
    job_id = await running(ledger, [1, 1])
    await succeed(ledger, job_id, 0)
    rows(ledger_url, f"UPDATE chunks SET state = 'held' WHERE job_id = '{job_id}' AND idx = 1")

    chunks = await ours(ledger).chunks.page(job_id, after=-1, limit=9)

    assert [str(chunk.state) for chunk in chunks] == ["succeeded", "held"]
    assert not chunks[1].state.is_terminal
    assert (await ours(ledger).closing.counts(job_id)).succeeded == 1
    assert len([output async for _, output in ours(ledger).chunks.stream(job_id)]) == 2


async def test_new_fields_of_an_items_error_are_passed_over(
    ledger: Ledger, ledger_url: str
) -> None:
    job_id = await running(ledger, [2])
    error = ItemError(item=1, type="T", message="m")
    output = ChunkOutput(body=b"[1,null]", item_errors=(error,))
    await ours(ledger).work.record(
        outcomes.put_off(await begun(ledger, job_id), BROKEN, output, seconds=0)
    )
    item = {"item": 1, "type": "T", "message": "m", "stage": 0, "is_dropped": False}
    rows(ledger_url, f"UPDATE results SET item_errors = '{json.dumps([with_a_new_field(item)])}'")
    assert (await begun(ledger, job_id)).checkpoint == output


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED])
async def test_a_state_that_is_known_is_the_member(ledger: Ledger, state: JobState) -> None:
    job_id = await running(ledger)
    await closed(ledger, job_id, state)
    assert (await found(ledger, job_id)).state is state
    (chunk,) = await ours(ledger).chunks.page(job_id, after=-1, limit=9)
    assert chunk.state is ChunkState.CANCELLED
