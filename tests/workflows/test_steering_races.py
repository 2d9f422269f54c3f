"""Controls that arrive at an awkward moment: none is lost, and none undoes another."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from temporalio.client import Client

from fanfold.app.loops.job_checks import JobChecks
from fanfold.app.loops.orchestration import Orchestration
from fanfold.contract.failures import FailureType
from fanfold.contract.job_spec import OnFailure, RetrySpec, StageSpec
from fanfold.contract.names import JobId
from fanfold.contract.states import ChunkState, JobState
from fanfold.contract.wire import JobInput
from fanfold.devstack.running import free_ports
from fanfold.ledger.redriving import Selection
from fanfold.processing import ProcessorContext, ValidationError
from tests.ledger.jobs_recorded import ours
from tests.workflows.gate import Gate
from tests.workflows.running import (
    BLOCKS,
    BLOCKS_IN_SHARDS,
    CHILDREN,
    ONE_ATTEMPT,
    SHARDS,
    Fanfold,
    Shape,
)
from tests.workflows.test_gateway_loops import gateway
from tests.workflows.unsteady_ledger import Held, UnsteadyLedger

pytestmark = pytest.mark.anyio


@pytest.fixture
def fanfold(fanfold_on_dev_server: Fanfold) -> Fanfold:
    """The real server: controls come by signals and cancellations, as it orders them."""
    return fanfold_on_dev_server


async def fails(item: int) -> int:
    """Never succeeds."""
    await asyncio.sleep(0)
    raise ValidationError(f"{item} is no good")


HELD = StageSpec(processor="fails", retry=ONE_ATTEMPT)
GATED = StageSpec(processor="gate")


def answer_held(unsteady: UnsteadyLedger) -> Held:
    """The workflow hears only later that its job waits."""
    held, closing = Held(), ours(unsteady.ledger).closing
    wait = closing.wait

    async def wait_long(job_id: JobId) -> Any:
        answer = await wait(job_id)
        held.has_begun.set()
        await held.may_go_on.wait()
        return answer

    closing.wait = wait_long  # type: ignore[method-assign]
    return held


@pytest.mark.parametrize("reducer", ["collect", None])
async def test_a_cancel_is_heard_that_comes_while_the_job_is_found_to_wait(
    fanfold: Fanfold, reducer: str | None
) -> None:
    job = await fanfold.record([[1]], HELD, on_failure=OnFailure.HOLD, reducer=reducer)
    unsteady = UnsteadyLedger(fanfold.ledger)
    held = answer_held(unsteady)
    async with fanfold.working(fails, ledger=unsteady.ledger):
        handle = await fanfold.start(job)
        await held.has_begun.wait()
        await ours(fanfold.ledger).jobs.request_cancel(job.job.id)
        await handle.cancel()
        await asyncio.sleep(0.5)
        held.may_go_on.set()
        row = await fanfold.finished(handle, patience_seconds=5)
    assert row.state is JobState.CANCELLED


async def test_a_deadline_holds_that_passes_while_the_job_is_found_to_wait(
    fanfold: Fanfold,
) -> None:
    job = await fanfold.record([[1]], HELD, on_failure=OnFailure.HOLD, deadline_seconds=1)
    unsteady = UnsteadyLedger(fanfold.ledger)
    held = answer_held(unsteady)
    async with fanfold.working(fails, ledger=unsteady.ledger):
        handle = await fanfold.start(job)
        await held.has_begun.wait()
        await asyncio.sleep(2)
        held.may_go_on.set()
        row = await fanfold.finished(handle, patience_seconds=5)
    assert row.error is not None
    assert (row.state, row.error.type) == (JobState.FAILED, FailureType.DEADLINE_EXCEEDED)
