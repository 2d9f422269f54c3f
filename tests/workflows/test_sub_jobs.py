"""Jobs made of jobs: hierarchies, scatter, sequences, conditions, compensation."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from fanfold.contract.job_spec import RetrySpec, StageSpec
from fanfold.contract.names import CHANGED
from fanfold.contract.states import JobState
from fanfold.ledger.redriving import Selection
from fanfold.ledger.run_again import Redrive
from fanfold.ledger.transitions import UNSUCCESSFUL_CHUNK
from fanfold.processing import ValidationError
from tests.ledger.jobs_recorded import ours
from tests.workflows.running import BLOCKS, CHILDREN, Fanfold, Shape
from tests.workflows.trees import below, job, parallel, record, sequence, states

pytestmark = pytest.mark.anyio

ALL_BAD = Selection(states=UNSUCCESSFUL_CHUNK)


@pytest.fixture(params=[CHILDREN, BLOCKS], ids=["children", "blocks"])
def shape(request: pytest.FixtureRequest) -> Shape:
    shape: Shape = request.param
    return shape


@pytest.fixture
def fanfold(fanfold_on_dev_server: Fanfold, shape: Shape) -> Fanfold:
    return fanfold_on_dev_server.shaped(shape)


def refuse_negative(item: int) -> int:
    if item < 0:
        raise ValidationError(f"{item} is negative")
    return item


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


async def test_what_failed_below_runs_again_and_all_above_folds_again(fanfold: Fanfold) -> None:
    """Of a part redriven alone, and of the whole."""
    bad = {1, 2}

    def fail_bad(item: int) -> int:
        if item in bad:
            raise ValidationError("bad")
        return item

    tree = job(
        reducer="sum",
        **parallel(
            a=job(
                reducer="sum",
                **parallel(
                    b=job("fail_bad", [[0], [1]], reducer="sum"),
                    c=job("fail_bad", [[5]], reducer="sum"),
                ),
            ),
            d=job("fail_bad", [[2], [7]], reducer="sum"),
        ),
    )
    root = await record(fanfold, tree)
    async with fanfold.working(fail_bad):
        row = await fanfold.run(root)
        assert row.state is JobState.PARTIALLY_SUCCEEDED
        assert await fanfold.result(root) == 12
        first = (await below(fanfold, root.job.id))["a/b"]

        bad.remove(1)
        redriving = ours(fanfold.ledger).redriving
        selected = await redriving.select(first.id, ALL_BAD)
        redrive = Redrive(spec=first.spec, controls=first.controls, selected=selected)
        assert await redriving.redrive(first, redrive)
        again = replace(root, job=replace(root.job, run=2))
        row = await fanfold.run(again)
        assert (row.run, row.state) == (2, JobState.PARTIALLY_SUCCEEDED)
        assert await fanfold.result(root) == 13
        assert {path: each.run for path, each in (await below(fanfold, root.job.id)).items()} == {
            "a": 2,
            "a/b": 2,
            "a/c": 1,
            "d": 1,
        }

        bad.remove(2)
        chosen = await redriving.select_below(row, ALL_BAD)
        assert chosen.chunks == 1
        assert await redriving.redrive_below(row, chosen, None)
        row = await fanfold.run(replace(root, job=replace(root.job, run=3)))
    assert (row.run, row.state) == (3, JobState.SUCCEEDED)
    assert await fanfold.result(root) == 15
    assert row.counts.succeeded == 5


async def test_a_sequence_goes_on_after_what_was_redriven(fanfold: Fanfold) -> None:
    is_bad = True

    def fail_first(item: int) -> int:
        if is_bad:
            raise ValidationError("bad")
        return item

    tree = job(
        **sequence(
            bad=job("fail_first", [[1, 2]], reducer="merge"),
            given=job("double", reducer="sum", has_previous_input=True),
            own=job("double", [[4]], reducer="sum"),
            skipped=job("double", [[5]], when="previous.state == 'failed'"),
        )
    )
    root = await record(fanfold, tree)
    async with fanfold.working(fail_first):
        row = await fanfold.run(root)
        assert list((await states(fanfold, root.job.id)).values()) == [
            "failed",
            "cancelled",
            "cancelled",
            "skipped",
        ]
        is_bad = False
        redriving = ours(fanfold.ledger).redriving
        chosen = await redriving.select_below(row, ALL_BAD)
        assert await redriving.redrive_below(row, chosen, None)
        row = await fanfold.run(replace(root, job=replace(root.job, run=2)))
    assert list((await states(fanfold, root.job.id)).values()) == [
        "succeeded",
        "succeeded",
        "succeeded",
        "skipped",
    ]
    assert row.state is JobState.SUCCEEDED
    assert [each["result"] for each in await fanfold.result(root)] == [[1, 2], 6, 8, None]


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
