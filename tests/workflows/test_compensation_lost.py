"""Compensation where a job's workflow is terminated in Temporal: another one sees to it."""

import asyncio
from typing import Any

import pytest

from fanfold.contract.job_spec import RetrySpec, StageSpec
from fanfold.contract.names import JobId
from fanfold.contract.states import JobState
from fanfold.contract.wire import JobInput
from fanfold.ledger.records import JobRecord
from tests.ledger.jobs_recorded import ours
from tests.workflows.gate import Gate
from tests.workflows.gateways import gateway
from tests.workflows.running import PATIENCE_SECONDS, Fanfold, until
from tests.workflows.submitting import finished, job_of, submit
from tests.workflows.trees import Job, below, job, parallel, record, sequence, states

pytestmark = pytest.mark.anyio
UNDO = StageSpec(processor="undo", retry=RetrySpec(max_attempts=1))


@pytest.fixture
def fanfold(fanfold_in_both_executions: Fanfold) -> Fanfold:
    return fanfold_in_both_executions


class Undo:
    """A processor that undoes, once it may."""

    def __init__(self) -> None:
        self.begun, self.may_go_on = asyncio.Event(), asyncio.Event()
        self.undone: list[Any] = []

    async def undo(self, item: Any) -> str:
        self.begun.set()
        await self.may_go_on.wait()
        self.undone.append(item["items"])
        return "undone"


async def ended(fanfold: Fanfold, job_id: JobId) -> JobRecord:
    async def has_ended() -> bool:
        return (await fanfold.row(job_id)).state.is_terminal

    await until(has_ended)
    return await fanfold.row(job_id)


async def terminate(fanfold: Fanfold, job_id: JobId) -> None:
    await fanfold.client.get_workflow_handle(job_id).terminate("by hand")


async def half_done(fanfold: Fanfold, tree: Job, gate: Gate) -> JobInput:
    """A job that has begun, up to what waits at the gate."""
    root = await record(fanfold, tree)
    await fanfold.start(root)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await gate.until_full(1)
    return root


def leaf() -> Job:
    """Its first chunk is done when the second one waits."""
    return job("gate", [[0], [1]], compensate=UNDO, max_concurrency=1)


def steps() -> Job:
    """The first two are done when the last one waits."""
    return job(
        **sequence(
            a=job("double", [[5]], compensate=UNDO),
            b=job("double", [[6]], compensate=UNDO),
            c=job("gate", [[7]]),
        )
    )


@pytest.mark.parametrize("steered", ["", "paused", "cancelled"])
async def test_a_gateway_has_undone_what_a_terminated_tree_did(
    fanfold: Fanfold, steered: str
) -> None:
    gate, work = Gate(), Undo()
    work.may_go_on.set()
    async with fanfold.working(gate.gate, work.undo), gate:
        root = await half_done(fanfold, steps(), gate)
        if steered == "paused":
            assert await ours(fanfold.ledger).steering.pause(root.job.id)
        elif steered == "cancelled":
            assert await ours(fanfold.ledger).jobs.request_cancel(root.job.id)
        await terminate(fanfold, root.job.id)
        async with gateway(fanfold):
            row = await ended(fanfold, root.job.id)
    assert work.undone == [[6], [5]]
    assert await states(fanfold, root.job.id) == {
        "a": "succeeded",
        "a/compensation": "succeeded",
        "b": "succeeded",
        "b/compensation": "succeeded",
        "c": "cancelled",
    }
    if steered == "cancelled":
        assert (row.state, row.error) == (JobState.CANCELLED, None)
    else:
        assert row.state is JobState.FAILED
        assert row.error is not None
        assert row.error.type == "JobClosedOutside"
        assert "was terminated outside Fanfold" in row.error.message


async def test_a_gateway_has_undone_what_a_terminated_job_did(fanfold: Fanfold) -> None:
    gate, work = Gate(), Undo()
    work.may_go_on.set()
    async with fanfold.working(gate.gate, work.undo), gate:
        root = await half_done(fanfold, leaf(), gate)
        gate.let_go(0)
        await gate.until_inside(1)
        await terminate(fanfold, root.job.id)
        async with gateway(fanfold):
            row = await ended(fanfold, root.job.id)
    assert work.undone == [[0]]
    assert row.error is not None
    assert row.error.type == "JobClosedOutside"


async def test_the_job_above_has_undone_what_a_terminated_part_did(fanfold: Fanfold) -> None:
    gate, work = Gate(), Undo()
    work.may_go_on.set()
    tree = job(**parallel(part=leaf(), other=job("double", [[1]])))
    async with fanfold.working(gate.gate, work.undo), gate:
        root = await half_done(fanfold, tree, gate)
        gate.let_go(0)
        await gate.until_inside(1)
        await terminate(fanfold, (await below(fanfold, root.job.id))["part"].id)
        row = await ended(fanfold, root.job.id)
    assert work.undone == [[0]]
    assert row.state is JobState.PARTIALLY_SUCCEEDED
    part = (await below(fanfold, root.job.id))["part"]
    assert part.error is not None
    assert part.error.type == "JobClosedOutside"


async def test_what_undoes_goes_on_where_all_above_is_terminated(fanfold: Fanfold) -> None:
    """Begun by one workflow, and waited for by the next."""
    gate, work = Gate(), Undo()
    async with fanfold.working(gate.gate, work.undo), gate:
        root = await half_done(fanfold, job(**parallel(part=steps())), gate)
        part = (await below(fanfold, root.job.id))["part"].id
        await terminate(fanfold, part)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await work.begun.wait()
        await terminate(fanfold, root.job.id)
        async with gateway(fanfold):
            work.may_go_on.set()
            row = await ended(fanfold, root.job.id)
    assert work.undone == [[6], [5]]
    assert row.state is JobState.FAILED
    assert (await states(fanfold, root.job.id))["part/a/compensation"] == "succeeded"


async def test_a_job_whose_undoing_is_terminated_too_is_closed(fanfold: Fanfold) -> None:
    """Gateways run what of it was recorded; nobody has to terminate it again and again."""
    gate, work = Gate(), Undo()
    async with fanfold.working(gate.gate, work.undo), gate:
        root = await half_done(fanfold, steps(), gate)
        await terminate(fanfold, root.job.id)
        async with gateway(fanfold):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await work.begun.wait()
            await terminate(fanfold, root.job.id)
            row = await ended(fanfold, root.job.id)
            assert work.undone == []
            work.may_go_on.set()

            async def is_undone() -> bool:
                return len(work.undone) == 2

            await until(is_undone)
    assert row.state is JobState.FAILED


async def test_a_submission_has_undone_what_its_terminated_job_did(fanfold: Fanfold) -> None:
    gate, work = Gate(), Undo()
    work.may_go_on.set()
    body = {
        "order": "sequence",
        "jobs": {
            "a": {"items": [5], "processor": "double", "compensate": {"processor": "undo"}},
            "b": {"items": [7], "processor": "gate"},
        },
    }
    async with fanfold.working(gate.gate, work.undo), gate:
        handle = await submit(fanfold, body)
        await gate.until_full(1)
        await terminate(fanfold, await job_of(handle))
        submitted = await finished(handle)
    assert work.undone == [[5]]
    assert (submitted["state"], submitted["error"]["type"]) == ("failed", "JobClosedOutside")
