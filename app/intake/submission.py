"""Makes a job of a request: checks its data, cuts it into chunks, fills in the defaults."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final, NoReturn

import jsonschema
import pydantic

from app.http.errors import Fault, InvalidJob, pointer
from app.intake.items import cutting
from app.intake.items.cutting import Cut
from app.intake.job_request import JobRequest, Retry
from contract import json_values
from contract.job_spec import Controls, Execution, JobSpec, RetrySpec, StageSpec, ToleranceSpec
from contract.settings import GatewaySettings
from ledger.catalog import CatalogEntry, Published
from ledger.records import NewChunk

DEFAULT_CHUNK_SIZE: Final = 100
# Up to here a child workflow for each chunk costs less than it shows; see docs/size.md.
AUTO_WORKFLOW_CHUNKS: Final = 200
MAX_REPORTED_FAULTS: Final = 20


def parse(document: Any, limits: GatewaySettings) -> JobRequest:  # noqa: ANN401 - any JSON
    """The request in a decoded body; raises InvalidJob with a fault for each mistake."""
    try:
        request = JobRequest.model_validate(document)
    except pydantic.ValidationError as error:
        faults = tuple(
            Fault(_place(fault["loc"]), fault["msg"])
            for fault in error.errors(include_url=False, include_input=False)[:MAX_REPORTED_FAULTS]
        )
        raise InvalidJob("invalid_job", _sentence(faults), faults) from None
    if len(request.labels) > limits.max_labels:
        _refuse_limit("FANFOLD_MAX_LABELS", limits.max_labels, "labels", pointer("labels"))
    if (request.retention_hours or 0) > limits.retention_hours:
        _refuse_limit(
            "FANFOLD_RETENTION_HOURS",
            limits.retention_hours,
            "hours",
            pointer("retention_hours"),
        )
    for path, _, options in _steps(request):
        _check_nesting(options, limits.max_nesting_depth, (*path, "options"))
    _encode(request.model_dump(exclude={"items", "chunks"}), ())
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


def resolve_execution(requested: str, chunk_count: int) -> Execution:
    """How the chunks of a job of this size are run: "auto" is decided here."""
    if requested != Execution.AUTO:
        return Execution(requested)
    return Execution.WORKFLOW if chunk_count <= AUTO_WORKFLOW_CHUNKS else Execution.ACTIVITY


def to_spec(request: JobRequest, execution: Execution) -> JobSpec:
    """The job without its data, every default filled in."""
    retry = _retry_spec(request.retry)
    if request.stages is None:
        stages: tuple[StageSpec, ...] = (
            StageSpec(
                processor=request.processor or "",
                options=request.options or {},
                retry=retry,
                timeout_seconds=request.chunk_timeout_seconds,
            ),
        )
    else:
        stages = tuple(
            StageSpec(
                processor=stage.processor,
                options=stage.options,
                retry=_retry_spec(stage.retry) if stage.retry else retry,
                timeout_seconds=stage.timeout_seconds or request.chunk_timeout_seconds,
            )
            for stage in request.stages
        )
    return JobSpec(
        stages=stages,
        is_staged=request.stages is not None,
        reducer=request.reducer,
        execution=execution,
        chunk_size=request.chunk_size or DEFAULT_CHUNK_SIZE,
        max_chunk_bytes=request.max_chunk_bytes,
    )


def to_controls(request: JobRequest) -> Controls:
    """What of the job may change while it runs."""
    tolerated = request.tolerated_failures
    return Controls(
        name=request.name,
        labels=request.labels,
        max_concurrency=request.max_concurrency,
        tolerated_failures=ToleranceSpec(**tolerated.model_dump()) if tolerated else None,
    )


def split(request: JobRequest, limits: GatewaySettings) -> list[NewChunk]:
    """The job's chunks in order; raises InvalidJob where the data is over a limit."""
    if request.chunks is not None:
        return _given_chunks(request.chunks, limits)
    items = request.items or []
    if not items:
        _refuse("invalid_job", pointer("items"), "there are no items")
    if len(items) > limits.max_items:
        _refuse_limit("FANFOLD_MAX_ITEMS", limits.max_items, "items", pointer("items"))
    texts = _item_texts(items, limits, ("items",))
    cut = Cut(request.chunk_size or DEFAULT_CHUNK_SIZE, request.max_chunk_bytes)
    return list(cutting.chunks(([text] for text in texts), cut, limits))


