"""/jobs/{job_id}/failures: streams the items of a job that failed, to be corrected."""

from collections.abc import AsyncIterator

from fastapi import APIRouter, Response

from fanfold.app.answers.failures import csv_failures, ndjson_failures
from fanfold.app.documentation import examples
from fanfold.app.http import errors
from fanfold.app.http.accept import Accept, AcceptEncoding, Format, wants_csv
from fanfold.app.http.problems import responses
from fanfold.app.http.streaming import streamed
from fanfold.app.routes.children import MANY_ITEMS, check_is_there
from fanfold.app.services import Services, ServicesOf
from fanfold.contract.names import JobId
from fanfold.ledger.chunks import ChunkData

router = APIRouter(tags=["jobs"])


@router.get(
    "/jobs/{job_id}/failures",
    operation_id="stream_failures",
    summary="Stream the items that failed",
    response_class=Response,
    responses={
        200: {
            "description": "The items that have failed, or were left out, so far, ordered by "
            "chunk and position: one a line as NDJSON, or one a row as CSV.",
            **examples.streamed(examples.FAILURE, examples.FAILURES_CSV),
        },
        **responses(errors.MalformedRequest, errors.NotFound, errors.Unavailable),
    },
)
async def stream_failures(
    job_id: JobId,
    services: ServicesOf,
    format_: Format = None,
    accept: Accept = None,
    accept_encoding: AcceptEncoding = None,
) -> Response:
    """Each item as it was submitted, and why it failed. Works while the job runs."""
    job = await services.job(job_id)
    chunks = _chunks(services, job_id)
    is_csv = wants_csv(format_, accept)
    failures = csv_failures if is_csv else ndjson_failures
    parts = failures(chunks, item_key=job.spec.item_key)
    return streamed(parts, is_csv=is_csv, accept_encoding=accept_encoding)


async def _chunks(services: Services, job_id: JobId) -> AsyncIterator[ChunkData]:
    data = services.tenant.chunks.data(job_id, with_failed_items=True, items_wanted=MANY_ITEMS)
    async for chunk in data:
        yield chunk
    await check_is_there(services, job_id)
