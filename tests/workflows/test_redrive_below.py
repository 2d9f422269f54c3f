"""A redrive of what is below a job: all above folds again, and sequences go on."""

from dataclasses import replace

import pytest

from fanfold.contract.job_spec import StageSpec
from fanfold.contract.states import JobState
from fanfold.ledger.redriving import Selection
from fanfold.ledger.run_again import Redrive
from fanfold.ledger.transitions import UNSUCCESSFUL_CHUNK
from fanfold.processing import ValidationError
from tests.ledger.jobs_recorded import ours
from tests.workflows.running import BLOCKS, Fanfold
from tests.workflows.trees import below, job, parallel, record, sequence, states

pytestmark = pytest.mark.anyio

ALL_BAD = Selection(states=UNSUCCESSFUL_CHUNK)


@pytest.fixture
def fanfold(fanfold_on_dev_server: Fanfold) -> Fanfold:
    return fanfold_on_dev_server.shaped(BLOCKS)


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


async def test_a_job_that_never_got_its_items_gets_its_turn_again(fanfold: Fanfold) -> None:
    """It has no chunk that could be selected, and without it nothing after it would run."""
    tree = job(
        **sequence(
            first=job("double", [[1, 2]], reducer="merge"),
            given=job("double", reducer="sum", has_previous_input=True),
            own=job("double", [[4]], reducer="sum"),
        )
    )
    root = await record(fanfold, tree)
    ledger = ours(fanfold.ledger)
    given = (await below(fanfold, root.job.id))["given"]
    assert await ledger.jobs.request_cancel(given.id)
    async with fanfold.working():
        row = await fanfold.run(root)
        assert list((await states(fanfold, root.job.id)).values()) == [
            *["succeeded", "cancelled", "cancelled"]
        ]
        chosen = await ledger.redriving.select_below(row, ALL_BAD)
        assert await ledger.redriving.redrive_below(row, chosen, None)
        row = await fanfold.run(replace(root, job=replace(root.job, run=2)))
    assert row.state is JobState.SUCCEEDED
    assert [each["result"] for each in await fanfold.result(root)] == [[2, 4], 12, 8]


async def test_a_job_whose_condition_could_not_be_told_gets_its_turn_again(
    fanfold: Fanfold,
) -> None:
    is_bad = True

    def fail_first(item: int) -> int:
        if is_bad:
            raise ValidationError("bad")
        return item

    tree = job(
        **sequence(
            first=job("fail_first", [[1, 2]], reducer="merge"),
            given=job(
                "double",
                reducer="sum",
                has_previous_input=True,
                # Of null there is no length.
                when="length(previous.result) > `1`",
            ),
        )
    )
    root = await record(fanfold, tree)
    async with fanfold.working(fail_first):
        row = await fanfold.run(root)
        assert list((await states(fanfold, root.job.id)).values()) == ["failed", "failed"]
        is_bad = False
        redriving = ours(fanfold.ledger).redriving
        first = (await below(fanfold, root.job.id))["first"]
        selected = await redriving.select(first.id, ALL_BAD)
        redrive = Redrive(spec=first.spec, controls=first.controls, selected=selected)
        assert await redriving.redrive(first, redrive)
        row = await fanfold.run(replace(root, job=replace(root.job, run=2)))
    assert row.state is JobState.SUCCEEDED
    assert [each["result"] for each in await fanfold.result(root)] == [[1, 2], 6]


async def test_what_was_undone_runs_again_with_what_failed(fanfold: Fanfold) -> None:
    """Else a job could succeed with its parts undone."""
    is_bad = True
    done: list[int] = []

    def book(item: int) -> int:
        if is_bad and item < 0:
            raise ValidationError("bad")
        done.append(item)
        return item

    def undo(item: dict[str, list[int]]) -> None:
        for each in item["items"]:
            done.remove(each)

    compensate = StageSpec(processor="undo")
    tree = job(
        **sequence(
            flight=job(**parallel(out=job("book", [[1], [2]], compensate=compensate))),
            free=job("book", [[7]]),
            car=job("book", [[-1]]),
        ),
    )
    root = await record(fanfold, tree)
    async with fanfold.working(book, undo):
        row = await fanfold.run(root)
        assert row.state is JobState.FAILED
        assert done == [7]
        is_bad = False
        redriving = ours(fanfold.ledger).redriving
        car = (await below(fanfold, root.job.id))["car"]
        redrive = Redrive(
            spec=car.spec,
            controls=car.controls,
            selected=await redriving.select(car.id, ALL_BAD),
        )
        assert await redriving.redrive(car, redrive)
        row = await fanfold.run(replace(root, job=replace(root.job, run=2)))
    assert row.state is JobState.SUCCEEDED
    assert sorted(done) == [-1, 1, 2, 7]
