"""Attempts: only the one that is current records anything, and each is counted once."""

import asyncio
from dataclasses import replace

import pytest

from fanfold.contract.failures import Failure
from fanfold.contract.names import DEFAULT_TENANT, JobId
from fanfold.contract.states import ChunkState, JobState
from fanfold.ledger import outcomes
from fanfold.ledger.connect import Ledger
from fanfold.ledger.records import Attempt, ChunkOutput, ChunkRecord, ItemError, NoAttempt
from tests.ledger.jobs_recorded import (
    BROKEN,
    a_spec,
    begun,
    found,
    new_token,
    ours,
    record,
    running,
)

OUTPUT = ChunkOutput(body=b'["ok"]')
PARTIAL = ChunkOutput(
    body=b"[1,null,3]",
    item_errors=(ItemError(item=1, type="Broken", message="\u00fc \U0001f9fe"),),
)

DROPPED = ItemError(item=0, type="ItemDropped", message="empty", stage=0, is_dropped=True)


async def chunk_of(ledger: Ledger, job_id: JobId, index: int = 0) -> ChunkRecord:
    chunk = await ours(ledger).chunks.find(job_id, index)
    assert chunk is not None
    return chunk


async def output_of(ledger: Ledger, job_id: JobId, index: int = 0) -> ChunkOutput:
    chunk = await chunk_of(ledger, job_id, index)
    (output,) = [output async for _, output in ours(ledger).chunks.outputs(job_id, [chunk])]
    return output


async def test_a_first_attempt_gets_the_input_as_it_was_recorded(ledger: Ledger) -> None:
    job_id = await running(ledger, [2, 3])
    assert await begun(ledger, job_id, 1) == Attempt(
        job_id=job_id,
        tenant=DEFAULT_TENANT,
        index=1,
        stage=0,
        number=1,
        fence=1,
        item_count=3,
        input=b"[1,1,1]",
        revision=(await found(ledger, job_id)).revision,
        earlier_errors=(),
        checkpoint=ChunkOutput(),
    )
    chunk = await chunk_of(ledger, job_id, 1)
    assert (chunk.state, chunk.attempts) == (ChunkState.RUNNING, 1)
    assert chunk.started_at is not None


async def test_every_attempt_is_counted_and_keeps_the_first_start(ledger: Ledger) -> None:
    job_id = await running(ledger)
    assert [(await begun(ledger, job_id)).number for _ in range(3)] == [1, 2, 3]
    chunk = await chunk_of(ledger, job_id)
    assert chunk.attempts == 3


async def test_attempts_begun_at_once_get_different_numbers(ledger: Ledger) -> None:
    job_id = await running(ledger)
    attempts = await asyncio.gather(*(begun(ledger, job_id) for _ in range(5)))
    assert sorted(attempt.number for attempt in attempts) == [1, 2, 3, 4, 5]


async def test_a_chunk_of_a_job_that_was_not_opened_does_not_begin(ledger: Ledger) -> None:
    job_id = await record(ledger)
    refused = await ours(ledger).work.begin(job_id, 0, 0, job_run=1, token=new_token())
    assert refused == NoAttempt(
        chunk_state=ChunkState.PENDING,
        job_state=JobState.PENDING,
        stage=0,
        error=None,
        due_in_seconds=0,
    )
    assert (await chunk_of(ledger, job_id)).attempts == 0


async def test_no_chunk_begins_after_a_cancel(ledger: Ledger) -> None:
    job_id = await running(ledger)
    await begun(ledger, job_id)
    await ours(ledger).jobs.request_cancel(job_id)
    refused = await ours(ledger).work.begin(job_id, 0, 0, job_run=1, token=new_token())
    assert isinstance(refused, NoAttempt)
    assert refused.job_state is JobState.CANCELLING
    assert (await chunk_of(ledger, job_id)).attempts == 1


async def test_a_chunk_that_was_running_at_the_cancel_may_still_record(ledger: Ledger) -> None:
    job_id = await running(ledger)
    attempt = await begun(ledger, job_id)
    await ours(ledger).jobs.request_cancel(job_id)
    await ours(ledger).work.record(outcomes.succeeded(attempt, OUTPUT))
    assert (await chunk_of(ledger, job_id)).state is ChunkState.SUCCEEDED
    assert await output_of(ledger, job_id) == OUTPUT


async def test_a_finished_chunk_does_not_begin_again_and_says_how_it_ended(ledger: Ledger) -> None:
    job_id = await running(ledger, [1, 1])
    await ours(ledger).work.record(outcomes.succeeded(await begun(ledger, job_id, 0), OUTPUT))
    await ours(ledger).work.record(
        outcomes.failed(await begun(ledger, job_id, 1), BROKEN, ChunkOutput())
    )
    succeeded = await ours(ledger).work.begin(job_id, 0, 0, job_run=1, token=new_token())
    failed = await ours(ledger).work.begin(job_id, 1, 0, job_run=1, token=new_token())
    assert isinstance(succeeded, NoAttempt)
    assert isinstance(failed, NoAttempt)
    assert (succeeded.chunk_state, succeeded.error) == (ChunkState.SUCCEEDED, None)
    assert (failed.chunk_state, failed.error) == (ChunkState.FAILED, BROKEN)


