"""A user's script that uses all that `fanfold` has; type-checked outside of the repository."""

from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, assert_type

import fanfold
from fanfold import (
    AsyncFanfold,
    Attempt,
    Attempts,
    CatalogEntry,
    Child,
    ChildState,
    ChunkCounts,
    DryRun,
    ErrorGroup,
    FailedItem,
    Failure,
    Fanfold,
    FanfoldError,
    Item,
    ItemCounts,
    ItemDropped,
    ItemError,
    ItemState,
    Job,
    JobChanges,
    JobCounts,
    JobFailure,
    JobState,
    Part,
    ProcessorContext,
    Progress,
    Reducer,
    Refused,
    RetryLater,
    RunChanges,
    Schedule,
    ScheduleCounts,
    ScheduleOptions,
    ScheduleRun,
    Unreachable,
    ValidationError,
    WaitTimeout,
    example,
)
from fanfold.testing import run

URL = "http://localhost:8000"


@example({"items": ["tea"], "options": {"marks": 2}})
def shout(item: str, *, marks: int = 1, context: ProcessorContext) -> str:
    if not item:
        raise ItemDropped("nothing to shout")
    if len(item) > 100:
        raise ValidationError("too long")
    if context.attempt == 1 and context.stage == 0 and context.run == 1:
        raise RetryLater(0.5, f"{context.idempotency_key} of {context.item_key} is not ready")
    return item.upper() + "!" * marks


class Longest:
    def __init__(self) -> None:
        self._longest = ""

    def add(self, index: int, result: list[str]) -> None:  # noqa: ARG002 - what reducers get
        self._longest = max(self._longest, *result, key=len)

    def result(self) -> str:
        return self._longest


REDUCER: type[Reducer] = Longest


def numbers() -> Iterator[dict[str, int]]:
    yield {"n": 1}


async def async_numbers() -> AsyncIterator[dict[str, int]]:
    yield {"n": 1}


def show(job: Job) -> None:
    counts, items, progress = job.chunks, job.items, job.progress
    assert_type(counts, ChunkCounts)
    assert_type(items, ItemCounts)
    assert_type(progress, Progress)
    assert_type(job.created_at, datetime)
    assert_type(job.errors, list[ErrorGroup])
    if job.state == "failed":
        assert_type(job.error, JobFailure | None)
    if job.state is JobState.CANCELLED:
        assert_type(job.finished_at, datetime | None)


def blocking() -> list[object]:
    with Fanfold(URL, headers={"Authorization": "Bearer x"}) as client:
        job = client.submit({"processor": "shout"}, items=numbers(), idempotency_key="monday")
        client.submit(b'{"items": [1]}')
        client.submit_file('{"processor": "shout"}', Path("items.csv"), on_progress=print)
        part = client.put_part(job.id, 1, [1, 2])
        assert_type(part, Part)
        client.seal(job.id)
        try:
            job = client.wait(job.id, timeout=10, on_progress=show)
        except WaitTimeout as timed_out:
            job = client.cancel(timed_out.job.id)
        except Refused as refused:
            return [refused.status, refused.code, refused.detail, *refused.errors]
        except (Unreachable, FanfoldError):
            return []
        for child in client.children(job.id, state="failed", limit=10):
            assert_type(child, Child)
            assert_type(child.item_errors, list[ItemError])
            if child.state is ChildState.FAILED:
                return [child.traceback, child.finished_at]
        for item in client.items(job.id, state=ItemState.FAILED):
            assert_type(item, Item)
        for result in client.results(job.id):
            assert_type(result, Child)
        text = b"".join(client.result_bytes(job.id, format="csv", columns=["a"]))
        assert_type(client.processors(), list[CatalogEntry])
        assert_type(client.reducers(), list[CatalogEntry])
        newest: Job | None = next(client.jobs(labels={"team": "data"}), None)
        client.purge(job.id)
        return [text, newest, client.child(job.id, 0), client.get(job.id, wait_seconds=5)]


SLOWER: JobChanges = {"max_concurrency": 2, "labels": {"slow": "yes", "fast": None}}
OTHERWISE: RunChanges = {"processor": "shout", "options": {"marks": 3}}


def steered(client: Fanfold, job_id: str) -> list[object]:
    assert_type(client.validate({"processor": "shout", "items": ["tea"]}), DryRun)
    client.pause(job_id)
    client.update(job_id, max_per_second=None, priority=1)
    client.update(job_id, **SLOWER)
    client.resume(job_id)
    client.cancel_child(job_id, 3)
    client.cancel(job_id, drain=True)
    failed = list(client.failures(job_id))
    assert_type(failed, list[FailedItem])
    for one in failed:
        assert_type(one.error, Failure | None)
    text = b"".join(client.failure_bytes(job_id, format="csv"))
    attempts = client.attempts(job_id, 3)
    assert_type(attempts, Attempts)
    assert_type(attempts.attempts, list[Attempt])
    client.redrive(job_id, states=[ChildState.FAILED], indexes=range(3), corrections=failed)
    client.redrive(job_id, corrections=[{"index": 0, "item": 1, "value": "tea"}], **OTHERWISE)
    client.redrive(job_id, error_types={"OSError"}, retry={"max_attempts": 5})
    client.resolve_child(job_id, 3, ["TEA!"])
    client.release(job_id)
    first = client.get(job_id, run=1)
    return [text, first.error.rule if first.error else None, first.start_at]


NIGHTLY: ScheduleOptions = {"cron": "0 3 * * *", "time_zone": "Europe/Helsinki"}


def made_of_jobs(client: Fanfold) -> list[object]:
    job = client.submit({"processor": "shout", "jobs": {"a": {"items": ["tea"]}}})
    assert_type(job.jobs, JobCounts | None)
    for part in client.sub_jobs(job.id, state="failed"):
        assert_type(part, Job)
    return [job.path, next(client.jobs(parent=job.id), None)]


def nightly(client: Fanfold) -> list[object]:
    schedule = client.create_schedule(
        "nightly", {"processor": "shout", "items": ["tea"]}, **NIGHTLY
    )
    assert_type(schedule, Schedule)
    assert_type(schedule.counts, ScheduleCounts | None)
    for ran in client.run_schedule("nightly").runs:
        assert_type(ran, ScheduleRun)
    client.pause_schedule("nightly")
    client.resume_schedule("nightly")
    client.delete_schedule("nightly")
    return list(client.schedules())


async def asynchronous() -> list[Any]:
    async with AsyncFanfold(URL) as client:
        job = await client.submit({"processor": "shout"}, items=async_numbers())
        job = await client.wait(job.id, on_progress=show)
        assert_type(job, Job)
        await client.put_part(job.id, 1, async_numbers())
        return [
            *[child async for child in client.results(job.id)],
            *[item async for item in client.items(job.id)],
            *[job async for job in client.jobs()],
            *[failed async for failed in client.failures(job.id)],
            await client.redrive(job.id, corrections=[], **OTHERWISE),
            await client.update(job.id, **SLOWER),
        ]


def test_shout() -> None:
    assert run(shout, ["tea"], options={"marks": 2}, attempt=2) == ["TEA!!"]
    assert fanfold.__doc__
