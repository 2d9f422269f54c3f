"""Examples of every error that an operation answers with, for its OpenAPI description."""

import json
from typing import Any, Final

from fanfold.app.documentation import schedule_problems
from fanfold.app.http import errors
from fanfold.app.http.errors import CODES, Problem
from fanfold.app.http.parameters import invalid_parameter
from fanfold.app.http.problems import MEDIA_TYPE, render
from fanfold.intake.faults import Fault

_Examples = tuple[Problem, ...]


def _refused(code: str, place: str, message: str) -> errors.InvalidJob:
    return errors.InvalidJob(code, f"{place}: {message}", (Fault(place, message),))


_PARAMETER: Final = invalid_parameter("limit", "must be at least 1")
_CURSOR: Final = errors.MalformedRequest(
    "invalid_cursor",
    "The cursor is not one of this listing: use next_cursor as it was given, "
    "with the same filters.",
)
_NO_JOB: Final = errors.NotFound("job_not_found", "There is no job of this id.")
_LEDGER: Final = errors.Unavailable(
    "ledger_unavailable", "The ledger cannot be reached. Try again in a moment."
)
_STOPPING: Final = errors.Unavailable(
    "gateway_stopping",
    "The gateway is stopping, and the request did not end in time. Try again in a moment.",
)
_NO_CHILD: Final = errors.NotFound(
    "child_not_found", "The job has no child of this index: they go from 0 to 4."
)
_FINISHED: Final = errors.JobAlreadyFinished(
    "job_already_finished", "The job has finished as succeeded; its results are kept."
)
_TIMEOUT: Final = errors.RequestTimeout(
    "body_timeout", "The body did not arrive within 60 seconds."
)
_TOO_LARGE: Final = errors.BodyTooLarge(
    "body_too_large", "At most 33554432 bytes are allowed (FANFOLD_MAX_BODY_BYTES)."
)
_NO_JSON: Final = errors.MalformedRequest(
    "malformed_json", "The body is not JSON: a comma is missing at line 3 column 5."
)
_IN_GZIP: Final = errors.UnsupportedMediaType(
    "unsupported_content_encoding", "Send the body uncompressed."
)
_NO_CHUNKS: Final = errors.NotOfThisJob(
    "job_has_no_chunks",
    "The job is made of jobs, and has no children itself: ask one of these. "
    "GET /jobs/job_01m805bra8c0bf3epyhcw67j48/jobs lists them.",
)
_ROOT_RECEIVES: Final = errors.NotInThisState(
    "job_receiving",
    "The job is a part of job_01m805bra8c0bf3epyhcw67j48, which still receives its data: seal or "
    "cancel that first.",
)
_READING: Final = (_NO_JOB, _LEDGER, _STOPPING)
_LISTING: Final = (_PARAMETER, _CURSOR, _LEDGER, _STOPPING)

# What is wrong with items, wherever they come from.
_ITEMS: Final = (
    errors.MalformedRequest("malformed_gzip", "The compressed items end before they are whole."),
    errors.MalformedRequest("upload_broken_off", "The data ended before it was whole."),
    errors.RequestTimeout("body_timeout", "Nothing more arrived for 60 seconds."),
    errors.UnsupportedMediaType(
        "unsupported_content_encoding", "Send the items as they are, or compressed with gzip."
    ),
    _refused("invalid_item", "/items/17", "line 18: not JSON: a value is missing at column 9"),
    _refused("invalid_value", "/items/17/note", "the value holds a NUL character"),
    _refused("item_schema_mismatch", "/items/17/net", "line 18: must be a number, not a string"),
    _refused(
        "item_schema_unknown",
        "/check_items",
        "the items cannot be checked: the processor shout declares no item schema; "
        "leave check_items out, or annotate the processor's first parameter",
    ),
)

