"""The window: how many are in flight, which comes next, what a cancellation waits for."""

import asyncio

import pytest

from contract.job_spec import StageSpec
from contract.states import JobState
from tests.workflows.gate import Gate
from tests.workflows.running import Fanfold, event_names
from workers.workflows.fan_out import fan_out

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


async def test_every_index_is_run_once_however_wide_the_window() -> None:
    ran: list[int] = []

    async def run_one(index: int) -> None:
        await asyncio.sleep(0)
        ran.append(index)

    for width in (1, 3, 10, 50):
        ran.clear()
        await fan_out(iter(range(10)), run_one, width=width)
        assert sorted(ran) == list(range(10))


async def test_what_an_iterator_holds_back_is_not_started() -> None:
    ran: list[int] = []
    may_go_on = True

    async def run_one(index: int) -> None:
        nonlocal may_go_on
        await asyncio.sleep(0)
        ran.append(index)
        may_go_on = index < 2

    indexes = (index for index in range(10) if may_go_on)
    await fan_out(indexes, run_one, width=2)
    # When 2 says stop, 3 is in flight beside it.
    assert ran == [0, 1, 2, 3]


async def test_a_cancelled_fan_out_waits_for_what_is_in_flight() -> None:
    began, settled = asyncio.Event(), 0

    async def run_one(index: int) -> None:
        nonlocal settled
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            # The first lane is cancelled at once, the others take their time.
            for _turn in range(index * 10):
                await asyncio.sleep(0)
            settled += 1
            raise

    running = asyncio.create_task(fan_out(iter(range(3)), run_one, width=3))
    await began.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert settled == 3


async def test_a_defect_in_what_is_run_is_not_swallowed() -> None:
    async def run_one(index: int) -> None:
        if index == 1:
            raise TypeError("a defect")

    with pytest.raises(TypeError, match="a defect"):
        await fan_out(iter(range(3)), run_one, width=2)
