"""What is left to do of a job: planned in pages, claimed, begun, taken back.

The ledger plans: a chunk without a final outcome is offered until it has one, whatever
became of the workflow, the worker or the call that had it before. Each beginning raises
the chunk's fence, and every write of an attempt holds the fence that it began with. So a
worker that was thought dead and comes back changes nothing any more.

A call that begins an attempt carries a token of the caller's. Made again with the same
token, because nobody knows whether the first was written, it gives the same attempt.
"""

from dataclasses import dataclass

from fanfold.contract.failures import Failure
from fanfold.contract.names import JobId
from fanfold.contract.states import ChunkState, JobState
from fanfold.ledger.again import taken_up_again
from fanfold.ledger.claiming import BEGIN_ATTEMPT, BLOCK_IS_FENCED, JOB_RUNS, claiming
from fanfold.ledger.database import Row, Statement, Value
from fanfold.ledger.error_groups import LAST_INDEX
from fanfold.ledger.outcomes import TAKEN_BACK, Script, failure_columns
from fanfold.ledger.records import (
    Attempt,
    BlockRun,
    ChunkOutput,
    NoAttempt,
    failure_of,
    now_ms,
    output_of,
)
from fanfold.ledger.restoring import restore_lost
from fanfold.ledger.tenancy import IS_IN_RUN, JOB_IS_OURS, OfTenant
from fanfold.ledger.transitions import LOSE, TAKE_BACK

