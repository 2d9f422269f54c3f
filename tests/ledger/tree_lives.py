"""Lives of a tree for the property tests: everything that may happen to it, in any order."""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from fanfold.contract.job_spec import Execution
from fanfold.contract.names import DEFAULT_TENANT, JobId
from fanfold.contract.states import ChunkState, JobState
from fanfold.ledger import outcomes
from fanfold.ledger.connect import Ledger, TenantLedger
from fanfold.ledger.counting import COUNTED_STATES
from fanfold.ledger.database import Row
from fanfold.ledger.records import Attempt, BlockRun, ChunkOutput, ItemError, JobRecord
from fanfold.ledger.redriving import Selection
from fanfold.ledger.run_again import Redrive
from fanfold.ledger.transitions import JUDGED_CHUNK, OPEN_CHUNK
from tests.ledger.jobs_recorded import BROKEN, chunks_of, found, new_token, ours
from tests.ledger.trees import Node, Tree, grown
from tests.ledger.twice import WrittenTwice

Step = tuple[str, int, int]
"""What happens, to which job, and how."""

RUN = BlockRun(block=1, number=1)
ENDS = (JobState.SUCCEEDED, JobState.PARTIALLY_SUCCEEDED, JobState.FAILED, JobState.CANCELLED)
SELECTIONS = (
    Selection(),
    Selection(states=[ChunkState.FAILED, ChunkState.CANCELLED], with_folds=True),
    Selection(error_types=["T"]),
)


