"""What travels through Temporal stays small, and a tree's size within its bounds."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.job_spec import Execution
from contract.names import chunk_workflow_id, shard_workflow_id
from contract.wire import (
    MAX_CHUNKS_WITHOUT_SHARDS,
    MAX_SHARDS,
    SHARD_CHUNKS,
    indexes_of,
    ranges_of,
    shard_chunks,
    workflow_id_of,
)


@given(st.sets(st.integers(0, 300)))
def test_ranges_hold_every_index_once_in_order(indexes: set[int]) -> None:
    assert indexes_of(ranges_of(indexes)) == sorted(indexes)


@given(st.sets(st.integers(0, 300)))
def test_there_is_a_range_for_each_gap_only(indexes: set[int]) -> None:
    starts = [index for index in indexes if index - 1 not in indexes]
    assert [first for first, _ in ranges_of(indexes)] == sorted(starts)


@given(st.sampled_from([Execution.WORKFLOW, Execution.ACTIVITY]), st.integers(1, 10_000_000))
def test_no_job_has_more_shards_than_its_history_bears(execution: Execution, chunks: int) -> None:
    size = shard_chunks(execution, chunks)
    if size == 0:
        assert execution is Execution.WORKFLOW
        assert chunks <= MAX_CHUNKS_WITHOUT_SHARDS
        return
    assert size >= SHARD_CHUNKS[execution]
    assert math.ceil(chunks / size) <= MAX_SHARDS


def test_a_job_in_blocks_has_a_shard_however_small_it_is() -> None:
    assert shard_chunks(Execution.ACTIVITY, 1) > 0


@pytest.mark.parametrize("index", [0, 1_999, 2_000, 9_999])
def test_a_chunk_is_run_by_its_own_workflow_or_by_its_shards(index: int) -> None:
    own = workflow_id_of("job_1", Execution.WORKFLOW, 10_000, index)
    shared = workflow_id_of("job_1", Execution.ACTIVITY, 10_000, index)
    assert own == chunk_workflow_id("job_1", index)
    assert shared == shard_workflow_id("job_1", index // SHARD_CHUNKS[Execution.ACTIVITY])
