"""Records the job of a request: with its data as JSON, in a form, or to follow in parts."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence

from fastapi import Request

from app.http.errors import Unavailable
from app.http.idempotency import earlier_job
from app.intake.body import check_not_compressed, decode_body, read_body
from app.intake.certainty import NOTHING_RECORDED, recorded_with_certainty
from app.intake.items.splitting import split
from app.intake.job_request import JobRequest
from app.intake.multipart import boundary_of
from app.intake.spec import resolve_execution, to_controls, to_spec
from app.intake.uploads import Uploads
from app.intake.validation import check_names, validate
from contract.job_spec import Execution, JobSpec
from contract.names import DEFAULT_TENANT, new_job_id
from contract.settings import GatewaySettings
from ledger.catalog import Kind
from ledger.connect import Ledger
from ledger.database import LedgerUnavailable
from ledger.jobs import KeyTaken
from ledger.records import IdempotencyKey, NewChunk

Check = Callable[[JobRequest], None]


async def record(
    request: Request,
    ledger: Ledger,
    uploads: Uploads,
    limits: GatewaySettings,
    key_name: str | None,
) -> tuple[str, bool]:
    """Record the job; its id, and whether an earlier request had recorded it. Raises a Problem."""
    try:
        boundary = boundary_of(request.headers.get("content-type", ""))
        if boundary is not None:
            check_not_compressed(request)
            check = await _check_of_names(ledger)
            return await uploads.record_form(boundary, request.stream(), check, key_name)
        return await _record_body(ledger, limits, await read_body(request, limits), key_name)
    except LedgerUnavailable as error:  # before the write that would have recorded the job
        raise Unavailable("ledger_unavailable", NOTHING_RECORDED) from error


async def _record_body(
    ledger: Ledger, limits: GatewaySettings, body: bytes, key_name: str | None
) -> tuple[str, bool]:
    key = (
        IdempotencyKey(key=key_name, body_hash=hashlib.sha256(body).digest()) if key_name else None
    )
    check = await _check_of_names(ledger)

    def prepare() -> tuple[JobRequest, JobSpec, Sequence[NewChunk] | None]:
        request = validate(decode_body(body), limits)
        check(request)
        if request.source is not None:  # which execution "auto" means is known once it is sealed
            return request, to_spec(request, Execution(request.execution)), None
        chunks = split(request, limits)
        execution = resolve_execution(request.execution, len(chunks))
        return request, to_spec(request, execution), chunks

    # In a thread: a large body takes a second, in which others want their polls answered.
    job, spec, chunks = await asyncio.to_thread(prepare)
    controls, job_id = to_controls(job), new_job_id()
    if chunks is None:
        write = ledger.receiving.open(
            job_id=job_id,
            tenant=DEFAULT_TENANT,
            spec=spec,
            controls=controls,
            key=key,
            keep_ms=job.keep_ms,
        )
    else:
        write = ledger.jobs.create(
            job_id=job_id,
            tenant=DEFAULT_TENANT,
            spec=spec,
            controls=controls,
            chunks=chunks,
            key=key,
            keep_ms=job.keep_ms,
        )
    try:
        await recorded_with_certainty(ledger.jobs, job_id, write)
    except KeyTaken as taken:
        return earlier_job(taken, key), taken.job_id != job_id
    return job_id, False


async def _check_of_names(ledger: Ledger) -> Check:
    """A check that refuses names and options that no worker knows now."""
    catalog = ledger.catalog
    processors = await catalog.published(Kind.PROCESSOR)
    reducers = await catalog.published(Kind.REDUCER)
    return lambda request: check_names(request, processors, reducers)
