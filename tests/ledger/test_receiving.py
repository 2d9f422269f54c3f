"""Parts that arrive in any order, again, or never whole; what a sealed job is made of."""

import asyncio
import itertools
import json

import pytest

from fanfold.contract.failures import Failure
from fanfold.contract.job_spec import Controls, Execution
from fanfold.contract.names import JobId, TenantId, new_job_id
from fanfold.contract.states import JobState
from fanfold.ledger.connect import Ledger
from fanfold.ledger.idempotency import KeyTaken
from fanfold.ledger.records import IdempotencyKey, NewChunk, now_ms
from fanfold.ledger.uploads import WHOLE, TooManyReceived, Upload, UploadGone
from tests.ledger.jobs_recorded import a_spec, begun, claimed_starts, found, labelled, new_job, ours

NEVER = Failure(type="NeverSealed", message="too late")
TABLES = ("uploads", "received_chunks", "inputs", "chunks")


async def receiving(ledger: Ledger, *, key: IdempotencyKey | None = None) -> JobId:
    job_id = new_job_id()
    await ours(ledger).recording.record(
        new_job(job_id, controls=labelled({"a": "b"}), key=key), None
    )
    return job_id


async def started(ledger: Ledger, job_id: JobId, part: int, *words: str) -> Upload:
    """An upload with a chunk for each word, not complete."""
    upload = await ours(ledger).uploads.begin(job_id, part)
    for number, word in enumerate(words):
        await ours(ledger).uploads.add(
            upload, number, [NewChunk(item_count=1, body=json.dumps([word]).encode())]
        )
    return upload


async def send(
    ledger: Ledger, job_id: JobId, part: int, *words: str, most: int = 1000
) -> tuple[int, int]:
    upload = await started(ledger, job_id, part, *words)
    return await ours(ledger).uploads.complete(upload, part, max_chunks=most, max_items=most)


async def seal(ledger: Ledger, job_id: JobId) -> bool:
    job = await found(ledger, job_id)
    return await ours(ledger).recording.seal(job_id, job.spec, job.controls, job.revision)


async def words_of(ledger: Ledger, job_id: JobId) -> list[str]:
    """What the chunks of a job hold, in order."""
    assert await ours(ledger).jobs.open(job_id) == (True, JobState.RUNNING)
    total = (await found(ledger, job_id)).total_chunks
    attempts = [await begun(ledger, job_id, index) for index in range(total)]
    return [json.loads(attempt.input)[0] for attempt in attempts]


async def rows(ledger: Ledger, job_id: JobId) -> dict[str, int]:
    counts = {}
    for table in TABLES:
        sql = f"SELECT COUNT(*) FROM {table} WHERE job_id = ?"
        counts[table] = (await ledger.database.read(sql, (job_id,)))[0][0]
    return counts


async def delete_all(ledger: Ledger) -> None:
    while await ledger.abandoned.delete_some():
        pass


async def test_a_sealed_job_has_the_parts_in_their_order(ledger: Ledger) -> None:
    job_id = await receiving(ledger)
    assert (await found(ledger, job_id)).state is JobState.RECEIVING
    assert await claimed_starts(ledger) == []
    assert await send(ledger, job_id, 20, "e", "f") == (2, 2)
    await send(ledger, job_id, 3, "c", "d")
    await send(ledger, job_id, 1, "a", "b")
    job = await found(ledger, job_id)
    assert (job.total_chunks, job.total_items, job.counts.pending) == (6, 6, 6)
    assert await seal(ledger, job_id)
    assert await claimed_starts(ledger) == [job_id]
    assert await words_of(ledger, job_id) == ["a", "b", "c", "d", "e", "f"]
    assert await rows(ledger, job_id) == dict(zip(TABLES, (0, 0, 6, 6), strict=True))


async def test_a_part_sent_again_takes_the_place_of_the_earlier_one(ledger: Ledger) -> None:
    job_id = await receiving(ledger)
    await send(ledger, job_id, 1, "old", "older")
    await send(ledger, job_id, 2, "last")
    unfinished = await started(ledger, job_id, 1, "never")
    assert (await found(ledger, job_id)).total_chunks == 3
    await send(ledger, job_id, 1, "new")
    assert (await found(ledger, job_id)).total_chunks == 2
    await ours(ledger).uploads.drop(unfinished)
    await delete_all(ledger)
    assert await rows(ledger, job_id) == dict(zip(TABLES, (2, 2, 2, 0), strict=True))
    assert await seal(ledger, job_id)
    assert await words_of(ledger, job_id) == ["new", "last"]


