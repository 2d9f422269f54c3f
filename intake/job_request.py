"""The job request, as the HTTP contract has it."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError, PydanticKnownError

from fanfold.contract.job_spec import DEFAULT_PRIORITY, MOST_CONCURRENT
from fanfold.contract.wording import one_of

_MOMENT: Final = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE
)
_MOST_A_SECOND: Final = 1_000_000.0
# One in three hours: the time from one start to the next is to be a number to reckon with.
_LEAST_A_SECOND: Final = 0.0001


def _integral(value: object) -> object:
    """As JSON schema has it, 1.0 is an integer: some languages write all numbers so."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _moment(value: object) -> object:
    """The milliseconds since 1970-01-01 UTC of a time as RFC 3339 has it."""
    if not isinstance(value, str):
        raise PydanticKnownError("string_type")
    message = "must be a date and time with its offset, such as 2026-01-31T12:00:00Z"
    if not _MOMENT.fullmatch(value):
        raise PydanticCustomError("not_a_moment", message)
    try:
        # Cut to the millisecond, as it is shown.
        return (datetime.fromisoformat(value.upper()) - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        raise PydanticCustomError("no_such_moment", "there is no such date or time") from None


# After the limits: before them, pydantic would not publish these.
Integral: Final = BeforeValidator(_integral)
Name = Annotated[str, Field(min_length=1, max_length=200)]
Seconds = Annotated[float, Field(gt=0, le=30 * 24 * 3600)]
Items = Annotated[list[Any], Field(min_length=1)]
Concurrency = Annotated[int, Field(ge=1, le=MOST_CONCURRENT), Integral]
PerSecond = Annotated[float, Field(ge=_LEAST_A_SECOND, le=_MOST_A_SECOND)]
Priority = Annotated[int, Field(ge=1, le=5), Integral]
Hours = Annotated[float, Field(gt=0)]
Moment = Annotated[
    int, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})
]
"""A time in RFC 3339, as milliseconds since 1970-01-01 UTC."""
LABEL_NAME_PATTERN: Final = r"[A-Za-z0-9_.\-/]{1,64}"
LabelName = Annotated[str, Field(pattern=f"^{LABEL_NAME_PATTERN}$")]
LabelValue = Annotated[str, Field(max_length=256)]


OPTIONS_OF_STAGES: Final = "options go with processor; stages have their own"


# What the validators of the models below check, for the published schema.
def _with(name: str, kind: str, *without: str) -> dict[str, Any]:
    """The schema of objects that have the one field and none of the others."""
    fields = {name: {"type": kind}} | {other: {"type": "null"} for other in without}
    return {"required": [name], "properties": fields}


_DATA: Final[dict[str, Any]] = {
    "anyOf": [
        _with("items", "array", "chunks", "source"),
        _with("chunks", "array", "items", "source", "chunk_size", "max_chunk_bytes"),
        _with("source", "string", "items", "chunks"),
    ]
}
_HOLD: Final[dict[str, Any]] = {
    "anyOf": [
        {"properties": {"hold_timeout_seconds": {"type": "null"}}},
        {"required": ["on_failure"], "properties": {"on_failure": {"const": "hold"}}},
    ]
}
_WORK: Final[dict[str, Any]] = {
    "anyOf": [
        _with("processor", "string", "stages"),
        _with("stages", "array", "processor", "options"),
    ]
}


class StrictModel(BaseModel):
    """A part of a body, in which nothing is unknown and nothing of another type."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class Retry(StrictModel):
    """How failed attempts are repeated."""

    max_attempts: Annotated[int, Field(ge=1, le=1000), Integral] = Field(
        default=3, description="Attempts in all, the first among them."
    )
    initial_interval_seconds: Seconds = Field(
        default=1.0, description="Wait before the second attempt."
    )
    backoff_coefficient: Annotated[float, Field(ge=1, le=100)] = Field(
        default=2.0, description="Each wait is this many times the one before."
    )
    max_interval_seconds: Seconds = Field(default=60.0, description="Longest wait.")
    non_retryable: Annotated[list[Name], Field(max_length=100)] = Field(
        default_factory=list, description="Error types that another attempt would not help."
    )


class Stage(StrictModel):
    """One step that every chunk runs through."""

    processor: Name = Field(description="Name of a processor; see GET /processors.")
    options: dict[str, Any] = Field(default_factory=dict, description="The processor's options.")
    retry: Retry | None = Field(default=None, description="By default the job's.")
    timeout_seconds: Seconds | None = Field(
        default=None, description="Limit of one attempt; by default chunk_timeout_seconds."
    )


class ToleratedFailures(StrictModel):
    """How many failed items the job bears; past any limit it fails, early if possible."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                _with("count", "integer"),
                _with("percent", "number"),
                _with("consecutive", "integer"),
            ]
        }
    )

    count: Annotated[int, Field(ge=0), Integral] | None = Field(
        default=None, description="More failed items than this fail the job."
    )
    percent: Annotated[float, Field(ge=0, le=100)] | None = Field(
        default=None, description="More than this share of the finished items fails the job."
    )
    min_sample: Annotated[int, Field(ge=1), Integral] = Field(
        default=100,
        description="While the job runs, `percent` counts from so many finished items on.",
    )
    consecutive: Annotated[int, Field(ge=0), Integral] | None = Field(
        default=None,
        description="More failed items than this in a row, as they finish, fail the job.",
    )

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        if self.count is None and self.percent is None and self.consecutive is None:
            raise PydanticCustomError(
                "no_limit", "give count, percent or consecutive, or several of them"
            )
        return self


