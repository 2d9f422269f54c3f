"""From the document of a job to what the ledger records of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from fanfold.contract.job_spec import Controls, Execution, JobSpec
from fanfold.contract.names import JobId
from fanfold.contract.settings import IntakeSettings
from fanfold.intake.cutting import split
from fanfold.intake.item_schema import ItemSchema, asked_for
from fanfold.intake.spec import keep_ms, resolve_execution, to_controls, to_spec
from fanfold.intake.validation import check_names, validate
from fanfold.ledger.catalog import Catalog, Kind, Published
from fanfold.ledger.recording import NewJob
from fanfold.ledger.records import IdempotencyKey, NewChunk


@dataclass(frozen=True, slots=True)
class PublishedCode:
    """The processors and reducers that the workers have."""

    processors: Published
    reducers: Published


async def published_code(catalog: Catalog) -> PublishedCode:
    """What the workers have now. Raises LedgerUnavailable."""
    return PublishedCode(
        await catalog.published(Kind.PROCESSOR), await catalog.published(Kind.REDUCER)
    )


@dataclass(slots=True, kw_only=True)
class Extent:
    """How much data a job, or an upload, has so far."""

    execution: Execution = Execution.AUTO
    chunks: int = 0
    items: int = 0
    largest_chunk_bytes: int = 0

    def add(self, chunks: Sequence[NewChunk]) -> None:
        """Count these chunks too."""
        self.chunks += len(chunks)
        self.items += sum(chunk.item_count for chunk in chunks)
        largest = max((len(chunk.body) for chunk in chunks), default=0)
        self.largest_chunk_bytes = max(self.largest_chunk_bytes, largest)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedJob:
    """A job that may be recorded."""

    spec: JobSpec
    controls: Controls
    chunks: Sequence[NewChunk] | None
    """None where they are to follow."""
    schema: ItemSchema | None
    """What its items have to fit: those that follow too."""

    def new_job(self, job_id: JobId, key: IdempotencyKey | None) -> NewJob:
        """What the ledger records besides the chunks."""
        return NewJob(
            id=job_id,
            spec=self.spec,
            controls=self.controls,
            key=key,
            keep_ms=keep_ms(self.controls),
        )

    def with_data(self, chunk_count: int) -> Self:
        """The job once all its data has followed, in so many chunks."""
        execution = resolve_execution(self.spec.execution, chunk_count)
        return replace(self, spec=replace(self.spec, execution=execution, is_upload=False))

    def extent(self) -> Extent:
        """How large it is."""
        extent = Extent(execution=self.spec.execution)
        extent.add(self.chunks or ())
        return extent


def prepare(document: Any, limits: IntakeSettings, code: PublishedCode) -> PreparedJob:  # noqa: ANN401 - any JSON value
    """The job in this document, which `job_text.decode_job` has read.

    Takes some seconds of a large one. Raises InvalidJob with a pointer to each fault.
    """
    request = validate(document, limits)
    check_names(request, code.processors, code.reducers)
    schema, controls = asked_for(request, code.processors), to_controls(request)
    if request.source is not None:  # which execution "auto" means is known once all is there
        spec = replace(to_spec(request, Execution(request.execution)), is_upload=True)
        return PreparedJob(spec=spec, controls=controls, chunks=None, schema=schema)
    chunks = split(request, limits)
    if schema is not None:
        schema.check(request)
    spec = to_spec(request, resolve_execution(request.execution, len(chunks)))
    return PreparedJob(spec=spec, controls=controls, chunks=chunks, schema=schema)
