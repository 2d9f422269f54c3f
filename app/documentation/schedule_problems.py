"""Examples of the errors that operations on schedules answer with."""

from typing import Final

from fanfold.app.http import errors
from fanfold.app.http.errors import Problem
from fanfold.app.http.parameters import invalid_parameter
from fanfold.intake.faults import Fault


def _refused(code: str, place: str, message: str) -> errors.InvalidJob:
    return errors.InvalidJob(code, f"{place}: {message}", (Fault(place, message),))


_NO_SCHEDULE: Final = errors.NotFound("schedule_not_found", "There is no schedule of this name.")
_UNAVAILABLE: Final = (
    errors.Unavailable(
        "temporal_unavailable",
        "Temporal, which keeps the schedules, does not answer. Try again in a moment.",
    ),
    errors.Unavailable(
        "gateway_stopping",
        "The gateway is stopping, and the request did not end in time. Try again in a moment.",
    ),
)
_LISTING: Final = (
    invalid_parameter("limit", "must be at least 1"),
    errors.MalformedRequest(
        "invalid_cursor",
        "The cursor is not one of this listing: use next_cursor as it was given, "
        "with the same filters.",
    ),
)
_OF_ONE: Final = (_NO_SCHEDULE, *_UNAVAILABLE)

OF_OPERATION: Final[dict[str, tuple[Problem, ...]]] = {
    "create_schedule": (
        _refused(
            "invalid_schedule", "/time_zone", "there is no such time zone; did you mean Asia/Tokyo?"
        ),
        _refused("invalid_job", "/job/chunk_sise", "unknown field; did you mean chunk_size?"),
        _refused(
            "unknown_processor",
            "/job/processor",
            "no worker has a processor of this name; GET /processors lists those there are",
        ),
        _refused(
            "limit_exceeded",
            "/job",
            "at most 2000000 bytes of JSON text are allowed: Temporal keeps it",
        ),
        errors.ScheduleExists(
            "schedule_exists",
            "There is a schedule of this name. To change it, delete it first: its jobs are kept.",
        ),
        errors.MalformedRequest(
            "malformed_json", "The body is not JSON: a comma is missing at line 3 column 5."
        ),
        errors.RequestTimeout("body_timeout", "The body did not arrive within 60 seconds."),
        errors.BodyTooLarge(
            "body_too_large", "At most 33554432 bytes are allowed (FANFOLD_MAX_BODY_BYTES)."
        ),
        errors.UnsupportedMediaType(
            "unsupported_media_type",
            "Send the schedule as JSON, with the header Content-Type: application/json.",
        ),
        errors.Unavailable(
            "ledger_unavailable",
            "The ledger cannot be reached; no schedule was made. Try again in a moment.",
        ),
        *_UNAVAILABLE,
    ),
    "list_schedules": (*_LISTING, *_UNAVAILABLE),
    "get_schedule": _OF_ONE,
    "delete_schedule": _OF_ONE,
    "pause_schedule": _OF_ONE,
    "resume_schedule": _OF_ONE,
    "run_schedule": (
        errors.ScheduleRunning(
            "schedule_running",
            "The job before has not finished, and the schedule's overlap policy is to skip then. "
            "Wait for its end, or cancel it.",
        ),
        *_OF_ONE,
    ),
    "list_jobs_of_schedule": (
        *_LISTING,
        _NO_SCHEDULE,
        errors.Unavailable(
            "ledger_unavailable", "The ledger cannot be reached. Try again in a moment."
        ),
    ),
}
