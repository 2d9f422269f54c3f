"""The JSON of children, as the HTTP contract has it."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from fanfold.answers.rendering import failure_view, moment, with_fields
from fanfold.answers.views import FailureView, Moment, View
from fanfold.app.answers.tree import Leaf
from fanfold.contract.plan import workflow_id_of
from fanfold.contract.states import WITH_RESULT, ChunkState
from fanfold.ledger.records import ChunkOutput, ChunkRecord, ItemError


class ItemErrorView(View):
    """An item that failed, or that the processor left out."""

    item: int = Field(
        description="Position in the chunk, as it was submitted. Where a chunk processor has made "
        "other items of these at an earlier stage, position among those."
    )
    key: Any = Field(description="The item's own key, where the job names a field for it.")
    stage: int = Field(description="The stage; 0 for the first or only one.")
    type: str
    message: str
    traceback: str | None = Field(
        description="The last frames of your code; kept for the first items of an attempt."
    )


class ChildHead(View):
    """A child's fields but for those that hold data."""

    job: str | None = Field(
        default=None, description="Where a job made of jobs was asked for: the one that it is of."
    )
    path: str | None = Field(default=None, description="And the path of that.")
    index: int
    state: ChunkState
    item_count: int
    attempts: int = Field(description="Real attempts, over all runs.")
    run: int = Field(description="The job's run in which it ran last, or is to run.")
    resolved_by: Literal["client"] | None = Field(
        description="`client` where its result was given by hand."
    )
    error: FailureView | None = Field(
        description="Why the chunk failed; of some items that failed, the first one's."
    )
    traceback: str | None = Field(description="Of that error: the last frames of your code.")
    item_errors: list[ItemErrorView]
    workflow_id: str = Field(
        description="The workflow that runs it: its own, or in activity mode that of its block, "
        "which is its job's or a shard's."
    )
    started_at: Moment | None
    finished_at: Moment | None
    duration_seconds: float | None


class ChildView(ChildHead):
    """A child: one chunk of a job."""

    model_config = ConfigDict(title="Child")

    result: Any = Field(
        description="What the processor gave. Of one that takes items: what these gave, in order, "
        "null for each that failed, without those that were left out. Null where none succeeded."
    )


class ChildPageView(View):
    """A page of children in index order."""

    model_config = ConfigDict(title="ChildPage")

    children: list[ChildView]
    next_cursor: str | None = Field(default=None, description="Absent on the last page.")


def child_json(leaf: Leaf, chunk: ChunkRecord, output: ChunkOutput) -> bytes:
    """The JSON text of a ChildView."""
    job = leaf.job
    duration_ms = (
        chunk.finished_at - chunk.started_at
        if chunk.finished_at is not None and chunk.started_at is not None
        else None
    )
    head = ChildHead(
        **leaf.origin,
        index=chunk.index,
        state=chunk.state,
        item_count=chunk.item_count,
        attempts=chunk.attempts,
        run=chunk.run,
        resolved_by="client" if chunk.resolved_by else None,
        error=failure_view(chunk.error),
        traceback=(chunk.error.traceback or None) if chunk.error else None,
        item_errors=[_item_error(error) for error in output.item_errors],
        workflow_id=workflow_id_of(job.id, job.spec.execution, chunk.index, chunk.block, chunk.run),
        started_at=moment(chunk.started_at) if chunk.started_at is not None else None,
        finished_at=moment(chunk.finished_at) if chunk.finished_at is not None else None,
        duration_seconds=duration_ms / 1000 if duration_ms is not None else None,
    )
    result = output.body if chunk.state in WITH_RESULT else None
    return with_fields(head.model_dump_json(exclude_unset=True).encode(), {"result": result})


def _item_error(error: ItemError) -> ItemErrorView:
    return ItemErrorView(
        item=error.item,
        key=error.key,
        stage=error.stage,
        type=error.type,
        message=error.message,
        traceback=error.traceback or None,
    )
