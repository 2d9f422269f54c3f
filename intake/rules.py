"""What has to fit together in a job and the jobs that it is made of.

`request_schema` says as much of it in the published schema as a schema can.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from fanfold.contract.wording import one_of
from fanfold.intake.conditions import faults_of_sequence, faults_of_stages
from fanfold.intake.faults import Fault, pointer
from fanfold.intake.job_request import OPTIONS_OF_STAGES, SubJobRequest
from fanfold.intake.tree import Node

_CUT: Final = ("chunk_size", "max_chunk_bytes")
_OF_DATA: Final = (*_CUT, "item_key", "check_items")
"""What is said of data, where that is."""


def faults_of_tree(nodes: Iterable[Node]) -> list[Fault]:
    """What does not go together; the faults of one place as one."""
    found: dict[str, list[str]] = {}
    given = list(nodes)
    used = {node.data_of for node in given if node.is_leaf}
    for node in given:
        if node.has_data and node not in used:
            found.setdefault(_place_of_data(node), []).append(_UNUSED)
        for rule in _RULES:
            for fault in rule(node):
                found.setdefault(fault.pointer, []).append(fault.message)
    return [Fault(place, "; ".join(messages)) for place, messages in found.items()]


_UNUSED: Final = (
    "goes to none of the jobs: each has data of its own, or gets the result of the one before it"
)


def _place_of_data(node: Node) -> str:
    return pointer(*node.path, "items" if node.asked.chunks is None else "chunks")


def _at(node: Node, field: str, message: str) -> Fault:
    return Fault(pointer(*node.path, field), message)


def _data(node: Node) -> Iterator[Fault]:
    last = "source" if node.above is None else "input"
    names = ("items", "chunks", last)
    given = [name for name in names if getattr(node.asked, name) is not None]
    if len(given) > 1:
        yield _only_one_of(node, given)
    if node.is_leaf and not given and node.data_of is None:
        yield _none_of(node, (*names, "jobs"), ", and no data in the jobs above")
    if node.asked.chunks is not None and any(getattr(node.asked, name) for name in _CUT):
        message = "chunk_size and max_chunk_bytes go with items, not with chunks"
        yield Fault(pointer(*node.path), message)


def _work(node: Node) -> Iterator[Fault]:
    asked, whole = node.asked, node.whole
    given = [name for name in ("processor", "stages") if getattr(asked, name) is not None]
    if len(given) > 1:
        yield _only_one_of(node, given)
    if node.is_leaf and whole.processor is None and whole.stages is None:
        yield _none_of(node, ("processor", "stages"), ", nor in the jobs above")
    if asked.options is None or asked.processor is not None:
        return
    if asked.stages is not None:
        yield Fault(pointer(*node.path), OPTIONS_OF_STAGES)
    elif whole.stages is not None:
        message = "the stages of the job above have options of their own: give stages, as a whole"
        yield _at(node, "options", message)
    elif whole.processor is None and not node.is_leaf:
        yield _at(node, "options", "goes with processor: there is none, nor in the jobs above")


def _hold(node: Node) -> Iterator[Fault]:
    if node.asked.hold_timeout_seconds is not None and node.whole.on_failure != "hold":
        message = 'hold_timeout_seconds goes with "on_failure": "hold"'
        yield Fault(pointer(*node.path), message)


def _parts(node: Node) -> Iterator[Fault]:
    asked = node.asked
    if node.is_leaf:
        for name in ("order", "max_jobs"):
            if getattr(asked, name) is not None:
                yield _at(node, name, "goes with jobs: there are none")
        return
    if asked.order == "sequence" and asked.max_jobs is not None:
        message = 'does not go with "order": "sequence", in which one job runs at a time'
        yield _at(node, "max_jobs", message)
    if asked.max_per_second is not None:
        yield _at(node, "max_per_second", "is for jobs with chunks: give it to the sub-jobs")
    if asked.compensate is not None:
        yield _at(node, "compensate", "is for jobs with chunks: give it to the sub-jobs")
    if node.has_previous_input:
        message = "is for jobs with chunks: give it to a sub-job with a processor"
        yield _at(node, "input", message)


def _sequence(node: Node) -> Iterator[Fault]:
    if node.above is None or not isinstance(node.asked, SubJobRequest):
        return
    is_in_a_row = node.above.asked.order == "sequence"
    for name in ("input", "when"):
        if getattr(node.asked, name) is not None and not is_in_a_row:
            place = pointer(*node.above.path, "order")
            yield _at(node, name, f'goes with "order": "sequence", which is to stand at {place}')
    if node.has_previous_input and is_in_a_row and node is node.above.jobs[0]:
        yield _at(node, "input", "there is no job before the first one")


def _said_of_data(node: Node) -> Iterator[Fault]:
    """What is said of data has to stand where the data is."""
    said = node.asked.model_fields_set.intersection(_OF_DATA)
    if node.has_previous_input and node.asked.check_items:
        message = "the items come from the job before, and cannot be checked before that has run"
        yield _at(node, "check_items", message)
    if node.above is None or node.has_data or not said:
        return
    if all(leaf.is_scattered_to for leaf in _leaves(node)):
        source = node.data_of.path if node.data_of else ()
        for name in sorted(said):
            place = pointer(*source) or "the job as a whole"
            yield _at(node, name, f"goes with the data, which is given at {place}")


def _conditions(node: Node) -> Iterator[Fault]:
    yield from faults_of_stages(node.asked.stages or (), node.path)
    if node.asked.order == "sequence":  # in any other order they have no place
        yield from faults_of_sequence(node)


def _leaves(node: Node) -> Iterator[Node]:
    if node.is_leaf:
        yield node
    for below in node.jobs:
        yield from _leaves(below)


def _only_one_of(node: Node, names: list[str]) -> Fault:
    message = f"give only one of {' and '.join(names)}: they do not go together"
    return Fault(pointer(*node.path), message)


def _none_of(node: Node, names: Iterable[str], above: str) -> Fault:
    message = f"give {one_of(names)}: there is none of them"
    return Fault(pointer(*node.path), message + (above if node.above else ""))


_RULES: Final[tuple[Callable[[Node], Iterator[Fault]], ...]] = (
    _data,
    _work,
    _hold,
    _parts,
    _sequence,
    _said_of_data,
    _conditions,
)
