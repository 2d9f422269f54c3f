"""Chunks of a quick job run as local activities: fewer server transactions, same outcomes."""

import asyncio

import pytest

from fanfold.contract.job_spec import RetrySpec, StageSpec
from fanfold.contract.plan import Tuning
from fanfold.contract.states import ChunkState, JobState
from fanfold.contract.wire import JobInput
from tests.workflows.gate import Gate
from tests.workflows.running import QUICK_CHILDREN, Fanfold, event_names, until

pytestmark = pytest.mark.anyio

QUICK_SAMPLE, QUICK_SECONDS = Tuning().quick_sample, Tuning().quick_seconds


async def take(item: float) -> float:
    """A processor that takes as many seconds as the item says."""
    await asyncio.sleep(item)
    return item


async def kinds_of_activity(fanfold: Fanfold, job: JobInput) -> str:
    """A letter a chunk: r for a regular activity, l for a local one."""
    letters = ""
    for index in range(job.total_chunks):
        names = await event_names(fanfold.child(job, index))
        is_regular, is_local = "ActivityTaskScheduled" in names, "MarkerRecorded" in names
        assert is_regular != is_local
        letters += "r" if is_regular else "l"
    return letters


async def test_chunks_run_locally_after_a_sample_of_quick_ones(fanfold: Fanfold) -> None:
    job = await fanfold.record([[0]] * 8, StageSpec(processor="take"), max_concurrency=1)
    async with fanfold.working(take):
        row = await fanfold.run(job)
        kinds = await kinds_of_activity(fanfold, job)
    assert kinds == "r" * QUICK_SAMPLE + "lll"
    assert row.state is JobState.SUCCEEDED
    assert [chunk.attempts for chunk in await fanfold.chunks(job)] == [1] * 8


async def test_a_slow_chunk_ends_that_until_the_next_quick_sample(fanfold: Fanfold) -> None:
    slow = QUICK_SECONDS + 0.05
    seconds = [0.0] * (QUICK_SAMPLE + 1) + [slow] + [0.0] * (QUICK_SAMPLE + 1)
    job = await fanfold.record(
        [[s] for s in seconds], StageSpec(processor="take"), max_concurrency=1
    )
    async with fanfold.working(take):
        await fanfold.run(job)
        kinds = await kinds_of_activity(fanfold, job)
    # The slow one itself was still believed to be quick.
    assert kinds == "r" * QUICK_SAMPLE + "ll" + "r" * QUICK_SAMPLE + "l"


async def test_slow_chunks_stay_regular(fanfold: Fanfold) -> None:
    seconds = [0.0] * (QUICK_SAMPLE - 1) + [QUICK_SECONDS + 0.05] + [0.0] * 2
    job = await fanfold.record(
        [[s] for s in seconds], StageSpec(processor="take"), max_concurrency=1
    )
    async with fanfold.working(take):
        await fanfold.run(job)
        assert await kinds_of_activity(fanfold, job) == "r" * len(seconds)


async def test_a_quick_chunk_holds_no_child_while_it_waits_for_its_next_attempt(
    fanfold: Fanfold,
) -> None:
    stage = StageSpec(
        processor="double",
        options={"fail_attempts": 2},
        retry=RetrySpec(max_attempts=3, initial_interval_seconds=30),
    )
    fanfold = fanfold.shaped(QUICK_CHILDREN)
    job = await fanfold.record([[1]], stage)
    async with fanfold.working():
        handle = await fanfold.start(job)
        row = await fanfold.finished(handle)
        names = await event_names(handle)
        of_last_child = await event_names(fanfold.child(job, 0))
    kinds = {"ChildWorkflowExecutionStarted", "TimerStarted"}
    assert [name for name in names if name in kinds] == [
        "ChildWorkflowExecutionStarted",
        "TimerStarted",
        "ChildWorkflowExecutionStarted",
        "TimerStarted",
        "ChildWorkflowExecutionStarted",
    ]
    assert of_last_child.count("MarkerRecorded") == 1
    assert row.state is JobState.SUCCEEDED
    assert [chunk.attempts for chunk in await fanfold.chunks(job)] == [3]


async def test_a_quick_chunk_that_fails_for_good_is_recorded(fanfold: Fanfold) -> None:
    stage = StageSpec(
        processor="double",
        options={"fail_if_divisible_by": 1},
        retry=RetrySpec(max_attempts=2, initial_interval_seconds=0.01),
    )
    fanfold = fanfold.shaped(QUICK_CHILDREN)
    job = await fanfold.record([[1]], stage)
    async with fanfold.working():
        await fanfold.run(job)
    (chunk,) = await fanfold.chunks(job)
    assert (chunk.state, chunk.attempts) == (ChunkState.FAILED, 2)
    assert chunk.error is not None
    assert chunk.error.message == "Simulated failure for value 1"


async def test_a_chunk_believed_to_be_quick_may_outlast_its_workflow_task(
    fanfold_on_dev_server: Fanfold,
) -> None:
    fanfold, gate = fanfold_on_dev_server.shaped(QUICK_CHILDREN), Gate()
    job = await fanfold.record([[1]], StageSpec(processor="gate"))
    async with fanfold.working(gate.gate), gate:
        handle = await fanfold.start(job)
        await gate.until_inside(0)

        async def is_kept_alive() -> bool:
            names = await event_names(fanfold.child(job, 0))
            return names.count("WorkflowTaskStarted") > 1

        await until(is_kept_alive)
        gate.open()
        row = await fanfold.finished(handle)
    assert row.state is JobState.SUCCEEDED
    assert gate.begun == [0]
