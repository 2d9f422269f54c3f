"""Jobs made of jobs of one tenant, and each operation on them: see test_tenants.py."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fanfold.contract.job_spec import Execution
from fanfold.contract.names import JobId
from fanfold.contract.states import JobState
from fanfold.ledger.compensating import Due
from fanfold.ledger.connect import Ledger, TenantLedger
from fanfold.ledger.records import JobRecord, NewChunk
from fanfold.ledger.redriving import Below, Selection
from fanfold.ledger.sub_jobs import SubJob
from tests.ledger.jobs_recorded import fail, found, ours
from tests.ledger.trees import FROM_BEFORE, Tree, ended, grown, leaf, opened, parallel, undone

ITEMS = [NewChunk(item_count=1, body=b"[1]")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest:
    """Trees of one tenant, with jobs at each place of their lives."""

    growing: Tree
    """Of its jobs one is done, one is undone, one waits for its items, and one has not begun."""
    root: JobRecord
    waits: SubJob
    over: JobRecord
    """The root of another one, which has ended."""
    below: Below
    """What failed of that."""


async def a_forest(ledger: Ledger) -> Forest:
    mine = ours(ledger)
    growing = await grown(
        ledger, parallel(done=undone(1), undone=undone(1), waits=FROM_BEFORE, left=leaf(1))
    )
    await opened(ledger, growing, "")
    for path in ("done", "undone"):
        await ended(ledger, growing, path, JobState.SUCCEEDED)
    await mine.compensating.record(Due(growing["undone"], 1))
    over = await grown(ledger, parallel(failed=leaf(1)))
    await opened(ledger, over, "failed")
    await fail(ledger, over["failed"], 0)
    for path in ("failed", ""):
        await ended(ledger, over, path, JobState.FAILED)
    root = await found(ledger, over.root)
    (waits,) = [job for job in await mine.sub_jobs.all_of(growing.root) if job.name == "waits"]
    return Forest(
        growing=growing,
        root=await found(ledger, growing.root),
        waits=waits,
        over=root,
        below=await mine.redriving.select_below(root, Selection()),
    )


Call = Callable[[TenantLedger, Forest], Awaitable[object]]


def _left(has: Forest) -> JobId:
    return has.growing["left"]


TREE_CALLS: dict[str, tuple[Call, object]] = {
    "jobs.leaves": (lambda of, has: of.jobs.leaves(has.root), []),
    "jobs.sub_jobs": (lambda of, has: of.jobs.sub_jobs(has.root.id, limit=9), []),
    "closing.settle_below": (lambda of, has: of.closing.settle_below(has.root.id), None),
    "steering.prioritize_below": (
        lambda of, has: of.steering.prioritize_below(has.root.id, 1),
        None,
    ),
    "redriving.select_below": (
        lambda of, has: of.redriving.select_below(has.over, Selection()),
        Below([]),
    ),
    "redriving.redrive_below": (
        lambda of, has: of.redriving.redrive_below(has.over, has.below, None),
        False,
    ),
    "sub_jobs.all_of": (lambda of, has: of.sub_jobs.all_of(has.root.id), []),
    "sub_jobs.ancestors": (lambda of, has: of.sub_jobs.ancestors(_left(has)), []),
    "sub_jobs.cancel_unbegun": (lambda of, has: of.sub_jobs.cancel_unbegun(_left(has)), None),
    "sub_jobs.compensations": (lambda of, has: of.sub_jobs.compensations(has.root.id), []),
    "sub_jobs.count_unfinished": (lambda of, has: of.sub_jobs.count_unfinished(has.root.id), 0),
    "sub_jobs.give_input": (
        lambda of, has: of.sub_jobs.give_input(has.waits, [has.root.id], ITEMS),
        None,
    ),
    "sub_jobs.hand_out": (
        lambda of, has: of.sub_jobs.hand_out([has.waits], Execution.ACTIVITY),
        None,
    ),
    "sub_jobs.result": (lambda of, has: of.sub_jobs.result(has.growing["done"]), None),
    "sub_jobs.skip": (lambda of, has: of.sub_jobs.skip(_left(has)), None),
    "sub_jobs.states_by_end": (lambda of, has: of.sub_jobs.states_by_end(has.root.id), []),
    "sub_jobs.unfinished": (
        lambda of, has: of.sub_jobs.unfinished(has.root.id, after=-1, limit=9),
        [],
    ),
    "compensating.due": (
        lambda of, has: of.compensating.due(has.root.id, 0, has.root.place.last_position),
        [],
    ),
    "compensating.hand_over": (lambda of, has: of.compensating.hand_over(has.root.id), None),
    "compensating.may_be_due": (lambda of, has: of.compensating.may_be_due(has.root.id), False),
    "compensating.record": (
        lambda of, has: of.compensating.record(Due(has.growing["done"], 1)),
        None,
    ),
}
