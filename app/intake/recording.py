"""Records the job of a request, whichever way its data comes."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence

from fastapi import Request

from app.http import idempotency
from app.http.errors import Unavailable
from app.intake import submission
from app.intake.body import check_not_compressed, decode_body, read_body
from app.intake.certainty import NOTHING_RECORDED, recorded_with_certainty
from app.intake.job_request import JobRequest
from app.intake.multipart import boundary_of
from app.services import Services
from contract.job_spec import Execution, JobSpec
from contract.names import new_job_id
from ledger.catalog import Kind
from ledger.database import LedgerUnavailable
from ledger.recording import KeyTaken, NewJob
from ledger.records import IdempotencyKey, NewChunk

Check = Callable[[JobRequest], None]


async def record(request: Request, services: Services, key_name: str | None) -> tuple[str, bool]:
    """The job's id, and whether an earlier request had made it already; raises a Problem."""
    try:
        return await _record(request, services, key_name)
    except LedgerUnavailable as error:  # before the write that would have recorded the job
        raise Unavailable("ledger_unavailable", NOTHING_RECORDED) from error


async def _record(request: Request, services: Services, key_name: str | None) -> tuple[str, bool]:
    boundary = boundary_of(request.headers.get("content-type", ""))
    if boundary is not None:
        check_not_compressed(request)
        check = await _check_of_names(services)
        return await services.uploads.receive_form(
            services.tenant, boundary, request.stream(), check, key_name
        )
    body = await read_body(request, services.settings)
    key = (
        IdempotencyKey(key=key_name, body_hash=hashlib.sha256(body).digest()) if key_name else None
    )
    return await _record_json(services, body, key)


async def _record_json(
    services: Services, body: bytes, key: IdempotencyKey | None
) -> tuple[str, bool]:
    check = await _check_of_names(services)

    def prepare() -> tuple[JobRequest, JobSpec, Sequence[NewChunk] | None]:
        request = submission.parse(decode_body(body), services.settings)
        check(request)
        if request.source is not None:  # which execution "auto" means is known once it is sealed
            return request, submission.to_spec(request, Execution(request.execution)), None
        chunks = submission.split(request, services.settings)
        execution = submission.resolve_execution(request.execution, len(chunks))
        return request, submission.to_spec(request, execution), chunks

    # In a thread: a large body takes a second, in which others want their polls answered.
    job, spec, chunks = await asyncio.to_thread(prepare)
    controls, job_id = submission.to_controls(job), new_job_id()
    new_job = NewJob(
        id=job_id,
        spec=spec,
        controls=controls,
        key=key,
        keep_ms=job.keep_ms,
    )
    write = services.tenant.recording.record(new_job, chunks)
    try:
        await recorded_with_certainty(services.tenant.jobs, job_id, write)
    except KeyTaken as taken:
        return idempotency.earlier_job(taken, key), taken.job_id != job_id
    return job_id, False


async def _check_of_names(services: Services) -> Check:
    """Refuses names and options that no worker knows, as of now."""
    catalog = services.ledger.catalog
    processors = await catalog.published(Kind.PROCESSOR)
    reducers = await catalog.published(Kind.REDUCER)
    return lambda request: submission.check_names(request, processors, reducers)
