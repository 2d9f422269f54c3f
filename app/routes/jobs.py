"""/jobs: submits, shows, cancels and removes jobs."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from fanfold.answers import rendering, views
from fanfold.app.answers.rendered import RenderedJob
from fanfold.app.documentation import examples, job_examples
from fanfold.app.http import errors, idempotency, prefer
from fanfold.app.http.parameters import IN_DIGITS, invalid_parameter
from fanfold.app.http.problems import responses
from fanfold.app.intake.recording import dry_run, record
from fanfold.app.routes.trees import refuse_part, refuse_while_receiving
from fanfold.app.services import Services, ServicesOf
from fanfold.contract.names import JobId
from fanfold.contract.states import JobState
from fanfold.ledger.database import LedgerUnavailable
from fanfold.ledger.records import JobRecord

router = APIRouter(tags=["jobs"])

IdempotencyKeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="1 to 255 printable characters: the same key, the same job.",
        json_schema_extra={"pattern": idempotency.KEY_PATTERN},
    ),
]
PreferHeader = Annotated[
    str | None,
    Header(
        alias="Prefer",
        description="`wait=N`: answer once finished, or after N seconds, at most 60.",
        json_schema_extra={"pattern": prefer.WAIT_PATTERN},
    ),
]

JOB_HEADERS: dict[str, Any] = {
    "Retry-After": {
        "description": "Seconds to wait before asking again; absent once finished.",
        "schema": {"type": "string"},
    },
    "Preference-Applied": {
        "description": "Present where `Prefer: wait=N` was heard.",
        "schema": {"type": "string"},
    },
}


@router.post(
    "/jobs",
    operation_id="submit_job",
    summary="Submit a job",
    status_code=202,
    response_class=Response,
    responses={
        202: {
            "description": "The job is recorded, and will run whatever happens to this gateway.",
            "content": examples.answer("Job", examples.JOB),
            "headers": {
                **JOB_HEADERS,
                "Location": {
                    "description": "Address of the job.",
                    "schema": {"type": "string"},
                },
                "Idempotency-Replayed": {
                    "description": "`true` where an earlier request with this key made the job.",
                    "schema": {"type": "string"},
                },
            },
        },
        200: {
            "description": "With `validate_only=true`: the job is valid. Nothing is recorded.",
            "content": examples.answer("Extent", examples.EXTENT),
        },
        **responses(
            errors.MalformedRequest,
            errors.RequestTimeout,
            errors.BodyTooLarge,
            errors.UnsupportedMediaType,
            errors.InvalidJob,
            errors.Unavailable,
        ),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/JobRequest"},
                    "examples": job_examples.REQUESTS,
                },
                "multipart/form-data": examples.FORM,
            },
        }
    },
)
async def submit(
    request: Request,
    services: ServicesOf,
    idempotency_key: IdempotencyKeyHeader = None,
    prefer_header: PreferHeader = None,
    validate_only: Annotated[
        bool, Query(description="Check the job as usual, and say how large it is; record nothing.")
    ] = False,
) -> Response:
    """Record a job and start it. Send an `Idempotency-Key` to be able to try again safely."""
    key_name = idempotency.key_name(
        idempotency_key, len(request.headers.getlist("Idempotency-Key"))
    )
    wait = prefer.wait_seconds(prefer_header)  # before anything is recorded: it may be malformed
    if validate_only:
        extent = await dry_run(
            request, services.ledger.catalog, services.uploads, services.settings
        )
        return Response(
            views.ExtentView(valid=True, **asdict(extent)).model_dump_json(),
            media_type="application/json",
        )
    job_id, is_replayed = await record(
        request,
        services.tenant,
        services.ledger.catalog,
        services.uploads,
        services.settings,
        key_name,
    )
    services.orchestration.kick()
    headers = {"Location": f"/jobs/{job_id}"}
    if is_replayed:
        headers["Idempotency-Replayed"] = "true"
    try:
        return await job_answer(services, job_id, 202, wait=wait, headers=headers)
    except LedgerUnavailable as error:
        detail = (
            f"The job is recorded, and its id is {job_id}; the ledger went away before it could "
            f"be shown. GET /jobs/{job_id} in a moment."
        )
        raise errors.Unavailable("ledger_unavailable", detail) from error


@router.get(
    "/jobs/{job_id}",
    operation_id="get_job",
    summary="Get a job",
    response_class=Response,
    responses={
        200: {
            "description": "The job, in whatever state; a failed job is a 200 too.",
            "content": examples.answer("Job", examples.JOB),
            "headers": {
                **JOB_HEADERS,
                "ETag": {
                    "description": "Changes with the job.",
                    "schema": {"type": "string"},
                },
            },
        },
        304: {"description": "Nothing changed since the ETag in `If-None-Match`."},
        **responses(errors.NotFound, errors.Unavailable),
    },
)
async def get_job(
    job_id: JobId,
    services: ServicesOf,
    run: Annotated[
        int | None,
        Query(
            ge=1,
            le=2**31 - 1,
            description="The job as this run of it ended, without its result; by default the "
            "last run.",
        ),
        IN_DIGITS,
    ] = None,
    if_none_match: Annotated[
        str | None, Header(description="An ETag: answer 304 while the job is unchanged.")
    ] = None,
    prefer_header: PreferHeader = None,
) -> Response:
    """The job's state, counts, errors, and once finished its result."""
    wait = prefer.wait_seconds(prefer_header)
    if run is not None:
        job = await services.job(job_id)
        if run != job.run:
            return await _earlier(services, job, run)
    return await job_answer(services, job_id, 200, wait=wait, if_none_match=if_none_match)


