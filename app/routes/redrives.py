"""/jobs/{job_id}/redrive: runs chunks of a job again."""

from fastapi import APIRouter, Request, Response

from fanfold.app.documentation import examples
from fanfold.app.http import errors, idempotency
from fanfold.app.http.problems import responses
from fanfold.app.intake.certainty import NOTHING_RECORDED
from fanfold.app.intake.redriven import read_redrive, record_redrive, redrive_key
from fanfold.app.routes.jobs import JOB_HEADERS, IdempotencyKeyHeader, job_answer
from fanfold.app.services import ServicesOf
from fanfold.contract.names import JobId
from fanfold.ledger.database import LedgerUnavailable

router = APIRouter(tags=["jobs"])


@router.post(
    "/jobs/{job_id}/redrive",
    operation_id="redrive_job",
    summary="Run chunks of a job again",
    status_code=202,
    response_class=Response,
    responses={
        202: {
            "description": "The selected children run again: of a job that waits in the same "
            "run, else in its next one.",
            "content": examples.answer("Job", examples.JOB),
            "headers": {
                **JOB_HEADERS,
                "Idempotency-Replayed": {
                    "description": "`true` where an earlier request with this key did it.",
                    "schema": {"type": "string"},
                },
            },
        },
        **responses(
            errors.MalformedRequest,
            errors.NotFound,
            errors.RequestTimeout,
            errors.JobNotFinished,
            errors.BodyTooLarge,
            errors.UnsupportedMediaType,
            errors.InvalidJob,
            errors.Unavailable,
        ),
    },
    openapi_extra={
        "requestBody": {
            "required": False,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/RedriveRequest"},
                    "examples": examples.REDRIVES,
                }
            },
        }
    },
)
async def redrive_job(
    job_id: JobId,
    request: Request,
    services: ServicesOf,
    idempotency_key: IdempotencyKeyHeader = None,
) -> Response:
    """Without a body: all that failed or was cancelled, or is held where the job waits.

    What is not selected keeps its outcome and its result, and the fold is made again over all
    that succeeded. Of a processor that takes items, only items run again that did not succeed,
    unless the processor, its options or the item have changed.

    Of a job made of jobs, in any of these; then `select` may have `states` and `error_types`, and
    nothing else is given. All finished jobs above one that runs again make their fold again.
    """
    key_name = idempotency.key_name(
        idempotency_key, len(request.headers.getlist("Idempotency-Key"))
    )
    body = await read_redrive(request, services.settings)
    try:
        is_replayed = await record_redrive(
            services.ledger,
            services.tenant,
            services.settings,
            lambda: services.job(job_id),
            body,
            redrive_key(key_name, job_id, body),
        )
    except LedgerUnavailable as error:  # before the write
        raise errors.Unavailable("ledger_unavailable", NOTHING_RECORDED) from error
    services.orchestration.kick()  # of a job that had finished
    services.orchestration.kick_cancel()  # of one that waited
    headers = {"Location": f"/jobs/{job_id}"}
    if is_replayed:
        headers["Idempotency-Replayed"] = "true"
    try:
        return await job_answer(services, job_id, 202, headers=headers)
    except LedgerUnavailable as error:
        detail = (
            "The redrive is recorded; the ledger went away before the job could be shown. GET it "
            "in a moment."
        )
        raise errors.Unavailable("ledger_unavailable", detail) from error
