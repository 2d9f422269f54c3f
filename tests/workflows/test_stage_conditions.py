"""Stages with `when`: a chunk that one is not for passes through it, unchanged."""

from dataclasses import replace
from typing import Any

import pytest

from fanfold.contract.failures import FailureType
from fanfold.contract.job_spec import OnFailure, RetrySpec
from fanfold.contract.states import AttemptState, ChunkState, JobState
from fanfold.ledger.records import BlockRun
from fanfold.ledger.redriving import Selection
from fanfold.processing import ProcessorContext
from tests.ledger.jobs_recorded import new_token, ours
from tests.workflows.blocks_alone import begin, block, chunks_of, running_job, worker
from tests.workflows.conditional import (
    IS_A,
    IS_B,
    NEVER,
    Works,
    attempts,
    errors,
    items,
    output,
    stages,
)
from tests.workflows.running import CHILDREN, Fanfold, Shape

pytestmark = pytest.mark.anyio


@pytest.fixture
def fanfold(fanfold: Fanfold, shape: Shape) -> Fanfold:
    return fanfold.shaped(shape)


# --- what passes through ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conditions", "of_a", "of_b"),
    [
        ({0: IS_A}, "012", "12"),
        ({1: IS_A}, "012", "02"),
        ({2: IS_A}, "012", "01"),
        ({0: IS_A, 2: "first.kind == 'b'"}, "01", "12"),
        ({0: IS_A, 1: IS_A, 2: IS_A}, "012", ""),
    ],
    ids=["first", "middle", "last", "either", "all"],
)
async def test_a_stage_runs_for_the_chunks_that_it_is_for(
    fanfold: Fanfold, conditions: dict[int, str], of_a: str, of_b: str
) -> None:
    works = Works()
    chunks = [items("aa"), items("bbb"), items("ab"), items("ba")]
    job = await fanfold.record(chunks, *stages("work", "work", "work", when=conditions))
    async with fanfold.working(*works.all):
        row = await fanfold.run(job)
    assert row.state is JobState.SUCCEEDED
    assert (row.counts.succeeded, row.counts.items_succeeded) == (4, 9)
    for index, path in enumerate([of_a, of_b, of_a, of_b]):
        chunk, result = await output(fanfold, job, index)
        assert result == [path] * len(chunks[index])
        assert (chunk.by_item, chunk.attempts, chunk.stage) == (True, 1, 2)
    assert len(works.ran) == 4 * len(of_a) + 5 * len(of_b)


async def test_a_condition_is_over_the_chunk_as_it_reaches_the_stage(fanfold: Fanfold) -> None:
    """Not as it was submitted: items have failed, and are others, since."""
    works = Works()
    works.failing, works.dropped = {0: {1}}, {2}
    when = {1: "items[*].n == `[0, 3]` && first.path == '0'", 2: "length(items) == `4`"}
    job = await fanfold.record(
        [items("aaaa"), items("bb")], *stages("work", "work", "work", when=when)
    )
    async with fanfold.working(*works.all):
        await fanfold.run(job)
    assert [path for _, path in [await output(fanfold, job, index) for index in (0, 1)]] == [
        ["01", None, "01"],
        ["0", None],
    ]


async def test_what_is_no_array_is_one_item(fanfold: Fanfold) -> None:
    works = Works()
    when = {1: "first.count != `3`", 2: "items[0].count == `3` && length(items) == `1`"}
    job = await fanfold.record(
        [items("abc"), items("a")], *stages("count", "work", "count", when=when)
    )
    async with fanfold.working(*works.all):
        await fanfold.run(job)
    # An item processor cannot run it, and need not.
    passed, counted_again = await output(fanfold, job, 0)
    assert (passed.state, passed.by_item, counted_again) == (
        ChunkState.SUCCEEDED,
        False,
        {"count": 1},
    )
    failed, _ = await output(fanfold, job, 1)
    assert failed.error is not None
    assert failed.error.type == FailureType.INVALID_RESULT


# --- with items that failed before --------------------------------------------------------