async def _earlier(services: Services, job: JobRecord, run: int) -> Response:
    earlier = await services.tenant.jobs.earlier_run(job.id, run)
    if earlier is None:
        raise errors.NotFound(
            "run_not_found", f"The job has had no such run: they go from 1 to {job.run}."
        )
    body = rendering.job_json(earlier, None, services.workflows_url)
    return Response(body, headers={"Cache-Control": "no-cache"}, media_type="application/json")


@router.delete(
    "/jobs/{job_id}",
    operation_id="cancel_job",
    summary="Cancel or remove a job",
    status_code=202,
    response_class=Response,
    responses={
        202: {
            "description": "The job is being cancelled: no further chunk starts.",
            "content": examples.answer("Job", examples.JOB),
            "headers": JOB_HEADERS,
        },
        200: {
            "description": "The job was cancelled before.",
            "content": examples.answer("Job", examples.JOB),
        },
        204: {"description": "With `purge=true`: the job is gone."},
        **responses(
            errors.MalformedRequest,
            errors.NotFound,
            errors.JobAlreadyFinished,
            errors.JobNotFinished,
            errors.NotInThisState,
            errors.NotOfThisJob,
            errors.Unavailable,
        ),
    },
)
async def cancel_job(
    job_id: JobId,
    services: ServicesOf,
    purge: Annotated[
        bool, Query(description="Remove a finished job with all its data, instead.")
    ] = False,
    drain: Annotated[bool, Query(description="Let what is in flight finish, and count.")] = False,
) -> Response:
    """Stop a job. What has finished stays; what runs is stopped; what waits never starts.

    With all that it is made of; a job that is a part of another is stopped alone.
    """
    if purge and drain:
        what = "does not go with purge=true: a job that has finished has nothing in flight"
        raise invalid_parameter("drain", what)
    if purge:
        return await _purge(services, job_id)
    await refuse_while_receiving(services, await services.job(job_id))
    if await services.tenant.closing.discard(job_id):
        services.housekeeping.kick()
    else:
        await services.tenant.jobs.request_cancel(job_id, is_draining=drain)
    job = await services.job(job_id)
    if job.state is JobState.CANCELLED:
        return await job_answer(services, job_id, 200)
    if job.state.is_terminal:
        raise already_finished(job)
    services.orchestration.kick_cancel()
    # As it was just read: in a moment it may be cancelled.
    return Response(
        rendering.job_json(job, None, services.workflows_url),
        202,
        headers={"Cache-Control": "no-cache", "Retry-After": "1"},
        media_type="application/json",
    )


def already_finished(job: JobRecord) -> errors.JobAlreadyFinished:
    """The error for stopping a job, or the like, that has finished."""
    detail = f"The job has finished as {job.state}; its results are kept."
    return errors.JobAlreadyFinished("job_already_finished", detail)


async def _purge(services: Services, job_id: JobId) -> Response:
    if not await services.tenant.jobs.purge(job_id):
        refuse_part(await services.job(job_id), "purge")
        detail = "Only a finished job can be removed; cancel it, and wait for its end."
        raise errors.JobNotFinished("job_not_finished", detail)
    services.housekeeping.kick()
    return Response(status_code=204)


async def job_answer(
    services: Services,
    job_id: JobId,
    status: int,
    *,
    wait: int | None = None,
    headers: Mapping[str, str] | None = None,
    if_none_match: str | None = None,
) -> Response:
    """The job as it is now, with its ETag; raises NotFound."""
    headers = dict(headers or {})
    if wait is not None:
        await prefer.until_finished(
            services.tenant.jobs,
            job_id,
            seconds=wait,
            stopping=services.stopping,
        )
        headers["Preference-Applied"] = f"wait={wait}"
    job = await _rendered(services, job_id)
    headers |= {"ETag": job.etag, "Cache-Control": "no-cache"}
    if if_none_match is not None and _matches(if_none_match, job.etag):
        return Response(status_code=304, headers=headers)
    if not job.state.is_terminal:
        headers["Retry-After"] = "1"
    return Response(job.body, status, headers=headers, media_type="application/json")


async def _rendered(services: Services, job_id: JobId) -> RenderedJob:
    """The job as it is now, ready to be sent; raises NotFound."""
    remembered = services.rendered.get(job_id)
    if remembered is not None:
        revision = await services.tenant.jobs.revision(job_id)
        if revision == remembered.revision:
            return remembered
    job = await services.job(job_id)
    result = await services.tenant.jobs.result(job_id) if job.state.is_terminal else None
    rendered = RenderedJob(
        body=rendering.job_json(job, result, services.workflows_url),
        etag=rendering.etag(job),
        state=job.state,
        revision=job.revision,
        # What compensates a job comes after its end.
        is_settled=job.state.is_terminal and not job.place.has_compensation,
    )
    if job.state.is_terminal or job.state is JobState.RUNNING:
        services.rendered.remember(job_id, rendered)
    return rendered


def _matches(if_none_match: str, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag.removeprefix("W/") in tags
