"""Jobs and children page by page: filtered, in order, each of them exactly once."""

from fanfold.contract.states import ChunkState, JobState
from fanfold.ledger.connect import Ledger
from fanfold.ledger.records import ChunkCounts
from tests.ledger.jobs_recorded import begun, fail, found, labelled, ours, record, running, succeed


async def pages_of_jobs(
    ledger: Ledger,
    limit: int,
    *,
    state: JobState | None = None,
    labels: dict[str, str] | None = None,
) -> list[list[str]]:
    pages: list[list[str]] = []
    before: str | None = None
    while True:
        page = await ours(ledger).jobs.page(
            state=state, labels=labels or {}, before=before, limit=limit
        )
        if not page:
            return pages
        pages.append([job.id for job in page])
        before = page[-1].id


async def test_pages_of_jobs_hold_each_once_newest_first(ledger: Ledger) -> None:
    ids = sorted([await record(ledger) for _ in range(7)], reverse=True)
    assert await pages_of_jobs(ledger, 3) == [ids[:3], ids[3:6], ids[6:]]


async def test_a_job_added_while_paging_moves_no_other(ledger: Ledger) -> None:
    ids = [f"job_{number}" for number in range(4)]
    for job_id in ids[:3]:
        await record(ledger, job_id=job_id)
    (newest,) = await ours(ledger).jobs.page(state=None, labels={}, before=None, limit=1)
    await record(ledger, job_id=ids[3])
    rest = await ours(ledger).jobs.page(state=None, labels={}, before=newest.id, limit=9)
    assert [newest.id, *(job.id for job in rest)] == ids[2::-1]


async def test_jobs_are_found_by_state(ledger: Ledger) -> None:
    pending = await record(ledger)
    first, second = await running(ledger), await running(ledger)
    newest_first = sorted([first, second], reverse=True)
    assert await pages_of_jobs(ledger, 1, state=JobState.RUNNING) == [[one] for one in newest_first]
    assert await pages_of_jobs(ledger, 9, state=JobState.PENDING) == [[pending]]
    assert await pages_of_jobs(ledger, 9, state=JobState.FAILED) == []


async def test_jobs_are_found_by_all_the_labels_that_are_asked_for(ledger: Ledger) -> None:
    both = await record(ledger, controls=labelled({"team": "data", "env": "prod"}))
    one = await record(ledger, controls=labelled({"team": "data"}))
    await record(ledger, controls=labelled({"env": "data"}))
    await record(ledger)
    newest_first = sorted([both, one], reverse=True)
    assert await pages_of_jobs(ledger, 9, labels={"team": "data"}) == [newest_first]
    assert await pages_of_jobs(ledger, 1, labels={"team": "data", "env": "prod"}) == [[both]]
    assert await pages_of_jobs(ledger, 9, labels={"team": "Data"}) == []
    assert await pages_of_jobs(ledger, 9, labels={"team": "data' OR '1'='1"}) == []


async def test_state_and_labels_narrow_each_other(ledger: Ledger) -> None:
    controls = labelled({"team": "data"})
    await record(ledger, controls=controls)
    job_id = await running(ledger, controls=controls)
    await running(ledger)
    found_ids = await pages_of_jobs(ledger, 9, state=JobState.RUNNING, labels={"team": "data"})
    assert found_ids == [[job_id]]


async def test_each_listed_job_has_its_own_counts_and_errors(ledger: Ledger) -> None:
    job_ids = [await running(ledger, [1, 2]) for _ in range(3)]
    await succeed(ledger, job_ids[0], 1)
    await fail(ledger, job_ids[1], 1)
    await ours(ledger).closing.settle(job_ids[0], run=1)
    await ours(ledger).closing.close(job_ids[0], JobState.CANCELLED, error=None)
    page = await ours(ledger).jobs.page(state=None, labels={}, before=None, limit=9)
    listed = {job.id: job for job in page}
    assert listed[job_ids[0]].counts == ChunkCounts(succeeded=1, cancelled=1, items_succeeded=2)
    assert listed[job_ids[1]].counts == ChunkCounts(pending=1, failed=1, items_failed=2)
    assert listed[job_ids[2]].counts == ChunkCounts(pending=2)
    assert [len(listed[job_id].errors) for job_id in job_ids] == [0, 1, 0]
    for job_id in job_ids:
        assert listed[job_id] == await found(ledger, job_id)


async def test_pages_of_children_hold_each_once_in_index_order(ledger: Ledger) -> None:
    job_id = await running(ledger, [1] * 7)
    for index in (5, 2, 6):
        await succeed(ledger, job_id, index)
    pages: list[list[int]] = []
    after = -1
    while page := await ours(ledger).chunks.page(job_id, after=after, limit=3):
        pages.append([chunk.index for chunk in page])
        after = page[-1].index
    assert pages == [[0, 1, 2], [3, 4, 5], [6]]


async def test_children_are_found_by_state(ledger: Ledger) -> None:
    job_id = await running(ledger, [1] * 6)
    await succeed(ledger, job_id, 4)
    await succeed(ledger, job_id, 1)
    await fail(ledger, job_id, 2)
    await begun(ledger, job_id, 5)

    async def indexes(state: ChunkState, after: int = -1) -> list[int]:
        page = await ours(ledger).chunks.page(job_id, states=(state,), after=after, limit=10)
        assert {chunk.state for chunk in page} <= {state}
        return [chunk.index for chunk in page]

    assert await indexes(ChunkState.SUCCEEDED) == [1, 4]
    assert await indexes(ChunkState.SUCCEEDED, after=1) == [4]
    assert await indexes(ChunkState.FAILED) == [2]
    assert await indexes(ChunkState.RUNNING) == [5]
    assert await indexes(ChunkState.PENDING) == [0, 3]
    assert await indexes(ChunkState.CANCELLED) == []


async def test_children_of_one_job_are_not_those_of_another(ledger: Ledger) -> None:
    first, second = await running(ledger, [1] * 3), await running(ledger, [1])
    await succeed(ledger, first, 0)
    assert len(await ours(ledger).chunks.page(second, after=-1, limit=9)) == 1
    assert (
        await ours(ledger).chunks.page(second, states=(ChunkState.SUCCEEDED,), after=-1, limit=9)
        == []
    )
    assert await ours(ledger).chunks.find(second, 1) is None