@pytest.mark.parametrize("names", [("work", "work"), ("work", "twice")], ids=["items", "chunks"])
@pytest.mark.parametrize("last", [True, False], ids=["last", "middle"])
async def test_failed_and_dropped_items_pass_a_stage_as_they_are(
    fanfold: Fanfold, names: tuple[str, str], *, last: bool
) -> None:
    works = Works()
    works.failing, works.dropped = {0: {1}, 2: {4}}, {3}
    given = stages(*names, *(() if last else ("work",)), when={1: IS_B})
    job = await fanfold.record([items("aaaaaa")], *given, item_key="n")
    async with fanfold.working(*works.all):
        row = await fanfold.run(job)
    chunk, result = await output(fanfold, job)
    expected = [(1, "ValidationError", 0), (3, "ItemDropped", 0)]
    if last:
        assert result == ["0", None, "0", "0", "0"]
    else:
        assert result == ["02", None, "02", None, "02"]
        expected.append((4, "ValidationError", 2))
    assert await errors(fanfold, job) == expected
    assert (chunk.state, chunk.by_item) == (ChunkState.PARTIALLY_SUCCEEDED, True)
    assert chunk.items_failed == len(expected)
    assert row.counts.items_succeeded == 6 - len(expected)
    assert row.counts.items_dropped == 1
    assert chunk.error is not None
    assert chunk.error.message == "1 is bad"
    assert works.keys == {number: number for number in range(6)}
    # The fold has those that succeeded.
    folded = [one["n"] for one in (await fanfold.result(job))[0]["result"]]
    assert folded == ([0, 2, 4, 5] if last else [0, 2, 5])


async def test_what_was_made_of_the_items_passes_a_stage_too(fanfold: Fanfold) -> None:
    works = Works()
    works.failing = {1: {1}}
    given = stages("twice", "work", "twice", "work", when={2: NEVER, 3: NEVER})
    job = await fanfold.record([items("aab")], *given)
    async with fanfold.working(*works.all):
        row = await fanfold.run(job)
    chunk, result = await output(fanfold, job)
    assert result == ["x1", "x1", None, None, "x1", "x1"]
    assert (chunk.state, chunk.by_item) == (ChunkState.PARTIALLY_SUCCEEDED, False)
    assert row.counts.items_failed == 3


async def test_a_chunk_of_which_all_items_were_left_out_passes(fanfold: Fanfold) -> None:
    works = Works()
    works.dropped = {0, 1}
    when = {1: "first != `null`", 2: "length(items) > `0`"}
    job = await fanfold.record([items("aa")], *stages("work", "twice", "work", when=when))
    async with fanfold.working(*works.all):
        row = await fanfold.run(job)
    chunk, result = await output(fanfold, job)
    assert (row.state, row.counts.items_dropped) == (JobState.SUCCEEDED, 2)
    assert (chunk.state, result) == (ChunkState.SUCCEEDED, [])


# --- attempts and limits ------------------------------------------------------------------


async def test_to_decide_takes_no_time_from_a_stage(fanfold: Fanfold) -> None:
    """It is longer here than the stages may take."""
    chunk = [{"kind": "b", "n": n} for n in range(50_000)]
    slow = "length(items[?kind == 'b']) > `9`"
    given = stages("count", "work", when={0: slow, 1: f"!({slow})"})
    given[1] = replace(given[1], when=f"{slow} && {IS_A}")
    job = await fanfold.record([chunk], *(replace(one, timeout_seconds=0.05) for one in given))
    async with fanfold.working(*Works().all):
        row = await fanfold.run(job)
    assert row.state is JobState.SUCCEEDED, row.errors


