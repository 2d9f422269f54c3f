"""What the gateway answers, as the client's own types. Fields it does not know are kept apart."""

from typing import Any

from pydantic import BaseModel, ConfigDict

FINISHED = frozenset({"succeeded", "partially_succeeded", "failed", "cancelled"})


class _Answer(BaseModel):
    # A newer gateway may add fields; an older client goes on working.
    model_config = ConfigDict(extra="ignore", frozen=True)


class ChunkCounts(_Answer):
    """Chunks by state."""

    total: int
    pending: int
    running: int
    succeeded: int
    failed: int
    cancelled: int

    @property
    def finished(self) -> int:
        """Chunks that will not change any more."""
        return self.succeeded + self.failed + self.cancelled


class ItemCounts(_Answer):
    """Items of finished chunks by outcome."""

    total: int
    succeeded: int
    failed: int


class Progress(_Answer):
    """How far and how fast."""

    percent: float
    chunks_per_second: float | None
    eta_seconds: int | None


class ErrorGroup(_Answer):
    """Failed chunks with the same error."""

    type: str
    message: str
    count: int
    first_index: int


class Failure(_Answer):
    """Why something failed."""

    type: str
    message: str
    retryable: bool


class Links(_Answer):
    """Addresses of what belongs to a job."""

    self: str
    children: str
    results: str
    temporal_ui: str | None


class Job(_Answer):
    """A job; `result` is null in listings, which leave it out."""

    id: str
    name: str | None
    state: str
    chunks: ChunkCounts
    items: ItemCounts
    success_rate: float | None
    progress: Progress
    errors: list[ErrorGroup]
    error: Failure | None
    labels: dict[str, str]
    created_at: str
    started_at: str | None
    finished_at: str | None
    links: Links
    result: Any = None

    @property
    def is_finished(self) -> bool:
        """Whether the job is in a terminal state."""
        return self.state in FINISHED


class Child(_Answer):
    """One chunk of a job."""

    index: int
    state: str
    item_count: int
    attempts: int
    error: Failure | None
    item_errors: list[dict[str, Any]]
    workflow_id: str
    started_at: str | None
    finished_at: str | None
    duration_seconds: float | None
    result: Any = None
    partial_result: Any = None
