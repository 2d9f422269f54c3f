"""What a client asks to change of a job, and to run again: the bodies, as the contract has them."""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from fanfold.intake.fields import (
    Concurrency,
    Hours,
    Integral,
    LabelName,
    LabelValue,
    Name,
    PerSecond,
    Priority,
    Seconds,
    StrictModel,
    raise_if_any,
)
from fanfold.intake.job_request import OPTIONS_OF_STAGES, Retry, Stage, ToleratedFailures

Index = Annotated[int, Field(ge=0, le=2**31 - 1), Integral]
"""Of a child, or of an item in it."""


class JobPatch(StrictModel):
    """Changes of a job: what is not there stays as it is (RFC 7396)."""

    name: Name | None = Field(default=None, description="Null: no name.")
    labels: dict[LabelName, LabelValue | None] | None = Field(
        default=None,
        description="Merged with those there are; a null removes one, and null all of them.",
        json_schema_extra={"additionalProperties": False},
    )
    max_concurrency: Concurrency | None = Field(
        default=None, description="Most chunks in flight at a time. Null: the most allowed."
    )
    max_per_second: PerSecond | None = Field(
        default=None, description="Most chunks to start a second. Null: no limit."
    )
    tolerated_failures: ToleratedFailures | None = Field(
        default=None, description="Replaced as a whole. Null: any number."
    )
    priority: Priority | None = Field(default=None, description="From 1 to 5. Null: 3.")
    deadline_seconds: Seconds | None = Field(
        default=None, description="From the job's start. Null: none."
    )
    retention_hours: Hours | None = Field(
        default=None, description="From the job's end. Null: as long as the gateway keeps jobs."
    )


class Select(StrictModel):
    """Which chunks run again: those that fit all that is said here."""

    states: (
        Annotated[
            list[Literal["succeeded", "partially_succeeded", "failed", "cancelled", "held"]],
            Field(min_length=1),
        ]
        | None
    ) = Field(
        default=None,
        description="By default those of which something did not succeed: of a job that waits "
        "`held`, else `failed`, `partially_succeeded` and `cancelled`. With `indexes` any.",
    )
    error_types: Annotated[list[Name], Field(min_length=1, max_length=100)] | None = Field(
        default=None,
        description="Those with items that failed with such an error, and of them these items.",
    )
    indexes: Annotated[list[Index], Field(min_length=1)] | None = Field(
        default=None, description="Those with these indexes."
    )


# What `_fits_together` checks, for the published schema.
_STAGES_ALONE: Final[dict[str, Any]] = {
    "anyOf": [
        {"properties": {"stages": {"type": "null"}}},
        {"properties": {"processor": {"type": "null"}, "options": {"type": "null"}}},
    ]
}


class Correction(StrictModel):
    """A new value of an item. A line of `/failures` is one, once its `value` is corrected."""

    index: Index = Field(description="The child that the item is in.")
    item: Index = Field(description="Its position there.")
    value: Any = Field(description="The item from now on: any JSON value.")
    job: str | None = Field(
        default=None, description="As a line of a job made of jobs has it: has to be this job."
    )
    path: Any = Field(default=None, description="Not read.")
    key: Any = Field(default=None, description="Not read.")
    error: Any = Field(default=None, description="Not read.")


class RedriveRequest(StrictModel):
    """What is to run again, and how; what is not there stays as it is."""

    model_config = ConfigDict(json_schema_extra={"allOf": [_STAGES_ALONE]})

    select: Select = Field(default_factory=Select)
    corrections: list[Correction] = Field(
        default_factory=list, description="Items that have another value from now on."
    )
    processor: Name | None = Field(
        default=None, description="Another processor, with the `options` beside it."
    )
    options: dict[str, Any] | None = Field(
        default=None, description="Alone: other options of the same processor."
    )
    stages: Annotated[list[Stage], Field(min_length=1, max_length=20)] | None = Field(
        default=None, description="Several steps instead of `processor`."
    )
    retry: Retry | None = Field(
        default=None, description="For all stages that have none of their own."
    )
    chunk_timeout_seconds: Seconds | None = Field(
        default=None, description="Limit of one attempt, for all stages without one of their own."
    )
    max_concurrency: Concurrency | None = Field(
        default=None, description="Most chunks in flight at a time."
    )
    max_per_second: PerSecond | None = Field(
        default=None, description="Most chunks to start a second. Null: no limit."
    )
    tolerated_failures: ToleratedFailures | None = Field(
        default=None, description="Replaced as a whole. Null: any number."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        faults: list[str] = []
        if self.stages is not None and self.processor is not None:
            faults.append("give only one of processor and stages: they do not go together")
        if self.stages is not None and self.options is not None:
            faults.append(OPTIONS_OF_STAGES)
        raise_if_any(faults)
        return self
