"""A job made of jobs is recorded whole: places, totals, and data that is stored once."""

import pytest

from fanfold.contract.job_spec import Controls
from fanfold.contract.names import new_job_id
from fanfold.contract.states import JobState
from fanfold.ledger import outcomes
from fanfold.ledger.connect import Ledger
from fanfold.ledger.idempotency import KeyTaken
from fanfold.ledger.records import ChunkCounts, ChunkOutput, IdempotencyKey
from fanfold.ledger.run_again import Redrive, Selected
from fanfold.ledger.uploads import WHOLE, UploadGone
from tests.ledger.jobs_recorded import (
    begun,
    chunks_of,
    claimed_starts,
    fail,
    found,
    ours,
    record,
    succeed,
)
from tests.ledger.raw_sql import rows
from tests.ledger.test_tenants import everything
from tests.ledger.trees import (
    FROM_BEFORE,
    Node,
    ended,
    grown,
    leaf,
    opened,
    parallel,
    records,
    sequence,
    to_record,
    undone,
)

STOCK = parallel(
    *(2, 3),
    EU=parallel(FI=leaf(1, 1), SE=leaf()),
    US=leaf(4),
    steps=sequence(first=leaf(1), then=FROM_BEFORE, last=undone(5)),
)


async def test_each_job_has_its_place_and_the_totals_of_all_below_it(ledger: Ledger) -> None:
    tree = await grown(ledger, STOCK)
    jobs = await records(ledger, tree)
    assert {
        path: (job.place.position, job.place.last_position, job.place.sub_jobs, job.total_chunks)
        for path, job in jobs.items()
    } == {
        # One more position is kept for the job that undoes the last one.
        "": (0, 9, 3, 2 + 2 + 1 + 1 + 1),
        "EU": (1, 3, 2, 2 + 2),
        "EU/FI": (2, 2, 0, 2),
        "EU/SE": (3, 3, 0, 2),
        "US": (4, 4, 0, 1),
        "steps": (5, 9, 3, 1 + 1),
        "steps/first": (6, 6, 0, 1),
        "steps/then": (7, 7, 0, 0),
        "steps/last": (8, 9, 0, 1),
    }
    for path, job in jobs.items():
        above, _, name = path.rpartition("/")
        assert (job.place.path, job.place.name) == ((path, name) if path else (None, None))
        assert (job.place.parent, job.place.root) == (
            (tree[above], tree.root) if path else (None, None)
        )
        assert job.state is JobState.PENDING
        assert job.counts == ChunkCounts(pending=job.total_chunks)
        assert (job.is_parent, job.jobs) == (
            (True, {JobState.PENDING: job.place.sub_jobs}) if job.place.sub_jobs else (False, None)
        )
        assert await ours(ledger).sub_jobs.ancestors(job.id) == sorted(
            tree["/".join(path.split("/")[:depth])] for depth in range(path.count("/") + bool(path))
        )
    assert jobs[""].total_items == (2 + 3) + (1 + 1) + 4 + 1 + 5
    assert jobs["EU"].total_items == (2 + 3) + (1 + 1)


async def test_a_tree_is_listed_and_started_as_one_job(ledger: Ledger) -> None:
    alone, tree = await record(ledger), await grown(ledger, STOCK)
    page = await ours(ledger).jobs.page(state=None, labels={}, before=None, limit=9)
    assert [job.id for job in page] == [tree.root, alone]
    root = await found(ledger, tree.root)
    assert [job.place.path for job in await ours(ledger).jobs.leaves(root)] == [
        *("EU/FI", "EU/SE", "US", "steps/first", "steps/then", "steps/last"),
    ]
    assert await claimed_starts(ledger) == [alone, tree.root]


async def test_data_of_a_parent_is_stored_once_and_given_to_all_below_without_their_own(
    ledger: Ledger, ledger_url: str
) -> None:
    given = parallel(
        *(1, 2),
        near=parallel(*(3,), gets_near=leaf(), has_own=leaf(4)),
        gets_far=leaf(),
        # No data is data too.
        has_none=Node(sizes=()),
    )
    tree = await grown(ledger, given)
    stored = rows(ledger_url, "SELECT job_id, idx FROM inputs ORDER BY job_id, idx")
    assert sorted(stored) == sorted(
        [(tree.root, 0), (tree.root, 1), (tree["near"], 0), (tree["near/has_own"], 0)]
    )
    for path, sizes in (("near/gets_near", [3]), ("near/has_own", [4]), ("gets_far", [1, 2])):
        await opened(ledger, tree, path)
        for index, chunk in enumerate(chunks_of(sizes)):
            assert (await begun(ledger, tree[path], index)).input == chunk.body
            assert await ours(ledger).chunks.items(tree[path], index) == chunk.body
        data = [one.items async for one in ours(ledger).chunks.data(tree[path], items_wanted=99)]
        assert data == [chunk.body for chunk in chunks_of(sizes)]
    assert (await found(ledger, tree["has_none"])).total_chunks == 0


