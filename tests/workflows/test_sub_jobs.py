"""Jobs made of jobs: hierarchies, scatter, sequences, conditions, compensation."""

import asyncio

import pytest

from fanfold.contract.job_spec import ToleranceSpec
from fanfold.contract.names import CHANGED
from fanfold.contract.states import JobState
from tests.ledger.jobs_recorded import ours
from tests.workflows.running import Fanfold, event_names
from tests.workflows.trees import below, job, parallel, record, refuse_negative, sequence, states

pytestmark = pytest.mark.anyio


@pytest.fixture
def fanfold(fanfold_in_both_executions: Fanfold) -> Fanfold:
    return fanfold_in_both_executions


async def test_a_tree_folds_from_its_leaves_up(fanfold: Fanfold) -> None:
    tree = job(
        reducer="sum",
        **parallel(
            EU=job(
                reducer="sum",
                **parallel(
                    FI=job("double", [[1], [2]], reducer="sum"),
                    SE=job("double", [[3, 4]], reducer="sum"),
                ),
            ),
            US=job("double", [[5]], reducer="sum"),
        ),
    )
    root = await record(fanfold, tree)
    async with fanfold.working():
        row = await fanfold.run(root)
    assert row.state is JobState.SUCCEEDED
    assert await fanfold.result(root) == 30
    assert (row.total_chunks, row.total_items) == (4, 5)
    assert (row.counts.succeeded, row.counts.items_succeeded) == (4, 5)
    assert row.jobs == {JobState.SUCCEEDED: 2}
    assert await states(fanfold, root.job.id) == dict.fromkeys(
        ["EU", "EU/FI", "EU/SE", "US"], "succeeded"
    )


async def test_data_of_the_job_goes_to_every_job_below_without_its_own(fanfold: Fanfold) -> None:
    tree = job(
        chunks=[[1, 2], [3]],
        **parallel(cheap=job("double"), best=job("refuse_negative"), own=job("double", [[7]])),
    )
    root = await record(fanfold, tree)
    async with fanfold.working(refuse_negative):
        row = await fanfold.run(root)
    assert row.state is JobState.SUCCEEDED
    assert [
        (each["name"], each["state"], [chunk["result"] for chunk in each["result"]])
        for each in await fanfold.result(root)
    ] == [
        ("cheap", "succeeded", [[2, 4], [6]]),
        ("best", "succeeded", [[1, 2], [3]]),
        ("own", "succeeded", [[14]]),
    ]
    assert row.total_items == 7


async def test_a_sequence_gives_on_what_each_job_made(fanfold: Fanfold) -> None:
    tree = job(
        **sequence(
            first=job("double", [[1, 2]], reducer="merge"),
            second=job("double", reducer="merge", has_previous_input=True, chunk_size=1),
            third=job("double", reducer="sum", has_previous_input=True),
            fourth=job("double", reducer="sum", has_previous_input=True),
        )
    )
    root = await record(fanfold, tree)
    async with fanfold.working():
        row = await fanfold.run(root)
    assert row.state is JobState.SUCCEEDED
    assert [each["result"] for each in await fanfold.result(root)] == [[2, 4], [4, 8], 24, 48]
    assert (row.total_chunks, row.counts.succeeded) == (5, 5)


async def test_what_comes_after_a_failure_runs_only_where_it_says_so(fanfold: Fanfold) -> None:
    tree = job(
        **sequence(
            good=job("double", [[1]]),
            bad=job("refuse_negative", [[-1]]),
            repair=job("double", [[2]], when="previous.state == 'failed'"),
            never=job("double", [[3]], when="jobs.bad.items.failed == `0`"),
            after=job("double", [[4]]),
        )
    )
    root = await record(fanfold, tree)
    async with fanfold.working(refuse_negative):
        row = await fanfold.run(root)
    assert await states(fanfold, root.job.id) == {
        "good": "succeeded",
        "bad": "failed",
        "repair": "succeeded",
        "never": "skipped",
        "after": "succeeded",
    }
    assert row.state is JobState.PARTIALLY_SUCCEEDED
    assert row.counts.cancelled == 1


async def test_a_sequence_that_breaks_fails(fanfold: Fanfold) -> None:
    tree = job(
        **sequence(
            good=job("double", [[1]]),
            bad=job("refuse_negative", [[-1]]),
            rest=job(**parallel(one=job("double", [[3]]), other=job("double", [[4]]))),
        )
    )
    root = await record(fanfold, tree)
    async with fanfold.working(refuse_negative):
        row = await fanfold.run(root)
    assert row.state is JobState.FAILED
    assert row.error is not None
    assert row.error.type == "SequenceFailed"
    assert await states(fanfold, root.job.id) == {
        "good": "succeeded",
        "bad": "failed",
        "rest": "cancelled",
        "rest/one": "cancelled",
        "rest/other": "cancelled",
    }
    assert row.counts.cancelled == 2


