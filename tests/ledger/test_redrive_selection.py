"""Which chunks a redrive is about, and which of their items: what is said narrows it."""

from collections.abc import Sequence

import pytest

from fanfold.contract.names import JobId
from fanfold.contract.states import ChunkState
from fanfold.ledger import outcomes
from fanfold.ledger.connect import Ledger
from fanfold.ledger.records import ChunkOutput, ItemError
from fanfold.ledger.redriving import Selection
from fanfold.ledger.run_again import Redrive
from fanfold.ledger.transitions import RUN_AGAIN
from tests.ledger.jobs_recorded import BROKEN, begun, closed, fail, found, ours, record, running
from tests.ledger.raw_sql import rows
from tests.ledger.redriven import (
    CANCELLED,
    FAILED,
    MIXED,
    PARTIAL,
    SUCCEEDED,
    WITH_DROPPED,
    ended,
    waiting,
)

UNSUCCESSFUL = (ChunkState.FAILED, ChunkState.PARTIALLY_SUCCEEDED, ChunkState.CANCELLED)
Found = list[tuple[int, tuple[int, ...] | None]]


async def selected(ledger: Ledger, job_id: JobId, selection: Selection) -> Found:
    """The indexes of those that are meant, with the items of which it is said."""
    chosen = await ours(ledger).redriving.select(job_id, selection)
    for one in chosen:
        chunk = await ours(ledger).chunks.find(job_id, one.index)
        assert chunk is not None
        assert chunk.state is one.state
    return [(one.index, one.items_again) for one in chosen]


@pytest.mark.parametrize(
    ("states", "indexes"),
    [
        (UNSUCCESSFUL, [FAILED, PARTIAL, CANCELLED, MIXED]),
        ([ChunkState.FAILED], [FAILED, MIXED]),
        ([ChunkState.PARTIALLY_SUCCEEDED], [PARTIAL]),
        ([ChunkState.CANCELLED], [CANCELLED]),
        ([ChunkState.SUCCEEDED], [SUCCEEDED, WITH_DROPPED]),
        ([ChunkState.HELD], []),
        ([ChunkState.PENDING, ChunkState.RUNNING], []),
        (None, [SUCCEEDED, FAILED, PARTIAL, CANCELLED, WITH_DROPPED, MIXED]),
    ],
)
async def test_chunks_in_these_states_are_meant(
    ledger: Ledger, states: Sequence[ChunkState] | None, indexes: list[int]
) -> None:
    job_id = await ended(ledger)
    await ended(ledger)
    found_ones = await selected(ledger, job_id, Selection(states=states))
    assert found_ones == [(index, None) for index in indexes]


async def test_what_is_held_is_meant_where_it_is_named(ledger: Ledger) -> None:
    job_id = await waiting(ledger)
    assert await selected(ledger, job_id, Selection(states=[ChunkState.HELD])) == [(0, None)]
    assert await selected(ledger, job_id, Selection(states=UNSUCCESSFUL)) == []
    types = Selection(states=[ChunkState.HELD], error_types=["T"])
    assert await selected(ledger, job_id, types) == [(0, (1,))]


@pytest.mark.parametrize(
    ("types", "found_ones"),
    [
        (["T"], [(PARTIAL, (1,)), (MIXED, (0,))]),
        (["U"], [(PARTIAL, (3,))]),
        (["T", "U"], [(PARTIAL, None), (MIXED, (0,))]),
        # Those that have no error of their own have that of the chunk.
        (["Broken"], [(FAILED, None), (MIXED, (1, 2))]),
        (["Broken", "T"], [(FAILED, None), (PARTIAL, (1,)), (MIXED, None)]),
        (["ItemDropped"], []),
        (["Absent"], []),
        ([], []),
    ],
)
async def test_chunks_with_such_an_error_are_meant_and_of_these_such_items(
    ledger: Ledger, types: list[str], found_ones: Found
) -> None:
    job_id = await ended(ledger)
    selection = Selection(states=UNSUCCESSFUL, error_types=types)
    assert await selected(ledger, job_id, selection) == found_ones


async def test_of_a_chunk_that_succeeded_what_was_left_out_may_be_meant(ledger: Ledger) -> None:
    job_id = await ended(ledger)
    assert await selected(ledger, job_id, Selection(error_types=["ItemDropped"])) == [
        (WITH_DROPPED, (1,))
    ]


async def test_what_a_chunk_processor_has_made_of_items_stands_for_all_of_them(
    ledger: Ledger,
) -> None:
    job_id = await running(ledger, [3])
    attempt = await begun(ledger, job_id)
    derived = ItemError(item=7, type="Late", message="m", is_derived=True)
    output = ChunkOutput(body=b"[1,null]", item_errors=(derived,), by_item=False)
    await ours(ledger).work.record(outcomes.succeeded_partially(attempt, BROKEN, output))
    await closed(ledger, job_id)
    assert await selected(ledger, job_id, Selection(error_types=["Late"])) == [(0, None)]
    assert await selected(ledger, job_id, Selection(error_types=["Other"])) == []


async def test_each_part_of_a_selection_narrows_the_others(ledger: Ledger) -> None:
    job_id = await ended(ledger)

    async def indexes(selection: Selection) -> list[int]:
        return [index for index, _ in await selected(ledger, job_id, selection)]

    named = [MIXED, SUCCEEDED, PARTIAL, PARTIAL, 99]
    assert await indexes(Selection(indexes=named)) == [SUCCEEDED, PARTIAL, MIXED]
    assert await indexes(Selection(indexes=named, states=UNSUCCESSFUL)) == [PARTIAL, MIXED]
    types = Selection(indexes=named, states=UNSUCCESSFUL, error_types=["Broken"])
    assert await indexes(types) == [MIXED]
    assert await indexes(Selection(indexes=[])) == []


async def test_what_has_no_outcome_is_never_meant(ledger: Ledger) -> None:
    job_id = await running(ledger, [1, 1])
    await begun(ledger, job_id, 0)
    assert await selected(ledger, job_id, Selection(indexes=[0, 1])) == []
    assert await selected(ledger, job_id, Selection()) == []


async def test_more_than_a_query_takes_is_meant_in_order(ledger: Ledger) -> None:
    count = 1203
    job_id = await record(ledger, [1] * count)
    await closed(ledger, job_id)
    everyone = [(index, None) for index in range(count)]
    backwards = Selection(indexes=list(reversed(range(count))))
    assert await selected(ledger, job_id, backwards) == everyone
    assert await selected(ledger, job_id, Selection(states=[ChunkState.CANCELLED])) == everyone


async def test_only_rows_of_the_few_are_written(ledger: Ledger, ledger_url: str) -> None:
    """Each row's own mark of its last write tells."""
    job_id = await running(ledger, [1] * 300)
    for index in (5, 250):
        await fail(ledger, job_id, index)
    await closed(ledger, job_id)
    before = dict(rows(ledger_url, "SELECT idx, fence FROM chunks"))
    chosen = await ours(ledger).redriving.select(job_id, Selection(states=[ChunkState.FAILED]))
    job = await found(ledger, job_id)
    assert await ours(ledger).redriving.redrive(
        job, Redrive(spec=job.spec, controls=job.controls, selected=chosen)
    )
    after = dict(rows(ledger_url, "SELECT idx, fence FROM chunks"))
    assert [index for index in before if after[index] != before[index]] == [5, 250]
    assert set(RUN_AGAIN.before) > {one.state for one in chosen}
