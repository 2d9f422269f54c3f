"""What a client asked for, without the data: the part of a job that never changes.

The gateway writes it to the ledger as JSON, the workers read it there. It travels
through Temporal only as the numbers that workflows need (see `contract.wire`).
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ToleranceSpec:
    """How many failed chunks a job bears; past either limit it fails.

    `percent` is of the chunks finished so far. While the job runs it is compared
    only once `min_sample` chunks have finished; at the end always.
    """

    count: int | None = None
    percent: float | None = None
    min_sample: int = 100

    def is_exceeded(self, *, succeeded: int, failed: int, final: bool) -> bool:
        """Whether these counts are past what the job bears."""
        if self.count is not None and failed > self.count:
            return True
        finished = succeeded + failed
        if self.percent is None or not finished or (finished < self.min_sample and not final):
            return False
        return failed * 100 > self.percent * finished


class Execution(StrEnum):
    """How a job's chunks are run; the answers are the same (docs/execution.md)."""

    AUTO = "auto"
    """As asked for only: a job that has its chunks is one of the others."""
    WORKFLOW = "workflow"
    """A child workflow for each chunk."""
    ACTIVITY = "activity"
    """Blocks of chunks in activities of their shard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """A job as it was asked for, every default filled in."""

    name: str | None
    stages: tuple[StageSpec, ...]
    is_staged: bool
    """True when the client gave `stages`, false when it gave one `processor`."""
    reducer: str | None
    execution: Execution
    max_concurrency: int
    tolerated_failures: ToleranceSpec | None
    labels: Mapping[str, str]
    chunk_size: int = 100
    """How data is cut that arrives after the job."""
    max_chunk_bytes: int | None = None

    def is_last_stage(self, stage: int) -> bool:
        """Whether no stage comes after this one."""
        return stage == len(self.stages) - 1

    def to_json(self) -> str:
        """The spec as JSON text."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "JobSpec":
        """The spec that `to_json` wrote."""
        raw = json.loads(text)
        tolerance = raw.pop("tolerated_failures")
        return cls(
            stages=tuple(_stage(stage) for stage in raw.pop("stages")),
            execution=Execution(raw.pop("execution")),
            tolerated_failures=ToleranceSpec(**tolerance) if tolerance else None,
            **raw,
        )


def _stage(raw: dict[str, Any]) -> StageSpec:
    retry = raw.pop("retry")
    retry["non_retryable"] = tuple(retry["non_retryable"])
    return StageSpec(retry=RetrySpec(**retry), **raw)
