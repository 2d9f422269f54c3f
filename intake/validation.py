"""Checks a job request: its form, the limits, the names and options that the workers know."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any, Final, NoReturn, TypeVar

import pydantic
from pydantic_core import ErrorDetails

from fanfold.contract import json_values
from fanfold.contract.pydantic_faults import message_of
from fanfold.contract.settings import IntakeSettings
from fanfold.contract.wording import did_you_mean, suggested
from fanfold.intake.faults import Fault, pointer, refuse, refuse_all, refuse_limit
from fanfold.intake.job_request import JobRequest, Stage
from fanfold.intake.schema_faults import faults_in
from fanfold.intake.unknown_fields import fields_at
from fanfold.ledger.catalog import Published

MAX_REPORTED_FAULTS: Final = 20

Request = TypeVar("Request", bound=pydantic.BaseModel)
Step = tuple[tuple[str | int, ...], str, Mapping[str, Any]]
"""Where in the body a processor stands, its name and its options."""


def validate(document: Any, limits: IntakeSettings) -> JobRequest:  # noqa: ANN401 - any JSON
    """The job request in this document; raises InvalidJob with a fault for each mistake."""
    request = parsed(JobRequest, document)
    check_labels(request.labels, limits)
    check_retention(request.retention_hours, limits)
    check_steps(_steps(request), limits)
    encode(request.model_dump(exclude={"items", "chunks"}), ())
    return request


def parsed(model: type[Request], document: Any) -> Request:  # noqa: ANN401 - any JSON value
    """What is asked for in this document; raises InvalidJob with a fault for each mistake."""
    try:
        return model.model_validate(document)
    except pydantic.ValidationError as error:
        found = error.errors(include_url=False)[:MAX_REPORTED_FAULTS]
        faults = [Fault(_place(fault["loc"]), _message(model, fault)) for fault in found]
        refuse_all("invalid_job", faults)


def check_labels(labels: Mapping[str, str], limits: IntakeSettings) -> None:
    """Raises InvalidJob where there are too many."""
    if len(labels) > limits.max_labels:
        refuse_limit(pointer("labels"), "labels", limits.max_labels, "FANFOLD_MAX_LABELS")


def check_retention(hours: float | None, limits: IntakeSettings) -> None:
    """Raises InvalidJob where the job asks to be kept longer than the gateway keeps jobs."""
    if (hours or 0) > limits.retention_hours:
        refuse_limit(
            pointer("retention_hours"), "hours", limits.retention_hours, "FANFOLD_RETENTION_HOURS"
        )


def check_steps(steps: Iterable[Step], limits: IntakeSettings) -> None:
    """Raises InvalidJob where options are nested too deep."""
    for path, _, options in steps:
        check_nesting(options, limits.max_nesting_depth, (*path, "options"))


def _place(location: tuple[int | str, ...]) -> str:
    """The pointer to a fault; pydantic marks one about a key, not its value, with `[key]`."""
    return pointer(*(location[:-1] if location[-1:] == ("[key]",) else location))


def _message(model: type[pydantic.BaseModel], fault: ErrorDetails) -> str:
    """What is wrong; of an unknown field, which one may have been meant."""
    if fault["type"] != "extra_forbidden":
        return message_of(fault)
    *above, last = fault["loc"]
    name = str(last)
    known = fields_at(model, above)
    home = next((field for field in known if name in fields_at(model, [*above, field])), None)
    if home is not None:
        return f"unknown field here; it is a field of {home}"
    return f"unknown field{suggested(name, known, 'fields')}"


def check_names(request: JobRequest, processors: Published, reducers: Published) -> None:
    """Refuse names and options that the workers' published catalog does not know.

    Before the first worker has published anything, nothing can be said; then the
    workers decide. Raises InvalidJob.
    """
    check_processors(_steps(request), processors)
    reducer = request.reducer
    if reducers.is_known and reducer is not None and reducer not in reducers.entries:
        _refuse_name("unknown_reducer", "reducer", pointer("reducer"), reducer, reducers)


def check_processors(steps: Iterable[Step], processors: Published) -> None:
    """Of `check_names`, what is about processors."""
    if not processors.is_known:
        return
    for path, name, options in steps:
        if name not in processors.entries:
            place = pointer(*path, "processor")
            _refuse_name("unknown_processor", "processor", place, name, processors)
        found = faults_in(options, processors.entries[name], (*path, "options"))
        if faults := list(dict.fromkeys(islice(found, MAX_REPORTED_FAULTS))):
            refuse_all("invalid_options", faults)


def encode(value: Any, path: tuple[str | int, ...]) -> bytes:  # noqa: ANN401 - any JSON value
    """The value as JSON text; raises InvalidJob where the ledger cannot store it exactly."""
    try:
        return json_values.encode(value)
    except json_values.UnstorableValue as error:
        refuse("invalid_value", pointer(*path, *error.path), f"the value {error}")


def check_nesting(value: Any, limit: int, path: tuple[str | int, ...]) -> None:  # noqa: ANN401
    """Raises InvalidJob where the value is nested too deep."""
    if json_values.nests_deeper_than(value, limit):
        refuse(
            "limit_exceeded",
            pointer(*path),
            f"nested more than {limit} levels deep (FANFOLD_MAX_NESTING_DEPTH)",
        )


def steps_of(stages: Sequence[Stage]) -> Iterator[Step]:
    """The steps of stages, which stand at `/stages`."""
    for index, stage in enumerate(stages):
        yield ("stages", index), stage.processor, stage.options


def _steps(request: JobRequest) -> Iterator[Step]:
    if request.stages is not None:
        yield from steps_of(request.stages)
        return
    (step,) = request.steps
    yield (), step.processor, step.options


def _refuse_name(code: str, kind: str, place: str, name: str, known: Published) -> NoReturn:
    if name in known.gone:
        gone_for = _in_words(known.gone[name])
        refuse(code, place, f"no worker has had this {kind} for {gone_for}; start one that has it")
    near = did_you_mean(name, known.entries)
    # After a question mark a new sentence begins.
    see = f"GET /{kind}s lists those there are"
    refuse(code, place, f"no worker has a {kind} of this name{near}{' ' if near else '; '}{see}")


def _in_words(duration: timedelta) -> str:
    """In the largest unit of which it has at least two."""
    for unit in ("days", "hours"):
        count = duration // timedelta(**{unit: 1})
        if count > 1:
            return f"{count} {unit}"
    minutes = duration // timedelta(minutes=1)
    return f"{minutes} minute{'s' * (minutes != 1)}"
