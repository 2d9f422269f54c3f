"""What a job of many chunks costs the server, in events: far from what it bears."""

import math

import pytest

from fanfold.contract.job_spec import Execution, RetrySpec, StageSpec
from fanfold.contract.plan import Tuning
from fanfold.contract.states import JobState
from tests.workflows.running import BLOCKS_IN_SHARDS, SHARDS, Fanfold, Shape, event_names

MOST_EVENTS = 10_000
MOST_EVENTS_A_CHILD = 9
IN_THREE = SHARDS.tuned(shard_chunks=150)


@pytest.fixture
def fanfold(fanfold_on_dev_server: Fanfold, shape: Shape) -> Fanfold:
    return fanfold_on_dev_server.shaped(shape)


@pytest.mark.anyio
@pytest.mark.parametrize("shape", [IN_THREE], ids=["children"])
async def test_many_children_in_shards_stay_within_the_budget_of_events(fanfold: Fanfold) -> None:
    chunks = 301
    job = await fanfold.record([[n] for n in range(chunks)], StageSpec(processor="double"))
    async with fanfold.working(sandbox=False):
        handle = await fanfold.start(job)
        row = await fanfold.finished(handle, patience_seconds=100)
        of_job = await event_names(handle)
        of_shards = [await event_names(fanfold.shard(job, number)) for number in range(3)]
    assert row.state is JobState.SUCCEEDED
    assert row.counts.succeeded == chunks
    result = await fanfold.result(job)
    assert [entry["result"] for entry in result] == [[2 * n] for n in range(chunks)]
    assert len(of_job) < 200  # some events a shard, and the signals between them
    assert len(of_shards[-1]) < 60  # of a single chunk, and of slots that it was lent
    for events in of_shards[:2]:
        assert len(events) <= 150 * MOST_EVENTS_A_CHILD


@pytest.mark.anyio
@pytest.mark.parametrize("shape", [BLOCKS_IN_SHARDS], ids=["blocks"])
async def test_blocks_cost_a_few_events_however_many_chunks_they_run(fanfold: Fanfold) -> None:
    job = await fanfold.record([[n] for n in range(1_001)], StageSpec(processor="double"))
    async with fanfold.working(sandbox=False):
        handle = await fanfold.start(job)
        row = await fanfold.finished(handle, patience_seconds=100)
        of_job = await event_names(handle)
        of_shard = await event_names(fanfold.shard(job, 0))
    assert row.counts.succeeded == 1_001
    assert len(of_job) < 40
    blocks = of_shard.count("ActivityTaskScheduled")
    assert blocks <= math.ceil(50 / Tuning().least_block_lanes) + 1
    assert len(of_shard) <= 6 * blocks + 10


@pytest.mark.anyio
@pytest.mark.parametrize("shape", [BLOCKS_IN_SHARDS], ids=["blocks"])
async def test_retries_of_every_chunk_cost_no_event_at_all(fanfold: Fanfold) -> None:
    retry = RetrySpec(max_attempts=4, initial_interval_seconds=0.2, backoff_coefficient=1)
    stage = StageSpec(processor="double", options={"fail_attempts": 3}, retry=retry)
    job = await fanfold.record([[n] for n in range(300)], stage)
    async with fanfold.working(sandbox=False):
        handle = await fanfold.start(job)
        row = await fanfold.finished(handle, patience_seconds=100)
        of_shard = await event_names(fanfold.shard(job, 0))
    assert row.counts.succeeded == 300
    assert {chunk.attempts for chunk in await fanfold.chunks(job)} == {4}
    assert len(of_shard) <= 6 * of_shard.count("ActivityTaskScheduled") + 10
    assert of_shard.count("TimerStarted") == 0


@pytest.mark.parametrize("chunks", [1, 500, 501, 10_000, 250_001, 1_000_000])
def test_no_tree_is_wider_than_its_root_bears(chunks: int) -> None:
    tuning = Tuning()
    if not tuning.has_shards(Execution.WORKFLOW, chunks):
        assert chunks * MOST_EVENTS_A_CHILD <= MOST_EVENTS
        return
    shards = math.ceil(chunks / tuning.page_chunks(chunks))
    # A shard costs its job some ten events, and signals by quarters of its slots.
    assert shards * 40 <= MOST_EVENTS
