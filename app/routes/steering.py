"""/jobs/{job_id}/pause and the like: controls of a job, and of one of its children.

Each of them may be repeated without harm, and is decided in the ledger: so it holds whatever
becomes of this gateway, and whether Temporal is up or not.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from fastapi import APIRouter, Header, Request, Response

from fanfold.app.documentation import examples
from fanfold.app.http import errors
from fanfold.app.http.problems import responses
from fanfold.app.intake.body import decode_body, read_body
from fanfold.app.intake.certainty import Written, with_certainty
from fanfold.app.intake.changes import OF_FINISHED_JOBS, PATCH, changed, read_patch
from fanfold.app.intake.given_results import RESULT, SETTING, read_result
from fanfold.app.intake.steering_request import JobPatch
from fanfold.app.routes.children import ChildIndex, child_answer, find_child
from fanfold.app.routes.jobs import JOB_HEADERS, already_finished, job_answer
from fanfold.app.routes.trees import (
    refuse_limits_of_chunks,
    refuse_part,
    refuse_while_receiving,
)
from fanfold.app.services import Services, ServicesOf
from fanfold.contract.names import JobId
from fanfold.contract.states import ChunkState, JobState
from fanfold.intake.spec import keep_ms
from fanfold.ledger.records import ChunkRecord, JobRecord
from fanfold.ledger.transitions import GO_ON, RESOLVE, RESUME

router = APIRouter(prefix="/jobs/{job_id}")

_JOB: Final = examples.answer("Job", examples.JOB)
_CHILD: Final = examples.answer("Child", examples.CHILD)
_UNKNOWN: Final = (
    "The ledger went away meanwhile, so it is unknown whether this took effect. Try again in a "
    "moment: to ask twice is safe."
)


async def _surely(
    write: Awaitable[Written], is_written: Callable[[], Awaitable[bool]]
) -> Written | None:
    return await with_certainty(write, is_written, if_unknown=_UNKNOWN)


@router.post(
    "/pause",
    operation_id="pause_job",
    summary="Pause a job",
    tags=["jobs"],
    status_code=202,
    response_class=Response,
    responses={
        202: {
            "description": "The job is paused; or it was before.",
            "content": _JOB,
            "headers": JOB_HEADERS,
        },
        **responses(errors.NotFound, errors.NotInThisState, errors.Unavailable),
    },
)
async def pause_job(job_id: JobId, services: ServicesOf) -> Response:
    """Let no attempt begin from now on. What is in flight finishes, and counts.

    Of the job and of all that it is made of.
    """
    await refuse_while_receiving(services, await services.job(job_id))

    async def is_paused() -> bool:
        return await services.tenant.jobs.state(job_id) is JobState.PAUSED

    if await _surely(services.tenant.steering.pause(job_id), is_paused) is False:
        _refuse_to_pause(await services.job(job_id))
    return await job_answer(services, job_id, 202)


def _refuse_to_pause(job: JobRecord) -> None:
    if job.state.is_terminal:
        raise already_finished(job)
    if job.state is JobState.CANCELLING:
        detail = "The job is being cancelled: no further chunk of it starts."
        raise errors.NotInThisState("job_cancelling", detail)
    if job.state is JobState.RECEIVING:
        detail = "The job still receives its data, and runs only once it is sealed."
        raise errors.NotInThisState("job_receiving", detail)
    if job.state is JobState.WAITING:
        detail = (
            "Nothing of the job runs: only held children are left. Redrive, resolve or release "
            "them, or cancel the job."
        )
        raise errors.NotInThisState("job_waiting", detail)


@router.post(
    "/resume",
    operation_id="resume_job",
    summary="Let a paused job go on",
    tags=["jobs"],
    status_code=202,
    response_class=Response,
    responses={
        202: {"description": "The job goes on.", "content": _JOB, "headers": JOB_HEADERS},
        **responses(errors.NotFound, errors.NotInThisState, errors.Unavailable),
    },
)
async def resume_job(job_id: JobId, services: ServicesOf) -> Response:
    """Let attempts begin again, of the job and of all that it is made of."""
    job = await services.job(job_id)
    if job.state not in RESUME.before:
        detail = f"The job is {job.state}: only a paused one can be resumed."
        raise errors.NotInThisState("job_not_paused", detail)

    async def is_resumed() -> bool:
        return await services.tenant.jobs.state(job_id) not in RESUME.before

    await _surely(services.tenant.steering.resume(job_id), is_resumed)
    services.orchestration.kick()  # it may never have begun
    services.orchestration.kick_cancel()
    return await job_answer(services, job_id, 202)


@router.patch(
    "",
    operation_id="change_job",
    summary="Change a job",
    tags=["jobs"],
    response_class=Response,
    responses={
        200: {
            "description": "The job as it is now.",
            "content": _JOB,
            "headers": {
                **JOB_HEADERS,
                "ETag": {"description": "Changes with the job.", "schema": {"type": "string"}},
            },
        },
        **responses(
            errors.MalformedRequest,
            errors.NotFound,
            errors.RequestTimeout,
            errors.JobAlreadyFinished,
            errors.NotOfThisJob,
            errors.JobChanged,
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
                media_type: {
                    "schema": {"$ref": "#/components/schemas/JobPatch"},
                    "examples": examples.PATCHES,
                }
                for media_type in PATCH.media_types
            },
        }
    },
)
async def change_job(
    job_id: JobId,
    request: Request,
    services: ServicesOf,
    if_match: Annotated[
        str | None,
        Header(description="An ETag of the job: change it only if nobody else has since."),
    ] = None,
) -> Response:
    """Change what may change while a job runs; it is in force within two seconds.

    What is left out stays as it is, and null takes a limit away (RFC 7396). Of a job that has
    finished, `name`, `labels` and `retention_hours` can be changed. The `priority` of a job made
    of jobs becomes that of all of these; what else is changed is of the job alone.
    """
    body = await read_body(request, services.settings, PATCH)
    patch = read_patch(decode_body(body, kind=PATCH), services.settings)
    while not await _changed(services, job := await services.job(job_id), patch, if_match):
        pass  # somebody else has changed the job since it was read
    if "priority" in patch.model_fields_set and job.place.may_have_jobs:
        priority = changed(job.controls, patch, services.settings).priority
        await services.tenant.steering.prioritize_below(job_id, priority)
    services.orchestration.kick_cancel()
    return await job_answer(services, job_id, 200)


async def _changed(
    services: Services, job: JobRecord, patch: JobPatch, if_match: str | None
) -> bool:
    """Write the changes; False where the job is not as it was found any more."""
    if if_match is not None and not _is_at(job.revision, if_match):
        detail = "The job has changed since this ETag was given: GET it, and decide anew."
        raise errors.JobChanged("job_changed", detail)
    refuse_limits_of_chunks(job, patch.model_fields_set)
    if "retention_hours" in patch.model_fields_set:
        refuse_part(job, "change how long to keep")
    late = sorted(patch.model_fields_set - OF_FINISHED_JOBS)
    if job.state.is_terminal and late:
        detail = (
            f"The job has finished as {job.state}: {', '.join(late)} cannot be changed any more, "
            f"only {', '.join(sorted(OF_FINISHED_JOBS))}. A redrive can bring other limits."
        )
        raise errors.JobAlreadyFinished("job_already_finished", detail)
    controls = changed(job.controls, patch, services.settings)
    if controls == job.controls:
        return True

    async def is_written() -> bool:
        return (await services.job(job.id)).controls == controls

    write = services.tenant.steering.change(
        job.id, job.revision, job.spec, controls, keep_ms(controls)
    )
    return await _surely(write, is_written) is not False


def _is_at(revision: int, if_match: str) -> bool:
    """Whether one of these ETags is of this revision: counts of chunks change all the time."""
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in if_match.split(",")]
    return any(tag == "*" or tag.partition("-")[0] == str(revision) for tag in tags)


@router.post(
    "/release",
    operation_id="release_job",
    summary="Give up the held children of a job",
    tags=["jobs"],
    status_code=202,
    response_class=Response,
    responses={
        202: {
            "description": "Its held children are finished, and it goes on to its end.",
            "content": _JOB,
            "headers": JOB_HEADERS,
        },
        **responses(errors.NotFound, errors.NotInThisState, errors.Unavailable),
    },
)
async def release_job(job_id: JobId, services: ServicesOf) -> Response:
    """Let a job that waits end with what it has: what is held becomes `failed`.

    Or `partially_succeeded`, where some items succeeded.
    """

    async def is_released() -> bool:
        return await services.tenant.jobs.state(job_id) not in GO_ON.before

    before = await services.job(job_id)
    is_done: bool | None = False
    if before.state in GO_ON.before:
        is_done = await _surely(services.tenant.steering.release(job_id), is_released)
    if is_done is False:
        job = await services.job(job_id)
        detail = f"The job is {job.state}: only one that waits for a person can be released."
        raise errors.NotInThisState("job_not_waiting", detail)
    services.orchestration.kick_cancel()
    return await job_answer(services, job_id, 202)


@router.delete(
    "/children/{index}",
    operation_id="cancel_child",
    summary="Cancel one child",
    tags=["children"],
    status_code=202,
    response_class=Response,
    responses={
        202: {
            "description": "The child is cancelled, or told to stop where it runs.",
            "content": _CHILD,
        },
        **responses(
            errors.NotFound, errors.NotInThisState, errors.NotOfThisJob, errors.Unavailable
        ),
    },
)
async def cancel_child(job_id: JobId, index: ChildIndex, services: ServicesOf) -> Response:
    """Cancel this chunk alone; the others go on. One that is redriven is what it was before."""
    job = await services.job(job_id)
    before = await find_child(services, job, index)
    await refuse_while_receiving(services, job)
    _refuse_if_finished(before)
    if not before.state.is_terminal:
        # LedgerUnavailable is answered with a word on repeating it, which is safe.
        await services.tenant.steering.cancel_child(job_id, index)
        services.orchestration.kick_cancel()
    child = await find_child(services, job, index)
    if child.run == before.run:
        _refuse_if_finished(child)  # it was quicker
    return await child_answer(services, job, child, 202)


def _refuse_if_finished(child: ChunkRecord) -> None:
    if child.state.is_terminal and child.state is not ChunkState.CANCELLED:
        detail = f"The child has finished as {child.state}; its outcome is kept."
        raise errors.NotInThisState("child_already_finished", detail)


@router.put(
    "/children/{index}/result",
    operation_id="resolve_child",
    summary="Give a held child its result",
    tags=["children"],
    response_class=Response,
    responses={
        200: {
            "description": "The child has succeeded with this result; or had before.",
            "content": examples.answer("Child", examples.RESOLVED_CHILD),
        },
        **responses(
            errors.MalformedRequest,
            errors.NotFound,
            errors.RequestTimeout,
            errors.NotInThisState,
            errors.NotOfThisJob,
            errors.BodyTooLarge,
            errors.UnsupportedMediaType,
            errors.InvalidJob,
            errors.Unavailable,
        ),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {}, "example": examples.RESULT}},
        }
    },
)
async def resolve_child(
    job_id: JobId, index: ChildIndex, request: Request, services: ServicesOf
) -> Response:
    """Any JSON value, as the processor would have given it.

    Of a processor that takes items, an array with a place for each item: then these are the
    items' results.
    """
    job = await services.job(job_id)
    child = await find_child(services, job, index)
    most = services.settings.max_chunk_result_bytes, SETTING
    raw = await read_body(request, services.settings, RESULT, most=most)
    result = await asyncio.to_thread(read_result, raw, services.settings)
    if child.state in RESOLVE.before:

        async def is_resolved() -> bool:
            return await _has_result(services, job, index, result.body)

        by_item = bool(child.by_item) and result.places == child.item_count
        write = services.tenant.steering.resolve(job_id, index, result.body, by_item=by_item)
        await _surely(write, is_resolved)
        services.orchestration.kick_cancel()
    child = await find_child(services, job, index)
    if not await _has_result(services, job, index, result.body):
        detail = f"The child is {child.state}: only a held one can be given its result."
        raise errors.NotInThisState("child_not_held", detail)
    return await child_answer(services, job, child, 200)


async def _has_result(services: Services, job: JobRecord, index: int, body: bytes) -> bool:
    """Whether a client has given the child this result."""
    chunks = services.tenant.chunks
    child = await find_child(services, job, index)
    if child.resolved_by is None or child.state is not RESOLVE.after:
        return False
    return any([output.body == body async for _, output in chunks.outputs(job.id, [child])])
