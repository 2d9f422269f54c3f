"""/jobs/{job_id}/failures: streams the items of a job that failed, to be corrected."""

from collections.abc import AsyncIterator

from fastapi import APIRouter, Response

from fanfold.app.answers.failures import csv_failures, ndjson_failures
from fanfold.app.answers.tree import WITH_FAILED_ITEMS, LeafChunk, leaves
from fanfold.app.documentation import examples
from fanfold.app.http import errors
from fanfold.app.http.accept import Accept, AcceptEncoding, Format, wants_csv
from fanfold.app.http.problems import responses
from fanfold.app.http.streaming import streamed
from fanfold.app.routes.children import MANY_ITEMS, check_is_there
from fanfold.app.services import Services, ServicesOf
from fanfold.contract.names import JobId
from fanfold.ledger.records import JobRecord

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
    """Each item as it was submitted, and why it failed. Works while the job runs.

    Of a job made of jobs those of all of these, each with the `job` it is of and its `path`.
    """
    job = await services.job(job_id)
    chunks = _chunks(services, job)
    is_csv = wants_csv(format_, accept)
    parts = csv_failures(chunks, of=job) if is_csv else ndjson_failures(chunks)
    return streamed(parts, is_csv=is_csv, accept_encoding=accept_encoding)


async def _chunks(services: Services, job: JobRecord) -> AsyncIterator[LeafChunk]:
    async for leaf in leaves(services.tenant.jobs, job, counted=WITH_FAILED_ITEMS):
        data = services.tenant.chunks.data(
            leaf.job.id, with_failed_items=True, items_wanted=MANY_ITEMS
        )
        async for chunk in data:
            yield leaf, chunk
    await check_is_there(services, job.id)
