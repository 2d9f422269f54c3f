"""The request for a schedule, as docs/http.md has it."""

import zoneinfo
from functools import cache
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidatorFunctionWrapHandler,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, PydanticKnownError, core_schema

from fanfold.contract.names import SCHEDULE_LABEL
from fanfold.contract.wording import did_you_mean
from fanfold.intake.fields import Integral, StrictModel, raise_if_any
from fanfold.intake.job_request import JobRequest

NAME_PATTERN: Final = r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}"
_A_YEAR_SECONDS: Final = 365 * 24 * 3600
_GO_TOGETHER: Final[dict[str, Any]] = {
    "anyOf": [
        {
            "required": ["cron"],
            "properties": {"cron": {"type": "string"}, "every_seconds": {"type": "null"}},
        },
        {
            "required": ["every_seconds"],
            "properties": {
                "every_seconds": {"type": "integer"},
                "cron": {"type": "null"},
                "time_zone": {"type": "null"},
            },
        },
    ]
}
_WITHOUT: Final[dict[str, Any]] = {
    "properties": {
        "source": {"type": "null"},
        "start_at": {"type": "null"},
        "labels": {"not": {"required": [SCHEDULE_LABEL]}},
    }
}


class _JobBody:
    """The body of a job, as it was given: `fanfold.app.intake.schedules` checks it."""

    def __get_pydantic_core_schema__(
        self, _source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        # What a job is goes into the published schema; nothing is checked by it here.
        of_job = handler.generate_schema(JobRequest)
        return core_schema.no_info_wrap_validator_function(_object, of_job)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"allOf": [handler(schema), _WITHOUT]}


def _object(value: object, _of_job: ValidatorFunctionWrapHandler) -> object:
    if not isinstance(value, dict):
        raise PydanticKnownError("dict_type")
    return value


@cache
def _zones() -> frozenset[str]:
    """The time zones that this machine knows: none where it has no database of them."""
    return frozenset(zoneinfo.available_timezones())


def _zone(name: str) -> str:
    known = _zones()
    if known and name not in known:  # where none are known Temporal is asked alone
        near = did_you_mean(name, known) or "; names are like Europe/Helsinki, or UTC"
        message = "there is no such time zone{near}"
        raise PydanticCustomError("no_such_zone", message, {"near": near})
    return name


class ScheduleRequest(StrictModel):
    """A schedule: a job, and when it is submitted."""

    model_config = ConfigDict(json_schema_extra={"allOf": [_GO_TOGETHER]})

    name: Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")] = Field(
        description=f"Its address, and the label `{SCHEDULE_LABEL}` of its jobs."
    )
    job: Annotated[dict[str, Any], _JobBody()] = Field(
        description="The job to submit each time, as POST /jobs takes it. Its data comes with it, "
        f"and it has no `start_at` and no label `{SCHEDULE_LABEL}`."
    )
    cron: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\u0000-\u001f]*$")] | (
        None
    ) = Field(
        default=None,
        description="When: a cron expression of five fields, or `@daily` and the like.",
    )
    every_seconds: Annotated[int, Field(ge=1, le=_A_YEAR_SECONDS), Integral] | None = Field(
        default=None,
        description="Instead of `cron`: how often, counted from 1970-01-01 UTC; 3600 is at every "
        "full hour.",
    )
    time_zone: Annotated[str, Field(max_length=100), AfterValidator(_zone)] | None = Field(
        default=None,
        description="The IANA time zone of `cron`, such as Europe/Helsinki; by default UTC.",
    )
    overlap: Literal[
        "skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all"
    ] = Field(
        default="skip",
        description="What happens when it is time, and the job before has not finished: `skip` "
        "this time; run it afterwards, `buffer_one` time or `buffer_all`; `cancel_other` or "
        "`terminate_other`, the job before; `allow_all` at the same time.",
    )
    paused: bool = Field(default=False, description="Whether to submit nothing until resumed.")
    note: Annotated[str, Field(max_length=1000)] | None = Field(
        default=None, description="For people."
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        faults: list[str] = []
        if self.cron is None and self.every_seconds is None:
            faults.append("give cron or every_seconds: there is none of them")
        if self.cron is not None and self.every_seconds is not None:
            faults.append("give only one of cron and every_seconds: they do not go together")
        if self.time_zone is not None and self.cron is None:
            faults.append("time_zone goes with cron")
        raise_if_any(faults)
        return self