async def test_a_stage_is_decided_in_the_same_way_in_each_of_its_attempts(
    fanfold: Fanfold,
) -> None:
    """Items that have succeeded are not run again, nor forgotten."""
    ran: list[tuple[int, int, int]] = []

    def flaky(item: Any, *, context: ProcessorContext) -> Any:
        ran.append((context.stage, context.attempt, item["n"]))
        if item["n"] == 1 and context.attempt < 3:
            raise OSError("not yet")
        return item | {"path": f"{item['path']}{context.stage}"}

    retry = RetrySpec(max_attempts=3, initial_interval_seconds=0.01)
    when = {1: "length(items) == `3`", 2: NEVER}
    job = await fanfold.record(
        [items("aaa")], *stages("flaky", "flaky", "flaky", when=when, retry=retry)
    )
    async with fanfold.working(flaky):
        row = await fanfold.run(job)
    chunk, result = await output(fanfold, job)
    assert (row.state, result) == (JobState.SUCCEEDED, ["01", "01", "01"])
    assert sorted(ran) == [
        (stage, attempt, n)
        for stage in (0, 1)
        for attempt, n in [(1, 0), (1, 1), (1, 2), (2, 1), (3, 1)]
    ]
    assert chunk.attempts == 5
    failed, succeeded = AttemptState.FAILED, AttemptState.SUCCEEDED
    assert await attempts(fanfold, job.job.id) == [
        *((1, stage, number, failed) for stage in (0, 1) for number in (1, 2)),
        (1, 2, 1, succeeded),
    ]


@pytest.mark.parametrize("shape", [CHILDREN], ids=["no server"])
async def test_a_worker_that_is_lost_while_it_decides_costs_no_attempt(fanfold: Fanfold) -> None:
    works, ledger = Works(), fanfold.ledger
    job_id = await running_job(ledger, 2, *stages("work", when={0: NEVER}))
    lost = await ours(ledger).work.claim(
        job_id, BlockRun(block=1, number=1), job_run=1, token=new_token()
    )
    assert lost is not None
    _, done = begin(worker(ledger, works.work), block(ledger, job_id, lanes=1), attempt=2)
    await done
    assert [chunk.state for chunk in await chunks_of(ledger, job_id)] == [ChunkState.SUCCEEDED] * 2
    assert works.ran == []
    assert await attempts(fanfold, job_id) == [
        (1, 0, 1, AttemptState.FAILED),
        (1, 0, 2, AttemptState.SUCCEEDED),
    ]


# --- that nobody can decide ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["work", "twice"])
@pytest.mark.parametrize("stage", [0, 1])
async def test_a_condition_that_cannot_be_decided_fails_its_chunk_for_good(
    fanfold: Fanfold, name: str, stage: int
) -> None:
    works = Works()
    retry = RetrySpec(max_attempts=3, initial_interval_seconds=3600, max_interval_seconds=3600)
    given = stages("work", "work", when={stage: "abs(first.n) >= `0`"}, retry=retry)
    given[stage] = replace(given[stage], processor=name)
    bad: list[Any] = [{"n": "one", "path": ""}]
    job = await fanfold.record([items("a"), bad, items("b")], *given)
    async with fanfold.working(*works.all):
        row = await fanfold.run(job)
    assert (row.state, row.counts.succeeded, row.counts.failed) == (
        JobState.PARTIALLY_SUCCEEDED,
        2,
        1,
    )
    (group,) = row.errors
    assert (group.type, group.count) == (FailureType.CONDITION_FAILED, 1)
    chunk, result = await output(fanfold, job, 1)
    assert (chunk.state, chunk.attempts, chunk.stage, result) == (ChunkState.FAILED, 1, stage, None)
    assert chunk.error is not None
    assert chunk.error.message == (
        f"'when' of stage {stage}, '{name}', cannot be decided: abs() takes a number, and is "
        "given a string: abs(first.n) >= `0`"
    )
    assert not chunk.error.retryable
    assert (await attempts(fanfold, job.job.id, 1))[-1] == (1, stage, 1, AttemptState.FAILED)


async def test_a_chunk_that_failed_so_runs_again_with_another_condition(fanfold: Fanfold) -> None:
    works = Works()
    given = stages("work", "work", when={1: "first.n"})
    job = await fanfold.record([items("aa")], *given, on_failure=OnFailure.HOLD)
    async with fanfold.working(*works.all):
        handle = await fanfold.start(job)
        await fanfold.until_job(job, JobState.WAITING)
        row = await fanfold.row(job.job.id)
        better = replace(row.spec, stages=tuple(stages("work", "work", when={1: "first.n == `0`"})))
        selection = Selection(states=[ChunkState.HELD])
        await fanfold.redrive(job, selection, spec=better, is_resumed=False)
        await fanfold.tell(job)
        row = await fanfold.finished(handle)
    assert row.state is JobState.SUCCEEDED
    assert (await output(fanfold, job))[1] == ["01", "01"]
