"""Jobs made of jobs: limits count over the whole tree, and data is checked wherever it goes."""

import json
import time
from typing import Any

import pytest

from fanfold.intake.faults import InvalidJob
from fanfold.intake.job_text import decode_job
from fanfold.intake.preparing import prepare
from fanfold.intake.published import PublishedCode
from fanfold.ledger.catalog import CatalogEntry, Published
from tests.unit.trees import CODE, LEAF, LIMITS, limits, prepared, refusal


@pytest.mark.parametrize(
    ("says", "code", "place"),
    [
        ({"items": [1, "\x00"]}, "invalid_value", "/items/1"),
        ({"chunks": [[1], [[[[["deep"]]]]]]}, "limit_exceeded", "/chunks/1/0"),
        ({"items": ["x" * 50]}, "limit_exceeded", "/items/0"),
        ({"items": ["x" * 20], "max_chunk_bytes": 9}, "limit_exceeded", "/items/0"),
        ({**LEAF, "name": "\x00"}, "invalid_value", "/name"),
        ({**LEAF, "labels": {"a": "\x00"}}, "invalid_value", "/labels/a"),
        ({**LEAF, "labels": {"a": "", "b": "", "c": ""}}, "limit_exceeded", "/labels"),
        ({**LEAF, "options": {"a": {"b": {"c": {}}}}}, "limit_exceeded", "/options"),
    ],
)
def test_what_cannot_be_kept_is_refused_in_a_sub_job_as_in_any(
    says: dict[str, Any], code: str, place: str
) -> None:
    document = {"processor": "double", "jobs": {"EU": {"jobs": {"a": LEAF, "b": says}}}}
    within = limits(max_nesting_depth=3, max_item_bytes=30, max_labels=2)
    assert refusal(document, within)[0] == code
    assert list(refusal(document, within)[1]) == [f"/jobs/EU/jobs/b{place}"]


@pytest.mark.parametrize(
    ("changed", "place", "message"),
    [
        ({"max_job_depth": 2}, "/jobs/a/jobs/b/jobs", "at most 2 levels of jobs are allowed"),
        ({"max_job_depth": 0}, "/jobs", "at most 0 levels of jobs are allowed"),
        ({"max_jobs_a_level": 1}, "/jobs", "at most 1 jobs side by side are allowed"),
        ({"max_jobs_in_tree": 3}, "/jobs", "at most 3 sub-jobs in all are allowed"),
    ],
)
def test_there_are_limits_to_a_tree(changed: dict[str, int], place: str, message: str) -> None:
    jobs = {"a": {"jobs": {"b": {"jobs": {"c": LEAF}}}}, "other": LEAF}
    document = {"processor": "double", "jobs": jobs}
    assert prepared(document, limits(max_job_depth=3, max_jobs_in_tree=4)).extent.jobs == 4
    code, found = refusal(document, limits(**changed))
    (setting,) = changed
    assert (code, found) == ("limit_exceeded", {place: f"{message} (FANFOLD_{setting.upper()})"})


def test_a_tree_past_a_limit_is_refused_before_anything_of_it_is_checked() -> None:
    jobs = {str(number): 5 for number in range(1001)}
    assert refusal({"jobs": jobs})[0] == "limit_exceeded"


def test_items_count_over_the_whole_tree_and_once_where_several_get_them() -> None:
    document = {"processor": "double", "items": [1, 2, 3], "jobs": {"a": {}, "b": {}, "c": LEAF}}
    assert prepared(document, limits(max_items=4)).extent.items == 7
    code, found = refusal(document, limits(max_items=3))
    assert (code, list(found)) == ("limit_exceeded", ["/jobs/c/items"])


@pytest.mark.parametrize(
    ("own", "place"), [({"items": [1]}, "chunk_size"), ({"chunks": [[1]]}, "chunks")]
)
def test_chunks_count_over_the_whole_tree_for_every_job_that_gets_them(
    own: dict[str, Any], place: str
) -> None:
    jobs = {"a": {}, "b": {}, "c": own}
    document = {"processor": "double", "chunks": [[1], [2]], "jobs": jobs}
    assert prepared(document, limits(max_chunks=5)).extent.chunks == 5
    code, found = refusal(document, limits(max_chunks=4))
    assert (code, list(found)) == ("limit_exceeded", [f"/jobs/c/{place}"])


