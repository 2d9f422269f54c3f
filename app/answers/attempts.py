"""The JSON of attempts, as the HTTP contract has it."""

from pydantic import ConfigDict, Field

from fanfold.answers.rendering import failure_view, moment
from fanfold.answers.views import FailureView, Moment, View
from fanfold.contract.states import AttemptState
from fanfold.ledger.attempts import AttemptHistory, AttemptRecord


class AttemptView(View):
    """An attempt at a child that has ended."""

    model_config = ConfigDict(title="Attempt")

    run: int = Field(description="The job's run.")
    stage: int = Field(description="The stage; 0 for the first or only one.")
    number: int = Field(description="1 for the first attempt at the stage in this run.")
    state: AttemptState
    error: FailureView | None = Field(
        description="Why it failed; of some items that failed, the first one's."
    )
    started_at: Moment | None = Field(description="Null where the worker was lost.")
    finished_at: Moment | None


class AttemptListView(View):
    """The attempts at a child that failed, and the last one, oldest first."""

    model_config = ConfigDict(title="AttemptList")

    attempts: list[AttemptView]
    omitted: int = Field(
        description="How many more failed: of a stage in one run the newest 100 are kept."
    )


def attempt_list(history: AttemptHistory) -> AttemptListView:
    """The attempts at a chunk for clients."""
    return AttemptListView(
        attempts=[_attempt(attempt) for attempt in history.attempts], omitted=history.omitted
    )


def _attempt(attempt: AttemptRecord) -> AttemptView:
    return AttemptView(
        run=attempt.run,
        stage=attempt.stage,
        number=attempt.number,
        state=attempt.state,
        error=failure_view(attempt.error),
        started_at=moment(attempt.started_at) if attempt.started_at is not None else None,
        finished_at=moment(attempt.finished_at) if attempt.finished_at is not None else None,
    )