async def test_a_correction_changes_the_chunk_of_one_job_and_no_other(ledger: Ledger) -> None:
    tree = await grown(ledger, parallel(*(1, 1), one=leaf(), other=leaf()))
    for path in ("one", "other"):
        await opened(ledger, tree, path)
        await fail(ledger, tree[path], 0)
        await succeed(ledger, tree[path], 1)
        await ended(ledger, tree, path, JobState.PARTIALLY_SUCCEEDED)
    for path, body in (("one", b'["right"]'), ("other", b"[0]")):
        job = await found(ledger, tree[path])
        chunk = Selected(0, (await ours(ledger).chunks.page(job.id, after=-1, limit=1))[0].state)
        corrected = {0: body} if path == "one" else {}
        wanted = Redrive(
            spec=job.spec, controls=job.controls, selected=[chunk], corrected=corrected
        )
        assert await ours(ledger).redriving.redrive(job, wanted)
        assert await ours(ledger).chunks.items(job.id, 0) == body
        assert await ours(ledger).chunks.items(job.id, 1) == b"[1]"
        await ours(ledger).jobs.open(job.id, 2)
        assert (await begun(ledger, job.id, 0, run=2)).input == body


async def test_the_input_of_a_later_stage_is_the_jobs_own(ledger: Ledger) -> None:
    stages = (await found(ledger, await record(ledger))).spec.stages * 2
    tree = await grown(ledger, parallel(*(1,), one=leaf(stages=stages), other=leaf(stages=stages)))
    for path in ("one", "other"):
        await opened(ledger, tree, path)
        attempt = await begun(ledger, tree[path])
        output = ChunkOutput(body=b'["%b"]' % path.encode())
        await ours(ledger).work.record(outcomes.advanced(attempt, output))
    for path in ("one", "other"):
        assert (await begun(ledger, tree[path], 0, 1)).input == b'["%b"]' % path.encode()


async def test_of_a_tree_that_cannot_be_recorded_whole_nothing_is_left(ledger: Ledger) -> None:
    new, tree = to_record(STOCK)
    data = chunks_of([1])
    object.__setattr__(data[0], "body", None)
    object.__setattr__(new.jobs[-1].jobs[-1], "data", data)
    before = await everything(ledger)
    with pytest.raises(Exception, match=r"(?i)null"):
        await ours(ledger).recording.record(new, chunks_of([1]))
    assert await everything(ledger) == before
    assert await ours(ledger).jobs.find(tree["EU"]) is None


async def test_a_key_stands_for_the_whole_tree(ledger: Ledger) -> None:
    key = IdempotencyKey(key="mine", body_hash=b"1")
    tree = await grown(ledger, STOCK, key=key)
    before = await everything(ledger)
    with pytest.raises(KeyTaken) as taken:
        await grown(ledger, STOCK, key=key)
    assert taken.value.job_id == tree.root
    assert await everything(ledger) == before


async def test_what_each_job_was_asked_for_stands_with_it(ledger: Ledger) -> None:
    paced = Controls(max_concurrency=3, max_per_second=5, labels={"a": "b"}, start_at=1)
    tree = await grown(ledger, parallel(paced=leaf(1, controls=paced), other=leaf(1)))
    job = await found(ledger, tree["paced"])
    assert job.controls == paced
    assert await ours(ledger).pacing.take_turns(job.id, 1) is not None
    assert await ours(ledger).pacing.take_turns(tree["other"], 1) is None
    # A label of a sub-job finds no job of a list.
    assert await ours(ledger).jobs.page(state=None, labels={"a": "b"}, before=None, limit=9) == []


async def test_an_upload_becomes_the_chunks_of_all_that_get_it(
    ledger: Ledger, ledger_url: str
) -> None:
    new, tree = to_record(STOCK)
    upload = await ours(ledger).uploads.begin(new.id, WHOLE)
    await ours(ledger).uploads.add(upload, 0, chunks_of([7, 8, 9]))

    await ours(ledger).recording.record(new, upload)

    jobs = await records(ledger, tree)
    assert {path: job.total_chunks for path, job in jobs.items()} == {
        "": 3 + 5,
        "EU": 3 + 2,
        "EU/FI": 2,
        "EU/SE": 3,
        "US": 1,
        "steps": 2,
        "steps/first": 1,
        "steps/then": 0,
        "steps/last": 1,
    }
    assert jobs[""].total_items == (7 + 8 + 9) + (1 + 1) + 4 + 1 + 5
    await opened(ledger, tree, "EU/SE")
    for index, chunk in enumerate(chunks_of([7, 8, 9])):
        assert (await begun(ledger, tree["EU/SE"], index)).input == chunk.body
    assert rows(ledger_url, "SELECT COUNT(*) FROM inputs") == [(3 + 5,)]
    assert rows(ledger_url, "SELECT COUNT(*) FROM uploads") == [(0,)]


async def test_of_a_tree_whose_upload_was_given_up_nothing_is_recorded(ledger: Ledger) -> None:
    new, _ = to_record(STOCK)
    upload = await ours(ledger).uploads.begin(new_job_id(), WHOLE)
    await ours(ledger).uploads.drop(upload)
    before = await everything(ledger)
    with pytest.raises(UploadGone):
        await ours(ledger).recording.record(new, upload)
    assert await everything(ledger) == before