async def test_a_part_past_a_limit_changes_nothing(ledger: Ledger) -> None:
    job_id = await receiving(ledger)
    await send(ledger, job_id, 1, "a", "b")
    with pytest.raises(TooManyReceived):
        await send(ledger, job_id, 2, "c", "d", most=3)
    assert (await found(ledger, job_id)).total_chunks == 2
    await send(ledger, job_id, 1, "a", "b", "c", most=3)
    assert (await found(ledger, job_id)).total_chunks == 3


async def test_sealing_is_done_once_and_never_with_other_data_than_was_seen(
    ledger: Ledger,
) -> None:
    job_id = await receiving(ledger)
    empty = (await found(ledger, job_id)).revision
    assert not await ours(ledger).recording.seal(job_id, a_spec(), Controls(), empty)
    await send(ledger, job_id, 1, "a")
    assert not await ours(ledger).recording.seal(job_id, a_spec(), Controls(), empty)
    another, now = ledger.of(TenantId("another")), (await found(ledger, job_id)).revision
    assert not await another.recording.seal(job_id, a_spec(), Controls(), now)
    assert (await rows(ledger, job_id))["chunks"] == 0
    sealed = await asyncio.gather(*(seal(ledger, job_id) for _ in range(3)))
    assert sorted(sealed) == [False, False, True]
    assert (await found(ledger, job_id)).spec.execution is Execution.WORKFLOW
    assert await words_of(ledger, job_id) == ["a"]


async def test_a_sealed_job_takes_no_more_and_keeps_nothing_of_an_open_upload(
    ledger: Ledger,
) -> None:
    job_id = await receiving(ledger)
    await send(ledger, job_id, 1, "a")
    late = await started(ledger, job_id, 2, "late")
    assert await seal(ledger, job_id)
    with pytest.raises(UploadGone):
        await ours(ledger).uploads.add(late, 1, [NewChunk(item_count=1, body=b'["later"]')])
    with pytest.raises(UploadGone):
        await ours(ledger).uploads.complete(late, 2, max_chunks=10, max_items=10)
    with pytest.raises(UploadGone):
        await ours(ledger).uploads.begin(job_id, 3)
    assert await ledger.abandoned.drop_uploads(silent_since=0)
    await delete_all(ledger)
    assert await rows(ledger, job_id) == dict(zip(TABLES, (0, 0, 1, 1), strict=True))
    assert await words_of(ledger, job_id) == ["a"]


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
async def test_parts_that_complete_at_the_same_time_are_all_counted(
    ledger: Ledger, order: tuple[int, ...]
) -> None:
    job_id = await receiving(ledger)
    uploads = {part: await started(ledger, job_id, part, f"{part}a", f"{part}b") for part in order}
    again = {part: await started(ledger, job_id, part, f"{part}c") for part in order}
    await asyncio.gather(
        *(
            ours(ledger).uploads.complete(upload, part, max_chunks=100, max_items=100)
            for part in order
            for upload in (uploads[part], again[part])
        )
    )
    total = (await found(ledger, job_id)).total_chunks
    assert await seal(ledger, job_id)
    words = await words_of(ledger, job_id)
    assert len(words) == total
    assert sorted(words) == words
    assert {word[0] for word in words} == {"1", "2", "3"}


async def test_a_cancelled_one_is_closed_at_once_and_its_data_goes(ledger: Ledger) -> None:
    job_id = await receiving(ledger)
    await send(ledger, job_id, 1, "a", "b")
    await started(ledger, job_id, 2, "c")
    assert await ours(ledger).closing.discard(job_id)
    assert not await ours(ledger).closing.discard(job_id)
    job = await found(ledger, job_id)
    assert (job.state, job.total_chunks, job.error) == (JobState.CANCELLED, 0, None)
    assert not await seal(ledger, job_id)
    assert await ledger.abandoned.drop_uploads(silent_since=0)
    await delete_all(ledger)
    assert set((await rows(ledger, job_id)).values()) == {0}