async def test_no_job_below_survives_a_cancel(fanfold: Fanfold) -> None:
    reached = asyncio.Event()

    async def wait(item: int) -> int:
        reached.set()
        await asyncio.sleep(30)
        return item

    tree = job(
        **parallel(
            a=job("wait", [[1]]),
            b=job(**parallel(c=job("wait", [[1]]), d=job("wait", [[2]])), max_jobs=1),
        )
    )
    root = await record(fanfold, tree)
    async with fanfold.working(wait):
        handle = await fanfold.start(root)
        await reached.wait()
        await handle.cancel()
        row = await fanfold.finished(handle)
    assert row.state is JobState.CANCELLED
    assert set((await states(fanfold, root.job.id)).values()) == {"cancelled"}
    assert row.counts.cancelled == 3


async def test_a_job_that_is_terminated_is_closed_and_the_others_go_on(fanfold: Fanfold) -> None:
    reached = asyncio.Event()

    async def wait(item: int) -> int:
        reached.set()
        await asyncio.sleep(30)
        return item

    tree = job(**parallel(a=job("wait", [[1]]), b=job("double", [[2]])))
    root = await record(fanfold, tree)
    async with fanfold.working(wait):
        handle = await fanfold.start(root)
        await reached.wait()
        first = (await below(fanfold, root.job.id))["a"]
        await fanfold.client.get_workflow_handle(first.id).terminate()
        row = await fanfold.finished(handle)
    jobs = await below(fanfold, root.job.id)
    assert row.state is JobState.PARTIALLY_SUCCEEDED
    assert jobs["b"].state is JobState.SUCCEEDED
    assert jobs["a"].state is JobState.FAILED
    assert jobs["a"].error is not None
    assert jobs["a"].error.type == "JobClosedOutside"
    assert "terminated" in jobs["a"].error.message


async def test_a_paused_tree_begins_nothing_until_it_is_resumed(fanfold: Fanfold) -> None:
    begun: list[int] = []
    has_begun = asyncio.Event()

    async def note(item: int) -> int:
        begun.append(item)
        has_begun.set()
        await asyncio.sleep(0.3)
        return item

    tree = job(
        **parallel(**{f"j{n}": job("note", [[n], [n + 10]], max_concurrency=1) for n in range(4)}),
        max_jobs=2,
    )
    root = await record(fanfold, tree)
    steering = ours(fanfold.ledger).steering
    async with fanfold.working(note):
        handle = await fanfold.start(root)
        await has_begun.wait()
        assert await steering.pause(root.job.id)
        await asyncio.sleep(1)
        before = len(begun)
        await asyncio.sleep(1)
        assert len(begun) == before < 8
        assert await steering.resume(root.job.id)
        await fanfold.tell(root)
        for each in (await below(fanfold, root.job.id)).values():
            if each.started_at is not None and not each.state.is_terminal:
                await fanfold.client.get_workflow_handle(each.id).signal(CHANGED)
        row = await fanfold.finished(handle)
    assert row.state is JobState.SUCCEEDED
    assert sorted(begun) == [0, 1, 2, 3, 10, 11, 12, 13]


async def test_a_job_bears_so_many_failed_jobs_and_starts_none_after(fanfold: Fanfold) -> None:
    tree = job(
        **parallel(**{f"j{n}": job("refuse_negative", [[-1]]) for n in range(6)}),
        max_jobs=1,
        tolerated_failures=ToleranceSpec(count=1),
    )
    root = await record(fanfold, tree)
    async with fanfold.working(refuse_negative):
        row = await fanfold.run(root)
    assert row.state is JobState.FAILED
    assert row.error is not None
    assert row.error.type == "ToleranceExceeded"
    assert list((await states(fanfold, root.job.id)).values()) == [
        *["failed"] * 2,
        *["cancelled"] * 4,
    ]


async def test_a_parent_with_a_full_history_goes_on_in_another(fanfold: Fanfold) -> None:
    full = fanfold.shaped(fanfold.shape.tuned(max_events=20))
    tree = job(
        reducer="sum",
        **parallel(**{f"j{n}": job("double", [[n]], reducer="sum") for n in range(20)}),
    )
    root = await record(full, tree)
    async with full.working():
        handle = await full.start(root)
        row = await full.finished(handle)
    assert row.state is JobState.SUCCEEDED
    assert await full.result(root) == 380
    first = full.client.get_workflow_handle(handle.id, run_id=handle.first_execution_run_id)
    assert "WorkflowExecutionContinuedAsNew" in await event_names(first)
