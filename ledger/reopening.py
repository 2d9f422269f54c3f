"""Redrive in a tree: which jobs above and beside those that run again are opened again with them.

Every job above one that runs again makes its fold again, in its next run. In a sequence, those
after it that never ran, since one before them had failed or their condition was not met, or could
not be told, get their turn again. And what was undone, since a job that is opened again had come to
nothing, runs again too: else that could succeed with its parts undone.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from fanfold.contract.job_spec import JobSpec, Order
from fanfold.contract.names import JobId, TenantId
from fanfold.contract.states import JobState
from fanfold.ledger.database import Batch, Database, Row
from fanfold.ledger.transitions import REDRIVE, in_states

_CAME_TO_NOTHING = (JobState.FAILED, JobState.CANCELLED)
_NEVER_RAN = (JobState.CANCELLED, JobState.SKIPPED, JobState.FAILED)


@dataclass(frozen=True, slots=True)
class Reopened:
    """Jobs of a tree that are opened again, beside those that were selected."""

    parents: Sequence[JobId]
    """Made of jobs: they make their fold again. Those above come first."""
    unbegun: Sequence[JobId]
    """With chunks, or waiting for their items: they get their turn again."""
    undone: Sequence[JobId] = ()
    """With chunks that succeeded and were compensated; selected ones among them."""


@dataclass(frozen=True, slots=True)
class Node:
    """A job in its tree, as far as it matters here."""

    id: JobId
    parent: JobId | None
    position: int
    last_position: int
    state: JobState
    has_begun: bool
    is_parent: bool
    is_sequence: bool
    is_undone: bool = False
    """Whether what it did in its last run was compensated."""

    @property
    def undid(self) -> bool:
        """Whether what is below it may have been undone for its sake."""
        return self.is_parent and (self.is_sequence or self.state in _CAME_TO_NOTHING)

    @property
    def never_ran(self) -> bool:
        """Whether it did not get its turn, in its last run."""
        return not self.has_begun and self.state in _NEVER_RAN


IS_UNDONE = (
    "CASE WHEN has_compensation = 1 AND EXISTS (SELECT 1 FROM jobs AS undoing "
    "WHERE undoing.parent_id = jobs.id AND undoing.compensates_run = jobs.run "
    f"AND undoing.{in_states((JobState.SUCCEEDED, JobState.PARTIALLY_SUCCEEDED))}) "
    "THEN 1 ELSE 0 END AS is_undone"
)
"""The column that says whether what a job did in its last run was compensated."""


async def reopened(
    database: Database, tenant: TenantId, root: JobId, selected: Collection[JobId]
) -> Reopened:
    """What is opened again, in the tree below this job, with the selected jobs."""
    rows = await database.read(
        f"SELECT id, parent_id, position, last_position, state, started_at, sub_jobs, {IS_UNDONE}, "
        # Of those with chunks the spec does not matter.
        "CASE WHEN sub_jobs > 0 THEN spec END AS spec, "
        "CASE WHEN sub_jobs > 0 THEN controls END AS controls FROM jobs "
        "WHERE (id = ? OR root_id = ?) AND tenant = ? AND compensates_run = 0 ORDER BY position",
        (root, root, tenant),
    )
    return plan([_node(row) for row in rows], selected)


def plan(nodes: Sequence[Node], selected: Collection[JobId]) -> Reopened:
    """What is opened again of these jobs, which are all of a tree, by position."""
    tree, undone = _Tree(nodes), set[JobId]()
    while True:
        opened = tree.opened_with({*selected, *undone})
        more = tree.undone(opened)
        if more == undone:
            break
        undone = more
    also = [node for node in nodes if node.id in opened and node.id not in selected]
    return Reopened(
        [node.id for node in also if node.is_parent],
        [node.id for node in also if not node.is_parent and node.id not in undone],
        [node.id for node in nodes if node.id in undone],
    )


class _Tree:
    """All jobs of a tree, by position."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = nodes
        self._positions = [node.position for node in nodes]
        self._jobs: dict[JobId, list[Node]] = {}
        for node in nodes:
            if node.parent is not None:
                self._jobs.setdefault(node.parent, []).append(node)

    def opened_with(self, selected: Collection[JobId]) -> set[JobId]:
        """These jobs, all above them, and in sequences what never ran after them."""
        opened = set(selected)
        for node in reversed(self._nodes):  # what is below comes first
            jobs = self._jobs.get(node.id, ())
            first = next((at for at, job in enumerate(jobs) if job.id in opened), None)
            if first is None:
                continue
            opened.add(node.id)
            if node.is_sequence:
                for job in jobs[first + 1 :]:
                    opened.update(self._never_ran(job))
        return opened

    def undone(self, opened: Collection[JobId]) -> set[JobId]:
        """What was undone of what is opened, or for its sake."""
        return {
            one.id
            for node in self._nodes
            if node.id in opened
            for one in (self._from(node) if node.undid else (node,))
            if one.is_undone
        }

    def _from(self, node: Node) -> Sequence[Node]:
        """The job, and all below it."""
        first = bisect_left(self._positions, node.position)
        return self._nodes[first : bisect_right(self._positions, node.last_position)]

    def _never_ran(self, job: Node) -> Iterator[JobId]:
        """Those of the job, and of all below it, that did not get their turn.

        What has come to something in an earlier run keeps that, with all below it.
        """
        kept = -1
        for node in self._from(job):
            if node.position <= kept:
                continue
            if node.never_ran:
                yield node.id
            else:
                kept = node.last_position


