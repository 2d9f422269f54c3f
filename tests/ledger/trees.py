"""Jobs made of jobs for the tests: recorded, found by their paths, brought to their ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fanfold.contract.job_spec import Controls, Order, StageSpec
from fanfold.contract.names import JobId, new_job_id
from fanfold.contract.states import JobState
from fanfold.ledger.connect import Ledger
from fanfold.ledger.recording import Data, NewJob, NewSubJob
from fanfold.ledger.records import IdempotencyKey, JobRecord
from tests.ledger.jobs_recorded import a_spec, chunks_of, fail, found, ours, succeed

UNDO = StageSpec(processor="undo")
_CONTROLS = Controls(max_concurrency=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A job of a tree that is to be recorded."""

    sizes: Sequence[int] | None = None
    """Of its own data; None where it has none."""
    jobs: "Mapping[str, Node]" = field(default_factory=dict)
    controls: Controls = _CONTROLS
    spec: Mapping[str, Any] = field(default_factory=dict)

    def sub_jobs(self) -> list[NewSubJob]:
        return [
            NewSubJob(
                id=new_job_id(),
                name=name,
                spec=replace(a_spec(), **node.spec),
                controls=node.controls,
                data=None if node.sizes is None else chunks_of(node.sizes),
                jobs=node.sub_jobs(),
            )
            for name, node in self.jobs.items()
        ]


def leaf(*sizes: int, controls: Controls = _CONTROLS, **spec: Any) -> Node:
    """A job with chunks of these sizes; without any, with those of a job above it."""
    return Node(sizes=sizes or None, controls=controls, spec=spec)


def undone(*sizes: int) -> Node:
    """A job that says how to undo what it did."""
    return leaf(*sizes, compensate=UNDO)


def parallel(*sizes: int, **jobs: Node) -> Node:
    """A job made of these, with data for those below it that have none."""
    return Node(sizes=sizes or None, jobs=jobs, spec={"order": Order.PARALLEL})


def sequence(*sizes: int, **jobs: Node) -> Node:
    """The same, one after another."""
    return Node(sizes=sizes or None, jobs=jobs, spec={"order": Order.SEQUENCE})


FROM_BEFORE = leaf(has_previous_input=True)
"""A job of a sequence whose items are what the one before it gave."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A recorded job with all below it."""

    root: JobId
    ids: Mapping[str, JobId]
    """Of those below it, by their paths, in order."""

    def __getitem__(self, path: str) -> JobId:
        """The job with this path; the root has none."""
        return self.ids[path] if path else self.root

    def path(self, job_id: JobId) -> str:
        """The path of a job."""
        return {job_id: path for path, job_id in self.ids.items()}.get(job_id, "")


def to_record(
    node: Node, *, key: IdempotencyKey | None = None, keep_ms: int | None = None
) -> tuple[NewJob, Tree]:
    """A job to be recorded, and where it will be found."""
    new = NewJob(
        id=new_job_id(),
        spec=replace(a_spec(), **node.spec),
        controls=node.controls,
        key=key,
        keep_ms=keep_ms,
        jobs=node.sub_jobs(),
    )
    return new, Tree(new.id, dict(_paths(new.jobs, "")))


def _paths(jobs: Sequence[NewSubJob], above: str) -> list[tuple[str, JobId]]:
    found: list[tuple[str, JobId]] = []
    for job in jobs:
        path = f"{above}{job.name}"
        found += [(path, job.id), *_paths(job.jobs, f"{path}/")]
    return found


async def grown(ledger: Ledger, node: Node, **given: Any) -> Tree:
    """Record a job with all below it."""
    new, tree = to_record(node, **given)
    data: Data = chunks_of(node.sizes or ())
    await ours(ledger).recording.record(new, data)
    return tree


async def opened(ledger: Ledger, tree: Tree, *paths: str) -> None:
    """Let these jobs begin, those above them first."""
    for path in paths:
        parts = path.split("/") if path else []
        for depth in range(len(parts) + 1):
            job_id = tree["/".join(parts[:depth])]
            await ours(ledger).jobs.open(job_id, (await found(ledger, job_id)).run)


async def ended(ledger: Ledger, tree: Tree, path: str, state: JobState) -> None:
    """Let a job come to its end: its chunks that are open succeed, or fail."""
    job = await found(ledger, tree[path])
    await opened(ledger, tree, path)
    if state in (JobState.SUCCEEDED, JobState.PARTIALLY_SUCCEEDED, JobState.FAILED):
        for index in await ours(ledger).work.page(job.id, after=-1, limit=1000):
            if state is JobState.FAILED or (state is JobState.PARTIALLY_SUCCEEDED and index % 2):
                await fail(ledger, job.id, index, run=job.run)
            else:
                await succeed(ledger, job.id, index, run=job.run)
    else:
        await ours(ledger).closing.settle(job.id, job.run)
    assert await ours(ledger).closing.close(job.id, state, error=None, result=b"1", run=job.run)


async def records(ledger: Ledger, tree: Tree) -> dict[str, JobRecord]:
    """All jobs of a tree by their paths, the root first."""
    return {path: await found(ledger, tree[path]) for path in ("", *tree.ids)}


async def states(ledger: Ledger, tree: Tree) -> dict[str, str]:
    """The states of all jobs of a tree by their paths, the root first."""
    return {path: str(job.state) for path, job in (await records(ledger, tree)).items()}