async def test_an_attempt_that_is_handed_back_does_not_count(ledger: Ledger) -> None:
    job_id = await running(ledger)
    await begun(ledger, job_id)
    second = await begun(ledger, job_id)
    await ours(ledger).work.record(outcomes.handed_back(second))
    chunk = await chunk_of(ledger, job_id)
    assert (chunk.state, chunk.attempts) == (ChunkState.PENDING, 1)
    again = await begun(ledger, job_id)
    assert (again.number, (await chunk_of(ledger, job_id)).attempts) == (2, 2)


async def test_the_only_attempt_handed_back_leaves_a_chunk_never_tried(ledger: Ledger) -> None:
    job_id = await running(ledger)
    await ours(ledger).work.record(outcomes.handed_back(await begun(ledger, job_id)))
    chunk = await chunk_of(ledger, job_id)
    assert (chunk.state, chunk.attempts) == (ChunkState.PENDING, 0)


async def test_a_checkpoint_is_there_for_the_next_attempt(ledger: Ledger) -> None:
    job_id = await running(ledger, [3])
    await ours(ledger).work.record(
        outcomes.put_off(await begun(ledger, job_id), BROKEN, PARTIAL, seconds=0)
    )
    second = await begun(ledger, job_id)
    assert second.checkpoint == PARTIAL
    better = ChunkOutput(body=b"[1,2,3]")
    await ours(ledger).work.record(outcomes.put_off(second, BROKEN, better, seconds=0))
    third = await begun(ledger, job_id)
    assert third.checkpoint == better


async def test_a_checkpoint_is_no_output_while_the_chunk_runs(ledger: Ledger) -> None:
    job_id = await running(ledger, [3])
    await ours(ledger).work.record(
        outcomes.put_off(await begun(ledger, job_id), BROKEN, PARTIAL, seconds=0)
    )
    assert await output_of(ledger, job_id) == ChunkOutput()


async def test_a_chunk_of_which_some_items_failed_keeps_what_the_others_gave(
    ledger: Ledger,
) -> None:
    job_id, partial = await running(ledger, [3]), replace(PARTIAL, by_item=True)
    attempt = await begun(ledger, job_id)
    await ours(ledger).work.record(outcomes.succeeded_partially(attempt, BROKEN, partial))
    chunk = await chunk_of(ledger, job_id)
    assert (chunk.state, chunk.error) == (ChunkState.PARTIALLY_SUCCEEDED, BROKEN)
    assert (chunk.items_failed, chunk.by_item) == (1, True)
    assert chunk.result_bytes == len(partial.body)
    assert await output_of(ledger, job_id) == partial


async def test_where_other_items_were_made_of_a_chunk_s_it_stands_and_falls_as_one(
    ledger: Ledger,
) -> None:
    job_id = await running(ledger, [3])
    made = ItemError(item=7, type="Broken", message="b", stage=1, is_derived=True)
    output = ChunkOutput(body=b"[1,null]", item_errors=(made,), by_item=False)
    attempt = await begun(ledger, job_id)
    await ours(ledger).work.record(outcomes.succeeded_partially(attempt, BROKEN, output))
    assert (await chunk_of(ledger, job_id)).items_failed == 3
    assert await output_of(ledger, job_id) == output


async def test_a_failure_keeps_the_frames_of_the_user_s_code(ledger: Ledger) -> None:
    job_id = await running(ledger, [3])
    failure = replace(BROKEN, traceback='  File "shop.py", line 7\n')
    await ours(ledger).work.record(
        outcomes.failed(await begun(ledger, job_id), failure, ChunkOutput())
    )
    assert (await chunk_of(ledger, job_id)).error == failure


async def test_an_attempt_that_was_one_too_many_does_not_count(ledger: Ledger) -> None:
    job_id = await running(ledger, [3], spec=a_spec(stages=2))
    attempt = replace(await begun(ledger, job_id), is_one_too_many=True)
    await ours(ledger).work.record(outcomes.advanced(attempt, PARTIAL))
    assert (await chunk_of(ledger, job_id)).attempts == 0


@pytest.mark.parametrize("message", ["", "'; DROP TABLE chunks; --", "100 % ? %s {}", "\U0001f9fe"])
async def test_a_failure_comes_back_as_it_was_recorded(ledger: Ledger, message: str) -> None:
    job_id = await running(ledger)
    failure = Failure(type="Any", message=message, retryable=True)
    await ours(ledger).work.record(
        outcomes.failed(await begun(ledger, job_id), failure, ChunkOutput())
    )
    assert (await chunk_of(ledger, job_id)).error == failure