async def test_one_without_data_for_too_long_is_closed(ledger: Ledger) -> None:
    silent, fresh = await receiving(ledger), await receiving(ledger)
    await send(ledger, silent, 1, "a")
    limit = now_ms() + 1
    await asyncio.sleep(0.005)
    await send(ledger, fresh, 1, "a")
    assert await ledger.abandoned.close_unsealed(NEVER, silent_since=limit) == [silent]
    assert await ledger.abandoned.close_unsealed(NEVER, silent_since=limit) == []
    job = await found(ledger, silent)
    assert (job.state, job.error, job.total_items) == (JobState.FAILED, NEVER, 0)
    assert (await found(ledger, fresh)).state is JobState.RECEIVING


async def test_an_upload_that_fell_silent_is_given_up_and_a_complete_one_is_not(
    ledger: Ledger,
) -> None:
    job_id, whole = await receiving(ledger), new_job_id()
    await send(ledger, job_id, 1, "a")
    silent = await started(ledger, job_id, 2, "b")
    killed = await started(ledger, whole, WHOLE, "c", "d")
    assert await ledger.abandoned.drop_uploads(silent_since=now_ms() + 1)
    assert not await ledger.abandoned.drop_uploads(silent_since=now_ms() + 1)
    for upload in (silent, killed):
        with pytest.raises(UploadGone):
            await ours(ledger).uploads.add(upload, 9, [])
    await delete_all(ledger)
    assert set((await rows(ledger, whole)).values()) == {0}
    assert (await rows(ledger, job_id))["inputs"] == 1
    assert await seal(ledger, job_id)


async def test_data_that_comes_as_a_whole_makes_a_job_only_at_its_end(ledger: Ledger) -> None:
    job_id = new_job_id()
    upload = await started(ledger, job_id, WHOLE, "a", "b")
    assert await ours(ledger).jobs.find(job_id) is None
    await ours(ledger).recording.record(
        new_job(job_id, controls=labelled({"team": "data"})), upload
    )
    job = await found(ledger, job_id)
    assert (job.state, job.total_chunks, job.total_items) == (JobState.PENDING, 2, 2)
    listed = await ours(ledger).jobs.page(state=None, labels={"team": "data"}, before=None, limit=9)
    assert [one.id for one in listed] == [job_id]
    assert await words_of(ledger, job_id) == ["a", "b"]
    assert await rows(ledger, job_id) == dict(zip(TABLES, (0, 0, 2, 2), strict=True))


async def test_a_dropped_upload_makes_no_job_and_takes_no_key(ledger: Ledger) -> None:
    upload = await started(ledger, new_job_id(), WHOLE, "a")
    await ours(ledger).uploads.drop(upload)
    key = IdempotencyKey(key="k", body_hash=b"1")
    job = new_job(upload.job_id, controls=labelled({"a": "b"}), key=key)
    with pytest.raises(UploadGone):
        await ours(ledger).recording.record(job, upload)
    assert await ours(ledger).jobs.find(upload.job_id) is None
    await receiving(ledger, key=key)


async def test_of_two_with_one_key_the_second_gets_the_first(ledger: Ledger) -> None:
    key = IdempotencyKey(key="k", body_hash=b"1")
    uploads = [await started(ledger, new_job_id(), WHOLE, "a") for _ in range(2)]
    made = await asyncio.gather(
        *(
            ours(ledger).recording.record(new_job(upload.job_id, key=key, keep_ms=5), upload)
            for upload in uploads
        ),
        return_exceptions=True,
    )
    (taken,) = [outcome for outcome in made if outcome is not None]
    assert isinstance(taken, KeyTaken)
    first, second = uploads if made[0] is None else reversed(uploads)
    assert taken.job_id == first.job_id
    await ours(ledger).uploads.drop(second)
    assert set((await rows(ledger, second.job_id)).values()) == {0}
    with pytest.raises(KeyTaken):
        await receiving(ledger, key=key)


async def test_much_data_is_deleted_in_steps(ledger: Ledger) -> None:
    job_id = await receiving(ledger)
    upload = await ours(ledger).uploads.begin(job_id, 1)
    chunks = [NewChunk(item_count=1, body=b"[1]")] * 450
    await ours(ledger).uploads.add(upload, 0, chunks)
    await ours(ledger).closing.discard(job_id)
    await ledger.abandoned.drop_uploads(silent_since=0)
    left = []
    while await ledger.abandoned.delete_some():
        left.append((await rows(ledger, job_id))["inputs"])
    assert left == [250, 50, 0]
