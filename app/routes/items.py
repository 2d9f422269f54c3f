"""/jobs/{job_id}/items and /seal: a job's items in parts, sent after the job."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from fanfold.app.answers import views
from fanfold.app.documentation import examples
from fanfold.app.http import errors
from fanfold.app.http.problems import responses
from fanfold.app.intake.items import formats
from fanfold.app.intake.uploads import not_an_upload, not_receiving
from fanfold.app.services import ServicesOf
from fanfold.contract.names import JobId
from fanfold.ledger.transitions import SEAL

MAX_PARTS = 100_000

router = APIRouter(tags=["jobs"])

_ITEMS: dict[str, Any] = {
    "application/x-ndjson": {
        "schema": {"type": "string"},
        "example": '{"iata": "HEL"}\n{"iata": "ARN"}\n',
    },
    "text/csv": {"schema": {"type": "string"}, "example": "iata,country\nHEL,FI\nARN,SE\n"},
    "application/json": {
        "schema": {"type": "array", "items": {}},
        "example": [{"iata": "HEL"}, {"iata": "ARN"}],
    },
}


@router.put(
    "/jobs/{job_id}/items",
    operation_id="send_items",
    summary="Send a part of a job's items",
    response_model=views.PartView,
    responses={
        200: {
            "description": "The part is stored, and has taken the place of an earlier one.",
            "content": {"application/json": {"example": examples.PART}},
        },
        **responses(
            errors.MalformedRequest,
            errors.NotFound,
            errors.RequestTimeout,
            errors.JobNotReceiving,
            errors.BodyTooLarge,
            errors.UnsupportedMediaType,
            errors.InvalidJob,
            errors.Unavailable,
        ),
    },
    openapi_extra={"requestBody": {"required": True, "content": _ITEMS}},
)
async def send_items(
    job_id: JobId,
    request: Request,
    services: ServicesOf,
    part: Annotated[
        int,
        Query(
            ge=1,
            le=MAX_PARTS,
            description="Where among the parts it belongs; a part may be sent again.",
        ),
    ],
) -> views.PartView:
    """Store one part of the items of a job with `"source": "upload"`, plain or in gzip.

    A part that fails changes nothing. Parts may come in any order, and several at a time.
    """
    job = await services.job(job_id)
    if job.state not in SEAL.before:
        raise not_receiving()
    encoded = formats.recognise(
        request.headers.get("content-type", ""), request.headers.get("content-encoding", "")
    )
    chunks, items = await services.uploads.store_part(
        services.tenant, job, part, encoded, request.stream()
    )
    return views.PartView(part=part, items=items, chunks=chunks)


@router.post(
    "/jobs/{job_id}/seal",
    operation_id="seal_job",
    summary="Start a job with the items sent",
    status_code=202,
    response_class=Response,
    responses={
        202: {
            "description": "The job has its items and will run; or it was sealed before.",
            "content": examples.answer("Job", examples.JOB),
        },
        **responses(errors.NotFound, errors.JobNotReceiving, errors.InvalidJob, errors.Unavailable),
    },
)
async def seal_job(job_id: JobId, services: ServicesOf) -> Response:
    """Make the parts that are whole the job's items, in the order of their numbers."""
    job = await services.job(job_id)
    if job.spec.is_upload is False:
        raise not_an_upload()
    while job.state in SEAL.before:
        if await services.uploads.seal(services.tenant, job):
            services.orchestration.kick()
        job = await services.job(job_id)
    if job.state.is_terminal and not job.total_chunks:
        raise not_receiving()
    return Response(
        views.job_json(job, None, services.workflows_url),
        202,
        headers={"Cache-Control": "no-cache", "Location": f"/jobs/{job_id}", "Retry-After": "1"},
        media_type="application/json",
    )
