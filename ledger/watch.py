"""What those who run chunks ask of the ledger while they do, again and again."""

from collections.abc import Mapping
from dataclasses import dataclass

from fanfold.contract.names import JobId
from fanfold.contract.states import JobState
from fanfold.ledger.claiming import BLOCK_IS_FENCED
from fanfold.ledger.database import Batch
from fanfold.ledger.records import BlockRun
from fanfold.ledger.tenancy import JOB_IS_OURS, OfTenant
from fanfold.ledger.transitions import LOSE


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How things stand for a block that runs."""

    job_state: JobState | None
    """None where there is no such job, or where the block was taken over."""
    run: int = 0
    revision: int = 0
    is_draining: bool = False
    lanes: int | None = None
    """How many lanes it may have; None where that is as many as it was started with."""
    cancelled: frozenset[int] = frozenset()
    """Chunks of the job that a client wants cancelled."""


class Watch(OfTenant):
    """Operations of those who watch over running chunks. Every one raises LedgerUnavailable."""

    async def narrow_blocks(self, job_id: JobId, lanes: Mapping[int, int]) -> None:
        """Let each of these blocks have so many lanes from now on, or fewer.

        They never get more: what says so was written late, and has been overtaken.
        """
        await self._database.write(
            Batch(
                "INSERT INTO block_lanes (job_id, block, lanes) "
                "SELECT id, ?, CAST(? AS INTEGER) FROM jobs "
                "WHERE id = ? AND tenant = ? AND finished_at IS NULL "
                "ON CONFLICT (job_id, block) DO UPDATE SET lanes = excluded.lanes "
                "WHERE excluded.lanes < block_lanes.lanes",
                [(str(block), count, job_id, self._tenant) for block, count in lanes.items()],
            )
        )

    async def standing(self, job_id: JobId, run: BlockRun) -> Standing:
        """How things stand for a block that runs: asked again and again."""
        rows = await self._database.read(
            "SELECT state, run, revision, is_draining, "
            f"CASE WHEN {BLOCK_IS_FENCED} THEN 1 ELSE 0 END AS is_fenced, "
            "(SELECT lanes FROM block_lanes WHERE block_lanes.job_id = jobs.id "
            "AND block_lanes.block = ?) AS lanes, "
            "EXISTS (SELECT 1 FROM child_cancels WHERE child_cancels.job_id = jobs.id) "
            "AS has_cancels FROM jobs WHERE id = ? AND tenant = ?",
            (job_id, str(run.block), run.number, str(run.block), job_id, self._tenant),
        )
        if not rows or rows[0]["is_fenced"]:
            return Standing(job_state=None)
        (row,) = rows
        has_cancels = bool(row["has_cancels"])
        cancelled = await self.cancelled_children(job_id) if has_cancels else frozenset[int]()
        return Standing(
            job_state=JobState.read(row["state"]),
            run=row["run"],
            revision=row["revision"],
            is_draining=bool(row["is_draining"]),
            lanes=row["lanes"],
            cancelled=cancelled,
        )

    async def cancelled_children(self, job_id: JobId) -> frozenset[int]:
        """The chunks of a running job that clients want cancelled."""
        rows = await self._database.read(
            f"SELECT idx FROM child_cancels WHERE job_id = ? AND {JOB_IS_OURS}",
            (job_id, job_id, self._tenant),
        )
        return frozenset(index for (index,) in rows)

    async def has_open_chunks(self, job_id: JobId) -> bool:
        """Whether a chunk has no outcome, and is not held."""
        rows = await self._database.read(
            f"SELECT 1 FROM chunks WHERE job_id = ? AND tenant = ? AND {LOSE.condition} LIMIT 1",
            (job_id, self._tenant),
        )
        return bool(rows)
