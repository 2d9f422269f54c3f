"""The items of a chunk at a stage: which are to be run, what each gave or why it failed.

Another attempt runs only the items whose failure it may help. Of a chunk that a redrive has
selected only those run that are to run again; the others have what they gave before, and come
together with them in the chunk's result.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fanfold.contract import json_values
from fanfold.contract.failures import Failure
from fanfold.contract.job_spec import StageSpec
from fanfold.ledger.records import Attempt, ItemError, KeptOutput, placed
from fanfold.processing import ItemDropped
from fanfold.workers.results import encode
from fanfold.workers.user_errors import USER_ERRORS, failure_of, wait_asked_for

MAX_TRACEBACKS = 5
"""So many items of an attempt keep the frames of their failure, the first ones."""


@dataclass(slots=True, kw_only=True)
class Task:
    """An attempt, and how its stage is to be run."""

    attempt: Attempt
    stage: StageSpec
    is_last_stage: bool
    run: int = 1
    """The job's run."""
    keys: Sequence[Any] | None = None
    """The keys of the chunk's items as they were submitted, where the job names a field."""
    max_result_bytes: int
    keeps_tracebacks: bool = True

    @property
    def is_last_attempt(self) -> bool:
        """Whether no other attempt at the stage is allowed."""
        return self.attempt.number >= self.stage.retry.max_attempts


@dataclass(frozen=True, slots=True)
class Settled:
    """Items of a chunk that do not run again, by position: what they gave, or why they failed."""

    results: Mapping[int, bytes] = field(default_factory=dict)
    """As JSON text."""
    errors: Mapping[int, ItemError] = field(default_factory=dict)

    @classmethod
    def of(cls, attempt: Attempt) -> "Settled":
        """Those of the attempt's chunk."""
        if attempt.kept is None:
            return cls()
        return _settled(attempt.kept, attempt.item_count)

    def __contains__(self, item: int) -> bool:
        """Whether the item does not run again."""
        return item in self.results or item in self.errors


def _settled(kept: KeptOutput, item_count: int) -> Settled:
    errors = {error.item: error for error in kept.output.item_errors if not error.is_derived}
    results: dict[int, bytes] = {}
    if kept.output.body:
        # Those that were left out have no place in it.
        places = [item for item in range(item_count) if not _is_dropped(errors, item)]
        given = json_values.decode(kept.output.body)
        results = {
            item: encode(value)
            for item, value in zip(places, given, strict=True)
            if item not in errors
        }
    elif kept.failure is not None:
        # It failed as a whole: so did all items that have no error of their own.
        for item in set(range(item_count)) - errors.keys():
            errors[item] = _error(item, kept.failure)
    again = kept.items_again
    if again is None:
        return Settled(results)
    return Settled(
        {item: text for item, text in results.items() if item not in again},
        {item: error for item, error in errors.items() if item not in again},
    )


def _is_dropped(errors: Mapping[int, ItemError], item: int) -> bool:
    return item in errors and errors[item].is_dropped


def _error(item: int, failure: Failure) -> ItemError:
    return ItemError(
        item=item,
        type=failure.type,
        message=failure.message,
        is_final=not failure.retryable,
        traceback=failure.traceback,
    )


@dataclass(slots=True)
class ItemRun:
    """Results and errors of the items that reached the stage, filled in as they are run.

    A place is an item's position among them; `items_at` has its position in the chunk, or
    among the items that a chunk processor has made of those that were submitted.
    """

    values: list[Any]
    items_at: Sequence[int]
    is_derived: bool
    """Whether a chunk processor has made other items of those that were submitted."""
    task: Task
    settled: Settled = field(default_factory=Settled)
    results: dict[int, Any] = field(default_factory=dict)
    errors: dict[int, ItemError] = field(default_factory=dict)
    """By place: of items that failed or were left out."""
    retry_seconds: float | None = None
    """The longest wait that an item asked for."""
    tracebacks: int = 0

    @classmethod
    def resumed(cls, values: list[Any], task: Task) -> "ItemRun":
        """A run that goes on from what an earlier attempt left."""
        attempt, settled = task.attempt, Settled.of(task.attempt)
        gone = {e.item for e in placed(attempt.earlier_errors, is_derived=attempt.is_derived)}
        if attempt.kept is None:
            items_at: Sequence[int] = range(len(values) + len(gone))
            if gone:
                items_at = [item for item in items_at if item not in gone]
        else:
            items_at = [
                item
                for item in range(attempt.item_count)
                if item not in gone and item not in settled
            ]
            if attempt.stage == 0:
                # What was submitted is there as a whole.
                values = [values[item] for item in items_at]
        run = cls(values, items_at, attempt.is_derived, task, settled)
        earlier = attempt.checkpoint
        if not earlier.item_errors:
            return run
        places = {item: place for place, item in enumerate(items_at)}
        failed = {places[error.item]: error for error in earlier.item_errors}
        run.errors = {
            place: error for place, error in failed.items() if error.is_dropped or error.is_final
        }
        if earlier.body:
            given = json_values.decode(earlier.body)
            run.results = {place: v for place, v in enumerate(given) if place not in failed}
        return run

    @property
    def open_places(self) -> list[int]:
        """Places of the items still to be run."""
        done = self.results.keys() | self.errors.keys()
        return [place for place in range(len(self.values)) if place not in done]

    def key(self, place: int) -> Any:  # noqa: ANN401 - any JSON value
        """The item's own key; None where it has none, or nobody can tell."""
        if self.is_derived or self.task.keys is None:
            return None
        return self.task.keys[self.items_at[place]]

    def fail(self, place: int, failure: Failure, *, is_dropped: bool = False) -> None:
        """Note that an item has failed."""
        self.errors[place] = ItemError(
            item=self.items_at[place],
            type=failure.type,
            message=failure.message,
            stage=self.task.attempt.stage,
            is_dropped=is_dropped,
            is_final=not failure.retryable and not is_dropped,
            is_derived=self.is_derived,
            key=self.key(place),
            traceback=failure.traceback,
        )

    @contextmanager
    def noting(self, place: int) -> Iterator[None]:
        """Keep what an exception of this item means; the others go on."""
        try:
            yield
        except ItemDropped as dropped:
            message = failure_of(dropped, self.task.stage.retry).message
            failure = Failure(type=ItemDropped.__name__, message=message)
            self.fail(place, failure, is_dropped=True)
        except USER_ERRORS as error:
            keeps = self.task.keeps_tracebacks and self.tracebacks < MAX_TRACEBACKS
            self.tracebacks += keeps
            failure = failure_of(error, self.task.stage.retry, keeps_traceback=keeps)
            self.fail(place, failure)
            wait = wait_asked_for(error)
            if wait is not None and failure.retryable:
                self.retry_seconds = max(wait, self.retry_seconds or 0.0)