def _given_chunks(chunks: Sequence[list[Any]], limits: GatewaySettings) -> list[NewChunk]:
    if not chunks:
        _refuse("invalid_job", pointer("chunks"), "there are no chunks")
    if len(chunks) > limits.max_chunks:
        _refuse_limit("FANFOLD_MAX_CHUNKS", limits.max_chunks, "chunks", pointer("chunks"))
    if sum(map(len, chunks)) > limits.max_items:
        _refuse_limit("FANFOLD_MAX_ITEMS", limits.max_items, "items", pointer("chunks"))
    made: list[NewChunk] = []
    for index, items in enumerate(chunks):
        if not items:
            _refuse("invalid_job", pointer("chunks", index), "the chunk is empty")
        made.append(cutting.chunk(list(_item_texts(items, limits, ("chunks", index)))))
    return made


def _item_texts(
    items: Sequence[Any], limits: GatewaySettings, path: tuple[str | int, ...]
) -> Iterator[bytes]:
    for index, item in enumerate(items):
        _check_nesting(item, limits.max_nesting_depth, (*path, index))
        text = _encode(item, (*path, index))
        if len(text) > limits.max_item_bytes:
            _refuse_limit(
                "FANFOLD_MAX_ITEM_BYTES",
                limits.max_item_bytes,
                "bytes an item",
                pointer(*path, index),
            )
        yield text


def _encode(value: Any, path: tuple[str | int, ...]) -> bytes:  # noqa: ANN401 - any JSON value
    try:
        return json_values.encode(value)
    except json_values.UnstorableValue as error:
        _refuse("invalid_value", pointer(*path, *error.path), f"the value {error}")


def _check_nesting(value: Any, limit: int, path: tuple[str | int, ...]) -> None:  # noqa: ANN401
    if json_values.nests_deeper_than(value, limit):
        _refuse(
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
    faults = tuple(
        Fault(pointer(*path, *error.absolute_path), _fault_message(error))
        for error in list(validator.iter_errors(options))[:MAX_REPORTED_FAULTS]
    )
    if faults:
        raise InvalidJob("invalid_options", _sentence(faults), faults)


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


def _fault_message(error: jsonschema.ValidationError) -> str:
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


def _retry_spec(retry: Retry) -> RetrySpec:
    return RetrySpec(
        **retry.model_dump(exclude={"non_retryable"}), non_retryable=tuple(retry.non_retryable)
    )


def _sentence(faults: Sequence[Fault]) -> str:
    return "; ".join(f"{fault.pointer or 'the job'}: {fault.message}" for fault in faults[:3])


def _refuse_name(code: str, kind: str, place: str, gone_for: timedelta | None) -> NoReturn:
    if gone_for is None:
        what = f"no worker has {kind}s of this name; GET /{kind}s lists those there are"
    else:
        what = f"no worker has had this {kind} for {_in_words(gone_for)}; start one that has it"
    _refuse(code, place, what)


def _in_words(duration: timedelta) -> str:
    """In the largest unit of which it has at least two."""
    for unit in ("days", "hours"):
        count = duration // timedelta(**{unit: 1})
        if count > 1:
            return f"{count} {unit}"
    minutes = duration // timedelta(minutes=1)
    return f"{minutes} minute{'s' * (minutes != 1)}"


def _refuse_limit(setting: str, limit: float, what: str, place: str) -> None:
    _refuse("limit_exceeded", place, f"at most {limit} {what} are allowed ({setting})")


def _refuse(code: str, place: str, message: str) -> NoReturn:
    fault = Fault(place, message)
    raise InvalidJob(code, _sentence([fault]), (fault,))
