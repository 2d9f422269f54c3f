"""A redrive of a waiting job, while another client decides about one of its held chunks."""

from collections.abc import Awaitable, Callable

import pytest

from fanfold.contract.names import JobId
from fanfold.contract.states import ChunkState, JobState
from fanfold.ledger.connect import Ledger, TenantLedger
from fanfold.ledger.redriving import Selection
from fanfold.ledger.run_again import Redrive
from tests.ledger.jobs_recorded import found, hold, ours, running
from tests.ledger.steered import bodies, chunk_states, state_of

Decision = Callable[[TenantLedger, JobId], Awaitable[object]]
DECISIONS: dict[str, Decision] = {
    "succeeded": lambda of, job_id: of.steering.resolve(job_id, 0, b'"by hand"', by_item=False),
    "cancelled": lambda of, job_id: of.steering.cancel_child(job_id, 0),
}


@pytest.mark.parametrize("state", DECISIONS)
async def test_what_was_decided_after_the_selection_is_not_run_again(
    ledger: Ledger, state: str
) -> None:
    job_id = await running(ledger, [1, 1])
    for index in (0, 1):
        await hold(ledger, job_id, index)
    await ours(ledger).closing.wait(job_id)
    job, held = await found(ledger, job_id), Selection(states=[ChunkState.HELD])
    selected = await ours(ledger).redriving.select(job_id, held)

    await DECISIONS[state](ours(ledger), job_id)
    redrive = Redrive(spec=job.spec, controls=job.controls, selected=selected)

    assert not await ours(ledger).redriving.redrive(job, redrive)
    assert await chunk_states(ledger, job_id) == [state, "held"]
    assert await state_of(ledger, job_id) is JobState.WAITING
    if state == "succeeded":
        assert (await bodies(ledger, job_id))[0] == b'"by hand"'