async def test_a_lost_chunk_fails_with_all_its_items(ledger: Ledger) -> None:
    job_id = await running(ledger, [4, 1])
    attempt = await begun(ledger, job_id)
    await ours(ledger).work.record_lost(job_id, 0, BROKEN, run=1)
    await ours(ledger).work.record_lost(job_id, 1, BROKEN, run=1)
    chunk = await chunk_of(ledger, job_id)
    assert (chunk.state, chunk.error, chunk.items_failed) == (ChunkState.FAILED, BROKEN, 4)
    assert (await chunk_of(ledger, job_id, 1)).state is ChunkState.FAILED
    await ours(ledger).work.record(outcomes.succeeded(attempt, OUTPUT))
    assert await chunk_of(ledger, job_id) == chunk


async def test_a_chunk_with_an_outcome_is_not_lost_any_more(ledger: Ledger) -> None:
    job_id = await running(ledger)
    await ours(ledger).work.record(outcomes.succeeded(await begun(ledger, job_id), OUTPUT))
    before = await chunk_of(ledger, job_id)
    await ours(ledger).work.record_lost(job_id, 0, BROKEN, run=1)
    assert await chunk_of(ledger, job_id) == before
    assert await output_of(ledger, job_id) == OUTPUT


async def test_a_stage_that_is_done_gives_its_output_to_the_next(ledger: Ledger) -> None:
    job_id = await running(ledger, [3], spec=a_spec(stages=2))
    done = ChunkOutput(body=b'["a","b"]', item_errors=(DROPPED,), by_item=True)
    await ours(ledger).work.record(outcomes.advanced(await begun(ledger, job_id), done))
    second = await begun(ledger, job_id, stage=1)
    assert (second.input, second.number) == (b'["a","b"]', 1)
    assert (second.earlier_errors, second.checkpoint) == ((DROPPED,), ChunkOutput())
    assert second.by_item is True


async def test_what_an_earlier_stage_dropped_stays_beside_a_later_checkpoint(
    ledger: Ledger,
) -> None:
    job_id = await running(ledger, [3], spec=a_spec(stages=2))
    done = ChunkOutput(body=b'["a","b"]', item_errors=(DROPPED,))
    await ours(ledger).work.record(outcomes.advanced(await begun(ledger, job_id), done))
    failed = ItemError(item=1, type="Broken", message="b", stage=1)
    reached = ChunkOutput(body=b'["A",null]', item_errors=(DROPPED, failed))
    await ours(ledger).work.record(
        outcomes.put_off(await begun(ledger, job_id, stage=1), BROKEN, reached, seconds=0)
    )
    again = await begun(ledger, job_id, stage=1)
    assert again.earlier_errors == (DROPPED,)
    assert again.checkpoint == ChunkOutput(body=b'["A",null]', item_errors=(failed,))


async def test_moving_on_to_the_next_stage_is_no_further_attempt(ledger: Ledger) -> None:
    job_id = await running(ledger, spec=a_spec(stages=3))
    await begun(ledger, job_id)
    await ours(ledger).work.record(
        outcomes.advanced(await begun(ledger, job_id), ChunkOutput(body=b"[1]"))
    )
    await ours(ledger).work.record(
        outcomes.advanced(await begun(ledger, job_id, stage=1), ChunkOutput(body=b"[2]"))
    )
    await begun(ledger, job_id, stage=2)
    assert (await chunk_of(ledger, job_id)).attempts == 2
    await begun(ledger, job_id, stage=2)
    assert (await chunk_of(ledger, job_id)).attempts == 3


async def test_handing_back_a_later_stage_takes_back_only_what_it_added(ledger: Ledger) -> None:
    job_id = await running(ledger, spec=a_spec(stages=2))
    await ours(ledger).work.record(
        outcomes.advanced(await begun(ledger, job_id), ChunkOutput(body=b"[1]"))
    )
    await ours(ledger).work.record(outcomes.handed_back(await begun(ledger, job_id, stage=1)))
    assert (await chunk_of(ledger, job_id)).attempts == 1
    await begun(ledger, job_id, stage=1)
    await ours(ledger).work.record(outcomes.handed_back(await begun(ledger, job_id, stage=1)))
    assert (await chunk_of(ledger, job_id)).attempts == 1


async def test_a_stage_that_is_done_does_not_begin_again(ledger: Ledger) -> None:
    job_id = await running(ledger, spec=a_spec(stages=2))
    await ours(ledger).work.record(
        outcomes.advanced(await begun(ledger, job_id), ChunkOutput(body=b"[1]"))
    )
    refused = await ours(ledger).work.begin(job_id, 0, 0, job_run=1, token=new_token())
    assert isinstance(refused, NoAttempt)
    assert (refused.stage, refused.chunk_state) == (1, ChunkState.RUNNING)


async def test_a_checkpoint_of_one_stage_is_not_the_next_ones(ledger: Ledger) -> None:
    job_id = await running(ledger, [3], spec=a_spec(stages=2))
    await ours(ledger).work.record(
        outcomes.put_off(await begun(ledger, job_id), BROKEN, PARTIAL, seconds=0)
    )
    await ours(ledger).work.record(
        outcomes.advanced(await begun(ledger, job_id), ChunkOutput(body=b"[1]"))
    )
    assert (await begun(ledger, job_id, stage=1)).checkpoint == ChunkOutput()
