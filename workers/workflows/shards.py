"""A job's shards: started one after the other, as slots come free, and lent slots meanwhile."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

from temporalio import workflow
from temporalio.exceptions import (
    ApplicationError,
    ChildWorkflowError,
    WorkflowAlreadyStartedError,
)

with workflow.unsafe.imports_passed_through():
    from fanfold.contract.job_spec import Execution
    from fanfold.contract.names import (
        CHANGED,
        PLAN_PAGE,
        SHARD_WORKFLOW,
        SLOTS_LENT,
        job_task_queue,
        shard_workflow_id,
    )
    from fanfold.contract.wire import (
        JobInput,
        Page,
        PageInput,
        ShardChange,
        ShardInput,
        ShardOutcome,
        SlotsLent,
        SlotsReturned,
    )
    from fanfold.workers.workflows.calls import LEDGER_RETRY, LEDGER_TIMEOUT, start_child
    from fanfold.workers.workflows.window import Running, Window


class Shards:
    """Runs a job's chunks in shards. Its window is theirs: each slot is free, or with one shard.

    In workflow mode a shard gets a page of the job's chunks; as soon as it has none left to
    start, what it returns goes to the next one. One whose history is full leaves the rest of its
    page to another one. In activity mode there is one shard, whose blocks claim from all chunks,
    until its history is full.
    """

    def __init__(
        self,
        job: JobInput,
        window: Window,
        *,
        is_going: Callable[[], bool],
        is_cancelled: Callable[[], bool],
        on_tolerance_exceeded: Callable[[], None],
        on_refused: Callable[[], None],
    ) -> None:
        """Lend the slots of this window; `is_going` is asked before each start.

        `is_cancelled` says whether shards are being told to stop.
        """
        self._job = job
        self._window = window
        self._is_going = is_going
        self._is_cancelled = is_cancelled
        self._on_tolerance_exceeded = on_tolerance_exceeded
        self._on_refused = on_refused
        self._running = Running()
        self._pace = job.pace
        self._next_number = 0
        self._wanted: dict[int, int] = {}
        self._heard: dict[int, int] = {}
        """Of shards that run: the number of the latest signal each has sent, of those here."""
        self._page: Page | None = None
        self._left: deque[Page] = deque()
        """What full shards have left, each for another one."""
        self._open_chunks = 0
        self._changes = 0
        self._is_paced = False
        self._is_over = False
        self._recalled: dict[int, int] = {}

    def changed(self) -> None:
        """Look again: there may be a reason to stop."""
        self._running.changed()

    def change(self, *, is_paced: bool, is_over: bool) -> None:
        """Tell all shards of what controls have changed; have slots back that are too many."""
        self._is_paced, self._is_over = is_paced, is_over
        self._changes += 1
        for number in self._wanted:
            self._tell_of_change(number)
        self._running.changed()

    def _tell_of_change(self, number: int) -> None:
        too_many = self._window.lent - self._window.size - sum(self._recalled.values())
        recalled = self._recalled.get(number, 0)
        more = max(0, min(too_many, self._window.lent_to(number) - recalled))
        self._recalled[number] = recalled + more
        change = ShardChange(
            slots_recalled=more,
            is_paced=self._is_paced,
            is_over=self._is_over,
            number=self._changes,
        )
        self._running.start(self._tell(number, CHANGED, change))

    def slots_returned(self, returned: SlotsReturned) -> None:
        """Take back slots that a shard has no use for, and note how many it wants."""
        self._window.take_back(returned.shard, returned.slots)
        if returned.shard in self._recalled:
            left = self._recalled[returned.shard] - returned.slots
            self._recalled[returned.shard] = max(0, left)
        is_overtaken = returned.number < self._heard.get(returned.shard, 0)
        if returned.shard in self._wanted and not is_overtaken:
            self._wanted[returned.shard] = returned.wanted
            self._heard[returned.shard] = returned.number
        if returned.is_full and self._page is None and self._is_in_blocks:
            self._page = Page(ranges=[], is_last=True)
        if returned.left:
            self._left.append(Page(ranges=returned.left, is_last=True))
        self._running.changed()

    async def run(self, page: Page, open_chunks: int) -> None:
        """Run the chunks of this page, and of those after it; returns once no shard runs.

        When cancelled, raises CancelledError once all shards have ended.
        """
        self._page, self._open_chunks = page, open_chunks
        self._left.clear()
        try:
            while True:
                self._lend_what_is_wanted()
                if self._left and self._window.free and self._is_going():
                    self._start(self._left.popleft())
                    continue
                if self._page is not None and self._window.free and self._is_going():
                    self._start(self._page)
                    self._page = await self._page_after(self._page)
                    continue
                if not self._running:
                    break
                await self._running.wait()
        except asyncio.CancelledError:
            await self._running.cancel()
            raise

    @property
    def _is_in_blocks(self) -> bool:
        return self._job.execution is Execution.ACTIVITY

    def _lend_what_is_wanted(self) -> None:
        for number, wanted in self._wanted.items():
            slots = min(self._window.free, wanted)
            if slots and self._is_going():
                self._window.lend(number, slots)
                self._wanted[number] -= slots
                self._running.start(self._tell(number, SLOTS_LENT, SlotsLent(slots=slots)))

    async def _tell(self, number: int, signal: str, what: SlotsLent | ShardChange) -> None:
        shard = workflow.get_external_workflow_handle(shard_workflow_id(self._job.job.id, number))
        # One that is over gives all its slots back anyway.
        with contextlib.suppress(ApplicationError):
            await shard.signal(signal, what)

    async def _page_after(self, page: Page) -> Page | None:
        if page.is_last or self._is_in_blocks:
            return None
        first, count = page.ranges[-1]
        after: Page = await workflow.execute_local_activity(
            PLAN_PAGE,
            PageInput(
                job=self._job.job,
                after=first + count - 1,
                limit=self._job.tuning.page_chunks(self._job.total_chunks),
            ),
            result_type=Page,
            start_to_close_timeout=LEDGER_TIMEOUT,
            retry_policy=LEDGER_RETRY,
        )
        return after if after.ranges else None

    def _start(self, page: Page) -> None:
        number, self._next_number = self._next_number, self._next_number + 1
        chunks = self._open_chunks
        if not self._is_in_blocks:
            chunks = sum(count for _, count in page.ranges)
        slots = min(self._window.free, chunks)
        self._window.lend(number, slots)
        self._running.start(self._run_shard(number, page, chunks, slots))

    async def _run_shard(self, number: int, page: Page, chunks: int, slots: int) -> None:
        """One shard, from its start to its end. What it leaves the ledger offers again."""
        job, known_changes = self._job, self._changes
        try:
            child = await start_child(
                SHARD_WORKFLOW,
                ShardInput(
                    job=job.job,
                    number=number,
                    slots=slots,
                    open_chunks=chunks,
                    stages=job.stages,
                    execution=job.execution,
                    ranges=[] if self._is_in_blocks else page.ranges,
                    pace=self._pace,
                    tuning=job.tuning,
                    is_paced=self._is_paced,
                ),
                workflow_id=shard_workflow_id(job.job.id, number),
                task_queue=job_task_queue(job.job.ledger),
                result_type=ShardOutcome,
            )
            self._wanted[number] = chunks - slots
            self._running.changed()
            # One that was being started could not be told yet.
            if self._changes > known_changes and workflow.patched("changed-while-shard-started"):
                self._tell_of_change(number)
            outcome: ShardOutcome = await child
        except (ChildWorkflowError, WorkflowAlreadyStartedError) as error:
            if not self._is_cancelled():
                workflow.logger.warning("shard %d of job %s: %s", number, job.job.id, error)
        else:
            self._pace = outcome.pace
            if outcome.is_tolerance_exceeded:
                self._on_tolerance_exceeded()
            if outcome.is_refused:
                self._on_refused()
        finally:
            self._window.take_all_back(number)
            self._wanted.pop(number, None)
            self._heard.pop(number, None)
            self._recalled.pop(number, None)
