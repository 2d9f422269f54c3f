"""Names and options against what the workers published: refused early, with the place."""

from datetime import timedelta
from typing import Any

import pytest

from fanfold.contract.settings import GatewaySettings
from fanfold.intake.faults import InvalidJob
from fanfold.intake.published import PublishedCode, check_names
from fanfold.intake.tree import Node
from fanfold.intake.validation import validate
from fanfold.ledger.catalog import CatalogEntry, Kind, Published
from fanfold.workers.registry import Registry

LIMITS = GatewaySettings()
_ENTRIES = Registry().entries()
PROCESSORS = Published({entry.name: entry for entry in _ENTRIES[Kind.PROCESSOR]})
REDUCERS = Published({entry.name: entry for entry in _ENTRIES[Kind.REDUCER]})


def request(**changed: Any) -> list[Node]:
    return validate({"items": [1], **changed}, LIMITS)


def refused(given: list[Node]) -> tuple[str, dict[str, str]]:
    """The code, and message by pointer."""
    with pytest.raises(InvalidJob) as refusal:
        check_names(given, PublishedCode(PROCESSORS, REDUCERS))
    return refusal.value.code, {fault.pointer: fault.message for fault in refusal.value.errors}


@pytest.mark.parametrize("entry", [*PROCESSORS.entries.values(), *REDUCERS.entries.values()])
def test_every_published_example_is_a_job(entry: CatalogEntry) -> None:
    check_names(validate(entry.example, LIMITS), PublishedCode(PROCESSORS, REDUCERS))


@pytest.mark.parametrize(
    ("changed", "code", "place"),
    [
        ({"processor": "tripple"}, "unknown_processor", "/processor"),
        (
            {"stages": [{"processor": "double"}, {"processor": "no"}]},
            "unknown_processor",
            "/stages/1/processor",
        ),
        ({"processor": "double", "reducer": "product"}, "unknown_reducer", "/reducer"),
        ({"processor": "sum"}, "unknown_processor", "/processor"),
        ({"processor": "double", "reducer": "double"}, "unknown_reducer", "/reducer"),
    ],
)
def test_an_unknown_name_is_refused_where_it_stands(
    changed: dict[str, Any], code: str, place: str
) -> None:
    found_code, faults = refused(request(**changed))
    assert (found_code, list(faults)) == (code, [place])
    assert "lists those there are" in faults[place]


@pytest.mark.parametrize(
    ("gone_for", "words"),
    [
        (timedelta(seconds=90), "for 1 minute;"),
        (timedelta(minutes=119), "for 119 minutes;"),
        (timedelta(hours=47), "for 47 hours;"),
        (timedelta(days=3), "for 3 days;"),
    ],
)
def test_a_name_that_workers_had_is_refused_with_the_time_since(
    gone_for: timedelta, words: str
) -> None:
    gone = Published({}, {"old": gone_for})
    for given, code in (
        (request(processor="old"), "unknown_processor"),
        (request(processor="double", reducer="old"), "unknown_reducer"),
    ):
        is_processor = given[0].asked.processor == "old"
        with pytest.raises(InvalidJob, match=words) as refusal:
            check_names(given, PublishedCode(gone if is_processor else PROCESSORS, gone))
        assert refusal.value.code == code


def test_before_any_worker_has_published_nothing_can_be_said() -> None:
    code = PublishedCode(Published(), Published())
    check_names(request(processor="anything", reducer="whatever"), code)


@pytest.mark.parametrize(
    ("processor", "options", "place", "message"),
    [
        ("double", {"fail_probability": 1.5}, "/fail_probability", "must be at most 1"),
        (
            "double",
            {"fail_attempts": True},
            "/fail_attempts",
            "must be an integer, not true or false",
        ),
        ("transform", {"upper": "yes"}, "/upper", "must be true or false, not a string"),
        ("validate", {"on_invalid": "skip"}, "/on_invalid", "must be fail or drop"),
        ("word_count", {"min_length": None}, "/min_length", "must be an integer, not null"),
    ],
)
def test_options_that_do_not_fit_are_refused_where_they_stand(
    processor: str, options: dict[str, Any], place: str, message: str
) -> None:
    code, faults = refused(request(processor=processor, options=options))
    assert (code, faults) == ("invalid_options", {f"/options{place}": message})


def test_the_options_of_a_stage_are_named_by_the_stage() -> None:
    stages = [{"processor": "double"}, {"processor": "transform", "options": {"upper": 1}}]
    code, faults = refused(request(stages=stages))
    assert (code, list(faults)) == ("invalid_options", ["/stages/1/options/upper"])


def test_every_wrong_option_is_told_at_once() -> None:
    _, faults = refused(request(processor="transform", options={"upper": 1, "prefix": 2}))
    assert set(faults) == {"/options/upper", "/options/prefix"}


NEEDY = CatalogEntry(
    name="needy",
    description="",
    options_schema={"type": "object", "required": ["key"], "properties": {"key": {}}},
    example={},
)
HAS_NEEDY = PublishedCode(Published({"needy": NEEDY}), Published())


def test_a_missing_option_is_told() -> None:
    with pytest.raises(InvalidJob, match="/options/key: is required: the option is missing"):
        check_names(request(processor="needy"), HAS_NEEDY)


def test_options_of_a_job_made_of_jobs_count_where_one_of_them_has_no_others() -> None:
    own: dict[str, Any] = {"options": {"key": 1}}
    check_names(request(processor="needy", jobs={"a": own, "b": {"jobs": {"c": own}}}), HAS_NEEDY)
    with pytest.raises(InvalidJob, match=r"^/options/key: is required"):
        check_names(
            request(processor="needy", jobs={"a": own, "b": {"jobs": {"c": {}}}}), HAS_NEEDY
        )
    with pytest.raises(InvalidJob, match=r"^/jobs/b/options/key: is required"):
        check_names(request(processor="needy", jobs={"b": {"options": {}}}), HAS_NEEDY)
    named = {"a": {"processor": "needy", **own}}
    with pytest.raises(InvalidJob, match=r"^/processor: "):
        check_names(request(processor="nedy", jobs=named), HAS_NEEDY)


def test_a_renewed_schema_is_the_one_that_counts() -> None:
    def published(kind: str) -> PublishedCode:
        schema = {"type": "object", "properties": {"a": {"type": kind}}}
        entry = CatalogEntry(name="x", description="", options_schema=schema, example={})
        return PublishedCode(Published({"x": entry}), Published())

    given = request(processor="x", options={"a": 1})
    check_names(given, published("integer"))
    with pytest.raises(InvalidJob):
        check_names(given, published("string"))
    check_names(given, published("integer"))


def test_the_values_of_wrong_options_are_not_repeated() -> None:
    secret = "hunter2hunter2"
    _, faults = refused(request(processor="transform", options={"upper": secret}))
    assert secret not in repr(faults)
