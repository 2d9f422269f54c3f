"""What a job of many chunks costs the server, in events: far from what it bears."""

from dataclasses import replace

import pytest

from contract.job_spec import Execution, RetrySpec, StageSpec
from contract.states import JobState
from contract.wire import shard_chunks
from tests.workflows.running import BLOCKS, SHARDS, Fanfold, Shape, event_names

MOST_EVENTS = 10_000
MOST_EVENTS_A_CHILD = 9
IN_THREE = replace(SHARDS, shard_chunks=150)
BLOCKS_IN_THREE = replace(BLOCKS, shard_chunks=500)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("shape", "events_a_chunk"),
    [(IN_THREE, MOST_EVENTS_A_CHILD), (BLOCKS_IN_THREE, 0.7)],
    ids=["children", "blocks"],
)
async def test_many_chunks_in_shards_stay_within_the_budget_of_events(
    fanfold_on_dev_server: Fanfold, shape: Shape, events_a_chunk: float
) -> None:
    in_shard = shape.shard_chunks or 0
    chunks = 2 * in_shard + 1
    fanfold = fanfold_on_dev_server.shaped(shape)
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
    assert len(of_job) < 100  # some events a shard, and the signals between them
    assert len(of_shards[-1]) < 40  # of a single chunk
    for events in of_shards[:2]:
        assert len(events) <= in_shard * events_a_chunk


@pytest.mark.anyio
@pytest.mark.parametrize("shape", [BLOCKS_IN_THREE], ids=["blocks"])
async def test_retries_of_every_chunk_stay_within_it_too(fanfold: Fanfold, shape: Shape) -> None:
    retry = RetrySpec(max_attempts=4, initial_interval_seconds=1)
    stage = StageSpec(processor="double", options={"fail_attempts": 3}, retry=retry)
    fanfold = fanfold.shaped(shape)
    job = await fanfold.record([[n] for n in range(1_001)], stage)
    async with fanfold.working(sandbox=False):
        handle = await fanfold.start(job)
        row = await fanfold.finished(handle, patience_seconds=100)
        of_shards = [await event_names(fanfold.shard(job, number)) for number in range(3)]
    assert row.counts.succeeded == 1_001
    assert {chunk.attempts for chunk in await fanfold.chunks(job)} == {4}
    for events in of_shards:
        assert len(events) <= 4 * 500


@pytest.mark.parametrize("execution", [Execution.WORKFLOW, Execution.ACTIVITY])
@pytest.mark.parametrize("chunks", [1, 500, 501, 10_000, 250_001, 1_000_000])
def test_no_tree_is_wider_than_its_root_bears(execution: Execution, chunks: int) -> None:
    size = shard_chunks(execution, chunks)
    shards = -(-chunks // size) if size else 0
    # A shard costs its job some ten events, and signals by halves of its slots.
    assert shards * 20 <= MOST_EVENTS
    if not size:
        assert chunks * MOST_EVENTS_A_CHILD <= MOST_EVENTS
