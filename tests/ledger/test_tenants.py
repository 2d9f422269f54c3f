"""What one tenant has, no other finds, changes or is given, by any operation there is."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import pytest

from fanfold.contract.failures import Failure
from fanfold.contract.job_spec import Controls
from fanfold.contract.names import DEFAULT_TENANT, JobId, TenantId, new_job_id
from fanfold.contract.states import ChunkState, JobState
from fanfold.ledger import outcomes
from fanfold.ledger.chunks import ChunkData
from fanfold.ledger.connect import Ledger, TenantLedger
from fanfold.ledger.database import Statement
from fanfold.ledger.records import (
    Attempt,
    BlockRun,
    ChunkCounts,
    ChunkOutput,
    ChunkRecord,
    JobRecord,
    NewChunk,
    Stop,
)
from fanfold.ledger.redriving import Selection
from fanfold.ledger.run_again import Redrive, Selected
from fanfold.ledger.uploads import DROP, WHOLE, Upload, UploadGone
from fanfold.ledger.watch import Standing
from fanfold.ledger.work import Outlook
from tests.ledger.jobs_recorded import (
    a_spec,
    begun,
    closed,
    fail,
    found,
    hold,
    labelled,
    new_job,
    new_token,
    ours,
    record,
    running,
    succeed,
)
from tests.ledger.tenant_trees import TREE_CALLS, Forest, a_forest
from tests.ledger.test_migrations import TABLES

ANOTHER = TenantId("another")
NEVER = Failure(type="NeverSealed", message="too late")
ITEMS = [NewChunk(item_count=1, body=b"[1]")]
RUN = BlockRun(block=1, number=1)
FAR_AHEAD = 1 << 60
PACED = Controls(max_concurrency=10, max_per_second=5)
AGAIN = Redrive(
    spec=a_spec(),
    controls=labelled({}),
    selected=[Selected(index, ChunkState.CANCELLED) for index in range(4)],
)

METHODS = [
    f"{part.name}.{name}"
    for part in fields(TenantLedger)
    if part.name != "tenant"
    for name, _ in inspect.getmembers(part.type, inspect.isfunction)
    if not name.startswith("_")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Jobs and uploads of one tenant, some at each place of their lives."""

    pending: JobId
    running: JobId
    done: JobId
    """All its chunks have their outcome, and it is not closed."""
    finished: JobId
    receiving: JobId
    attempt: Attempt
    records: list[ChunkRecord]
    """The chunks of the running job: one succeeded, one failed, one running, one pending."""
    open_upload: Upload
    whole: Upload
    dropped: Upload
    holding: JobId
    """All that is left of it is held."""
    waiting: JobId
    paused: JobId
    redriven: JobId
    job: JobRecord
    """The running one."""
    ended: JobRecord
    """The finished one."""


async def a_world(ledger: Ledger) -> World:
    mine = ours(ledger)
    running_job = await running(ledger, [1] * 4, controls=PACED)
    done, finished, redriven = [await running(ledger, [1] * 4) for _ in range(3)]
    for job_id in (running_job, done):
        await succeed(ledger, job_id, 0)
        await fail(ledger, job_id, 1)
    for index in (2, 3):
        await succeed(ledger, done, index)
    await mine.closing.stop(done, Stop("count", 1))
    await closed(ledger, finished, result=b"[1]")
    await closed(ledger, redriven)
    assert await mine.redriving.redrive(await found(ledger, redriven), AGAIN)
    paused, holding, waiting = [await running(ledger) for _ in range(3)]
    await mine.steering.pause(paused)
    await hold(ledger, holding, 0)
    await hold(ledger, waiting, 0)
    assert await mine.closing.wait(waiting)
    receiving = new_job_id()
    await mine.recording.record(new_job(receiving, controls=labelled({"a": "b"})), None)
    uploads = [await mine.uploads.begin(receiving, part) for part in (1, 2)]
    uploads += [await mine.uploads.begin(new_job_id(), WHOLE) for _ in range(2)]
    for upload in uploads:
        await mine.uploads.add(upload, 0, ITEMS * 2)
    complete, open_upload, whole, dropped = uploads
    await mine.uploads.complete(complete, 1, max_chunks=9, max_items=9)
    await ledger.database.write(Statement(f"{DROP} WHERE job_id = ?", (dropped.job_id,)))
    attempt = await begun(ledger, running_job, 2)
    await mine.work.take_over(running_job, BlockRun(block=7, number=2))
    await mine.steering.cancel_child(running_job, 2)
    await ledger.database.write(
        Statement("INSERT INTO child_cancels (job_id, idx) VALUES (?, 3)", (running_job,))
    )
    return World(
        pending=await record(ledger, controls=labelled({"a": "b"})),
        running=running_job,
        done=done,
        finished=finished,
        receiving=receiving,
        attempt=attempt,
        records=await mine.chunks.page(running_job, after=-1, limit=9),
        open_upload=open_upload,
        whole=whole,
        dropped=dropped,
        holding=holding,
        waiting=waiting,
        paused=paused,
        redriven=redriven,
        job=await found(ledger, running_job),
        ended=await found(ledger, finished),
    )


