"""The kinds of fields that bodies have."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError, PydanticKnownError

from fanfold.contract.conditions import MAX_CHARACTERS
from fanfold.contract.job_spec import MOST_CONCURRENT

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


COMPENSATION: Final = "compensation"
"""The name of the sub-job that compensates its parent."""
_RESERVED: Final = (".", "..", COMPENSATION)
_NOT_IN_A_NAME: Final = re.compile(r"[/\x00-\x1f\x7f-\x9f]")


def _sub_job_name(name: str) -> str:
    """The name, which is a part of the path of the sub-job, and of those below it."""
    if _NOT_IN_A_NAME.search(name):
        message = "a sub-job's name has no / and no control characters: it is a part of its path"
        raise PydanticCustomError("not_a_name", message)
    if name in _RESERVED:
        reserved = "{name} cannot be the name of a sub-job"
        if name == COMPENSATION:
            reserved += ": the job that compensates another one has it"
        raise PydanticCustomError("reserved_name", reserved, {"name": name})
    return name


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
SubJobName = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_sub_job_name)]
SUB_JOB_NAMES: Final[dict[str, Any]] = {
    "minProperties": 1,
    "propertyNames": {
        "minLength": 1,
        "maxLength": 100,
        "pattern": r"^[^/\u0000-\u001f\u007f-\u009f]*$",
        "not": {"enum": list(_RESERVED)},
    },
}
"""What `SubJobName` checks, for the published schema."""
Condition = Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS)]
"""A JMESPath expression, which is checked with the job as a whole."""


class StrictModel(BaseModel):
    """A part of a body, in which nothing is unknown and nothing of another type."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


def raise_if_any(faults: Sequence[str]) -> None:
    """Of fields that do not go together: tell pydantic."""
    if faults:
        raise PydanticCustomError("not_whole", "{faults}", {"faults": "; ".join(faults)})
