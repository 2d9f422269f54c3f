"""What a client asked for, without the data.

`JobSpec` is fixed while the job runs; `Controls` may change meanwhile. The gateway writes
both to the ledger as JSON, the workers read them there. Through Temporal they travel only
as the numbers that workflows need (see `fanfold.contract.wire`).

Both are read tolerantly: a field that this release does not know is passed over, and one
that is missing has its default. So a release works beside the one before and the one after.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from fanfold.contract.reading import known_fields

DEFAULT_PRIORITY = 3
MOST_CONCURRENT = 500
"""The highest `max_concurrency`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySpec:
    """How often and how soon a failed attempt is repeated."""

    max_attempts: int = 3
    initial_interval_seconds: float = 1.0
    backoff_coefficient: float = 2.0
    max_interval_seconds: float = 60.0
    non_retryable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSpec:
    """One step that every chunk runs through: a processor, its options and limits."""

    processor: str
    options: Mapping[str, Any] = field(default_factory=dict)
    retry: RetrySpec = field(default_factory=RetrySpec)
    timeout_seconds: float = 300.0
    when: str | None = None
    """A JMESPath expression over the chunk as it reaches the stage: where it is not true, the
    chunk passes through unchanged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToleranceSpec:
    """How many failed items a job bears; past any of the limits it fails.

    `percent` is of the items finished so far. While the job runs it is compared
    only once `min_sample` items have finished; at the end always. `consecutive` is how many
    may fail one after another, in the order in which their chunks were recorded.
    """

    count: int | None = None
    percent: float | None = None
    min_sample: int = 100
    consecutive: int | None = None

    def exceeded_rule(
        self, *, succeeded: int, failed: int, in_a_row: int, final: bool
    ) -> "ToleranceRule | None":
        """The first rule that these counts are past; None where the job bears them."""
        if self.count is not None and failed > self.count:
            return ToleranceRule.COUNT
        if self.consecutive is not None and in_a_row > self.consecutive:
            return ToleranceRule.CONSECUTIVE
        finished = succeeded + failed
        if self.percent is None or not finished or (finished < self.min_sample and not final):
            return None
        is_past = failed * 100 > self.percent * finished
        return ToleranceRule.PERCENT if is_past else None


class ToleranceRule(StrEnum):
    """A limit of `tolerated_failures`."""

    COUNT = "count"
    PERCENT = "percent"
    CONSECUTIVE = "consecutive"


class OnFailure(StrEnum):
    """What becomes of a chunk of which items failed for good."""

    RECORD = "record"
    """It is finished."""
    HOLD = "hold"
    """It is held for a person, who decides."""


class Order(StrEnum):
    """How the sub-jobs of a job follow each other."""

    PARALLEL = "parallel"
    SEQUENCE = "sequence"
    """One after another, in the order given."""


DEFAULT_MAX_JOBS = 10


class Execution(StrEnum):
    """How a job's chunks are run; the answers are the same (docs/execution.md)."""

    AUTO = "auto"
    """As asked for only: a job that has its chunks is one of the others."""
    WORKFLOW = "workflow"
    """A child workflow for each chunk."""
    ACTIVITY = "activity"
    """Blocks of chunks in activities of their shard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """What may change while the job runs."""

    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    max_concurrency: int = 50
    tolerated_failures: ToleranceSpec | None = None
    max_per_second: float | None = None
    """How many chunks may start a second."""
    priority: int = DEFAULT_PRIORITY
    """From 1, which goes first, to 5."""
    start_at: int | None = None
    """Not before then, in milliseconds since 1970-01-01 UTC."""
    deadline_seconds: float | None = None
    """So long after its start the job fails."""
    retention_hours: float | None = None
    """So long after its end the job is deleted; None where the gateway decides."""

    def to_json(self, spec: "JobSpec") -> str:
        """The controls as JSON text.

        What release 0.1.0 would refuse to read in the spec stands here, where it does not look.
        """
        fixed = {name: value for name, value in asdict(spec).items() if name in _FIXED_SINCE_0_1}
        fixed[_CONDITIONS] = [stage.when for stage in spec.stages]
        return _text(asdict(self) | {_FIXED: fixed})

    @classmethod
    def from_json(cls, text: str) -> "Controls":
        """The controls that `to_json` wrote, or that stand in the spec of an older release."""
        raw = json.loads(text)
        tolerance = raw.get("tolerated_failures")
        if tolerance is not None:
            raw["tolerated_failures"] = ToleranceSpec(**known_fields(ToleranceSpec, tolerance))
        return cls(**known_fields(cls, raw))


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """What is fixed while a job runs, every default filled in."""

    stages: tuple[StageSpec, ...]
    is_staged: bool = False
    """True when the client gave `stages`, false when it gave one `processor`."""
    reducer: str | None = None
    execution: Execution = Execution.WORKFLOW
    chunk_size: int | None = 100
    """How items are cut, also those that arrive after the job; None where chunks were given."""
    max_chunk_bytes: int | None = None
    item_key: str | None = None
    """The field of each item that is its key."""
    retry: RetrySpec | None = None
    """Where the client gave stages: what those go by that do not say."""
    chunk_timeout_seconds: float | None = None
    """The same."""
    check_items: bool = False
    """Whether items are checked by the item schema of the first processor: also those that come
    later, in parts or as corrections."""
    is_upload: bool = False
    """Whether its data comes in parts, after it."""
    on_failure: OnFailure = OnFailure.RECORD
    hold_timeout_seconds: float | None = None
    """How long a job may wait with held chunks only; None for ever."""
    order: Order | None = None
    """Of a job made of jobs, which has no chunks of its own; None of any other."""
    max_jobs: int = DEFAULT_MAX_JOBS
    """How many of its sub-jobs run at a time, where they run in parallel."""
    has_previous_input: bool = False
    """Whether its items are the result of the sub-job before it."""
    when: str | None = None
    """Of a sub-job in a sequence: a JMESPath expression over those before it. Where it is not
    true, the sub-job is skipped."""
    compensate: StageSpec | None = None
    """What undoes its succeeded chunks, where the job or what it is part of comes to nothing."""
    is_in_order: bool = False
    """Whether no chunk begins before those with a lower index have ended, whatever attempts that
    takes: with one at a time."""

    def is_last_stage(self, stage: int) -> bool:
        """Whether no stage comes after this one."""
        return stage == len(self.stages) - 1

    def to_json(self, controls: Controls) -> str:
        """The spec as JSON text.

        The controls that the job began with stand in it too: release 0.1.0 reads them
        there. Whoever knows `Controls` reads those. What that release does not know, and
        would refuse, stands with them: see `Controls.to_json`.
        """
        given = asdict(self) | asdict(controls)
        for stage in given["stages"]:
            del stage["when"]
        if controls.tolerated_failures is not None:
            del given["tolerated_failures"]["consecutive"]
        return _text({name: value for name, value in given.items() if name not in _SINCE_0_1})

    @classmethod
    def from_json(cls, text: str, controls: str | None) -> "JobSpec":
        """The spec that `to_json` wrote, and what stands with its controls."""
        raw = json.loads(text)
        if controls is not None:
            raw |= json.loads(controls).get(_FIXED, {})
        conditions = raw.get(_CONDITIONS) or [None] * len(raw["stages"])
        return cls(
            **known_fields(cls, raw)
            | {
                "stages": tuple(
                    replace(_stage(stage), when=when)
                    for stage, when in zip(raw["stages"], conditions, strict=True)
                ),
                "execution": _execution(raw.get("execution", Execution.WORKFLOW)),
                "retry": _retry(raw["retry"]) if raw.get("retry") else None,
                "on_failure": _on_failure(raw.get("on_failure", OnFailure.RECORD)),
                "order": Order(raw["order"]) if raw.get("order") else None,
                "compensate": _stage(raw["compensate"]) if raw.get("compensate") else None,
            }
        )


_FIXED_SINCE_0_1 = (
    "item_key",
    "retry",
    "chunk_timeout_seconds",
    "check_items",
    "is_upload",
    "on_failure",
    "hold_timeout_seconds",
    "order",
    "max_jobs",
    "has_previous_input",
    "when",
    "compensate",
    "is_in_order",
)
_SINCE_0_1 = (
    *_FIXED_SINCE_0_1,
    "max_per_second",
    "priority",
    "start_at",
    "deadline_seconds",
    "retention_hours",
)
_FIXED = "fixed"
_CONDITIONS = "stage_conditions"
"""Those of the stages, in which they would be a field that 0.1.0 refuses."""


def _on_failure(text: str) -> OnFailure:
    try:
        return OnFailure(text)
    except ValueError:
        return OnFailure.RECORD  # of a later release


def _execution(text: str) -> Execution:
    try:
        return Execution(text)
    except ValueError:
        # Of a later release. The answers are the same in all, and this one suits any size.
        return Execution.ACTIVITY


def _stage(raw: dict[str, Any]) -> StageSpec:
    return StageSpec(**known_fields(StageSpec, raw) | {"retry": _retry(raw.get("retry", {}))})


def _retry(raw: dict[str, Any]) -> RetrySpec:
    known = known_fields(RetrySpec, raw)
    return RetrySpec(**known | {"non_retryable": tuple(known.get("non_retryable", ()))})


def _text(raw: dict[str, Any]) -> str:
    return json.dumps(raw, ensure_ascii=False, separators=(",", ":"))