def hold_still(parents: Sequence[JobId], tenant: TenantId) -> Batch:
    """What comes first where parents are opened again, whatever state they are in.

    One that is just being closed is waited for. Those above come before those below, as where
    jobs are cancelled or paused.
    """
    return Batch(
        "UPDATE jobs SET checked_at = checked_at WHERE id = ? AND tenant = ?",
        [(job_id, tenant) for job_id in parents],
    )


def reopen(parents: Sequence[JobId], tenant: TenantId) -> list[Batch]:
    """Opens parents that have ended again, in their next run; those that have not go on."""
    these = [(job_id, tenant) for job_id in parents]
    ended = f"id = ? AND tenant = ? AND {REDRIVE.condition}"
    return [
        Batch(
            "INSERT INTO job_runs (job_id, run, tenant, state, spec, controls, summary, "
            "started_at, finished_at) SELECT id, run, tenant, state, spec, controls, summary, "
            f"started_at, finished_at FROM jobs WHERE {ended} "
            "ON CONFLICT (job_id, run) DO NOTHING",
            these,
        ),
        Batch(
            f"DELETE FROM job_results WHERE job_id = (SELECT id FROM jobs WHERE {ended})",
            these,
        ),
        Batch(f"UPDATE jobs SET {OPENED_AGAIN} WHERE {ended}", these),
    ]


OPENED_AGAIN = (
    f"{REDRIVE.change}, run = run + 1, started_at = NULL, finished_at = NULL, summary = NULL, "
    "expires_at = NULL, workflow_started_at = NULL, claimed_until = 0, is_draining = 0, "
    "waiting_since = NULL, stop_rule = NULL, stop_index = NULL"
)
"""The assignments that let a job that has ended begin its next run."""


def _node(row: Row) -> Node:
    is_parent = row["sub_jobs"] > 0
    order = JobSpec.from_json(row["spec"], row["controls"]).order if is_parent else None
    return Node(
        id=row["id"],
        parent=row["parent_id"],
        position=row["position"],
        last_position=row["last_position"],
        state=JobState.read(row["state"]),
        has_begun=row["started_at"] is not None,
        is_parent=is_parent,
        is_sequence=order is Order.SEQUENCE,
        is_undone=bool(row["is_undone"]),
    )
