"""Controls that reach a tree at an awkward moment: nothing is lost, stuck or ended by mistake."""

import asyncio

import pytest

from fanfold.contract.job_spec import ToleranceSpec
from fanfold.contract.names import CHANGED, JobId
from fanfold.contract.states import JobState
from tests.ledger.jobs_recorded import ours
from tests.workflows.running import BLOCKS, Fanfold, until
from tests.workflows.trees import below, job, parallel, record, refuse_negative, sequence, states

pytestmark = pytest.mark.anyio


@pytest.fixture
def fanfold(fanfold_on_dev_server: Fanfold) -> Fanfold:
    return fanfold_on_dev_server.shaped(BLOCKS)


async def _tell(fanfold: Fanfold, job_id: JobId) -> None:
    await fanfold.client.get_workflow_handle(job_id).signal(CHANGED)


async def test_a_resumed_tree_has_its_whole_window_again(fanfold: Fanfold) -> None:
    """Also where a place had become free meanwhile, by a sub-job that was resumed alone."""
    release, last_began = asyncio.Event(), asyncio.Event()

    async def slow(item: int) -> int:
        await release.wait()
        return item

    async def last(item: int) -> int:
        last_began.set()
        return item

    jobs = {"slow": job("slow", [[0]])}
    jobs |= {f"j{n}": job("double", [[n]]) for n in range(48)}
    jobs |= {"gate": job("double", [[1]]), "last": job("last", [[1]])}
    root = await record(fanfold, job(**parallel(**jobs), max_jobs=2))
    steering = ours(fanfold.ledger).steering
    rows = await below(fanfold, root.job.id)
    assert await steering.pause(rows["gate"].id)
    async with fanfold.working(slow, last):
        handle = await fanfold.start(root)

        async def is_at_the_gate() -> bool:
            return (await states(fanfold, root.job.id))["j47"] == "succeeded"

        await until(is_at_the_gate)
        assert await steering.pause(root.job.id)
        assert await steering.resume(rows["gate"].id)

        async def has_passed() -> bool:
            if (await fanfold.row(rows["gate"].id)).state is not JobState.SUCCEEDED:
                await _tell(fanfold, rows["gate"].id)
                return False
            return True

        await asyncio.sleep(0.5)
        await until(has_passed)
        await asyncio.sleep(0.5)
        assert await steering.resume(root.job.id)
        await fanfold.tell(root)
        async with asyncio.timeout(10):
            await last_began.wait()
        release.set()
        await _tell(fanfold, rows["slow"].id)
        row = await fanfold.finished(handle)
    assert row.state is JobState.SUCCEEDED


async def test_a_paused_job_of_a_sequence_is_skipped_as_it_would_be(fanfold: Fanfold) -> None:
    tree = job(
        **sequence(
            first=job("double", [[1]]),
            never=job("double", [[2]], when="previous.state == 'failed'"),
        )
    )
    root = await record(fanfold, tree)
    rows = await below(fanfold, root.job.id)
    assert await ours(fanfold.ledger).steering.pause(rows["never"].id)
    async with fanfold.working():
        row = await fanfold.run(root)
    assert await states(fanfold, root.job.id) == {"first": "succeeded", "never": "skipped"}
    assert row.state is JobState.SUCCEEDED


async def test_a_condition_sees_all_that_it_asks_for(fanfold: Fanfold) -> None:
    """Whatever words it uses for that."""
    tree = job(
        **sequence(
            a=job("double", [[1]]),
            b=job("double", [[2]]),
            c=job("double", [[3]], when="length(values(@)[?a && b]) == `1`"),
            d=job("double", [[4]], when="length(*.a[]) == `1`"),
        )
    )
    root = await record(fanfold, tree)
    async with fanfold.working():
        await fanfold.run(root)
    assert set((await states(fanfold, root.job.id)).values()) == {"succeeded"}


async def test_a_sub_job_that_was_handed_out_hears_of_every_resume(fanfold: Fanfold) -> None:
    """Also where a gateway had looked for its workflow before there was one."""
    root = await record(fanfold, job(**parallel(a=job("double", [[1]]))))
    ledger, (a,) = ours(fanfold.ledger), (await below(fanfold, root.job.id)).values()
    await ledger.jobs.open(root.job.id)
    (found,) = await ledger.sub_jobs.unfinished(root.job.id, after=-1, limit=1)
    await ledger.sub_jobs.hand_out([found], BLOCKS.execution)
    await fanfold.ledger.starting.forget_workflow([a.id])
    assert await ledger.steering.pause(root.job.id)
    assert await ledger.jobs.open(a.id) == (False, JobState.PAUSED)
    assert await ledger.steering.resume(root.job.id)
    told = await fanfold.ledger.starting.to_check(unchecked_since=1, limit=10)
    assert a.id in {each.id for each in told}


async def test_an_error_says_how_many_sub_jobs_failed(fanfold: Fanfold) -> None:
    """Those that the others took with them are no failures."""
    tree = job(
        **parallel(**{f"j{n}": job("refuse_negative", [[-1]]) for n in range(6)}),
        max_jobs=1,
        tolerated_failures=ToleranceSpec(count=1),
    )
    root = await record(fanfold, tree)
    async with fanfold.working(refuse_negative):
        row = await fanfold.run(root)
    assert row.error is not None
    assert row.error.message.startswith("2 of 6 sub-jobs failed")