_END_OF_TIME = 2**62
_FEWER_RUN = (
    "(SELECT COALESCE(SUM(running), 0) FROM job_counts WHERE job_counts.job_id = ?) "
    "< CAST(? AS BIGINT)"
)
# A chunk in flight of a job that lets these finish goes through all its stages.
_JOB_LETS_GO_ON = (
    "EXISTS (SELECT 1 FROM jobs WHERE jobs.id = ? AND (jobs.state = 'running' "
    "OR jobs.state = 'cancelling' AND jobs.is_draining = 1) AND jobs.run = ?)"
)
# Each of the subqueries finds one row by its key. A join would leave the choice to the
# database, which reads all of a job's inputs while it has no statistics.
_ATTEMPT = (
    "SELECT idx, stage, stage_attempts, fence, item_count, by_item, run, kept_from, "
    "(SELECT body FROM inputs WHERE inputs.job_id = CASE WHEN chunks.stage = 0 "
    "THEN COALESCE(chunks.inputs_of, chunks.job_id) ELSE chunks.job_id END "
    "AND inputs.idx = COALESCE(chunks.input_at, chunks.idx) "
    "AND inputs.stage = chunks.stage) AS input, "
    # Nothing was kept before the first attempt at the first stage.
    "CASE WHEN chunks.attempts > 1 OR chunks.stage > 0 THEN (SELECT body FROM results "
    "WHERE results.job_id = chunks.job_id AND results.idx = chunks.idx) END AS kept_body, "
    "CASE WHEN chunks.attempts > 1 OR chunks.stage > 0 THEN (SELECT item_errors FROM results "
    "WHERE results.job_id = chunks.job_id AND results.idx = chunks.idx) END AS kept_errors, "
    "(SELECT revision FROM jobs WHERE jobs.id = chunks.job_id) AS job_revision "
    "FROM chunks WHERE chunks.job_id = ? AND chunks.state = 'running' "
    "AND chunks.token BETWEEN ? AND ? AND chunks.tenant = ? "
    # None at a stage that was only reached: the token is of the attempt at the one before.
    "AND chunks.stage_attempts > 0"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What there is to claim of a job, now and later."""

    job_state: JobState | None
    """None where there is no such job."""
    ready: int
    """How many chunks may be claimed now, as far as they were counted."""
    due_in_seconds: float | None
    """When the next of those that wait for another attempt is due; None where none waits."""


class Work(OfTenant):
    """Operations of those who run chunks. Every method raises LedgerUnavailable."""

    # --- planning ---------------------------------------------------------------------

    async def page(self, job_id: JobId, *, after: int, limit: int) -> list[int]:
        """At most `limit` chunks without an outcome, with an index above `after`, in order."""
        # Three indexes, each in order: one condition over all states would read every chunk.
        # A chunk that changes its state meanwhile may be in two of the answers.
        found: set[int] = set()
        for which in (
            "state = 'pending' AND due_at IS NULL",
            "state = 'pending' AND due_at IS NOT NULL",
            "state = 'running'",
        ):
            rows = await self._database.read(
                f"SELECT idx FROM chunks WHERE job_id = ? AND {which} AND idx > ? "
                f"AND {JOB_IS_OURS} ORDER BY idx LIMIT ?",
                (job_id, after, job_id, self._tenant, limit),
            )
            found.update(index for (index,) in rows)
        return sorted(found)[:limit]

    async def offer_again(self, job_id: JobId, run: int) -> None:
        """Take back every attempt of a job, in this run, of which nothing runs any more.

        Their workflows were closed outside Fanfold, or replaced: that is not the chunks'
        fault, and the attempts do not count.
        """
        await self._database.write(
            Statement(
                f"UPDATE chunks SET {TAKEN_BACK} "
                f"WHERE job_id = ? AND tenant = ? AND {TAKE_BACK.condition} AND {IS_IN_RUN}",
                (job_id, self._tenant, job_id, run),
            )
        )

    # --- in activity mode -------------------------------------------------------------

    async def claim(
        self,
        job_id: JobId,
        run: BlockRun,
        *,
        job_run: int,
        token: int,
        above: int = -1,
        after: Script = (),
    ) -> Attempt | None:
        """Begin an attempt at the next chunk that may run, if there is one; see `claim_some`."""
        for claimed in await self.claim_some(
            job_id, run, job_run=job_run, token=token, count=1, above=above, after=after
        ):
            return claimed
        return None

    async def claim_some(
        self,
        job_id: JobId,
        run: BlockRun,
        *,
        job_run: int,
        token: int,
        count: int,
        above: int = -1,
        after: Script = (),
        most_running: int | None = None,
        is_in_order: bool = False,
    ) -> list[Attempt]:
        """Begin attempts at the next chunks that may run, `count` at most.

        Chunks whose wait is over come first, then those with an index above `above`, in
        order; with `is_in_order` none of these while another one waits. `after` is what became
        of attempts before, recorded in the same transaction.
        With `most_running`, only while fewer chunks of the job than these are running.
        None as well where the job is not running, or is in another run than `job_run`, or
        where the block was taken over by a later one.
        """
        now = now_ms()
        # Each chunk has a token of its own, and no others have any of these.
        tokens = token, token + LAST_INDEX
        found: tuple[Value, ...] = (job_id, now, count, job_id, above, count, count)
        claimed: tuple[Value, ...] = (now, token, run.block, job_id, self._tenant)
        allowed: tuple[Value, ...] = (
            *(job_id, job_run, job_id, str(run.block), run.number),
            *(job_id, *tokens),
        )
        claim = claiming(self._database, is_in_order=is_in_order)
        if most_running is not None:
            claim, allowed = f"{claim} AND {_FEWER_RUN}", (*allowed, job_id, most_running)
        *_, rows = await self._database.write(
            *after,
            Statement(claim, (*found, *claimed, *allowed)),
            # In no order: for one, SQLite would look through all of the job's chunks.
            Statement(_ATTEMPT, (job_id, *tokens, self._tenant)),
        )
        begun = [await self._attempt(job_id, row, now) for row in rows]
        return sorted(begun, key=lambda attempt: attempt.index)

    async def outlook(
        self, job_id: JobId, run: BlockRun, *, limit: int, is_in_order: bool = False
    ) -> Outlook:
        """What a block that found nothing to claim may hope for.

        A block that was taken over may hope for nothing: to it the job does not run.
        """
        rows = await self._database.read(
            "SELECT jobs.state, (SELECT MIN(due_at) FROM chunks WHERE chunks.job_id = jobs.id "
            "AND chunks.state = 'pending' AND due_at IS NOT NULL), "
            f"CASE WHEN {BLOCK_IS_FENCED} THEN 1 ELSE 0 END FROM jobs "
            "WHERE jobs.id = ? AND jobs.tenant = ?",
            (job_id, str(run.block), run.number, job_id, self._tenant),
        )
        if not rows:
            return Outlook(job_state=None, ready=0, due_in_seconds=None)
        state, due_at, is_fenced = rows[0]
        if is_fenced or state != JobState.RUNNING:
            job_state = None if is_fenced else JobState.read(state)
            return Outlook(job_state=job_state, ready=0, due_in_seconds=None)
        now = now_ms()
        ready = 0
        # In order, or SQLite would look through all of the job's chunks.
        for which in (
            "due_at IS NULL AND idx >= 0 ORDER BY idx",
            "due_at IS NOT NULL AND due_at <= ?",
        )[int(is_in_order and due_at is not None) :]:
            parameters: tuple[Value, ...] = (job_id, now) if "?" in which else (job_id,)
            ((count,),) = await self._database.read(
                "SELECT COUNT(*) FROM (SELECT idx FROM chunks WHERE job_id = ? "
                f"AND state = 'pending' AND {which} LIMIT ?) AS found",
                (*parameters, limit),
            )
            ready += int(count)
        waits = None if due_at is None else max(0.0, (due_at - now) / 1000)
        return Outlook(job_state=JobState.RUNNING, ready=ready, due_in_seconds=waits)

    async def take_over(self, job_id: JobId, run: BlockRun) -> None:
        """Let no earlier run of the block begin another chunk: its worker is taken for dead.

        What it had begun may be claimed again; these attempts count.
        """
        await self._database.write(
            # First, while the run is not noted yet: done again it would take the run's own.
            Statement(
                f"UPDATE chunks SET {TAKE_BACK.change}, fence = fence + 1, block = NULL "
                f"WHERE job_id = ? AND tenant = ? AND {TAKE_BACK.condition} AND block = ? "
                f"AND NOT {BLOCK_IS_FENCED}",
                (job_id, self._tenant, run.block, job_id, str(run.block), run.number - 1),
            ),
            Statement(
                # Of a job that is over nothing may be left behind.
                "INSERT INTO block_runs (job_id, block, number) "
                "SELECT id, ?, CAST(? AS BIGINT) FROM jobs "
                "WHERE id = ? AND tenant = ? AND finished_at IS NULL "
                "ON CONFLICT (job_id, block) DO UPDATE SET number = excluded.number "
                "WHERE excluded.number > block_runs.number",
                (str(run.block), run.number, job_id, self._tenant),
            ),
        )

    # --- in both ----------------------------------------------------------------------

    async def begin(
        self,
        job_id: JobId,
        index: int,
        stage: int,
        *,
        job_run: int,
        token: int,
        is_due: bool = False,
        within: BlockRun | None = None,
        after: Script = (),
    ) -> Attempt | NoAttempt | None:
        """Begin an attempt at a stage, unless its job is not running or the stage is done.

        Also where an attempt is running: whoever calls knows that it has ended. Not before
        its time where it was put off, unless the caller knows that it `is_due`. `job_run`,
        `within` and `after` as for `claim`. None where there is no such chunk.
        """
        condition, fence = "", tuple[Value, ...]()
        if within is not None:
            condition = f" AND NOT {BLOCK_IS_FENCED}"
            fence = (job_id, str(within.block), within.number)
        now = now_ms()
        *_, begun, found = await self._database.write(
            *after,
            Statement(
                f"{BEGIN_ATTEMPT} token = ?, block = ? "
                "WHERE job_id = ? AND tenant = ? AND idx = ? AND stage = ? "
                "AND (state = 'running' OR state = 'pending' AND (due_at IS NULL OR due_at <= ?)) "
                "AND (token IS NULL OR token <> ?) "
                f"AND {_JOB_LETS_GO_ON if stage else JOB_RUNS}{condition}",
                (
                    *(now, token, within.block if within else None),
                    *(job_id, self._tenant, index, stage),
                    *(_END_OF_TIME if is_due else now, token, job_id, job_run),
                    *fence,
                ),
            ),
            Statement(
                f"{_ATTEMPT} AND chunks.idx = ?", (job_id, token, token, self._tenant, index)
            ),
            Statement(
                "SELECT chunks.state AS chunk_state, jobs.state AS job_state, stage, "
                "error_type, error_message, error_retryable, error_traceback, due_at "
                "FROM chunks JOIN jobs ON jobs.id = chunks.job_id "
                "WHERE chunks.job_id = ? AND chunks.tenant = ? AND chunks.idx = ?",
                (job_id, self._tenant, index),
            ),
        )
        if begun:
            return await self._attempt(job_id, begun[0], now)
        if not found:
            return None
        (chunk,) = found
        due_at = chunk["due_at"]
        return NoAttempt(
            chunk_state=ChunkState.read(chunk["chunk_state"]),
            job_state=JobState.read(chunk["job_state"]),
            stage=chunk["stage"],
            error=failure_of(chunk),
            due_in_seconds=max(0.0, (due_at - now) / 1000) if due_at is not None else 0.0,
        )

    async def record(self, outcome: Script) -> None:
        """Record what became of an attempt: one of the scripts of `fanfold.ledger.outcomes`."""
        await self._database.write(*outcome)

    async def record_lost(
        self, job_id: JobId, index: int | None, failure: Failure, run: int
    ) -> None:
        """Record the failure of a chunk, or of all, that cannot record their own in this run.

        Those that have an outcome keep it.
        """
        which = f"AND tenant = ? AND {IS_IN_RUN} "
        chosen: tuple[Value, ...] = (self._tenant, job_id, run)
        if index is not None:
            which, chosen = f"{which}AND idx = ? ", (*chosen, index)
        await self._database.write(
            # What runs again is what it was before: no redrive loses a result.
            *restore_lost(job_id, index, self._tenant, run),
            # Then, so that the rows are locked: a success on its way keeps its result.
            Statement(
                f"UPDATE chunks SET fence = fence + 1 WHERE job_id = ? {which}AND {LOSE.condition}",
                (job_id, *chosen),
            ),
            # All their items count as failed, so none may show a result.
            Statement(
                f"DELETE FROM results WHERE job_id = ? {which}AND EXISTS ("
                " SELECT 1 FROM chunks WHERE chunks.job_id = results.job_id"
                f" AND chunks.idx = results.idx AND {LOSE.condition})",
                (job_id, *chosen),
            ),
            Statement(
                f"UPDATE chunks SET {LOSE.change}, finished_at = ?, items_failed = item_count, "
                "items_dropped = 0, result_bytes = 0, by_item = NULL, error_type = ?, "
                "error_message = ?, error_retryable = ?, error_traceback = ?, due_at = NULL "
                f"WHERE job_id = ? {which}AND {LOSE.condition}",
                (now_ms(), *failure_columns(failure), job_id, *chosen),
            ),
        )

    async def _attempt(self, job_id: JobId, row: Row, begun_at: int) -> Attempt:
        kept, stage = ChunkOutput(), row["stage"]
        if row["kept_body"] is not None:
            kept = output_of(row["kept_body"], row["kept_errors"], row["by_item"])
        attempt = Attempt(
            job_id=job_id,
            tenant=self._tenant,
            index=row["idx"],
            stage=stage,
            number=row["stage_attempts"],
            fence=row["fence"],
            item_count=row["item_count"],
            input=bytes(row["input"]),
            revision=row["job_revision"],
            run=row["run"],
            begun_at=begun_at,
            by_item=None if row["by_item"] is None else bool(row["by_item"]),
            earlier_errors=tuple(error for error in kept.item_errors if error.stage < stage),
            checkpoint=ChunkOutput(
                body=kept.body,
                item_errors=tuple(error for error in kept.item_errors if error.stage == stage),
            ),
        )
        if row["kept_from"] is None:
            return attempt
        return await taken_up_again(self._database, attempt)