@dataclass
class Grove:
    """A tree, and the attempts at chunks of its jobs."""

    ledger: Ledger
    tree: Tree
    attempts: list[Attempt] = field(default_factory=list)

    @classmethod
    async def new(cls, ledger: Ledger, node: Node) -> "Grove":
        return cls(ledger, await grown(ledger, node))

    async def step(self, what: str, which: int, number: int) -> None:
        jobs = [self.tree.root, *self.tree.ids.values()]
        job = await found(self.ledger, jobs[which % len(jobs)])
        of = ours(self.ledger)
        if number % 2 and what not in ("redrive", "claim"):
            # All of it written twice, as where nobody knew of the first time.
            of = Ledger(WrittenTwice(self.ledger.database), "twice").of(DEFAULT_TENANT)
        steps: dict[str, Callable[[], Awaitable[object]]] = {
            "open": lambda: self._open(of, job),
            "claim": lambda: self._claim(of, job),
            "pause": lambda: of.steering.pause(job.id),
            "resume": lambda: of.steering.resume(job.id),
            "prioritize": lambda: of.steering.prioritize_below(job.id, 1 + number % 5),
            "cancel": lambda: of.jobs.request_cancel(job.id, is_draining=number % 3 == 0),
            "cancel child": lambda: of.steering.cancel_child(job.id, number % 2),
            "wait": lambda: of.closing.wait(job.id),
            "release": lambda: of.steering.release(job.id),
            "resolve": lambda: of.steering.resolve(job.id, number % 2, b"[1]", by_item=False),
            "lose": lambda: of.work.record_lost(job.id, None, BROKEN, job.run),
            "settle below": lambda: of.closing.settle_below(job.id),
            "close": lambda: self._close(of, job, number),
            "skip": lambda: self._pass_over(of, job, of.sub_jobs.skip, number),
            "never": lambda: self._pass_over(of, job, of.sub_jobs.cancel_unbegun, number),
            "give": lambda: self._give(of, job, number),
            "undo": lambda: self._undo(of, job, number),
            "redrive": lambda: self._redrive(of, job, SELECTIONS[number % len(SELECTIONS)]),
        }
        if what in steps:
            await steps[what]()
        elif self.attempts:
            await self._end(of, what, self.attempts.pop(which % len(self.attempts)), number)

    async def end(self) -> None:
        """Bring the tree to its end, as whoever stops it does, whatever has happened."""
        root = await found(self.ledger, self.tree.root)
        of = ours(self.ledger)
        await of.compensating.hand_over(root.id)
        await of.closing.settle_below(root.id)
        if not root.is_parent:
            await of.closing.settle(root.id, root.run)
        assert root.state.is_terminal or await of.closing.close(
            root.id, JobState.CANCELLED, error=None, run=root.run
        ), root

    # --- what may happen --------------------------------------------------------------

    async def _open(self, of: TenantLedger, job: JobRecord) -> None:
        """Those above it run, or its workflow would not have been started."""
        for above in await of.sub_jobs.ancestors(job.id):
            if (await found(self.ledger, above)).state is JobState.PENDING:
                await of.jobs.open(above, (await found(self.ledger, above)).run)
        await of.jobs.open(job.id, job.run)

    async def _pass_over(
        self,
        of: TenantLedger,
        job: JobRecord,
        pass_over: Callable[[JobId], Awaitable[object]],
        number: int,
    ) -> None:
        if number % 4:
            await of.closing.settle_below(job.id)
        if job.place.parent is not None:
            await pass_over(job.id)

    async def _claim(self, of: TenantLedger, job: JobRecord) -> None:
        await self._open(of, job)
        claimed = await of.work.claim(job.id, RUN, job_run=job.run, token=new_token())
        if claimed is not None:
            self.attempts.append(claimed)

    async def _end(self, of: TenantLedger, what: str, attempt: Attempt, number: int) -> None:
        error = ItemError(item=0, type="T", message=str(number % 3), is_dropped=number % 4 == 0)
        part = ChunkOutput(body=b"[null]", item_errors=(error,), by_item=True)
        scripts = {
            "succeed": lambda: outcomes.succeeded(attempt, ChunkOutput(body=b"[1]")),
            "succeed in part": lambda: outcomes.succeeded_partially(attempt, BROKEN, part),
            "fail": lambda: outcomes.failed(attempt, BROKEN, ChunkOutput()),
            "hold": lambda: outcomes.held(attempt, BROKEN, part),
            "put off": lambda: outcomes.put_off(attempt, BROKEN, ChunkOutput(), seconds=0),
            "hand back": lambda: outcomes.handed_back(attempt),
        }
        await of.work.record(scripts[what]())

    async def _close(self, of: TenantLedger, job: JobRecord, number: int) -> None:
        if number % 3 == 0 and not job.is_parent:
            await of.closing.settle(job.id, job.run)
        end = ENDS[number % len(ENDS)]
        await of.closing.close(job.id, end, error=None, result=b"1", run=job.run)

    async def _give(self, of: TenantLedger, job: JobRecord, number: int) -> None:
        if job.place.parent is None or not job.spec.has_previous_input:
            return
        siblings = await of.sub_jobs.all_of(job.place.parent)
        (waits,) = [one for one in siblings if one.id == job.id]
        above = await of.sub_jobs.ancestors(job.id)
        await of.sub_jobs.hand_out([waits], Execution.ACTIVITY)
        await of.sub_jobs.give_input(waits, above, chunks_of([1] * (number % 3)))

    async def _undo(self, of: TenantLedger, job: JobRecord, number: int) -> None:
        place = job.place
        for due in await of.compensating.due(job.id, place.position, place.last_position):
            await of.compensating.record(due)
        for undoing in await of.sub_jobs.compensations(job.id):
            await of.jobs.open(undoing.id, undoing.run)
            token = new_token()
            claimed = await of.work.claim(undoing.id, RUN, job_run=undoing.run, token=token)
            if claimed is not None:
                await of.work.record(outcomes.succeeded(claimed, ChunkOutput(body=b"[1]")))
            await of.closing.close(undoing.id, ENDS[number % 2], error=None, run=undoing.run)

    async def _redrive(self, of: TenantLedger, job: JobRecord, selection: Selection) -> None:
        if job.is_parent:
            below = await of.redriving.select_below(job, selection)
            assert await of.redriving.redrive_below(job, below, None) == (
                job.state.is_terminal and bool(below.of)
            )
            return
        selected = await of.redriving.select(job.id, selection)
        wanted = Redrive(spec=job.spec, controls=job.controls, selected=selected)
        may = job.state.is_terminal or job.state is JobState.WAITING
        assert await of.redriving.redrive(job, wanted) == may

    # --- how things stand -------------------------------------------------------------

    async def check(self) -> None:
        """All that always holds."""
        database = self.ledger.database
        jobs = {
            row["id"]: row
            for row in await database.read(
                "SELECT id, parent_id, state, run, total_chunks, total_items, sub_jobs, summary, "
                "finished_at, compensates_run, started_by_gateway FROM jobs "
                "WHERE id = ? OR root_id = ?",
                (self.tree.root, self.tree.root),
            )
        }
        counted = await self._counted()
        kept = {
            row["job_id"]: Counter({name: int(row[name]) for name in _KEPT if row[name]})
            for row in await database.read(
                f"SELECT job_id, {', '.join(f'SUM({name}) AS {name}' for name in _KEPT)} "
                "FROM job_counts GROUP BY job_id"
            )
        }
        for job_id, job in jobs.items():
            rows = sum((counted[leaf] for leaf in self._leaves(jobs, job_id)), Counter[str]())
            assert job["total_chunks"] == rows.pop("chunks", 0), job_id
            assert job["total_items"] == rows.pop("items", 0), job_id
            is_open = rows.pop("open", 0)
            assert kept.get(job_id, Counter()) == rows, (job_id, kept.get(job_id), rows)
            assert (job["finished_at"] is None) == (not JobState(job["state"]).is_terminal)
            assert (job["finished_at"] is None) == (job["summary"] is None)
            if job["finished_at"] is not None:
                assert not is_open, job_id
                assert not rows["held"], job_id
                assert not [
                    below["id"]
                    for below in jobs.values()
                    if below["parent_id"] == job_id
                    and below["finished_at"] is None
                    and not below["started_by_gateway"]
                ], job_id

    def _leaves(self, jobs: dict[JobId, Row], job_id: JobId) -> list[JobId]:
        """The jobs with the chunks that count for a job."""
        if not jobs[job_id]["sub_jobs"]:
            return [job_id]
        return [
            leaf
            for below in jobs.values()
            if below["parent_id"] == job_id
            for leaf in self._leaves(jobs, below["id"])
        ]

    async def _counted(self) -> dict[JobId, Counter[str]]:
        """Chunks and items of each job that has some, counted from the rows."""
        counted: dict[JobId, Counter[str]] = {}
        jobs = {self.tree.root, *self.tree.ids.values()}
        rows: list[Any] = await self.ledger.database.read(
            "SELECT job_id, state, COUNT(*) AS chunks, SUM(item_count) AS items, "
            "SUM(items_failed) AS failed, SUM(items_dropped) AS dropped FROM chunks "
            "GROUP BY job_id, state"
        )
        for row in rows:
            of_job = counted.setdefault(row["job_id"], Counter())
            of_job.update(chunks=int(row["chunks"]), items=int(row["items"]))
            if row["state"] in OPEN_CHUNK:
                of_job["open"] += int(row["chunks"])
            if row["state"] in COUNTED_STATES:
                of_job[row["state"]] += int(row["chunks"])
            if row["state"] in JUDGED_CHUNK:
                failed = int(row["failed"])
                of_job.update(items_succeeded=int(row["items"]) - failed, items_failed=failed)
                of_job.update(items_dropped=int(row["dropped"]))
        return {job_id: counted.get(job_id, Counter()) for job_id in (*jobs, *counted)}


_KEPT = (*COUNTED_STATES, "items_succeeded", "items_failed", "items_dropped")
