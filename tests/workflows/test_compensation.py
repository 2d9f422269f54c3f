"""What succeeded is undone where the job, or what it is part of, comes to nothing."""

import asyncio
from typing import Any

import pytest

from fanfold.contract.job_spec import RetrySpec, StageSpec
from fanfold.contract.states import JobState
from tests.workflows.running import Fanfold
from tests.workflows.trees import below, job, record, refuse_negative, sequence, states

pytestmark = pytest.mark.anyio


@pytest.fixture
def fanfold(fanfold_in_both_executions: Fanfold) -> Fanfold:
    return fanfold_in_both_executions


async def test_what_succeeded_is_undone_last_one_first(fanfold: Fanfold) -> None:
    undone: list[Any] = []

    def undo(item: Any) -> Any:
        undone.append(item)
        return "undone"

    compensate = StageSpec(processor="undo", retry=RetrySpec(max_attempts=1))
    tree = job(
        **sequence(
            flight=job("double", [[1], [2]], compensate=compensate),
            hotel=job("double", [[3, 4]], compensate=compensate),
            car=job("refuse_negative", [[-1]], compensate=compensate),
        )
    )
    root = await record(fanfold, tree)
    async with fanfold.working(refuse_negative, undo):
        row = await fanfold.run(root)
    assert row.state is JobState.FAILED
    assert undone == [
        {"items": [3, 4], "result": [6, 8]},
        {"items": [2], "result": [4]},
        {"items": [1], "result": [2]},
    ]
    jobs = await below(fanfold, root.job.id)
    assert {path: str(row.state) for path, row in jobs.items()} == {
        "flight": "succeeded",
        "flight/compensation": "succeeded",
        "hotel": "succeeded",
        "hotel/compensation": "succeeded",
        "car": "failed",
    }
    assert row.counts.succeeded == 3


async def test_a_job_that_is_cancelled_undoes_what_it_did(fanfold: Fanfold) -> None:
    undone: list[Any] = []
    reached = asyncio.Event()

    def undo(item: Any) -> str:
        undone.append(item)
        return "undone"

    async def wait(item: int) -> int:
        if item:
            reached.set()
            await asyncio.sleep(30)
        return item

    tree = job("wait", [[0], [1]], compensate=StageSpec(processor="undo"), max_concurrency=1)
    root = await record(fanfold, tree)
    async with fanfold.working(wait, undo):
        handle = await fanfold.start(root)
        await reached.wait()
        await handle.cancel()
        row = await fanfold.finished(handle)
    assert row.state is JobState.CANCELLED
    assert undone == [{"items": [0], "result": [0]}]
    assert await states(fanfold, root.job.id) == {"compensation": "succeeded"}
