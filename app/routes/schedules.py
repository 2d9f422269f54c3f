"""/schedules: jobs that are submitted again and again, by Temporal's own schedules."""

import asyncio
import re
from collections.abc import Awaitable
from typing import Annotated, Final, TypeVar

from fastapi import APIRouter, Path, Request, Response

from fanfold.answers import views
from fanfold.app.answers.schedules import SchedulePageView, schedule_json, schedule_page
from fanfold.app.documentation import examples, schedule_examples
from fanfold.app.http import cursor, errors
from fanfold.app.http.parameters import DEFAULT_PAGE, MAX_PAGE, PageCursor, PageLimit
from fanfold.app.http.problems import responses
from fanfold.app.intake.body import decode_body, read_body
from fanfold.app.intake.schedule_request import NAME_PATTERN, ScheduleRequest
from fanfold.app.intake.schedules import SCHEDULE, job_as_given, read_schedule
from fanfold.app.routes.job_lists import list_jobs
from fanfold.app.services import Services, ServicesOf
from fanfold.app.temporal.calls import CallRefused, TemporalUnavailable
from fanfold.app.temporal.schedules import (
    NewSchedule,
    NoSuchSchedule,
    ScheduleExists,
    StillRunning,
    Times,
    TimesRefused,
)
from fanfold.contract.names import SCHEDULE_LABEL
from fanfold.contract.settings import GatewaySettings
from fanfold.intake.faults import Fault, InvalidJob
from fanfold.intake.job_text import decode_schedule
from fanfold.intake.published import PublishedCode, published_code
from fanfold.ledger.database import LedgerUnavailable

router = APIRouter(prefix="/schedules", tags=["schedules"])

Answer = TypeVar("Answer")
Name = Annotated[
    str,
    Path(
        description="The name of the schedule.", json_schema_extra={"pattern": f"^{NAME_PATTERN}$"}
    ),
]

_SCHEDULE: Final = examples.answer("Schedule", schedule_examples.SCHEDULE)
_LISTING: Final = ["schedules"]
_NO_ANSWER: Final = "Temporal, which keeps the schedules, does not answer. Try again in a moment."
_UNKNOWN: Final = (
    "Temporal, which keeps the schedules, did not answer, so it is unknown whether this took "
    "effect. Look at the schedule in a moment, and try again if need be."
)
_REPEATABLE: Final = (
    "Temporal, which keeps the schedules, did not answer, so it is unknown whether this took "
    "effect. Try again in a moment: to ask twice is safe."
)


@router.post(
    "",
    operation_id="create_schedule",
    summary="Submit a job again and again",
    status_code=201,
    response_class=Response,
    responses={
        201: {
            "description": "Temporal has the schedule.",
            "content": _SCHEDULE,
            "headers": {
                "Location": {
                    "description": "Address of the schedule.",
                    "schema": {"type": "string"},
                },
            },
        },
        **responses(
            errors.MalformedRequest,
            errors.RequestTimeout,
            errors.ScheduleExists,
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
                    "schema": {"$ref": "#/components/schemas/ScheduleRequest"},
                    "examples": schedule_examples.REQUESTS,
                }
            },
        }
    },
)
async def create_schedule(request: Request, services: ServicesOf) -> Response:
    """Have a job submitted at certain times. It is checked now, and each time it is submitted."""
    body = await read_body(request, services.settings, SCHEDULE)
    try:
        code = await published_code(services.ledger.catalog)
    except LedgerUnavailable as error:
        detail = "The ledger cannot be reached; no schedule was made. Try again in a moment."
        raise errors.Unavailable("ledger_unavailable", detail) from error
    asked, job = await asyncio.to_thread(_read, body, services.settings, code)
    new = NewSchedule(
        name=asked.name,
        times=Times(cron=asked.cron, every_seconds=asked.every_seconds, time_zone=asked.time_zone),
        overlap=asked.overlap,
        job=job,
        is_paused=asked.paused,
        note=asked.note,
    )
    try:
        await _answered(services.schedules.create(new), if_unknown=_UNKNOWN)
    except ScheduleExists:
        detail = (
            "There is a schedule of this name. To change it, delete it first: its jobs are kept."
        )
        raise errors.ScheduleExists("schedule_exists", detail) from None
    except TimesRefused as refused:
        place = "/time_zone" if refused.is_about_zone else "/cron"
        raise InvalidJob("invalid_schedule", [Fault(place, str(refused))]) from None
    headers = {"Location": f"/schedules/{new.name}"}
    return await _shown(services, new.name, 201, headers, done="The schedule is made.")


def _read(
    body: bytes, limits: GatewaySettings, code: PublishedCode
) -> tuple[ScheduleRequest, bytes]:
    document = decode_body(body, kind=SCHEDULE, decode=decode_schedule)
    return read_schedule(document, limits, code)


@router.get(
    "",
    operation_id="list_schedules",
    summary="List schedules, newest first",
    response_model_exclude_unset=True,
    responses={
        200: {
            "description": "A page of schedules.",
            "content": {"application/json": {"example": schedule_examples.PAGE}},
        },
        **responses(errors.MalformedRequest, errors.Unavailable),
    },
)
async def list_schedules(
    services: ServicesOf, limit: PageLimit = DEFAULT_PAGE, cursor_text: PageCursor = None
) -> SchedulePageView:
    """Schedules without their jobs and runs. One just made may take a second to be there."""
    after = cursor.decode(cursor_text, _LISTING) if cursor_text is not None else None
    found, following = await _answered(services.schedules.page(min(limit, MAX_PAGE), after))
    return schedule_page(found, cursor.encode(following, _LISTING) if following else None)


