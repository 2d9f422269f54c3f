"""From the document of a job to what the ledger records of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from fanfold.contract.job_spec import Controls, Execution, JobSpec
from fanfold.contract.names import JobId, new_job_id
from fanfold.contract.settings import IntakeSettings
from fanfold.intake.cutting import check_chunks, check_items, split
from fanfold.intake.item_schema import ItemSchema, asked_for
from fanfold.intake.published import PublishedCode, check_names
from fanfold.intake.spec import keep_ms, resolve_execution, to_controls, to_spec
from fanfold.intake.tree import Node
from fanfold.intake.validation import validate
from fanfold.ledger.recording import NewJob, NewSubJob
from fanfold.ledger.records import IdempotencyKey, NewChunk


@dataclass(slots=True, kw_only=True)
class Extent:
    """How much data a job, or an upload, has so far."""

    execution: Execution = Execution.AUTO
    chunks: int = 0
    items: int = 0
    largest_chunk_bytes: int = 0
    jobs: int | None = None
    """How many jobs it is made of, in all; None where it is not made of any."""

    def add(self, chunks: Sequence[NewChunk]) -> None:
        """Count these chunks too."""
        self.chunks += len(chunks)
        self.items += sum(chunk.item_count for chunk in chunks)
        largest = max((len(chunk.body) for chunk in chunks), default=0)
        self.largest_chunk_bytes = max(self.largest_chunk_bytes, largest)

    def add_times(self, data: Self, times: int) -> None:
        """Count this data too, which so many jobs get."""
        self.chunks += data.chunks * times
        self.items += data.items * times
        self.largest_chunk_bytes = max(self.largest_chunk_bytes, data.largest_chunk_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedJob:
    """A job that may be recorded."""

    spec: JobSpec
    controls: Controls
    chunks: Sequence[NewChunk] | None
    """None where they are to follow."""
    jobs: Sequence[NewSubJob]
    schema: ItemSchema | None
    """What items that follow have to fit."""
    getting_upload: int
    """How many jobs get the data that follows."""
    extent: Extent
    """Without the data that follows."""

    def new_job(self, job_id: JobId, key: IdempotencyKey | None) -> NewJob:
        """What the ledger records besides the chunks of the job itself."""
        return NewJob(
            id=job_id,
            spec=self.spec,
            controls=self.controls,
            key=key,
            keep_ms=keep_ms(self.controls),
            jobs=self.jobs,
        )

    def with_upload(self, data: Extent, limits: IntakeSettings) -> Self:
        """The job once all its data has followed; raises InvalidJob where that is too much."""
        extent = replace(self.extent)
        extent.add_times(data, self.getting_upload)
        check_chunks(extent.chunks, limits, ("chunk_size",))
        spec = replace(_resolved(self.spec, extent.chunks), is_upload=False)
        extent.execution = spec.execution
        return replace(self, spec=spec, jobs=_all_resolved(self.jobs, extent.chunks), extent=extent)


def prepare(document: Any, limits: IntakeSettings, code: PublishedCode) -> PreparedJob:  # noqa: ANN401 - any JSON value
    """The job in this document, which `job_text.decode_job` has read.

    Takes a second or two of a large one. Raises InvalidJob with a pointer to each fault.
    """
    nodes = validate(document, limits)
    check_names(nodes, code)
    root, getting = nodes[0], _getting(nodes)
    schemas = {
        node: asked_for(node, getting[node], code.processors) for node in nodes if node.has_data
    }
    chunks, extent = _cut(nodes, limits, {node: len(leaves) for node, leaves in getting.items()})
    for node, schema in schemas.items():
        if schema is not None:
            schema.check(node.asked, node.path)
    if len(nodes) > 1:
        extent.jobs = len(nodes) - 1
    chunk_count = None if root.is_upload else extent.chunks
    spec = to_spec(root, resolve_execution(root.whole.execution, chunk_count))
    extent.execution = spec.execution
    return PreparedJob(
        spec=spec,
        controls=to_controls(root),
        chunks=None if root.is_upload else chunks.get(root, ()),
        jobs=_sub_jobs(root, chunks, chunk_count),
        schema=schemas.get(root) if root.is_upload else None,
        getting_upload=len(getting[root]) if root.is_upload else 0,
        extent=extent,
    )


def _getting(nodes: Iterable[Node]) -> Mapping[Node, Sequence[Node]]:
    """By the job that has data: those whose chunks it becomes."""
    found: dict[Node, list[Node]] = {}
    for node in nodes:
        if node.is_leaf and node.data_of is not None:
            found.setdefault(node.data_of, []).append(node)
    return found


def _cut(
    nodes: Iterable[Node], limits: IntakeSettings, times: Mapping[Node, int]
) -> tuple[dict[Node, Sequence[NewChunk]], Extent]:
    """The chunks of each job that came with data; raises InvalidJob over a limit of them all."""
    given = [node for node in nodes if node.has_data and not node.is_upload]
    made: dict[Node, Sequence[NewChunk]] = {}
    items, extent = 0, Extent()
    for node in given:  # first: to cut too many would take long
        came_as = "items" if node.asked.chunks is None else "chunks"
        items += sum(map(len, node.asked.chunks or ())) + len(node.asked.items or ())
        check_items(items, limits, (*node.path, came_as))
    for node in given:
        of_node = Extent()
        of_node.add(made.setdefault(node, split(node.whole, limits, node.path)))
        extent.add_times(of_node, times[node])
        cut_by = "chunk_size" if node.asked.chunks is None else "chunks"
        check_chunks(extent.chunks, limits, (*node.path, cut_by))
    return made, extent


def _sub_jobs(
    node: Node, chunks: Mapping[Node, Sequence[NewChunk]], chunk_count: int | None
) -> list[NewSubJob]:
    return [
        NewSubJob(
            id=new_job_id(),
            name=str(below.name),
            spec=to_spec(below, resolve_execution(below.whole.execution, chunk_count)),
            controls=to_controls(below),
            data=chunks.get(below),
            jobs=_sub_jobs(below, chunks, chunk_count),
        )
        for below in node.jobs
    ]


def _resolved(spec: JobSpec, chunk_count: int) -> JobSpec:
    return replace(spec, execution=resolve_execution(spec.execution, chunk_count))


def _all_resolved(jobs: Iterable[NewSubJob], chunk_count: int) -> list[NewSubJob]:
    return [
        replace(
            job,
            spec=_resolved(job.spec, chunk_count),
            jobs=_all_resolved(job.jobs, chunk_count),
        )
        for job in jobs
    ]