def entry(name: str, kind: str) -> CatalogEntry:
    return CatalogEntry(
        name=name, description="", options_schema={}, example=None, item_schema={"type": kind}
    )


KINDS = PublishedCode(
    Published({name: entry(name, kind) for name, kind in (("num", "number"), ("text", "string"))}),
    Published(),
)


def test_items_that_several_jobs_get_have_to_fit_the_processor_of_each() -> None:
    jobs = {"a": {"processor": "num"}, "b": {"jobs": {"c": {"processor": "text"}}}}
    document = {"check_items": True, "items": [1], "jobs": jobs}
    assert refusal(document, code=KINDS) == (
        "item_schema_mismatch",
        {"/items/0": "for the processor text: must be a string, not a number"},
    )


def test_items_of_a_sub_job_have_to_fit_its_own_processor_alone() -> None:
    jobs: dict[str, Any] = {
        "a": {"processor": "num", "items": [1]},
        "b": {"processor": "text", "items": ["x", 1]},
    }
    assert refusal({"check_items": True, "jobs": jobs}, code=KINDS) == (
        "item_schema_mismatch",
        {"/jobs/b/items/1": "must be a string, not a number"},
    )
    jobs["b"]["check_items"] = False
    prepared({"check_items": True, "jobs": jobs}, code=KINDS)


def test_where_a_sub_job_has_no_item_schema_the_place_of_its_data_is_told() -> None:
    jobs = {"a": {"processor": "double", "items": [1], "check_items": True}}
    code = PublishedCode(Published(), Published())
    found_code, found = refusal({"jobs": jobs}, code=code)
    assert (found_code, list(found)) == ("item_schema_unknown", ["/jobs/a/check_items"])


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        (b'{"jobs": {"a": {}, "a": {}}}', "/jobs/a", "is given more than once"),
        (b'{"jobs": {"a": {"name": 1, "name": 2}}}', "/jobs/a/name", "is given more than once"),
        (
            b'{"jobs": {"a": {"jobs": {"b": {"options": {"c": 1, "c": 2}}}}}}',
            "/jobs/a/jobs/b/options",
            "has the field c more than once",
        ),
        (b'{"jobs": {}, "jobs": {}}', "/jobs", "is given more than once"),
    ],
)
def test_a_field_that_is_there_twice_is_refused_at_any_depth(
    text: bytes, place: str, message: str
) -> None:
    with pytest.raises(InvalidJob) as refused:
        decode_job(text)
    assert [(f.pointer, f.message) for f in refused.value.errors] == [(place, message)]


def test_items_of_sub_jobs_are_the_clients_own() -> None:
    text = b'{"jobs": {"a": {"items": [{"b": 1, "b": 2}]}}}'
    assert decode_job(text) == {"jobs": {"a": {"items": [{"b": 2}]}}}


def test_what_is_no_tree_is_read_as_any_json() -> None:
    for document in ({"jobs": 5}, {"jobs": [{"a": 1}]}, {"jobs": {"a": [1], "b": {"jobs": None}}}):
        assert decode_job(json.dumps(document, indent=1).encode()) == document


def test_a_tree_whose_data_follows_says_what_waits_for_it() -> None:
    document = {
        "processor": "double",
        "source": "upload",
        "jobs": {"a": {}, "b": {"jobs": {"c": {}}}, "d": {"items": [1, 2], "chunk_size": 1}},
    }
    job = prepared(document)
    assert (job.chunks, job.getting_upload, job.spec.is_upload) == (None, 2, True)
    assert (job.extent.chunks, job.extent.items) == (2, 2)


@pytest.mark.alone
def test_ten_thousand_sub_jobs_are_checked_in_about_a_second() -> None:
    def store(region: int, number: int) -> dict[str, Any]:
        return {
            "name": f"store {number}",
            "items": [{"sku": "tea"}, {"sku": f"{region}"}],
            "options": {"field": "sku"},
            "retry": {"max_attempts": 5},
            "labels": {"store": str(number)},
        }

    regions = {
        f"region {region}": {"jobs": {str(number): store(region, number) for number in range(999)}}
        for region in range(10)
    }
    document = {"processor": "count_by", "options": {"field": "x"}, "jobs": regions}
    text = json.dumps(document).encode()

    begun = time.process_time()  # what others do at the same time does not count
    job = prepare(decode_job(text), LIMITS, CODE)
    took = time.process_time() - begun

    assert job.extent.jobs == 10_000
    assert took < 2.5
