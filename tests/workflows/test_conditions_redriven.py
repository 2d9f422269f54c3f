"""Redrives of chunks that a stage with `when` was not for: what runs again, what is given."""

from typing import Any

import pytest

from fanfold.contract import json_values
from fanfold.contract.job_spec import OnFailure
from fanfold.contract.states import ChunkState, JobState
from fanfold.ledger.redriving import Selection
from fanfold.ledger.run_again import Selected
from fanfold.processing import ValidationError
from tests.ledger.jobs_recorded import ours
from tests.workflows.conditional import IS_A, NEVER, Works, errors, items, output, stages
from tests.workflows.running import Fanfold, Shape

pytestmark = pytest.mark.anyio


@pytest.fixture
def fanfold(fanfold: Fanfold, shape: Shape) -> Fanfold:
    return fanfold.shaped(shape)


@pytest.mark.parametrize(
    ("names", "passed"),
    [
        (("work", "work", "work"), 0),
        (("work", "work", "work"), 1),
        (("work", "work", "work"), 2),
        (("twice", "work", "work"), 0),
        (("work", "twice", "work"), 1),
        (("work", "work", "twice"), 2),
    ],
)
async def test_a_redrive_runs_what_failed_and_passes_the_same_stage(
    fanfold: Fanfold, names: tuple[str, str, str], passed: int
) -> None:
    works = Works()
    failing_at = next(stage for stage in (1, 0) if stage != passed)
    works.failing, works.dropped = {failing_at: {1, 2}}, {4}
    job = await fanfold.record([items("bbbbb"), items("bb")], *stages(*names, when={passed: IS_A}))
    path = "012".replace(str(passed), "")
    async with fanfold.working(*works.all):
        await fanfold.run(job)
        assert (await output(fanfold, job))[1] == [path, None, None, path]
        works.again()
        row = await fanfold.run(await fanfold.redrive(job))
    chunk, result = await output(fanfold, job)
    assert (row.state, result) == (JobState.SUCCEEDED, [path] * 4)
    assert (chunk.state, chunk.by_item) == (ChunkState.SUCCEEDED, True)
    # Of each chunk the item at 1; what was left out is so again.
    run_again = sorted(ran for ran in works.ran if ran[2] != 4)
    assert run_again == sorted((2, int(stage), n) for stage in path for n in (1, 1, 2))


@pytest.mark.parametrize("passed", [1, 2])
async def test_a_chunk_processor_that_items_came_past_gets_none_of_the_others(
    fanfold: Fanfold, passed: int
) -> None:
    """Few items run again, so now its condition is true of them; their results go together."""
    works = Works()
    works.failing = {0: {1}}
    names = ["work", "work", "work"]
    names[passed] = "twice"
    job = await fanfold.record(
        [items("aaa")], *stages(*names, when={passed: "length(items) < `2`"})
    )
    path = "012".replace(str(passed), "")
    async with fanfold.working(*works.all):
        await fanfold.run(job)
        works.again()
        row = await fanfold.run(await fanfold.redrive(job))
    assert row.state is JobState.SUCCEEDED
    assert (await output(fanfold, job))[1] == [path, path, path]
    assert sorted(works.ran) == [(2, int(stage), 1) for stage in path]


async def test_the_first_stage_is_decided_over_the_whole_chunk_as_it_is_now(
    fanfold: Fanfold,
) -> None:
    """One item was corrected, so that the chunk is one for the processor of whole chunks."""
    works = Works()
    works.failing = {1: {0, 2}}
    job = await fanfold.record([items("bbb")], *stages("twice", "work", when={0: IS_A}))
    async with fanfold.working(*works.all):
        await fanfold.run(job)
        assert (await output(fanfold, job))[1] == [None, "1", None]
        works.again()
        again = await fanfold.redrive(
            job,
            selected=[Selected(0, ChunkState.PARTIALLY_SUCCEEDED, (0,))],
            corrected={0: json_values.encode(items("abb"))},
        )
        row = await fanfold.run(again)
    chunk, result = await output(fanfold, job)
    assert (row.state, chunk.by_item) == (JobState.SUCCEEDED, False)
    assert result == ["x1"] * 6
    assert await errors(fanfold, job) == []


@pytest.mark.parametrize("is_passed", [True, False])
async def test_items_that_are_not_selected_keep_their_errors_past_a_chunk_processor(
    fanfold: Fanfold, *, is_passed: bool
) -> None:
    """All had failed before it, so that it has never run."""
    failing = True

    def first(item: Any) -> Any:
        if item["n"] == 0:
            raise ValidationError("never")
        if failing:
            raise KeyError("not now")
        return item

    works = Works()
    when = {1: NEVER} if is_passed else {}
    job = await fanfold.record([items("aaa")], *stages("first", "twice", "work", when=when))
    async with fanfold.working(first, *works.all):
        row = await fanfold.run(job)
        assert row.state is JobState.FAILED
        failing = False
        again = await fanfold.redrive(job, Selection(error_types=["KeyError"]))
        row = await fanfold.run(again)
    chunk, result = await output(fanfold, job)
    assert row.state is JobState.PARTIALLY_SUCCEEDED
    assert (row.counts.items_succeeded, row.counts.items_failed) == (2, 1)
    assert result == ([None, "2", "2"] if is_passed else ["x2"] * 4)
    assert await errors(fanfold, job) == [(0, "ValidationError", 0)]
    assert chunk.error is not None
    assert chunk.error.message == "never"


async def test_a_chunk_that_failed_before_a_chunk_processor_runs_again(fanfold: Fanfold) -> None:
    """What comes after that has more items than were submitted."""
    works = Works()
    works.failing = {0: {0, 1}, 3: {1}}
    names = ("work", "twice", "work", "work")
    job = await fanfold.record([items("aa")], *stages(*names, when={2: NEVER}))
    async with fanfold.working(*works.all):
        row = await fanfold.run(job)
        assert row.state is JobState.FAILED
        del works.failing[0]
        row = await fanfold.run(await fanfold.redrive(job))
    chunk, result = await output(fanfold, job)
    assert result == ["0x3", "0x3", None, None]
    assert (chunk.state, chunk.by_item) == (ChunkState.PARTIALLY_SUCCEEDED, False)
    assert await errors(fanfold, job) == [(2, "ValidationError", 3), (3, "ValidationError", 3)]


async def test_what_is_held_before_a_stage_that_it_passes_is_released_or_repaired(
    fanfold: Fanfold,
) -> None:
    works = Works()
    works.failing = {0: {1}}
    given = stages("work", "work", when={1: IS_A})
    job = await fanfold.record([items("bb"), items("bbb")], *given, on_failure=OnFailure.HOLD)
    async with fanfold.working(*works.all):
        handle = await fanfold.start(job)
        await fanfold.until_job(job, JobState.WAITING)
        held = await output(fanfold, job)
        assert (held[0].state, held[1]) == (ChunkState.HELD, ["0", None])
        works.again()
        await fanfold.redrive(job, Selection(states=[ChunkState.HELD], indexes=[0]))
        await fanfold.tell(job)
        await fanfold.until_state(job, 0, ChunkState.SUCCEEDED)
        await fanfold.until_job(job, JobState.WAITING)
        await ours(fanfold.ledger).steering.release(job.job.id)
        await fanfold.tell(job)
        row = await fanfold.finished(handle)
    assert row.state is JobState.PARTIALLY_SUCCEEDED
    assert (await output(fanfold, job, 0))[1] == ["0", "0"]
    assert (await output(fanfold, job, 1))[1] == ["0", None, "0"]
