"""Checks a job request: its form, the limits, the names and options that the workers know."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final, NoReturn

import jsonschema
import pydantic

from fanfold.app.http.errors import Fault, pointer
from fanfold.app.intake.faults import refuse, refuse_all, refuse_limit
from fanfold.app.intake.job_request import JobRequest
from fanfold.contract import json_values
from fanfold.contract.settings import GatewaySettings
from fanfold.ledger.catalog import CatalogEntry, Published

MAX_REPORTED_FAULTS: Final = 20


def validate(document: Any, limits: GatewaySettings) -> JobRequest:  # noqa: ANN401 - any JSON
    """The job request in this document; raises InvalidJob with a fault for each mistake."""
    try:
        request = JobRequest.model_validate(document)
    except pydantic.ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[:MAX_REPORTED_FAULTS]
        refuse_all("invalid_job", [Fault(_place(fault["loc"]), fault["msg"]) for fault in found])
    if len(request.labels) > limits.max_labels:
        refuse_limit(pointer("labels"), "labels", limits.max_labels, "FANFOLD_MAX_LABELS")
    if (request.retention_hours or 0) > limits.retention_hours:
        refuse_limit(
            pointer("retention_hours"), "hours", limits.retention_hours, "FANFOLD_RETENTION_HOURS"
        )
    for path, _, options in _steps(request):
        check_nesting(options, limits.max_nesting_depth, (*path, "options"))
    encode(request.model_dump(exclude={"items", "chunks"}), ())
    return request


def _place(location: tuple[int | str, ...]) -> str:
    """The pointer to a fault; pydantic marks one about a key, not its value, with `[key]`."""
    return pointer(*(location[:-1] if location[-1:] == ("[key]",) else location))


def check_names(request: JobRequest, processors: Published, reducers: Published) -> None:
    """Refuse names and options that the workers' published catalog does not know.

    Before the first worker has published anything, nothing can be said; then the
    workers decide. Raises InvalidJob.
    """
    if processors.is_known:
        for path, name, options in _steps(request):
            if name not in processors.entries:
                place = pointer(*path, "processor")
                _refuse_name("unknown_processor", "processor", place, processors.gone.get(name))
            _check_options(options, processors.entries[name], (*path, "options"))
    reducer = request.reducer
    if reducers.is_known and reducer is not None and reducer not in reducers.entries:
        _refuse_name("unknown_reducer", "reducer", pointer("reducer"), reducers.gone.get(reducer))


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


def _steps(request: JobRequest) -> Iterator[tuple[tuple[str | int, ...], str, dict[str, Any]]]:
    if request.stages is None:
        yield (), request.processor or "", request.options or {}
        return
    for index, stage in enumerate(request.stages):
        yield ("stages", index), stage.processor, stage.options


def _check_options(
    options: dict[str, Any], entry: CatalogEntry, path: tuple[str | int, ...]
) -> None:
    validator = _validator(entry.name, _Frozen(entry.options_schema))
    faults = [
        Fault(pointer(*path, *error.absolute_path), fault_message(error))
        for error in list(validator.iter_errors(options))[:MAX_REPORTED_FAULTS]
    ]
    if faults:
        refuse_all("invalid_options", faults)


class _Frozen:
    """A schema as a cache key: equal while its text is."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.schema = schema
        self._text = repr(schema)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Frozen) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


@lru_cache(maxsize=256)
def _validator(_name: str, schema: _Frozen) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema.schema)


def fault_message(error: jsonschema.ValidationError) -> str:
    """What is wrong, in terms of the schema: the library's own words repeat the value."""
    limit = error.validator_value
    messages: dict[str, Callable[[], str]] = {
        "additionalProperties": lambda: "has options that this processor does not know",
        "required": lambda: "lacks a required option",
        "type": lambda: f"is not of type {limit}",
        "enum": lambda: f"is not one of {limit}",
        "const": lambda: f"is not {limit!r}",
        "anyOf": lambda: "fits none of the allowed forms",
    }
    make = messages.get(str(error.validator))
    return make() if make else f"breaks the rule {error.validator} {limit}"


def _refuse_name(code: str, kind: str, place: str, gone_for: timedelta | None) -> NoReturn:
    if gone_for is None:
        what = f"no worker has {kind}s of this name; GET /{kind}s lists those there are"
    else:
        what = f"no worker has had this {kind} for {_in_words(gone_for)}; start one that has it"
    refuse(code, place, what)


def _in_words(duration: timedelta) -> str:
    """In the largest unit of which it has at least two."""
    for unit in ("days", "hours"):
        count = duration // timedelta(**{unit: 1})
        if count > 1:
            return f"{count} {unit}"
    minutes = duration // timedelta(minutes=1)
    return f"{minutes} minute{'s' * (minutes != 1)}"
