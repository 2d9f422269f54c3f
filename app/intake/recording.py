"""Records the job of a request: with its data as JSON, in a form, or to follow in parts.

Or only says what would be recorded.
"""

import asyncio
import hashlib

from fastapi import Request

from fanfold.app.http.errors import Unavailable
from fanfold.app.http.idempotency import earlier_job
from fanfold.app.intake.body import check_not_compressed, decode_body, read_body
from fanfold.app.intake.certainty import NOTHING_RECORDED, recorded_with_certainty
from fanfold.app.intake.multipart import boundary_of
from fanfold.app.intake.uploads import Uploads
from fanfold.contract.names import JobId, new_job_id
from fanfold.contract.settings import GatewaySettings
from fanfold.intake.preparing import Extent, PreparedJob, prepare
from fanfold.intake.published import PublishedCode, published_code
from fanfold.ledger.catalog import Catalog
from fanfold.ledger.connect import TenantLedger
from fanfold.ledger.database import LedgerUnavailable
from fanfold.ledger.idempotency import KeyTaken
from fanfold.ledger.records import IdempotencyKey


async def record(
    request: Request,
    tenant: TenantLedger,
    catalog: Catalog,
    uploads: Uploads,
    limits: GatewaySettings,
    key_name: str | None,
) -> tuple[JobId, bool]:
    """Record the job; its id, and whether an earlier request had recorded it.

    Raises a Problem, or InvalidJob.
    """
    try:
        boundary = boundary_of(request.headers.get("content-type", ""))
        if boundary is not None:
            check_not_compressed(request)
            code = await published_code(catalog)
            return await uploads.record_form(tenant, boundary, request.stream(), code, key_name)
        body = await read_body(request, limits)
        code = await published_code(catalog)
        return await _record_body(tenant, limits, body, code, key_name)
    except LedgerUnavailable as error:  # before the write that would have recorded the job
        raise Unavailable("ledger_unavailable", NOTHING_RECORDED) from error


async def dry_run(
    request: Request, catalog: Catalog, uploads: Uploads, limits: GatewaySettings
) -> Extent:
    """What `record` would record of this request; raises what that would."""
    try:
        boundary = boundary_of(request.headers.get("content-type", ""))
        if boundary is not None:
            check_not_compressed(request)
            code = await published_code(catalog)
            return await uploads.measure_form(boundary, request.stream(), code)
        body = await read_body(request, limits)
        code = await published_code(catalog)
    except LedgerUnavailable as error:
        raise Unavailable("ledger_unavailable", NOTHING_RECORDED) from error
    return (await asyncio.to_thread(_prepare, body, limits, code)).extent


def _prepare(body: bytes, limits: GatewaySettings, code: PublishedCode) -> PreparedJob:
    return prepare(decode_body(body), limits, code)


async def _record_body(
    tenant: TenantLedger,
    limits: GatewaySettings,
    body: bytes,
    code: PublishedCode,
    key_name: str | None,
) -> tuple[JobId, bool]:
    key = (
        IdempotencyKey(key=key_name, body_hash=hashlib.sha256(body).digest()) if key_name else None
    )
    # In a thread: a large body takes a second, in which others want their polls answered.
    prepared = await asyncio.to_thread(_prepare, body, limits, code)
    job_id = new_job_id()
    write = tenant.recording.record(prepared.new_job(job_id, key), prepared.chunks)
    try:
        await recorded_with_certainty(tenant.jobs, job_id, write)
    except KeyTaken as taken:
        return earlier_job(taken, key), taken.job_id != job_id
    return job_id, False
