"""Checks the form of a body, and the limits of what stands beside a job's data."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import pydantic
from pydantic_core import ErrorDetails

from fanfold.contract import json_values
from fanfold.contract.pydantic_faults import message_of
from fanfold.contract.settings import IntakeSettings
from fanfold.contract.wording import suggested
from fanfold.intake.faults import Fault, Path, pointer, refuse, refuse_all, refuse_limit
from fanfold.intake.job_request import JobRequest, Stage, SubJobRequest
from fanfold.intake.rules import faults_of_tree
from fanfold.intake.tree import Node, check_size, tree_of
from fanfold.intake.unknown_fields import fields_at

MAX_REPORTED_FAULTS: Final = 20
_DATA: Final = frozenset({"items", "chunks"})
_OF_THE_WHOLE: Final = JobRequest.model_fields.keys() - SubJobRequest.model_fields.keys()
_OF_SUB_JOBS: Final = SubJobRequest.model_fields.keys() - JobRequest.model_fields.keys()

Request = TypeVar("Request", bound=pydantic.BaseModel)
Step = tuple[Path, str, Mapping[str, Any]]
"""Where in the body a processor stands, its name and its options."""


def validate(document: Any, limits: IntakeSettings) -> list[Node]:  # noqa: ANN401 - any JSON value
    """The job in this document and all below it, each before those it is made of.

    Raises InvalidJob with a fault for each mistake.
    """
    check_size(document, limits)
    request = parsed(JobRequest, document)
    nodes = tree_of(request)
    if faults := faults_of_tree(nodes):
        refuse_all("invalid_job", faults[:MAX_REPORTED_FAULTS])
    check_retention(request.retention_hours, limits)
    for node in nodes:
        check_labels(node.asked.labels, limits, node.path)
        check_steps(steps_in(node), limits)
    encode(_without_data(document), ())
    return nodes


def parsed(model: type[Request], document: Any) -> Request:  # noqa: ANN401 - any JSON value
    """What is asked for in this document; raises InvalidJob with a fault for each mistake."""
    try:
        return model.model_validate(document)
    except pydantic.ValidationError as error:
        found = error.errors(include_url=False)[:MAX_REPORTED_FAULTS]
        faults = [Fault(_place(fault), _message(model, fault)) for fault in found]
        refuse_all("invalid_job", faults)


def check_labels(labels: Mapping[str, str], limits: IntakeSettings, path: Path = ()) -> None:
    """Raises InvalidJob where there are too many."""
    if len(labels) > limits.max_labels:
        refuse_limit(pointer(*path, "labels"), "labels", limits.max_labels, "FANFOLD_MAX_LABELS")


def check_retention(hours: float | None, limits: IntakeSettings) -> None:
    """Raises InvalidJob where the job asks to be kept longer than jobs are kept."""
    if (hours or 0) > limits.retention_hours:
        refuse_limit(
            pointer("retention_hours"), "hours", limits.retention_hours, "FANFOLD_RETENTION_HOURS"
        )


def check_steps(steps: Iterable[Step], limits: IntakeSettings) -> None:
    """Raises InvalidJob where options are nested too deep."""
    for path, _, options in steps:
        check_nesting(options, limits.max_nesting_depth, (*path, "options"))


def _place(fault: ErrorDetails) -> str:
    """The pointer to a fault; pydantic marks one about a key, not its value, with `[key]`."""
    location = fault["loc"]
    # A sub-job may be called so.
    is_of_key = location[-1:] == ("[key]",) and isinstance(fault["input"], str)
    return pointer(*(location[:-1] if is_of_key else location))


def _message(model: type[pydantic.BaseModel], fault: ErrorDetails) -> str:
    """What is wrong; of an unknown field, which one may have been meant."""
    if fault["type"] != "extra_forbidden":
        return message_of(fault)
    *above, last = fault["loc"]
    name = str(last)
    known = fields_at(model, above)
    home = next((field for field in known if name in fields_at(model, [*above, field])), None)
    if home is not None:
        return f"unknown field here; it is a field of {home}"
    if name in _OF_THE_WHOLE and set(known) == SubJobRequest.model_fields.keys():
        return "unknown field here; it goes with the job as a whole: give it at the top"
    if name in _OF_SUB_JOBS and set(known) == JobRequest.model_fields.keys():
        return "unknown field here; it is for the jobs that a job is made of, below jobs"
    return f"unknown field{suggested(name, known, 'fields')}"


def _without_data(job: Mapping[str, Any]) -> dict[str, Any]:
    """The document of a job without the items in it, and in the jobs that it is made of."""
    rest = {name: value for name, value in job.items() if name not in _DATA}
    if rest.get("jobs"):
        rest["jobs"] = {name: _without_data(below) for name, below in rest["jobs"].items()}
    return rest


def encode(value: Any, path: Path) -> bytes:  # noqa: ANN401 - any JSON value
    """The value as JSON text; raises InvalidJob where the ledger cannot store it exactly."""
    try:
        return json_values.encode(value)
    except json_values.UnstorableValue as error:
        refuse("invalid_value", pointer(*path, *error.path), f"the value {error}")


def check_nesting(value: Any, limit: int, path: Path) -> None:  # noqa: ANN401 - any JSON value
    """Raises InvalidJob where the value is nested too deep."""
    if json_values.nests_deeper_than(value, limit):
        refuse(
            "limit_exceeded",
            pointer(*path),
            f"nested more than {limit} levels deep (FANFOLD_MAX_NESTING_DEPTH)",
        )


def steps_of(stages: Sequence[Stage], path: Path = ()) -> Iterator[Step]:
    """The steps of stages, which stand at `stages` below this place."""
    for index, stage in enumerate(stages):
        yield (*path, "stages", index), stage.processor, stage.options


def steps_in(node: Node) -> Iterator[Step]:
    """The processors and options that a job itself names; alone, options go with the one above."""
    asked = node.asked
    if asked.stages is not None:
        yield from steps_of(asked.stages, node.path)
    elif node.whole.processor is not None and (asked.processor, asked.options) != (None, None):
        yield node.path, node.whole.processor, asked.options or {}
    if asked.compensate is not None:
        undo = asked.compensate
        yield (*node.path, "compensate"), undo.processor, undo.options
