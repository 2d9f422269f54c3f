"""Records the job of a request: with its data as JSON, in a form, or to follow in parts.

Or only says what would be recorded.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from fastapi import Request

from fanfold.app.http.errors import Unavailable
from fanfold.app.http.idempotency import earlier_job
from fanfold.app.intake.body import check_not_compressed, decode_body, read_body
from fanfold.app.intake.certainty import NOTHING_RECORDED, recorded_with_certainty
from fanfold.app.intake.items.cutting import split
from fanfold.app.intake.items.item_schema import ItemSchema, asked_for
from fanfold.app.intake.job_request import JobRequest
from fanfold.app.intake.multipart import boundary_of
from fanfold.app.intake.spec import keep_ms, resolve_execution, to_controls, to_spec
from fanfold.app.intake.uploads import Extent, Uploads
from fanfold.app.intake.validation import check_names, validate
from fanfold.contract.job_spec import Controls, Execution, JobSpec
from fanfold.contract.names import JobId, new_job_id
from fanfold.contract.settings import GatewaySettings
from fanfold.ledger.catalog import Catalog, Kind
from fanfold.ledger.connect import TenantLedger
from fanfold.ledger.database import LedgerUnavailable
from fanfold.ledger.idempotency import KeyTaken
from fanfold.ledger.recording import NewJob
from fanfold.ledger.records import IdempotencyKey, NewChunk

Check = Callable[[JobRequest], ItemSchema | None]
"""Refuses what no worker knows; gives the schema that the items have to fit, if any."""


async def record(
    request: Request,
    tenant: TenantLedger,
    catalog: Catalog,
    uploads: Uploads,
    limits: GatewaySettings,
    key_name: str | None,
) -> tuple[JobId, bool]:
    """Record the job; its id, and whether an earlier request had recorded it. Raises a Problem."""
    try:
        boundary = boundary_of(request.headers.get("content-type", ""))
        if boundary is not None:
            check_not_compressed(request)
            check = await _check_of_names(catalog)
            return await uploads.record_form(tenant, boundary, request.stream(), check, key_name)
        body = await read_body(request, limits)
        check = await _check_of_names(catalog)
        return await _record_body(tenant, limits, body, check, key_name)
    except LedgerUnavailable as error:  # before the write that would have recorded the job
        raise Unavailable("ledger_unavailable", NOTHING_RECORDED) from error


async def dry_run(
    request: Request, catalog: Catalog, uploads: Uploads, limits: GatewaySettings
) -> Extent:
    """What `record` would record of this request; raises the Problem that it would."""
    try:
        boundary = boundary_of(request.headers.get("content-type", ""))
        if boundary is not None:
            check_not_compressed(request)
            check = await _check_of_names(catalog)
            return await uploads.measure_form(boundary, request.stream(), check)
        body = await read_body(request, limits)
        check = await _check_of_names(catalog)
    except LedgerUnavailable as error:
        raise Unavailable("ledger_unavailable", NOTHING_RECORDED) from error
    _, spec, chunks = await asyncio.to_thread(_prepare, body, limits, check)
    extent = Extent(execution=spec.execution)
    extent.add(chunks or [])
    return extent


def _prepare(
    body: bytes, limits: GatewaySettings, check: Check
) -> tuple[Controls, JobSpec, Sequence[NewChunk] | None]:
    """The job in this body, and its chunks; None where these are to follow."""
    request = validate(decode_body(body), limits)
    schema, controls = check(request), to_controls(request)
    if request.source is not None:  # which execution "auto" means is known once it is sealed
        spec = to_spec(request, Execution(request.execution))
        return controls, replace(spec, is_upload=True), None
    chunks = split(request, limits)
    if schema is not None:
        schema.check(request)
    execution = resolve_execution(request.execution, len(chunks))
    return controls, to_spec(request, execution), chunks


async def _record_body(
    tenant: TenantLedger, limits: GatewaySettings, body: bytes, check: Check, key_name: str | None
) -> tuple[JobId, bool]:
    key = (
        IdempotencyKey(key=key_name, body_hash=hashlib.sha256(body).digest()) if key_name else None
    )
    # In a thread: a large body takes a second, in which others want their polls answered.
    controls, spec, chunks = await asyncio.to_thread(_prepare, body, limits, check)
    job_id = new_job_id()
    new_job = NewJob(id=job_id, spec=spec, controls=controls, key=key, keep_ms=keep_ms(controls))
    write = tenant.recording.record(new_job, chunks)
    try:
        await recorded_with_certainty(tenant.jobs, job_id, write)
    except KeyTaken as taken:
        return earlier_job(taken, key), taken.job_id != job_id
    return job_id, False


async def _check_of_names(catalog: Catalog) -> Check:
    """A check of names, options and item schema by what the workers have now."""
    processors = await catalog.published(Kind.PROCESSOR)
    reducers = await catalog.published(Kind.REDUCER)

    def check(request: JobRequest) -> ItemSchema | None:
        check_names(request, processors, reducers)
        return asked_for(request, processors)

    return check
