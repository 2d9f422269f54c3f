"""How a job is laid out: ranges without loss, a tree within its bounds, ids of workflows."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.contract.job_spec import Execution
from fanfold.contract.names import chunk_workflow_id, job_workflow_id, shard_workflow_id
from fanfold.contract.plan import Tuning, block_id, indexes_of, ranges_of, workflow_id_of

TUNING = Tuning()
BIGINT = 1 << 63


@given(st.sets(st.integers(0, 300)))
def test_ranges_hold_every_index_once_in_order(indexes: set[int]) -> None:
    assert indexes_of(ranges_of(indexes)) == sorted(indexes)


@given(st.sets(st.integers(0, 300)))
def test_there_is_a_range_for_each_gap_only(indexes: set[int]) -> None:
    starts = [index for index in indexes if index - 1 not in indexes]
    assert [first for first, _ in ranges_of(indexes)] == sorted(starts)


@given(st.integers(1, 10_000_000))
def test_no_job_has_more_shards_than_its_history_bears(chunks: int) -> None:
    if not TUNING.has_shards(Execution.WORKFLOW, chunks):
        assert chunks <= TUNING.chunks_without_shards
        return
    size = TUNING.page_chunks(chunks)
    assert size >= TUNING.shard_chunks
    assert math.ceil(chunks / size) <= TUNING.max_shards


@pytest.mark.parametrize(
    ("execution", "most"),
    [
        (Execution.WORKFLOW, TUNING.chunks_without_shards),
        (Execution.ACTIVITY, TUNING.block_chunks_without_shards),
    ],
)
def test_only_large_jobs_have_shards(execution: Execution, most: int) -> None:
    assert not TUNING.has_shards(execution, most)
    assert TUNING.has_shards(execution, most + 1)


@pytest.mark.parametrize("index", [0, 1_999, 2_000, 9_999])
def test_a_chunk_is_run_by_its_own_workflow_or_by_its_shards(index: int) -> None:
    def run_by(execution: Execution, block: int | None, run: int = 1) -> str:
        return workflow_id_of("job_1", execution, index, block, run)

    assert run_by(Execution.WORKFLOW, None) == chunk_workflow_id("job_1", index)
    assert run_by(Execution.ACTIVITY, block_id(7, 3)) == shard_workflow_id("job_1", 7)
    assert run_by(Execution.ACTIVITY, None) == "job_1"
    assert run_by(Execution.ACTIVITY, None, run=2) == job_workflow_id("job_1", 2) != "job_1"


@given(st.integers(0, 10_000), st.integers(0, (1 << 40) - 1))
def test_the_id_of_a_block_names_its_shard_and_fits_a_column(shard: int, number: int) -> None:
    block = block_id(shard, number)
    assert workflow_id_of("j", Execution.ACTIVITY, 0, block, 1) == shard_workflow_id("j", shard)
    assert 0 <= block < BIGINT
    assert block_id(shard + 1, number) != block != block_id(shard, number + 1)
