"""A small job's window: how many are in flight, which comes next."""

import pytest

from fanfold.contract.job_spec import StageSpec
from fanfold.contract.states import JobState
from tests.workflows.gate import Gate
from tests.workflows.running import Fanfold, event_names

pytestmark = pytest.mark.anyio

GATED = StageSpec(processor="gate")


async def test_a_job_fills_its_window_and_never_exceeds_it(fanfold: Fanfold) -> None:
    gate = Gate()
    job = await fanfold.record([[n] for n in range(9)], GATED, max_concurrency=4)
    async with fanfold.working(gate.gate), gate:
        handle = await fanfold.start(job)
        await gate.until_inside(0, 1, 2, 3)
        gate.let_go(2)
        await gate.until_inside(0, 1, 3, 4)
        gate.let_go(0, 1)
        await gate.until_inside(3, 4, 5, 6)
        gate.open()
        row = await fanfold.finished(handle)
    assert row.state is JobState.SUCCEEDED
    assert gate.most_inside == 4
    assert sorted(gate.begun) == list(range(9))


async def test_a_window_of_one_runs_the_chunks_in_order(fanfold: Fanfold) -> None:
    gate = Gate()
    gate.open()
    job = await fanfold.record([[n] for n in range(5)], GATED, max_concurrency=1)
    async with fanfold.working(gate.gate), gate:
        await fanfold.run(job)
    assert gate.begun == [0, 1, 2, 3, 4]
    assert gate.most_inside == 1


async def test_the_children_of_a_window_are_started_in_one_workflow_task(fanfold: Fanfold) -> None:
    job = await fanfold.record([[n] for n in range(6)], StageSpec(processor="double"))
    async with fanfold.working():
        handle = await fanfold.start(job)
        await fanfold.finished(handle)
        names = await event_names(handle)
    first = names.index("StartChildWorkflowExecutionInitiated")
    assert names[first : first + 6] == ["StartChildWorkflowExecutionInitiated"] * 6


async def test_a_plain_job_is_planned_once_and_without_a_fold_closed_at_once(
    fanfold: Fanfold,
) -> None:
    """No task of the server's for what the ledger does: one local activity at each end."""
    job = await fanfold.record([[n] for n in range(6)], StageSpec(processor="double"), reducer=None)
    async with fanfold.working():
        handle = await fanfold.start(job)
        row = await fanfold.finished(handle)
        names = await event_names(handle)
    assert row.state is JobState.SUCCEEDED
    assert names.count("MarkerRecorded") == 2
    assert names.count("ActivityTaskScheduled") == 0
