"""Compensation where something comes in between: it is due whatever brought the job to nothing."""

import asyncio
from typing import Any

import pytest

from fanfold.contract.job_spec import RetrySpec, StageSpec, ToleranceSpec
from fanfold.contract.names import JobId
from fanfold.contract.states import JobState
from fanfold.ledger.closing import Closing
from fanfold.workers.activities import parents
from tests.ledger.jobs_recorded import ours
from tests.workflows.running import PATIENCE_SECONDS, Fanfold
from tests.workflows.trees import below, job, parallel, record, refuse_negative, sequence, states

pytestmark = pytest.mark.anyio
UNDO = StageSpec(processor="undo", retry=RetrySpec(max_attempts=1))


@pytest.fixture
def fanfold(fanfold_in_both_executions: Fanfold) -> Fanfold:
    return fanfold_in_both_executions


async def test_a_job_whose_fold_fails_undoes_what_it_did(fanfold: Fanfold) -> None:
    """It ends as failed like any other; in a parallel order nothing else would undo it."""
    undone: list[Any] = []

    def undo(item: Any) -> str:
        undone.append(item["items"])
        return "undone"

    tree = job(
        **parallel(
            bad=job("double", [[1], [2]], reducer="no_such_reducer", compensate=UNDO),
            good=job("double", [[3]], compensate=UNDO),
        )
    )
    root = await record(fanfold, tree)
    async with fanfold.working(undo):
        row = await fanfold.run(root)
    assert row.state is JobState.PARTIALLY_SUCCEEDED
    bad = (await below(fanfold, root.job.id))["bad"]
    assert bad.state is JobState.FAILED
    assert bad.error is not None
    assert bad.error.type == "UnknownReducer"
    assert undone == [[2], [1]]


async def test_a_tree_whose_fold_fails_undoes_what_it_did(fanfold: Fanfold) -> None:
    undone: list[Any] = []

    def undo(item: Any) -> str:
        undone.append(item["items"])
        return "undone"

    tree = job(
        reducer="no_such_reducer",
        **parallel(a=job("double", [[1]], compensate=UNDO), b=job("double", [[2]])),
    )
    root = await record(fanfold, tree)
    async with fanfold.working(undo):
        row = await fanfold.run(root)
    assert row.state is JobState.FAILED
    assert undone == [[1]]


@pytest.mark.parametrize("is_tree", [True, False], ids=["tree", "job"])
async def test_a_job_cancelled_while_it_folds_undoes_what_it_did(
    fanfold: Fanfold, is_tree: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cancellation was acknowledged before its end was recorded."""
    undone: list[Any] = []

    def undo(item: Any) -> str:
        undone.append(item["items"])
        return "undone"

    inner = job("double", [[1]], compensate=UNDO)
    root = await record(fanfold, job(**parallel(a=inner)) if is_tree else inner)
    ledger = ours(fanfold.ledger)
    close = Closing.close
    asked: list[bool] = []

    async def close_late(self: Closing, job_id: JobId, *given: Any, **named: Any) -> bool:
        if job_id == root.job.id and not asked:
            asked.append(await ledger.jobs.request_cancel(root.job.id))
        return await close(self, job_id, *given, **named)

    monkeypatch.setattr(Closing, "close", close_late)
    async with fanfold.working(undo):
        row = await fanfold.run(root)
    assert asked == [True]
    assert row.state is JobState.CANCELLED
    assert undone == [[1]]


async def test_a_deadline_that_passes_meanwhile_hides_no_failure(fanfold: Fanfold) -> None:
    async def undo(item: Any) -> Any:
        await asyncio.sleep(2.5)
        return item["items"]

    tree = job(
        **sequence(a=job("double", [[1]], compensate=UNDO), b=job("refuse_negative", [[-1]])),
        deadline_seconds=2,
    )
    root = await record(fanfold, tree)
    async with fanfold.working(undo, refuse_negative):
        row = await fanfold.run(root)
    assert row.error is not None
    assert row.error.type == "SequenceFailed"
    assert (await states(fanfold, root.job.id))["a/compensation"] == "succeeded"


@pytest.mark.parametrize("is_tree", [True, False], ids=["tree", "job"])
async def test_what_is_undone_has_failed_though_more_is_tolerated_meanwhile(
    fanfold: Fanfold, is_tree: bool
) -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    async def undo(item: Any) -> str:
        begun.set()
        await release.wait()
        return f"undone {item['items']}"

    # Of so few, past it only at the end.
    none = ToleranceSpec(percent=10)
    good, bad = [[1], [2], [3]], [[-1]]
    tree = job("refuse_negative", [*good, *bad], compensate=UNDO, tolerated_failures=none)
    if is_tree:
        parts = {"a": job("double", good, compensate=UNDO), "b": job("refuse_negative", bad)}
        tree = job(**parallel(**parts), tolerated_failures=none)
    root = await record(fanfold, tree)
    async with fanfold.working(undo, refuse_negative):
        handle = await fanfold.start(root)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await begun.wait()
            await fanfold.change(root, tolerated_failures=None)
            release.set()
            await handle.result()
    row = await fanfold.row(root.job.id)
    assert row.state is JobState.FAILED
    assert row.error is not None
    assert row.error.type == "ToleranceExceeded"


async def test_the_next_is_undone_only_once_the_last_one_is(fanfold: Fanfold) -> None:
    """Also where that takes more than one attempt."""
    undone: list[tuple[str, Any]] = []

    def undo(item: Any) -> str:
        is_first = ("tried", item["items"]) not in undone
        undone.append(("tried", item["items"]))
        if item["items"] == [2] and is_first:
            raise RuntimeError("not yet")
        undone.append(("undone", item["items"]))
        return "undone"

    again = StageSpec(processor="undo", retry=RetrySpec(max_attempts=2, initial_interval_seconds=3))
    tree = job(
        **sequence(a=job("double", [[1], [2]], compensate=again), b=job("refuse_negative", [[-1]]))
    )
    root = await record(fanfold, tree)
    async with fanfold.working(undo, refuse_negative):
        await fanfold.run(root)
    assert [item for what, item in undone if what == "undone"] == [[2], [1]]


async def test_more_is_undone_in_order_than_one_answer_holds(
    fanfold: Fanfold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parents, "_COMPENSATIONS_AT_ONCE", 3)
    undone: list[int] = []

    def undo(item: Any) -> Any:
        undone.append(item["result"][0])
        return item["items"]

    jobs = {f"j{n}": job("double", [[n]], compensate=UNDO) for n in range(8)}
    tree = job(**sequence(all=job(**parallel(**jobs)), bad=job("refuse_negative", [[-1]])))
    root = await record(fanfold, tree)
    async with fanfold.working(undo, refuse_negative):
        row = await fanfold.run(root)
    assert row.state is JobState.FAILED
    assert undone == [2 * n for n in reversed(range(8))]
