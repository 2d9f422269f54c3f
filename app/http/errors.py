"""Every error the gateway answers with, as problem details (RFC 9457).

    Problem
    ├── MalformedRequest        400  malformed_json, invalid_parameter, invalid_cursor, ...
    ├── ForeignOrigin           403
    ├── NotFound                404  job_not_found, child_not_found, schedule_not_found, ...
    ├── MethodNotAllowed        405
    ├── RequestTimeout          408
    ├── JobAlreadyFinished      409
    ├── JobNotFinished          409
    ├── JobNotReceiving         409
    ├── NotInThisState          409  job_cancelling, job_not_paused, child_not_held, ...
    ├── NotOfThisJob            409  job_has_no_chunks, job_is_part_of_another
    ├── ScheduleExists          409
    ├── ScheduleRunning         409
    ├── JobChanged              412
    ├── BodyTooLarge            413
    ├── UnsupportedMediaType    415
    ├── UnknownHost             421
    ├── InvalidJob              422  invalid_job, limit_exceeded, unknown_processor, ...
    ├── KeyReused               422
    ├── NothingSelected         422
    ├── InternalError           500
    └── Unavailable             503  ledger_unavailable, temporal_unavailable, not_ready, ...

`code` is stable: clients may branch on it. docs/errors.md explains each; a test holds
the two together. No message repeats what the client sent beyond a name or a number.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from fanfold.intake.faults import Fault

CODES: dict[str, str] = {
    "malformed_json": "The body is not JSON",
    "malformed_multipart": "The form cannot be read",
    "malformed_gzip": "The compressed data cannot be read",
    "upload_broken_off": "The data ended before it was whole",
    "invalid_parameter": "A parameter is not valid",
    "invalid_cursor": "The cursor does not fit this request",
    "invalid_idempotency_key": "The idempotency key is not valid",
    "foreign_origin": "A page of another site may not do this",
    "job_not_found": "There is no such job",
    "child_not_found": "There is no such child",
    "run_not_found": "The job has had no such run",
    "schedule_not_found": "There is no such schedule",
    "not_found": "There is nothing at this address",
    "method_not_allowed": "This address does not take this method",
    "body_timeout": "The body took too long to arrive",
    "job_already_finished": "The job has finished already",
    "job_not_finished": "The job has not finished yet",
    "job_not_receiving": "The job takes no data",
    "job_not_an_upload": "The job never waited for data",
    "job_receiving": "The job still receives its data",
    "job_cancelling": "The job is being cancelled",
    "job_waiting": "The job waits for a person",
    "job_not_paused": "The job is not paused",
    "job_not_waiting": "The job does not wait for a person",
    "child_already_finished": "The child has finished already",
    "child_not_held": "The child is not held",
    "job_has_no_chunks": "The job is made of jobs, and has no chunks itself",
    "job_is_part_of_another": "The job is a part of another one",
    "schedule_exists": "There is such a schedule already",
    "schedule_running": "The job before has not finished",
    "job_changed": "The job has changed meanwhile",
    "body_too_large": "The body is too large",
    "unsupported_media_type": "The body is of a media type that is not read here",
    "unsupported_content_encoding": "The body is compressed in a way that is not read here",
    "unknown_host": "The gateway does not answer for this host",
    "invalid_job": "The job is not valid",
    "invalid_schedule": "The schedule is not valid",
    "limit_exceeded": "The job is over a limit",
    "invalid_item": "An item is not valid",
    "invalid_value": "The data holds a value that cannot be carried exactly",
    "unknown_processor": "No worker knows this processor",
    "unknown_reducer": "No worker knows this reducer",
    "invalid_options": "The options do not fit the processor",
    "item_schema_mismatch": "Items do not fit the processor's item schema",
    "item_schema_unknown": "There is no item schema to check by",
    "nothing_selected": "No child is selected",
    "idempotency_key_reused": "The idempotency key was used with another body",
    "internal_error": "Something went wrong on our side",
    "ledger_unavailable": "The ledger cannot be reached",
    "temporal_unavailable": "Temporal cannot be reached",
    "not_ready": "A part of the service is not ready",
    "gateway_stopping": "The gateway is stopping",
}
"""Every code with its title."""


@dataclass
class Problem(Exception):
    """An error to be answered. `detail` says what was wrong and what to do."""

    code: str
    detail: str
    errors: tuple[Fault, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    status: ClassVar[int] = 500


class MalformedRequest(Problem):
    """The request cannot be read."""

    status = 400


class ForeignOrigin(Problem):
    """A web page of another origin asked for a change."""

    status = 403


class NotFound(Problem):
    """What the address names does not exist."""

    status = 404


class MethodNotAllowed(Problem):
    """The address exists, for another method."""

    status = 405


class RequestTimeout(Problem):
    """The client took too long to send its body."""

    status = 408


class JobAlreadyFinished(Problem):
    """The job has finished: what was asked for makes no sense any more."""

    status = 409


class JobNotFinished(Problem):
    """A job that has not finished cannot be removed, nor redriven."""

    status = 409


class JobNotReceiving(Problem):
    """The job has its data, or is closed, or never waited for any."""

    status = 409


class NotInThisState(Problem):
    """The job, or the child, is not in a state in which this can be done."""

    status = 409


class ScheduleExists(Problem):
    """There is a schedule of this name already."""

    status = 409


class ScheduleRunning(Problem):
    """The job that the schedule has submitted before has not finished."""

    status = 409


class NotOfThisJob(Problem):
    """The job is made of jobs, or a part of one that is: this is asked of another one of these."""

    status = 409


class JobChanged(Problem):
    """The job is not as it was when the client read it."""

    status = 412


class BodyTooLarge(Problem):
    """The body has more bytes than allowed."""

    status = 413


class UnsupportedMediaType(Problem):
    """The body is of a kind the gateway does not read."""

    status = 415


class UnknownHost(Problem):
    """The request is for a host that the gateway does not answer for."""

    status = 421


class InvalidJob(Problem):
    """The body is JSON, but not a job that can be run."""

    status = 422


class KeyReused(Problem):
    """The idempotency key stands for another body."""

    status = 422


class NothingSelected(Problem):
    """There is nothing to run again."""

    status = 422


class InternalError(Problem):
    """A defect of ours; the log has the details, the client gets none."""

    status = 500


class Unavailable(Problem):
    """A part behind the gateway is away; trying again helps."""

    status = 503