class JobRequest(StrictModel):
    """A job: data, what to do with each chunk of it, and how."""

    model_config = ConfigDict(json_schema_extra={"allOf": [_DATA, _WORK, _HOLD]})

    name: Name | None = Field(default=None, description="For people; need not be unique.")
    items: Items | None = Field(
        default=None, description="Any JSON values, to be cut into chunks in order."
    )
    source: Literal["upload"] | None = Field(
        default=None,
        description="`upload`: the items follow with PUT /jobs/{job_id}/items, and then /seal.",
    )
    chunk_size: Annotated[int, Field(ge=1), Integral] | None = Field(
        default=None, description="Items in a chunk; by default 100."
    )
    max_chunk_bytes: Annotated[int, Field(ge=1), Integral] | None = Field(
        default=None, description="A chunk is closed before its JSON text grows past this."
    )
    chunks: Annotated[list[Items], Field(min_length=1)] | None = Field(
        default=None, description="The chunks themselves, one child each, instead of `items`."
    )
    item_key: Name | None = Field(
        default=None,
        description="The field of each item that is its key: your own name for the item, shown "
        "wherever the item is. Keys need not be unique; an item without the field has none.",
    )
    check_items: bool = Field(
        default=False,
        description="Refuse items that do not fit the item schema of the first processor, as "
        "GET /processors shows it, before anything is recorded.",
    )
    processor: Name | None = Field(
        default=None, description="Name of a processor; see GET /processors."
    )
    options: dict[str, Any] | None = Field(default=None, description="The processor's options.")
    stages: Annotated[list[Stage], Field(min_length=1, max_length=20)] | None = Field(
        default=None, description="Several steps, in order, instead of `processor`."
    )
    reducer: Name | None = Field(
        default=None, description="Folds the chunks' results into the job's; see GET /reducers."
    )
    execution: Literal["auto", "workflow", "activity"] = Field(
        default="auto",
        description=(
            "`workflow`: a child workflow for each chunk; `activity`: chunks in blocks, a hundred "
            "times cheaper; `auto`: the first for up to 200 chunks, the second above."
        ),
    )
    max_concurrency: Concurrency = Field(default=50, description="Most chunks in flight at a time.")
    max_per_second: PerSecond | None = Field(
        default=None, description="Most chunks to start a second, over all workers."
    )
    priority: Priority = Field(
        default=DEFAULT_PRIORITY,
        description="From 1, whose chunks go first where workers are busy, to 5.",
    )
    start_at: Moment | None = Field(
        default=None,
        description="The job stays `pending` until then: a date and time with its offset "
        "(RFC 3339).",
    )
    deadline_seconds: Seconds | None = Field(
        default=None,
        description="So long after its start the job fails with `DeadlineExceeded`.",
    )
    retry: Retry = Field(default_factory=Retry)
    chunk_timeout_seconds: Seconds = Field(
        default=300.0, description="Limit of one attempt at a chunk."
    )
    tolerated_failures: ToleratedFailures | None = Field(
        default=None, description="By default any number, as long as one item succeeds."
    )
    on_failure: Literal["record", "hold"] = Field(
        default="record",
        description="`hold`: a chunk of which items failed for good is `held` for a person, who "
        "redrives, resolves, cancels or releases it.",
    )
    hold_timeout_seconds: Seconds | None = Field(
        default=None,
        description="With `on_failure` `hold`: a job that waits so long is released by itself.",
    )
    labels: dict[LabelName, LabelValue] = Field(
        default_factory=dict,
        description="For finding the job again: GET /jobs?label=name:value.",
        json_schema_extra={"additionalProperties": False},
    )
    retention_hours: Hours | None = Field(
        default=None,
        description="Delete the job so long after its end; at most, and by default, as long as "
        "the gateway keeps jobs (FANFOLD_RETENTION_HOURS).",
    )

    @property
    def steps(self) -> Sequence[Stage]:
        """What every chunk runs through, also where that is one processor."""
        if self.stages is not None:
            return self.stages
        # What is here has been validated.
        options = self.options or {}
        return [
            Stage.model_construct(
                processor=self.processor or "", options=options, retry=None, timeout_seconds=None
            )
        ]

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        faults = [
            *_faults_of_one_of(items=self.items, chunks=self.chunks, source=self.source),
            *_faults_of_one_of(processor=self.processor, stages=self.stages),
        ]
        if self.chunks is not None and (self.chunk_size or self.max_chunk_bytes):
            faults.append("chunk_size and max_chunk_bytes go with items, not with chunks")
        if self.stages is not None and self.options is not None:
            faults.append(OPTIONS_OF_STAGES)
        if self.hold_timeout_seconds is not None and self.on_failure != "hold":
            faults.append('hold_timeout_seconds goes with "on_failure": "hold"')
        raise_if_any(faults)
        return self


def raise_if_any(faults: Sequence[str]) -> None:
    """Of fields that do not go together: tell pydantic."""
    if faults:
        raise PydanticCustomError("not_whole", "{faults}", {"faults": "; ".join(faults)})


def _faults_of_one_of(**fields: object) -> Iterator[str]:
    """What is wrong unless exactly one of the fields is given."""
    given = [name for name, value in fields.items() if value is not None]
    if not given:
        yield f"give {one_of(fields)}: there is none of them"
    if len(given) > 1:
        yield f"give only one of {' and '.join(given)}: they do not go together"
