"""The server delivers signals of one workflow to another in any order; nothing is lost by that."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.client import Interceptor as ClientInterceptor
from temporalio.worker import Interceptor as WorkerInterceptor
from temporalio.worker import (
    SignalExternalWorkflowInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

from fanfold.contract.job_spec import RetrySpec, StageSpec
from fanfold.contract.names import LOOK_AT_JOB, JobId
from fanfold.contract.states import JobState
from fanfold.contract.wire import ShardChange, SlotsReturned
from fanfold.processing import ProcessorContext
from tests.ledger.jobs_recorded import ours
from tests.workflows.gate import Gate
from tests.workflows.running import SHARDS, Fanfold, event_names, until
from tests.workflows.unsteady_ledger import Held, UnsteadyLedger

pytestmark = pytest.mark.anyio

LATE_SECONDS = 1.5
GATED = StageSpec(processor="gate")


@pytest.fixture
def fanfold(fanfold_on_dev_server: Fanfold) -> Fanfold:
    """The real server; one shard has all chunks."""
    return fanfold_on_dev_server.shaped(SHARDS.tuned(shard_chunks=30))


class LateSignals(ClientInterceptor, WorkerInterceptor):
    """Has workflows send some signals so late that those after them are there first.

    With a busy server that happens by chance, some milliseconds apart.
    """

    def __init__(self, is_late: Callable[[Any], bool]) -> None:
        self._is_late = is_late

    def workflow_interceptor_class(
        self, _: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        is_late = self._is_late

        class Outbound(WorkflowOutboundInterceptor):
            async def signal_external_workflow(
                self,
                input: SignalExternalWorkflowInput,  # noqa: A002 - the SDK's name for it
            ) -> None:
                if any(is_late(sent) for sent in input.args):
                    await workflow.sleep(LATE_SECONDS)
                await super().signal_external_workflow(input)

        class Inbound(WorkflowInboundInterceptor):
            def init(self, outbound: WorkflowOutboundInterceptor) -> None:
                super().init(Outbound(outbound))

        return Inbound


@asynccontextmanager
async def working_with_late_signals(
    fanfold: Fanfold, processor: Callable[..., Any], is_late: Callable[[Any], bool]
) -> AsyncIterator[None]:
    target = fanfold.client.service_client.config.target_host
    client = await Client.connect(target, interceptors=[LateSignals(is_late)])
    # Outside the sandbox the interceptor is the test's own.
    async with fanfold.working(processor, client=client, sandbox=False):
        yield


async def test_a_slot_that_is_wanted_just_after_it_was_returned_is_lent(fanfold: Fanfold) -> None:
    """What a shard wants is what it has said last, not what was heard of it last."""

    async def fail_once(item: int, *, context: ProcessorContext) -> int:
        await asyncio.sleep(0)
        if context.attempt == 1:
            raise ConnectionError("not now")
        return item

    def returns_slots(sent: Any) -> bool:
        return isinstance(sent, SlotsReturned) and sent.slots > 0

    # Due while the slot is on its way back.
    retry = RetrySpec(max_attempts=2, initial_interval_seconds=LATE_SECONDS / 3)
    stage = StageSpec(processor="fail_once", retry=retry)
    job = await fanfold.record([[1]], stage, max_concurrency=1)
    async with working_with_late_signals(fanfold, fail_once, returns_slots):
        row = await fanfold.run(job)
    assert row.state is JobState.SUCCEEDED


async def test_a_shard_goes_by_the_latest_change(fanfold: Fanfold) -> None:
    """A rate that was just set is not taken away by an earlier change that arrives later."""

    def is_unpaced(sent: Any) -> bool:
        return isinstance(sent, ShardChange) and not sent.is_paced

    job = await fanfold.record([[n] for n in range(10)], GATED, max_concurrency=1)
    async with Gate() as gate, working_with_late_signals(fanfold, gate.gate, is_unpaced):
        handle = await fanfold.start(job)
        await gate.until_full(1)
        await fanfold.change(job, name="as before, but for its name")

        async def is_on_its_way() -> bool:
            return "TimerStarted" in await event_names(handle)

        await until(is_on_its_way)
        await fanfold.change(job, max_per_second=0.1)

        async def have_both_arrived() -> bool:
            names = await event_names(fanfold.shard(job, 0))
            return names.count("WorkflowExecutionSignaled") == 2

        await until(have_both_arrived)
        gate.open()
        await asyncio.sleep(1)
        # The next one in ten seconds has perhaps had its turn.
        assert len(gate.begun) <= 2
        await fanfold.change(job, max_per_second=None)
        row = await fanfold.finished(handle)
    assert row.state is JobState.SUCCEEDED


async def test_a_shard_hears_what_changed_while_it_was_started(fanfold: Fanfold) -> None:
    unsteady = UnsteadyLedger(fanfold.ledger)
    jobs = ours(unsteady.ledger).jobs
    read, look, has_opened = jobs.terms, Held(), asyncio.Event()

    async def read_late(job_id: JobId) -> Any:
        if activity.info().activity_type == LOOK_AT_JOB:
            await look.may_go_on.wait()
        terms = await read(job_id)
        has_opened.set()
        return terms

    jobs.terms = read_late  # type: ignore[method-assign]
    gate = Gate()
    job = await fanfold.record([[n] for n in range(16)], GATED, max_concurrency=8)
    # Told before its first step, it looks at the job in that same step.
    handle = await fanfold.start(job)
    await fanfold.tell(job)
    async with fanfold.working(gate.gate, ledger=unsteady.ledger), gate:
        await has_opened.wait()
        await asyncio.sleep(0.5)  # it decides to start the shard
        row = await fanfold.row(job.job.id)
        narrow = dataclasses.replace(row.controls, max_concurrency=2)
        assert await ours(fanfold.ledger).steering.change(
            row.id, row.revision, row.spec, narrow, None
        )
        look.may_go_on.set()
        await gate.until_inside(*range(8))
        await asyncio.sleep(0.5)
        gate.let_go(*range(8))
        for first in range(8, 16, 2):
            await gate.until_inside(first, first + 1)
            gate.let_go(first, first + 1)
        row = await fanfold.finished(handle)
    assert row.state is JobState.SUCCEEDED
