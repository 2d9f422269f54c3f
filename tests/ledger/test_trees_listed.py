"""Jobs made of jobs as they are listed: sub-jobs in order, leaves in order, each exactly once."""

from collections.abc import Sequence
from dataclasses import replace

from fanfold.contract.job_spec import Controls, Order, StageSpec
from fanfold.contract.names import JobId, new_job_id
from fanfold.contract.states import JobState
from fanfold.ledger.compensating import Due
from fanfold.ledger.connect import Ledger
from fanfold.ledger.database import Statement
from fanfold.ledger.recording import NewJob, NewSubJob
from fanfold.ledger.records import JobRecord
from fanfold.ledger.transitions import PAUSE
from tests.ledger.jobs_recorded import a_spec, chunks_of, fail, found, ours, succeed

SPEC = a_spec()
PARENT = replace(SPEC, order=Order.PARALLEL)


def sub_job(name: str, *jobs: NewSubJob, sizes: Sequence[int] = (1, 1)) -> NewSubJob:
    """A leaf with chunks of these sizes, or one that is made of jobs."""
    return NewSubJob(
        id=new_job_id(),
        name=name,
        spec=PARENT if jobs else SPEC,
        controls=Controls(labels={"name": name}),
        data=None if jobs else chunks_of(sizes),
        jobs=jobs,
    )


async def record(ledger: Ledger, *jobs: NewSubJob, is_receiving: bool = False) -> JobRecord:
    job = NewJob(id=new_job_id(), spec=PARENT, controls=Controls(), jobs=jobs)
    await ours(ledger).recording.record(job, None if is_receiving else ())
    return await found(ledger, job.id)


async def named(ledger: Ledger, job_id: JobId) -> dict[str, JobRecord]:
    return {
        job.place.path or "": job for job in await ours(ledger).jobs.sub_jobs(job_id, limit=1000)
    }


async def test_sub_jobs_are_listed_in_the_order_given_page_by_page(ledger: Ledger) -> None:
    root = await record(
        ledger, sub_job("b", sub_job("x"), sub_job("y")), sub_job("a"), sub_job("c")
    )
    await record(ledger, sub_job("of another"))
    jobs = ours(ledger).jobs
    for limit in range(1, 5):
        after, paths = (-1, ""), []
        while page := await jobs.sub_jobs(root.id, after=after, limit=limit):
            paths += [job.place.path for job in page]
            after = (page[-1].place.position, page[-1].id)
        assert paths == ["b", "a", "c"]
    pending = await jobs.sub_jobs(root.id, state=JobState.PENDING, limit=9)
    assert [job.place.path for job in pending] == ["b", "a", "c"]
    assert await jobs.sub_jobs(root.id, state=JobState.FAILED, limit=9) == []


async def test_compensations_of_several_runs_are_each_on_a_page(ledger: Ledger) -> None:
    spec = replace(SPEC, compensate=StageSpec(processor="undo"))
    leaf = replace(sub_job("leaf"), spec=spec)
    root = await record(ledger, leaf)
    await ours(ledger).jobs.open(leaf.id)
    await succeed(ledger, leaf.id, 0)
    for run in (1, 2, 3):
        # Recorded of the run that the job is in only.
        in_run = Statement("UPDATE jobs SET run = ? WHERE id = ?", (run, leaf.id))
        await ledger.database.write(in_run)
        await ours(ledger).compensating.record(Due(leaf.id, run))
    jobs = ours(ledger).jobs
    after, seen = (-1, ""), []
    while page := await jobs.sub_jobs(leaf.id, after=after, limit=1):
        seen += [job.place.compensates_run for job in page]
        after = (page[-1].place.position, page[-1].id)
    assert sorted(seen) == [1, 2, 3]
    assert [one.id for one in await jobs.leaves(root, limit=9)] == [leaf.id]


async def test_leaves_are_those_with_chunks_in_order_page_by_page(ledger: Ledger) -> None:
    middle = sub_job("m", sub_job("x"), sub_job("y"))
    root = await record(ledger, sub_job("z"), middle, sub_job("a"))
    jobs = ours(ledger).jobs
    for limit in range(1, 6):
        after, paths = -1, []
        while page := await jobs.leaves(root, after=after, limit=limit):
            paths += [job.place.path for job in page]
            after = page[-1].place.position
        assert paths == ["z", "m/x", "m/y", "a"]
    below = await jobs.leaves(await found(ledger, middle.id))
    assert [job.place.path for job in below] == ["m/x", "m/y"]


async def test_leaves_are_found_by_what_is_counted_of_them(ledger: Ledger) -> None:
    root = await record(ledger, sub_job("a"), sub_job("b"), sub_job("c"))
    parts = await named(ledger, root.id)
    for name in ("a", "b"):
        await ours(ledger).jobs.open(parts[name].id)
    await succeed(ledger, parts["a"].id, 0)
    await fail(ledger, parts["b"].id, 1)

    async def with_any(*counted: str) -> list[str | None]:
        leaves = await ours(ledger).jobs.leaves(root, counted=counted)
        return [job.place.path for job in leaves]

    assert await with_any("succeeded") == ["a"]
    assert await with_any("items_failed", "held") == ["b"]
    assert await with_any("succeeded", "failed") == ["a", "b"]
    assert await with_any("cancelled") == []
    assert await with_any() == ["a", "b", "c"]


async def test_the_parts_of_one_are_listed_newest_first_with_filters(ledger: Ledger) -> None:
    root = await record(ledger, sub_job("a"), sub_job("b", sub_job("x")))
    jobs = ours(ledger).jobs
    roots = await jobs.page(state=None, labels={}, before=None, limit=9)
    assert [job.id for job in roots] == [root.id]
    parts = await jobs.page(state=None, labels={}, before=None, limit=9, parent=root.id)
    ids = [job.id for job in parts]
    assert ids == sorted(ids, reverse=True)
    assert {job.place.path for job in parts} == {"a", "b"}
    second = await jobs.page(state=None, labels={}, before=ids[0], limit=9, parent=root.id)
    assert [job.id for job in second] == ids[1:]
    (labelled,) = await jobs.page(
        state=JobState.PENDING, labels={"name": "a"}, before=None, limit=9, parent=root.id
    )
    assert labelled.place.path == "a"


async def test_a_pause_that_is_refused_leaves_the_parts_as_they_are(ledger: Ledger) -> None:
    root = await record(ledger, sub_job("a"), is_receiving=True)
    assert not await ours(ledger).steering.pause(root.id)
    assert [job.state for job in (await named(ledger, root.id)).values()] == [JobState.PENDING]
    other = await record(ledger, sub_job("a"))
    assert await ours(ledger).steering.pause(other.id)
    assert [job.state for job in (await named(ledger, other.id)).values()] == [PAUSE.after]
    assert not await ours(ledger).steering.resume(root.id)
    assert await ours(ledger).steering.resume(other.id)
    assert [job.state for job in (await named(ledger, other.id)).values()] == [JobState.PENDING]
