"""The job request, as the HTTP contract has it."""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from fanfold.contract.job_spec import DEFAULT_MAX_JOBS, DEFAULT_PRIORITY
from fanfold.intake import request_schema
from fanfold.intake.fields import (
    SUB_JOB_NAMES,
    Concurrency,
    Condition,
    Hours,
    Integral,
    Items,
    LabelName,
    LabelValue,
    Moment,
    Name,
    PerSecond,
    Priority,
    Seconds,
    StrictModel,
    SubJobName,
)
from fanfold.intake.request_schema import with_field

MOST_JOBS_AT_A_TIME: Final = 500
OPTIONS_OF_STAGES: Final = "options go with processor; stages have their own"


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
    when: Condition | None = Field(
        default=None,
        description="A JMESPath expression over the chunk as it reaches the stage, "
        '`{"items", "first"}`: where it is not true, the chunk passes through unchanged.',
    )


class Compensate(StrictModel):
    """What undoes a chunk that succeeded."""

    processor: Name = Field(
        description="Name of a processor, which gets the chunk's `items` and `result`."
    )
    options: dict[str, Any] = Field(default_factory=dict, description="The processor's options.")
    retry: Retry | None = Field(default=None, description="By default the job's.")


class ToleratedFailures(StrictModel):
    """How many failed items the job bears; past any limit it fails, early if possible."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                with_field("count", "integer"),
                with_field("percent", "number"),
                with_field("consecutive", "integer"),
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


def _not_empty(jobs: "dict[str, SubJobRequest]") -> "dict[str, SubJobRequest]":
    if not jobs:
        raise PydanticCustomError("no_sub_jobs", "must have at least 1 sub-job")
    return jobs


class JobBody(StrictModel):
    """What a job and the jobs that it is made of may say."""

    name: Name | None = Field(default=None, description="For people; need not be unique.")
    items: Items | None = Field(
        default=None, description="Any JSON values, to be cut into chunks in order."
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
    jobs: "SubJobs | None" = Field(
        default=None,
        description="The jobs that this one is made of, by name, in order: it has no chunks then. "
        "What they do not say they have from it; its data goes to those that have none.",
    )
    order: Literal["parallel", "sequence"] | None = Field(
        default=None,
        description="`parallel`, the default, or `sequence`: one of `jobs` after another.",
    )
    max_jobs: Annotated[int, Field(ge=1, le=MOST_JOBS_AT_A_TIME), Integral] | None = Field(
        default=None, description=f"Most of `jobs` at a time; by default {DEFAULT_MAX_JOBS}."
    )
    compensate: Compensate | None = Field(
        default=None,
        description="What undoes the chunks that succeeded, the last one first, where the job, a "
        "later one of its sequence or the job above ends `failed` or `cancelled`.",
    )


class SubJobRequest(JobBody):
    """A job that another one is made of. What it does not say it has from that one."""

    model_config = ConfigDict(json_schema_extra=request_schema.describe_sub_job)

    input: Literal["previous"] | None = Field(
        default=None,
        description="`previous`, in a sequence: its items are the result of the one before; an "
        "array gives its elements, anything else is one item.",
    )
    when: Condition | None = Field(
        default=None,
        description="In a sequence, a JMESPath expression over `previous`, the one before "
        '(`{"state", "result", "chunks", "items", "success_rate"}`), and `jobs`, all before it by '
        "name: where it is not true, the job is `skipped`.",
    )


SubJobs = Annotated[
    dict[SubJobName, SubJobRequest],
    AfterValidator(_not_empty),
    Field(json_schema_extra=SUB_JOB_NAMES),
]


class JobRequest(JobBody):
    """A job: data, what to do with each chunk of it, and how; or the jobs that it is made of."""

    model_config = ConfigDict(json_schema_extra=request_schema.OF_JOB)

    source: Literal["upload"] | None = Field(
        default=None,
        description="`upload`: the items follow with PUT /jobs/{job_id}/items, and then /seal.",
    )
    start_at: Moment | None = Field(
        default=None,
        description="The job stays `pending` until then: a date and time with its offset "
        "(RFC 3339).",
    )
    retention_hours: Hours | None = Field(
        default=None,
        description="Delete the job so long after its end; at most, and by default, as long as "
        "the gateway keeps jobs (FANFOLD_RETENTION_HOURS).",
    )
