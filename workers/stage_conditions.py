"""Whether a stage is for a chunk: what its `when` says of the chunk as it reaches the stage."""

import asyncio

from fanfold.contract import json_values
from fanfold.contract.conditions import UndecidableCondition, holds
from fanfold.contract.failures import Failure, FailureType
from fanfold.workers.execution import Outcome, not_executed, passed_through
from fanfold.workers.item_run import Settled, Task
from fanfold.workers.processor import Processor


async def outcome_without_running(task: Task, processor: Processor | None) -> Outcome | None:
    """The outcome where the stage is not for this chunk, or nobody can tell; None where it is.

    Every attempt decides anew, over the same: so it decides the same. What is decided at the
    first stage is decided over the chunk as it was submitted, also where only some of its items
    run again; at a later one over what reaches it.
    """
    when = task.stage.when
    if when is None:
        return None
    if _went_past(task, processor):
        return passed_through(task)
    try:
        # In a thread: it may take seconds.
        is_for_it = await asyncio.to_thread(_holds, when, task.attempt.input)
    except UndecidableCondition as error:
        which = f"stage {task.attempt.stage}, '{task.stage.processor}'"
        message = f"'when' of {which}, cannot be decided: {error}"
        failure = Failure(type=FailureType.CONDITION_FAILED, message=message)
        return not_executed(task, failure, processor)
    return None if is_for_it else passed_through(task)


def _went_past(task: Task, processor: Processor | None) -> bool:
    """Whether the chunk passed this stage by before a redrive, and has to do so again.

    Items that do not run again came past a chunk processor as they were. What it would make
    of the others, no result could hold beside theirs.
    """
    stage = task.attempt.stage
    if stage == 0 or processor is None or processor.takes_items:
        return False
    settled = Settled.of(task.attempt)
    return bool(settled.results) or any(error.stage >= stage for error in settled.errors.values())


def _holds(when: str, body: bytes) -> bool:
    value = json_values.decode(body)
    # As everywhere: what is no array is one item.
    items = value if isinstance(value, list) else [value]
    return holds(when, {"items": items, "first": items[0] if items else None})