@router.get(
    "/{name}",
    operation_id="get_schedule",
    summary="Get a schedule",
    response_class=Response,
    responses={
        200: {"description": "The schedule, with its last runs.", "content": _SCHEDULE},
        **responses(errors.NotFound, errors.Unavailable),
    },
)
async def get_schedule(name: Name, services: ServicesOf) -> Response:
    """What it submits, when it does so next, and what came of the last times."""
    return await _shown(services, name, 200)


@router.delete(
    "/{name}",
    operation_id="delete_schedule",
    summary="Delete a schedule",
    status_code=204,
    response_class=Response,
    responses={
        204: {"description": "The schedule is gone."},
        **responses(errors.NotFound, errors.Unavailable),
    },
)
async def delete_schedule(name: Name, services: ServicesOf) -> Response:
    """Submit nothing any more. Jobs of it are kept; one that runs goes on."""
    await _answered(services.schedules.delete(_known(name)), if_unknown=_UNKNOWN)
    return Response(status_code=204)


@router.post(
    "/{name}/pause",
    operation_id="pause_schedule",
    summary="Pause a schedule",
    response_class=Response,
    responses={
        200: {"description": "The schedule is paused; or it was before.", "content": _SCHEDULE},
        **responses(errors.NotFound, errors.Unavailable),
    },
)
async def pause_schedule(name: Name, services: ServicesOf) -> Response:
    """Submit nothing until resumed. A job that runs goes on."""
    await _answered(services.schedules.pause(_known(name)), if_unknown=_REPEATABLE)
    return await _shown(services, name, 200, done="The schedule is paused.")


@router.post(
    "/{name}/resume",
    operation_id="resume_schedule",
    summary="Let a paused schedule go on",
    response_class=Response,
    responses={
        200: {"description": "The schedule goes on; or it did before.", "content": _SCHEDULE},
        **responses(errors.NotFound, errors.Unavailable),
    },
)
async def resume_schedule(name: Name, services: ServicesOf) -> Response:
    """Submit the job again from its next time on; those that have passed are not made up for."""
    await _answered(services.schedules.resume(_known(name)), if_unknown=_REPEATABLE)
    return await _shown(services, name, 200, done="The schedule goes on.")


@router.post(
    "/{name}/run",
    operation_id="run_schedule",
    summary="Submit the job of a schedule now",
    status_code=202,
    response_class=Response,
    responses={
        202: {
            "description": "The job is about to be submitted, as the overlap policy allows.",
            "content": _SCHEDULE,
        },
        **responses(errors.NotFound, errors.ScheduleRunning, errors.Unavailable),
    },
)
async def run_schedule(name: Name, services: ServicesOf) -> Response:
    """Submit it besides its times, also while the schedule is paused."""
    try:
        await _answered(services.schedules.run(_known(name)), if_unknown=_UNKNOWN)
    except StillRunning:
        detail = (
            "The job before has not finished, and the schedule's overlap policy is to skip then. "
            "Wait for its end, or cancel it."
        )
        raise errors.ScheduleRunning("schedule_running", detail) from None
    return await _shown(services, name, 202, done="Its job is about to be submitted.")


@router.get(
    "/{name}/jobs",
    operation_id="list_jobs_of_schedule",
    summary="List the jobs of a schedule, newest first",
    response_model=views.JobPageView,
    response_model_exclude_unset=True,
    responses={
        200: {
            "description": "A page of jobs; an empty one of a schedule that there never was.",
            "content": {"application/json": {"example": examples.JOB_PAGE}},
        },
        **responses(errors.MalformedRequest, errors.NotFound, errors.Unavailable),
    },
)
async def list_jobs_of_schedule(
    name: Name,
    services: ServicesOf,
    limit: PageLimit = DEFAULT_PAGE,
    cursor_text: PageCursor = None,
) -> views.JobPageView:
    """What `GET /jobs` gives for their label, also once the schedule is deleted."""
    label = f"{SCHEDULE_LABEL}:{_known(name)}"
    return await list_jobs(services, label=[label], limit=limit, cursor_text=cursor_text)


def _known(name: str) -> str:
    """The name, if a schedule can have it; raises NotFound."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise _not_found()
    return name


def _not_found() -> errors.NotFound:
    return errors.NotFound("schedule_not_found", "There is no schedule of this name.")


async def _shown(
    services: Services,
    name: str,
    status: int,
    headers: dict[str, str] | None = None,
    *,
    done: str = "",
) -> Response:
    """The schedule as it is now; `done` says what has been done, should Temporal go away here."""
    if_unknown = f"{done} Temporal went away before the schedule could be shown."
    schedule = await _answered(
        services.schedules.find(_known(name)), if_unknown=if_unknown if done else _NO_ANSWER
    )
    body = schedule_json(schedule, job_as_given(schedule.job))
    headers = {"Cache-Control": "no-cache", **(headers or {})}
    return Response(body, status, headers=headers, media_type="application/json")


async def _answered(
    asked: Awaitable[Answer],
    *,
    if_unknown: str = _NO_ANSWER,
) -> Answer:
    """What Temporal says; raises NotFound, or Unavailable."""
    try:
        return await asked
    except NoSuchSchedule:
        raise _not_found() from None
    except TemporalUnavailable:
        raise errors.Unavailable("temporal_unavailable", if_unknown) from None
    except CallRefused as refused:
        raise errors.Unavailable("temporal_unavailable", f"{refused}.") from None
