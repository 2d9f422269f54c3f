"""PATCH: what is sent is merged over what the job has; what makes no sense is refused."""

from typing import Any

import pytest

from fanfold.app.intake.changes import changed, read_patch
from fanfold.contract.job_spec import Controls, ToleranceSpec
from fanfold.contract.settings import GatewaySettings
from fanfold.intake.faults import InvalidJob

LIMITS = GatewaySettings()
BEFORE = Controls(
    name="before",
    labels={"team": "data", "kept": "x"},
    max_concurrency=7,
    tolerated_failures=ToleranceSpec(count=1, percent=2.0, min_sample=5),
    max_per_second=3.0,
    priority=2,
    start_at=5,
    deadline_seconds=60.0,
    retention_hours=24.0,
)


def after(document: Any, limits: GatewaySettings = LIMITS) -> Controls:
    return changed(BEFORE, read_patch(document, limits), limits)


def refused(document: Any, limits: GatewaySettings = LIMITS) -> tuple[str, dict[str, str]]:
    with pytest.raises(InvalidJob) as refusal:
        after(document, limits)
    return refusal.value.code, {fault.pointer: fault.message for fault in refusal.value.errors}


def test_what_is_not_sent_stays() -> None:
    assert after({}) == BEFORE


def test_what_is_sent_replaces_what_there_was() -> None:
    document = {
        "name": "after",
        "labels": {"team": None, "new": "y"},
        "max_concurrency": 9,
        "max_per_second": 1,
        "tolerated_failures": {"consecutive": 4},
        "priority": 5,
        "deadline_seconds": 30,
        "retention_hours": 1,
    }
    assert after(document) == Controls(
        name="after",
        labels={"kept": "x", "new": "y"},
        max_concurrency=9,
        tolerated_failures=ToleranceSpec(consecutive=4),
        max_per_second=1.0,
        priority=5,
        start_at=5,
        deadline_seconds=30.0,
        retention_hours=1.0,
    )


def test_null_takes_a_limit_away() -> None:
    names = (
        *("name", "labels", "max_concurrency", "max_per_second", "tolerated_failures"),
        *("priority", "deadline_seconds", "retention_hours"),
    )
    assert after(dict.fromkeys(names)) == Controls(max_concurrency=500, priority=3, start_at=5)


def test_a_null_label_that_is_not_there_changes_nothing() -> None:
    assert after({"labels": {"other": None}}) == BEFORE


@pytest.mark.parametrize(
    ("document", "place", "message"),
    [
        ({"priorty": 1}, "/priorty", "unknown field; did you mean priority?"),
        ({"max_concurrency": 501}, "/max_concurrency", "must be at most 500"),
        ({"labels": {"team": 5}}, "/labels/team", "must be a string, not a number"),
        (
            {"tolerated_failures": {"cout": 5}},
            "/tolerated_failures/cout",
            "unknown field; did you mean count?",
        ),
        ([], "", "must be an object, not an array"),
    ],
)
def test_a_mistake_is_named_by_its_place(document: Any, place: str, message: str) -> None:
    assert refused(document) == ("invalid_job", {place: message})


@pytest.mark.parametrize("name", ["start_at", "processor", "on_failure", "items"])
def test_what_is_fixed_once_the_job_is_posted_is_unknown_here(name: str) -> None:
    code, faults = refused({name: "x"})
    assert (code, list(faults)) == ("invalid_job", [f"/{name}"])
    assert faults[f"/{name}"].startswith("unknown field")


def test_limits_of_the_gateway_hold_here_too() -> None:
    assert refused({"retention_hours": 169})[0] == "limit_exceeded"
    limits = LIMITS.model_copy(update={"max_labels": 2})
    assert after({"labels": {"team": None, "new": ""}}, limits).labels == {"kept": "x", "new": ""}
    assert refused({"labels": {"new": ""}}, limits) == (
        "limit_exceeded",
        {"/labels": "at most 2 labels are allowed (FANFOLD_MAX_LABELS)"},
    )


def test_text_has_to_be_storable() -> None:
    assert refused({"labels": {"a": "\x00"}})[0] == "invalid_value"
