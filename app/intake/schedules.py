"""From the document of a schedule to what Temporal keeps of it, and back to the job of it."""

from typing import Any, Final

from fanfold.app.intake.body import JSON, BodyKind
from fanfold.app.intake.schedule_request import ScheduleRequest
from fanfold.contract import json_values
from fanfold.contract.names import SCHEDULE_LABEL
from fanfold.contract.settings import IntakeSettings
from fanfold.contract.submissions import MOST_BYTES
from fanfold.intake.faults import Fault, InvalidJob, pointer, refuse, refuse_limit
from fanfold.intake.published import PublishedCode
from fanfold.intake.validation import encode, parsed
from fanfold.intake.whole import prepare_whole

SCHEDULE: Final = BodyKind(
    (JSON,),
    "Send the schedule as JSON, with the header Content-Type: application/json.",
    "the schedule, a JSON object",
)


def read_schedule(
    document: Any,  # noqa: ANN401 - any JSON value
    limits: IntakeSettings,
    code: PublishedCode,
) -> tuple[ScheduleRequest, bytes]:
    """What is asked for, and the body that its jobs are submitted with.

    Takes a second or two of a large job. Raises InvalidJob with a pointer to each fault.
    """
    try:
        request = parsed(ScheduleRequest, document)
    except InvalidJob as refused:
        raise InvalidJob("invalid_schedule", refused.errors) from None
    encode({"note": request.note}, ())
    try:
        body = _body(request, limits)
        prepare_whole(body, limits, code)
        text = encode(body, ())
    except InvalidJob as refused:
        at_job = [Fault(f"/job{fault.pointer}", fault.message) for fault in refused.errors]
        raise InvalidJob(refused.code, at_job) from None
    if len(text) > MOST_BYTES:
        what = f"at most {MOST_BYTES} bytes of JSON text are allowed: Temporal keeps it"
        refuse("limit_exceeded", "/job", what)
    return request, text


def _body(request: ScheduleRequest, limits: IntakeSettings) -> dict[str, Any]:
    """The job with the label that it is found by."""
    if request.job.get("start_at") is not None:
        refuse("invalid_job", pointer("start_at"), "the schedule says when it starts")
    labels = request.job.get("labels", {})
    if not isinstance(labels, dict):  # which is said of it as of any job
        return request.job
    if SCHEDULE_LABEL in labels:
        message = "the schedule gives its jobs this label itself"
        refuse("invalid_job", pointer("labels", SCHEDULE_LABEL), message)
    if len(labels) + 1 > limits.max_labels:
        most, what = limits.max_labels - 1, "labels besides the schedule's own"
        refuse_limit(pointer("labels"), what, most, "FANFOLD_MAX_LABELS")
    return {**request.job, "labels": {**labels, SCHEDULE_LABEL: request.name}}


def job_as_given(body: bytes) -> bytes:
    """The body of a schedule's job as it was given, ready to be used again."""
    job = json_values.decode(body)
    if isinstance(job, dict) and isinstance(job.get("labels"), dict):
        labels = {name: value for name, value in job["labels"].items() if name != SCHEDULE_LABEL}
        job = {name: value for name, value in job.items() if name != "labels"}
        if labels:
            job["labels"] = labels
    return json_values.encode(job)
