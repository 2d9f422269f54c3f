"""While the ledger is away jobs wait; they do not fail."""

import pytest

from fanfold.contract.job_spec import StageSpec
from fanfold.contract.states import ChunkState, JobState
from tests.workflows.gate import Gate
from tests.workflows.running import BLOCKS, CHILDREN, ONE_ATTEMPT, QUICK_CHILDREN, Fanfold, Shape
from tests.workflows.unsteady_ledger import UnsteadyLedger

pytestmark = pytest.mark.anyio

DOUBLE_ONCE = StageSpec(processor="double", retry=ONE_ATTEMPT)


@pytest.mark.parametrize(
    "operation", ["jobs.open", "work.page", "closing.counts", "closing.close", "chunks.page"]
)
async def test_a_job_is_opened_folded_and_closed_once_the_ledger_is_back(
    fanfold: Fanfold, operation: str
) -> None:
    unsteady = UnsteadyLedger(fanfold.ledger)
    unsteady.fail(operation, times=3)
    job = await fanfold.record([[1], [2]], DOUBLE_ONCE)
    async with fanfold.working(ledger=unsteady.ledger):
        row = await fanfold.run(job)
    assert unsteady.failures == 3
    assert row.state is JobState.SUCCEEDED
    assert [entry["result"] for entry in await fanfold.result(job)] == [[2], [4]]


@pytest.mark.parametrize(
    ("shape", "operation"),
    [
        (CHILDREN, "jobs.terms"),
        (CHILDREN, "work.begin"),
        (CHILDREN, "work.record"),
        (QUICK_CHILDREN, "jobs.terms"),
        (QUICK_CHILDREN, "work.begin"),
        (QUICK_CHILDREN, "work.record"),
        (BLOCKS, "jobs.terms"),
        (BLOCKS, "work.claim_some"),
        (BLOCKS, "work.outlook"),
    ],
)
async def test_an_outage_costs_a_chunk_no_attempt(
    fanfold: Fanfold, operation: str, shape: Shape
) -> None:
    fanfold = fanfold.shaped(shape)
    unsteady = UnsteadyLedger(fanfold.ledger)
    unsteady.fail(operation, times=3)
    job = await fanfold.record([[1]], DOUBLE_ONCE)
    async with fanfold.working(ledger=unsteady.ledger):
        row = await fanfold.run(job)
    assert unsteady.failures == 3
    assert row.state is JobState.SUCCEEDED
    assert [chunk.attempts for chunk in await fanfold.chunks(job)] == [1]


async def test_a_lost_chunk_is_recorded_once_the_ledger_is_back(
    fanfold_on_dev_server: Fanfold,
) -> None:
    fanfold, gate = fanfold_on_dev_server, Gate()
    unsteady = UnsteadyLedger(fanfold.ledger)
    unsteady.fail("work.record_lost", times=3)
    job = await fanfold.record([[1], [2]], StageSpec(processor="gate"))
    async with fanfold.working(gate.gate, ledger=unsteady.ledger), gate:
        handle = await fanfold.start(job)
        await gate.until_inside(0, 1)
        await fanfold.child(job, 0).terminate("by hand")
        await fanfold.until_state(job, 0, ChunkState.FAILED)
        gate.open()
        row = await fanfold.finished(handle)
    assert unsteady.failures == 3
    assert row.state is JobState.PARTIALLY_SUCCEEDED
