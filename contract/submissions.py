"""What travels through Temporal for `SubmitJob`, besides the body of the job and the job itself.

Its rules are those of `wire`: changes are additive and have defaults.
"""

from dataclasses import dataclass
from typing import Final

from fanfold.contract.wire import JobInput, JobRef

MOST_BYTES: Final = 2_000_000
"""Largest body, and largest job as it is given back, in bytes of JSON text.

Temporal takes 2 MiB a payload. A workflow that sends more is stuck for ever.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmittedJob:
    """Output of the activity that records a job."""

    job: JobRef
    start_at: int | None
    """When it is to start, in milliseconds since 1970; None: at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedJob:
    """Output of the activity that waits for the job's place: what its workflow is started with."""

    given: JobInput
    priority: int
