"""Checks the conditions in a job: of its stages, and of the jobs in a sequence."""

from collections.abc import Iterator, Sequence
from typing import Final

from fanfold.contract.conditions import OF_STAGE, Fields, InvalidCondition, check
from fanfold.intake.faults import Fault, Path, pointer
from fanfold.intake.job_request import Stage, SubJobRequest
from fanfold.intake.tree import Node

_ENDED: Final[Fields] = {
    "state": None,
    "result": None,
    "chunks": dict.fromkeys(["total", "succeeded", "partially_succeeded", "failed", "cancelled"]),
    "items": dict.fromkeys(["total", "succeeded", "failed"]),
    "success_rate": None,
}
"""What a condition sees of a job that ran before."""


def faults_of_stages(stages: Sequence[Stage], path: Path = ()) -> Iterator[Fault]:
    """What is wrong with the conditions of stages, which stand at `stages` below this place."""
    for index, stage in enumerate(stages):
        yield from _faults(stage.when, OF_STAGE, (*path, "stages", index))


def faults_of_sequence(node: Node) -> Iterator[Fault]:
    """What is wrong with the conditions of the jobs that this one is made of."""
    before: dict[str, Fields | None] = {}
    over: Fields = {"previous": _ENDED, "jobs": before}
    good: set[str] = set()  # of fewer fields, so of more
    for below in node.jobs:
        when = below.asked.when if isinstance(below.asked, SubJobRequest) else None
        if when not in good:
            yield from _faults(when, over, below.path)
        if when is not None:
            good.add(when)
        before[str(below.name)] = _ENDED


def _faults(when: str | None, over: Fields, path: Path) -> Iterator[Fault]:
    if when is None:
        return
    try:
        check(when, over)
    except InvalidCondition as error:
        yield Fault(pointer(*path, "when"), str(error))