_OF_OPERATION: Final[dict[str, _Examples]] = {
    **schedule_problems.OF_OPERATION,
    "submit_job": (
        _refused("invalid_job", "/chunk_sise", "unknown field; did you mean chunk_size?"),
        _NO_JSON,
        errors.MalformedRequest(
            "malformed_multipart",
            "The first part of the form has to be `job`, with the job as JSON.",
        ),
        errors.MalformedRequest(
            "invalid_idempotency_key", "An Idempotency-Key has 1 to 255 printable ASCII characters."
        ),
        _TOO_LARGE,
        errors.UnsupportedMediaType(
            "unsupported_media_type",
            "Send the job as JSON, with the header Content-Type: application/json, or as a form, "
            "multipart/form-data, with its items beside it.",
        ),
        _refused(
            "unknown_processor",
            "/processor",
            "no worker has a processor of this name; GET /processors lists those there are",
        ),
        _refused(
            "unknown_reducer",
            "/reducer",
            "no worker has a reducer of this name; GET /reducers lists those there are",
        ),
        _refused("invalid_options", "/options/upper", "must be true or false, not a string"),
        _refused(
            "limit_exceeded",
            "/chunk_size",
            "at most 1000000 chunks are allowed (FANFOLD_MAX_CHUNKS)",
        ),
        errors.KeyReused(
            "idempotency_key_reused",
            "This key came with another body before; use a new key for a new job.",
        ),
        *_ITEMS,
        _LEDGER,
        _STOPPING,
    ),
    "list_jobs": (*_LISTING, _NO_JOB),
    "list_sub_jobs": (*_LISTING, _NO_JOB),
    "get_job": (
        *_READING,
        errors.NotFound("run_not_found", "The job has had no such run: they go from 1 to 2."),
    ),
    "pause_job": (
        _FINISHED,
        errors.NotInThisState(
            "job_cancelling", "The job is being cancelled: no further chunk of it starts."
        ),
        errors.NotInThisState(
            "job_receiving", "The job still receives its data, and runs only once it is sealed."
        ),
        errors.NotInThisState(
            "job_waiting",
            "Nothing of the job runs: only held children are left. Redrive, resolve or release "
            "them, or cancel the job.",
        ),
        *_READING,
    ),
    "resume_job": (
        errors.NotInThisState(
            "job_not_paused", "The job is running: only a paused one can be resumed."
        ),
        *_READING,
    ),
    "release_job": (
        errors.NotInThisState(
            "job_not_waiting",
            "The job is running: only one that waits for a person can be released.",
        ),
        *_READING,
    ),
    "change_job": (
        _refused("invalid_job", "/priorty", "unknown field; did you mean priority?"),
        _refused("invalid_value", "/name", "the value holds a NUL character"),
        _refused(
            "limit_exceeded",
            "/retention_hours",
            "at most 168 hours are allowed (FANFOLD_RETENTION_HOURS)",
        ),
        _NO_JSON,
        _TIMEOUT,
        _TOO_LARGE,
        errors.UnsupportedMediaType(
            "unsupported_media_type",
            "Send the changes as JSON, with the header Content-Type: application/json or "
            "application/merge-patch+json.",
        ),
        _IN_GZIP,
        errors.JobAlreadyFinished(
            "job_already_finished",
            "The job has finished as succeeded: priority cannot be changed any more, only labels, "
            "name, retention_hours. A redrive can bring other limits.",
        ),
        errors.NotOfThisJob(
            "job_has_no_chunks",
            "The job is made of jobs, and has no chunks itself: change max_per_second of these. "
            "GET /jobs/job_01m805bra8c0bf3epyhcw67j48/jobs lists them.",
            (
                Fault(
                    "/max_per_second",
                    "goes with chunks, which only its sub-jobs have: give it to them",
                ),
            ),
        ),
        errors.NotOfThisJob(
            "job_is_part_of_another",
            "The job is a part of job_01m805bra8c0bf3epyhcw67j48: change how long to keep that "
            "job as a whole.",
        ),
        errors.JobChanged(
            "job_changed",
            "The job has changed since this ETag was given: GET it, and decide anew.",
        ),
        *_READING,
    ),
    "redrive_job": (
        _refused("invalid_job", "/corections", "unknown field; did you mean corrections?"),
        _refused("invalid_value", "/corrections/0/value", "the value holds a NUL character"),
        _refused(
            "limit_exceeded",
            "/corrections/0/value",
            "at most 1048576 bytes an item are allowed (FANFOLD_MAX_ITEM_BYTES)",
        ),
        _refused(
            "item_schema_mismatch", "/corrections/0/value/net", "must be a number, not a string"
        ),
        _refused(
            "unknown_processor",
            "/processor",
            "no worker has a processor of this name; GET /processors lists those there are",
        ),
        _refused("invalid_options", "/options/upper", "must be true or false, not a string"),
        errors.NothingSelected(
            "nothing_selected",
            "No child is selected. The job's children are: 5 succeeded. Name others in "
            "select.states or select.indexes.",
        ),
        errors.KeyReused(
            "idempotency_key_reused",
            "This key came with another body before; use a new key for a new job.",
        ),
        errors.MalformedRequest(
            "invalid_idempotency_key", "An Idempotency-Key has 1 to 255 printable ASCII characters."
        ),
        _NO_JSON,
        _TIMEOUT,
        _TOO_LARGE,
        errors.UnsupportedMediaType(
            "unsupported_media_type",
            "Send what is to run again as JSON, with the header Content-Type: application/json, "
            "or no body.",
        ),
        _IN_GZIP,
        errors.JobNotFinished(
            "job_not_finished",
            "The job is running: its chunks run again once it has finished, or waits for a person.",
        ),
        *_READING,
    ),
    "cancel_child": (
        errors.NotInThisState(
            "child_already_finished", "The child has finished as succeeded; its outcome is kept."
        ),
        *_READING,
        _NO_CHILD,
        _NO_CHUNKS,
        _ROOT_RECEIVES,
    ),
    "resolve_child": (
        errors.NotInThisState(
            "child_not_held", "The child is running: only a held one can be given its result."
        ),
        _refused("invalid_value", "/0", "the value holds a NUL character"),
        _refused(
            "limit_exceeded", "", "nested more than 64 levels deep (FANFOLD_MAX_NESTING_DEPTH)"
        ),
        _NO_JSON,
        _TIMEOUT,
        errors.BodyTooLarge(
            "body_too_large", "At most 8388608 bytes are allowed (FANFOLD_MAX_CHUNK_RESULT_BYTES)."
        ),
        errors.UnsupportedMediaType(
            "unsupported_media_type",
            "Send the result as JSON, with the header Content-Type: application/json.",
        ),
        _IN_GZIP,
        *_READING,
        _NO_CHILD,
        _NO_CHUNKS,
    ),
    "cancel_job": (
        invalid_parameter("purge", "must be true or false"),
        _FINISHED,
        errors.JobNotFinished(
            "job_not_finished",
            "Only a finished job can be removed; cancel it, and wait for its end.",
        ),
        errors.NotOfThisJob(
            "job_is_part_of_another",
            "The job is a part of job_01m805bra8c0bf3epyhcw67j48: purge that job as a whole.",
        ),
        _ROOT_RECEIVES,
        *_READING,
    ),
    "send_items": (
        invalid_parameter("part", "is required"),
        errors.JobNotReceiving(
            "job_not_receiving",
            "The job takes no data: it is sealed or closed, or never was one with a source.",
        ),
        errors.BodyTooLarge(
            "body_too_large",
            "At most 10737418240 bytes are allowed for the items (FANFOLD_MAX_UPLOAD_BYTES).",
        ),
        errors.UnsupportedMediaType(
            "unsupported_media_type",
            "Send items in UTF-8, with one of these media types: application/x-ndjson, text/csv, "
            "application/json.",
        ),
        _refused(
            "limit_exceeded",
            "/items/17",
            "line 18: at most 1048576 bytes an item are allowed (FANFOLD_MAX_ITEM_BYTES)",
        ),
        *_ITEMS,
        *_READING,
    ),
    "seal_job": (
        _refused(
            "invalid_job",
            "/items",
            "there are no items: send some with PUT /jobs/{job_id}/items, and seal then",
        ),
        errors.JobNotReceiving(
            "job_not_an_upload",
            "The job came with its data, so there is nothing to seal: it runs, or has run. "
            'Only a job that was posted with "source": "upload" is sealed.',
        ),
        errors.JobNotReceiving(
            "job_not_receiving",
            "The job takes no data: it is sealed or closed, or never was one with a source.",
        ),
        *_READING,
    ),
    "list_children": (*_LISTING, _NO_JOB),
    "list_items": (*_LISTING, _NO_JOB),
    "get_child": (*_READING, _NO_CHILD, _NO_CHUNKS),
    "list_attempts": (*_READING, _NO_CHILD, _NO_CHUNKS),
    "stream_results": (
        invalid_parameter("columns", "goes with format=csv: add that, or leave it out"),
        *_READING,
    ),
    "stream_failures": (invalid_parameter("format", "must be ndjson or csv"), *_READING),
    "list_processors": (_LEDGER, _STOPPING),
    "list_reducers": (_LEDGER, _STOPPING),
    "readyz": (
        errors.Unavailable("not_ready", "Temporal cannot be reached."),
        _STOPPING,
    ),
}
_EVERYWHERE: Final = (
    invalid_parameter("stat", "there is no such query parameter here; did you mean state?"),
    errors.UnknownHost(
        "unknown_host",
        "The gateway does not answer for the host jobs.example.com. If it should, name it in "
        "FANFOLD_ALLOWED_HOSTS.",
    ),
    errors.ForeignOrigin(
        "foreign_origin", "A web page of another origin may not change anything here."
    ),
)


def add_examples(document: dict[str, Any]) -> None:
    """Give each error response of each operation its examples, named by their codes."""
    for path in document["paths"].values():
        for operation in path.values():
            # What an operation says of its own takes the place of what all say.
            answered = (*_EVERYWHERE, *_OF_OPERATION.get(operation["operationId"], ()))
            for status, response in operation["responses"].items():
                examples = {
                    problem.code: {
                        "summary": CODES[problem.code],
                        "value": json.loads(bytes(render(problem).body)),
                    }
                    for problem in answered
                    if str(problem.status) == status
                }
                if MEDIA_TYPE in response.get("content", {}):
                    response["content"][MEDIA_TYPE]["examples"] = examples
