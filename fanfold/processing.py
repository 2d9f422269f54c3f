"""User code: what a processor and a reducer are, what they get, and what they may raise.

A processor is a plain typed function. The name of its first parameter says what it
takes: `item` (called once for each item of a chunk) or `chunk` (called once, with the
list of the chunk's items). Keyword-only parameters are its options, typed, checked
when a job is posted. A keyword-only parameter annotated `ProcessorContext` gets one.

    def shout(item: str, *, marks: int = 1) -> str:
        return item.upper() + "!" * marks

It may be `async def`; a plain `def` runs in a thread of its own. What it raises:

| raises | then |
| --- | --- |
| any exception | the item (or chunk) failed; tried again as the job's `retry` says |
| `ValidationError`, or what `retry.non_retryable` names | failed, not tried again |
| `RetryLater` | failed, tried again after the seconds that it names |
| `ItemDropped` (of an item) | the item is left out, counted as failed; the chunk goes on |

A reducer is a class: `add(index, result)` is called with each surviving chunk's
result in index order, then `result()` once.

What code may have besides, and need not, is `HasName`, `HasExample` and `KeepsAll`.
Nothing else of Fanfold is imported here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

Code = TypeVar("Code", bound=Callable[..., Any])


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


@runtime_checkable
class Reducer(Protocol):
    """Folds what a job's processors gave into one value."""

    def add(self, index: int, result: Any) -> None:  # noqa: ANN401 - any JSON value
        """Take the next chunk's result; called in index order."""

    def result(self) -> Any:  # noqa: ANN401 - any JSON value
        """The folded value, which must be JSON."""


@runtime_checkable
class KeepsAll(Protocol):
    """A reducer that may hold every result it was given.

    While it says so it is stopped as soon as its value is sure to be over the limit.
    """

    @property
    def keeps_all(self) -> bool:
        """Whether every result is part of the value, as it stands."""


@runtime_checkable
class HasName(Protocol):
    """A reducer class that names itself; any other goes by the name of the class."""

    name: str


@runtime_checkable
class HasExample(Protocol):
    """A processor or reducer class with an example job: `@example` gives it one."""

    example: dict[str, Any]


def example(job: dict[str, Any]) -> Callable[[Code], Code]:
    """Give a processor or reducer an example job, shown at GET /processors and in the docs."""

    def attach(code: Code) -> Code:
        code.example = job  # type: ignore[attr-defined]
        return code

    return attach