async def bodies(outputs: AsyncIterator[tuple[ChunkRecord, ChunkOutput]]) -> list[bytes]:
    """What there is to read of chunks' outputs."""
    return [output.body async for _, output in outputs if output.body]


async def found_data(chunks: AsyncIterator[ChunkData]) -> list[bytes]:
    return [chunk.items async for chunk in chunks]


async def all_of(batches: AsyncIterator[list[Any]]) -> list[Any]:
    return [one async for batch in batches for one in batch]


Call = Callable[[TenantLedger, World], Awaitable[object]]

# Each operation, as called on what the world has, and the answer where it finds none of it.
CALLS: dict[str, tuple[Call, object]] = {
    "jobs.find": (lambda of, has: of.jobs.find(has.running), None),
    "jobs.state": (lambda of, has: of.jobs.state(has.running), None),
    "jobs.revision": (lambda of, has: of.jobs.revision(has.running), None),
    "jobs.result": (lambda of, has: of.jobs.result(has.finished), None),
    "jobs.page": (
        lambda of, _: of.jobs.page(state=None, labels={"a": "b"}, before=None, limit=9),
        [],
    ),
    "jobs.request_cancel": (lambda of, has: of.jobs.request_cancel(has.running), False),
    "jobs.purge": (lambda of, has: of.jobs.purge(has.finished), False),
    "jobs.terms": (lambda of, has: of.jobs.terms(has.running), None),
    "jobs.open": (lambda of, has: of.jobs.open(has.pending), (False, None)),
    "jobs.outcome_counts": (lambda of, has: of.jobs.outcome_counts(has.running), (0, 0, 0)),
    "jobs.earlier_run": (lambda of, has: of.jobs.earlier_run(has.redriven, 1), None),
    "chunks.page": (lambda of, has: of.chunks.page(has.running, after=-1, limit=9), []),
    "chunks.find": (lambda of, has: of.chunks.find(has.running, 0), None),
    "chunks.outputs": (lambda of, has: bodies(of.chunks.outputs(has.running, has.records)), []),
    "chunks.stream": (lambda of, has: bodies(of.chunks.stream(has.running)), []),
    "chunks.batches": (lambda of, has: all_of(of.chunks.batches(has.running)), []),
    "chunks.items": (lambda of, has: of.chunks.items(has.running, 0), None),
    "chunks.data": (lambda of, has: found_data(of.chunks.data(has.running, items_wanted=9)), []),
    "chunks.data_of": (lambda of, has: found_data(of.chunks.data_of(has.running, [0])), []),
    "attempts.of_chunk": (lambda of, has: of.attempts.of_chunk(has.running, 0), None),
    "work.page": (lambda of, has: of.work.page(has.running, after=-1, limit=9), []),
    "work.offer_again": (lambda of, has: of.work.offer_again(has.running, run=1), None),
    "work.claim": (
        lambda of, has: of.work.claim(has.running, RUN, job_run=1, token=new_token()),
        None,
    ),
    "work.claim_some": (
        lambda of, has: of.work.claim_some(has.running, RUN, job_run=1, token=new_token(), count=2),
        [],
    ),
    "work.outlook": (
        lambda of, has: of.work.outlook(has.running, RUN, limit=9),
        Outlook(job_state=None, ready=0, due_in_seconds=None),
    ),
    "work.take_over": (
        lambda of, has: of.work.take_over(has.running, BlockRun(block=1, number=3)),
        None,
    ),
    "work.begin": (
        lambda of, has: of.work.begin(has.running, 3, 0, job_run=1, token=new_token()),
        None,
    ),
    "work.record": (
        # Every attempt says whose it is: one of another tenant's would say the other's name.
        lambda of, has: of.work.record(
            outcomes.succeeded(replace(has.attempt, tenant=of.tenant), ChunkOutput(body=b"[1]"))
        ),
        None,
    ),
    "work.record_lost": (
        lambda of, has: of.work.record_lost(has.running, None, NEVER, run=1),
        None,
    ),
    "closing.counts": (lambda of, has: of.closing.counts(has.running), ChunkCounts()),
    "closing.settle": (lambda of, has: of.closing.settle(has.running, run=1), ChunkCounts()),
    "closing.close": (
        lambda of, has: of.closing.close(has.done, JobState.SUCCEEDED, error=None, result=b"[1]"),
        False,
    ),
    "closing.stop": (lambda of, has: of.closing.stop(has.running, Stop("count", 1)), None),
    "closing.stopped_by": (lambda of, has: of.closing.stopped_by(has.done), None),
    "closing.wait": (lambda of, has: of.closing.wait(has.holding), None),
    "closing.cancelled_by_nobody": (
        lambda of, has: of.closing.cancelled_by_nobody(has.finished, 1),
        0,
    ),
    "closing.cancel_children": (lambda of, has: of.closing.cancel_children(has.running), None),
    "closing.discard": (lambda of, has: of.closing.discard(has.receiving), False),
    "closing.give_up": (
        lambda of, has: of.closing.give_up(has.receiving, NEVER, silent_since=FAR_AHEAD),
        False,
    ),
    "recording.record": (
        lambda of, has: of.recording.record(new_job(has.whole.job_id), has.whole),
        UploadGone,
    ),
    "recording.seal": (
        lambda of, has: of.recording.seal(
            has.receiving, new_job(has.receiving).spec, labelled({}), 2
        ),
        False,
    ),
    "uploads.begin": (lambda of, has: of.uploads.begin(has.receiving, 3), UploadGone),
    "uploads.add": (lambda of, has: of.uploads.add(has.open_upload, 2, ITEMS), UploadGone),
    "uploads.complete": (
        lambda of, has: of.uploads.complete(has.open_upload, 2, max_chunks=9, max_items=9),
        UploadGone,
    ),
    "uploads.drop": (lambda of, has: of.uploads.drop(has.open_upload), None),
    "uploads.delete_some": (lambda of, has: of.uploads.delete_some(has.dropped), False),
    "steering.pause": (lambda of, has: of.steering.pause(has.running), False),
    "steering.resume": (lambda of, has: of.steering.resume(has.paused), False),
    "steering.change": (
        lambda of, has: of.steering.change(
            has.job.id, has.job.revision, has.job.spec, labelled({"a": "c"}), 1
        ),
        False,
    ),
    "steering.cancel_child": (lambda of, has: of.steering.cancel_child(has.running, 3), None),
    "steering.release": (lambda of, has: of.steering.release(has.waiting), False),
    "steering.resolve": (
        lambda of, has: of.steering.resolve(has.waiting, 0, b"[1]", by_item=True),
        False,
    ),
    "redriving.select": (lambda of, has: of.redriving.select(has.finished, Selection()), []),
    "redriving.redrive": (lambda of, has: of.redriving.redrive(has.ended, AGAIN), False),
    "pacing.take_turns": (lambda of, has: of.pacing.take_turns(has.running, 1), None),
    "watch.narrow_blocks": (lambda of, has: of.watch.narrow_blocks(has.running, {1: 1}), None),
    "watch.standing": (
        lambda of, has: of.watch.standing(has.running, RUN),
        Standing(job_state=None),
    ),
    "watch.cancelled_children": (
        lambda of, has: of.watch.cancelled_children(has.running),
        frozenset(),
    ),
    "watch.has_open_chunks": (lambda of, has: of.watch.has_open_chunks(has.running), False),
}


