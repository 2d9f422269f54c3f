"""What a processor needs: its context, and what it may raise. Imports nothing."""

from dataclasses import dataclass
from typing import Any


class ValidationError(Exception):
    """The data itself is wrong; trying again would not help."""


class ItemDropped(Exception):
    """Leave this item out of the chunk's result and count it as failed."""


class RetryLater(Exception):
    """It did not work now; the next attempt is to begin `seconds` from now.

    For a service that says how long it has had enough: HTTP's Retry-After. The wait counts
    whatever waits the job's `retry` names; the attempt counts like any other.
    """

    def __init__(self, seconds: float, message: str = "asked to try again later") -> None:
        """Keep how long to wait, and why."""
        super().__init__(message)
        self.seconds = seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorContext:
    """Where a processor runs: for idempotency keys, logs and repeatable randomness."""

    job_id: str
    chunk_index: int
    attempt: int
    """1 for the first attempt at this stage of the chunk."""
    item_index: int = 0
    """Position of the item in its chunk, as it was submitted; 0 for a chunk processor."""
    item_key: Any = None
    """The item's own key, from the field that the job names as `item_key`; None without one."""
    stage: int = 0
    """0 for the first or only stage."""
    run: int = 1
    """1 for the job's first run."""

    @property
    def idempotency_key(self) -> str:
        """The same in every attempt at this stage of the item (or chunk), and in no other.

        For services that do nothing twice for one key: `job_01k.../7/3/0`, the job's id,
        the chunk, the item in it, and the stage.
        """
        return f"{self.job_id}/{self.chunk_index}/{self.item_index}/{self.stage}"
