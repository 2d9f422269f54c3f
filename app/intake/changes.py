"""Changes of a job's controls: what a client sends, merged over what the job has."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Final

from fanfold.app.intake.body import JSON, MERGE_PATCH, BodyKind
from fanfold.app.intake.steering_request import JobPatch, RedriveRequest
from fanfold.contract.job_spec import DEFAULT_PRIORITY, MOST_CONCURRENT, Controls
from fanfold.contract.settings import GatewaySettings
from fanfold.intake.spec import to_tolerance
from fanfold.intake.validation import check_labels, check_retention, encode, parsed

PATCH: Final = BodyKind(
    (JSON, MERGE_PATCH),
    "Send the changes as JSON, with the header Content-Type: application/json or "
    "application/merge-patch+json.",
    "the changes, a JSON object",
)
OF_FINISHED_JOBS: Final = frozenset({"name", "labels", "retention_hours"})
"""What may still be changed of a job that has finished."""

# What null stands for, where it is not "none".
_BY_NULL: Final[Mapping[str, int]] = {
    "max_concurrency": MOST_CONCURRENT,
    "priority": DEFAULT_PRIORITY,
}


def read_patch(document: Any, limits: GatewaySettings) -> JobPatch:  # noqa: ANN401 - any JSON value
    """The changes in this document; raises InvalidJob with a fault for each mistake."""
    patch = parsed(JobPatch, document)
    check_retention(patch.retention_hours, limits)
    encode(patch.model_dump(), ())
    return patch


def changed(
    controls: Controls, asked: JobPatch | RedriveRequest, limits: GatewaySettings
) -> Controls:
    """The controls with what is asked for; raises InvalidJob where that makes too many labels."""
    names = asked.model_fields_set & {field.name for field in fields(Controls)}
    given: dict[str, Any] = {name: getattr(asked, name) for name in names}
    if "labels" in given:
        merged = {} if given["labels"] is None else {**controls.labels, **given["labels"]}
        given["labels"] = {name: value for name, value in merged.items() if value is not None}
        check_labels(given["labels"], limits)
    if "tolerated_failures" in given:
        given["tolerated_failures"] = to_tolerance(given["tolerated_failures"])
    for name in names:
        if given[name] is None:
            given[name] = _BY_NULL.get(name)
    return replace(controls, **given)