async def everything(ledger: Ledger) -> list[list[tuple[Any, ...]]]:
    """All rows of all tables, whoever's they are."""
    return [
        sorted(
            (tuple(row) for row in await ledger.database.read(f"SELECT * FROM {table}")), key=repr
        )
        for table in TABLES
    ]


async def answer(call: Callable[..., Awaitable[object]], *given: object) -> object:
    try:
        return await call(*given)
    except UploadGone:
        return UploadGone


def test_every_operation_is_tried_with_another_tenant() -> None:
    assert sorted([*CALLS, *TREE_CALLS]) == sorted(METHODS)


async def the_world(ledger: Ledger, method: str) -> World | Forest:
    """What there is for this operation to find."""
    return await (a_forest(ledger) if method in TREE_CALLS else a_world(ledger))


@pytest.mark.parametrize("method", METHODS)
async def test_no_operation_reaches_what_another_tenant_has(ledger: Ledger, method: str) -> None:
    call, nothing = (CALLS | TREE_CALLS)[method]
    world = await the_world(ledger, method)
    before = await everything(ledger)

    given = await answer(call, ledger.of(ANOTHER), world)

    assert given == nothing
    assert await everything(ledger) == before


@pytest.mark.parametrize("method", METHODS)
async def test_the_same_operation_reaches_what_its_own_tenant_has(
    ledger: Ledger, method: str
) -> None:
    call, nothing = (CALLS | TREE_CALLS)[method]
    world = await the_world(ledger, method)
    before = await everything(ledger)

    given = await answer(call, ledger.of(DEFAULT_TENANT), world)

    assert given != nothing or await everything(ledger) != before


async def test_the_ledger_of_a_tenant_is_made_once(ledger: Ledger) -> None:
    assert ledger.of(ANOTHER) is ledger.of(TenantId("another"))
    assert ledger.of(ANOTHER) is not ledger.of(DEFAULT_TENANT)
