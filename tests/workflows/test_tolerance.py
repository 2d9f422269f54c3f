"""A job that fails more than it may stops early, and says so."""

import pytest

from fanfold.contract.failures import FailureType
from fanfold.contract.job_spec import StageSpec, ToleranceSpec
from fanfold.contract.states import ChunkState, JobState
from fanfold.ledger.records import JobRecord
from tests.ledger.jobs_recorded import ours
from tests.workflows.running import BLOCKS_IN_SHARDS, ONE_ATTEMPT, SHARDS, Fanfold, Shape

pytestmark = pytest.mark.anyio

ODD_SUCCEED = StageSpec(processor="double", options={"fail_if_divisible_by": 2}, retry=ONE_ATTEMPT)


@pytest.fixture
def fanfold(fanfold: Fanfold, shape: Shape) -> Fanfold:
    return fanfold.shaped(shape)


async def run(
    fanfold: Fanfold, values: list[int], tolerance: ToleranceSpec
) -> tuple[JobRecord, list[ChunkState]]:
    """Run the values one after another, a chunk each; the job and its chunks' states."""
    job = await fanfold.record(
        [[value] for value in values],
        ODD_SUCCEED,
        max_concurrency=1,
        tolerated_failures=tolerance,
    )
    async with fanfold.working():
        row = await fanfold.run(job)
    return row, await fanfold.chunk_states(job)


async def test_one_failure_more_than_the_count_stops_the_job(fanfold: Fanfold) -> None:
    row, states = await run(fanfold, [2, 1, 4, 3, 5, 6], ToleranceSpec(count=1))
    assert states == ["failed", "succeeded", "failed", "cancelled", "cancelled", "cancelled"]
    assert row.state is JobState.FAILED
    assert row.error is not None
    assert row.error.type == FailureType.TOLERANCE_EXCEEDED
    assert "2 of 3" in row.error.message


async def test_results_of_a_job_stopped_early_are_kept(fanfold: Fanfold) -> None:
    row, _ = await run(fanfold, [1, 2, 3], ToleranceSpec(count=0))
    assert row.state is JobState.FAILED
    outputs = {
        record.index: output async for record, output in ours(fanfold.ledger).chunks.stream(row.id)
    }
    assert outputs[0].body == b"[2]"


async def test_failures_within_the_count_stop_nothing(fanfold: Fanfold) -> None:
    row, states = await run(fanfold, [2, 1, 4, 3], ToleranceSpec(count=2))
    assert row.state is JobState.PARTIALLY_SUCCEEDED
    assert states == ["failed", "succeeded", "failed", "succeeded"]


async def test_a_percentage_counts_from_the_sample_on(fanfold: Fanfold) -> None:
    tolerance = ToleranceSpec(percent=50, min_sample=4)
    row, states = await run(fanfold, [2, 4, 6, 1, 3, 5, 7], tolerance)
    # Three of three failed, but only the fourth makes the sample.
    assert states == ["failed"] * 3 + ["succeeded"] + ["cancelled"] * 3
    assert row.state is JobState.FAILED
    assert row.error is not None
    assert row.error.type == FailureType.TOLERANCE_EXCEEDED


async def test_a_job_below_the_sample_is_judged_at_its_end(fanfold: Fanfold) -> None:
    row, states = await run(fanfold, [2, 1, 3], ToleranceSpec(percent=10, min_sample=100))
    assert states == ["failed", "succeeded", "succeeded"]
    assert row.state is JobState.FAILED
    assert row.error is not None
    assert row.error.type == FailureType.TOLERANCE_EXCEEDED


@pytest.mark.parametrize("shape", [SHARDS, BLOCKS_IN_SHARDS], ids=["children", "blocks"])
async def test_failures_count_over_all_shards(fanfold: Fanfold) -> None:
    row, states = await run(fanfold, [2, 1, 4, 3, 6, 5, 8, 7], ToleranceSpec(count=2))
    assert states == ["failed", "succeeded"] * 2 + ["failed"] + ["cancelled"] * 3
    assert row.state is JobState.FAILED
    assert row.error is not None
    assert row.error.type == FailureType.TOLERANCE_EXCEEDED
