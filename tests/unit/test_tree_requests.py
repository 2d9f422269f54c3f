"""Jobs made of jobs: each mistake is refused, with its place in the tree."""

import re
from datetime import timedelta
from typing import Any

import jsonschema
import pytest

from fanfold.intake.job_request import JobRequest
from fanfold.intake.published import PublishedCode
from fanfold.ledger.catalog import Published
from tests.unit.trees import CODE, LEAF, below, prepared, refusal

SCHEMA = jsonschema.Draft202012Validator(JobRequest.model_json_schema())
IN_A_ROW = {"order": "sequence"}
NO_DATA = "give items, chunks, input or jobs: there is none of them, and no data in the jobs above"
NO_WORK = "give processor or stages: there is none of them, nor in the jobs above"
OF_THE_WHOLE = "unknown field here; it goes with the job as a whole: give it at the top"
OF_SUB_JOBS = "unknown field here; it is for the jobs that a job is made of, below jobs"
TO_SUB_JOBS = "is for jobs with chunks: give it to the sub-jobs"
RESERVED = (
    "compensation cannot be the name of a sub-job: the job that compensates another one has it"
)
TAKEN_PARTS = "a sub-job's name has no / and no control characters: it is a part of its path"


def tree(sub_job: dict[str, Any], **top: Any) -> dict[str, Any]:
    """A job with two levels below it: the sub-job is the second of the lower ones."""
    order = {"order": top.pop("order")} if "order" in top else {}
    jobs = {"a": LEAF, "b": sub_job}
    return {"processor": "double", **top, "jobs": {"EU": {**order, "jobs": jobs}}}


def meant(kind: str, name: str) -> str:
    see = f"GET /{kind}s lists those there are"
    return f"no worker has a {kind} of this name; did you mean {name}? {see}"


MISTAKES: list[tuple[dict[str, Any], str, str]] = [
    ({}, "", NO_DATA),
    ({"items": []}, "/items", "must have at least 1 item, not 0"),
    ({"jobs": {}}, "/jobs", "must have at least 1 sub-job"),
    ({"jobs": []}, "/jobs", "must be an object, not an array"),
    ({"jobs": {"c": 5}}, "/jobs/c", "must be an object, not a number"),
    ({"jobs": {"[key]": 5}}, "/jobs/[key]", "must be an object, not a number"),
    ({"jobs": {"c": {}}}, "/jobs/c", NO_DATA),
    (
        {"items": [1], "chunks": [[1]]},
        "",
        "give only one of items and chunks: they do not go together",
    ),
    (
        {"chunks": [[1]], "chunk_size": 2},
        "",
        "chunk_size and max_chunk_bytes go with items, not with chunks",
    ),
    ({**LEAF, "procesor": "x"}, "/procesor", "unknown field; did you mean processor?"),
    (
        {**LEAF, "retry": {"atempts": 1}},
        "/retry/atempts",
        "unknown field; did you mean max_attempts?",
    ),
    (
        {**LEAF, "max_attempts": 1},
        "/max_attempts",
        "unknown field here; it is a field of retry",
    ),
    ({**LEAF, "source": "upload"}, "/source", OF_THE_WHOLE),
    ({**LEAF, "start_at": "2026-01-31T12:00:00Z"}, "/start_at", OF_THE_WHOLE),
    ({**LEAF, "retention_hours": 1}, "/retention_hours", OF_THE_WHOLE),
    (
        {**LEAF, "stages": [{"processor": "double"}], "options": {}},
        "",
        "options go with processor; stages have their own",
    ),
    (
        {**LEAF, "processor": "double", "stages": [{"processor": "double"}]},
        "",
        "give only one of processor and stages: they do not go together",
    ),
    (
        {**LEAF, "hold_timeout_seconds": 5},
        "",
        'hold_timeout_seconds goes with "on_failure": "hold"',
    ),
    ({**LEAF, "order": "parallel"}, "/order", "goes with jobs: there are none"),
    ({**LEAF, "max_jobs": 2}, "/max_jobs", "goes with jobs: there are none"),
    ({"jobs": {"c": LEAF}, "max_jobs": 501}, "/max_jobs", "must be at most 500"),
    (
        {"jobs": {"c": LEAF}, **IN_A_ROW, "max_jobs": 2},
        "/max_jobs",
        'does not go with "order": "sequence", in which one job runs at a time',
    ),
    ({"jobs": {"c": LEAF}, "order": "serial"}, "/order", "must be parallel or sequence"),
    ({"jobs": {"c": LEAF}, "max_per_second": 1}, "/max_per_second", TO_SUB_JOBS),
    (
        {"jobs": {"c": LEAF}, "compensate": {"processor": "double"}},
        "/compensate",
        TO_SUB_JOBS,
    ),
    (
        {**LEAF, "compensate": {"procesor": "double"}},
        "/compensate/processor",
        "is required",
    ),
    ({"jobs": {"": LEAF}}, "/jobs/", "the name must have at least 1 character"),
    (
        {"jobs": {"x" * 101: LEAF}},
        f"/jobs/{'x' * 101}",
        "the name must have at most 100 characters",
    ),
    ({"jobs": {"E/U": LEAF}}, "/jobs/E~1U", TAKEN_PARTS),
    ({"jobs": {"a\tb": LEAF}}, "/jobs/a\tb", TAKEN_PARTS),
    ({"jobs": {"\x85": LEAF}}, "/jobs/\x85", TAKEN_PARTS),
    ({"jobs": {"..": LEAF}}, "/jobs/..", ".. cannot be the name of a sub-job"),
    (
        {"jobs": {"compensation": LEAF}},
        "/jobs/compensation",
        RESERVED,
    ),
    (
        {"input": "previous"},
        "/input",
        'goes with "order": "sequence", which is to stand at /jobs/EU/order',
    ),
    (
        {**LEAF, "when": "previous.state == 'failed'"},
        "/when",
        'goes with "order": "sequence", which is to stand at /jobs/EU/order',
    ),
]


@pytest.mark.parametrize(("sub_job", "place", "message"), MISTAKES)
def test_a_mistake_is_named_by_its_place_in_the_tree(
    sub_job: dict[str, Any], place: str, message: str
) -> None:
    code, found = refusal(tree(sub_job))
    assert (code, found.get(f"/jobs/EU/jobs/b{place}")) == ("invalid_job", message), found


MISTAKES_IN_A_ROW: list[tuple[dict[str, Any], str, str]] = [
    ({"input": "next"}, "/input", "must be previous"),
    (
        {**LEAF, "input": "previous"},
        "",
        "give only one of items and input: they do not go together",
    ),
    (
        {"input": "previous", "jobs": {"c": {}}},
        "/input",
        "is for jobs with chunks: give it to a sub-job with a processor",
    ),
    (
        {"input": "previous", "check_items": True},
        "/check_items",
        "the items come from the job before, and cannot be checked before that has run",
    ),
    (
        {**LEAF, "when": "previous.stat == 'failed'"},
        "/when",
        "column 10: there is no field 'stat' here; did you mean state?",
    ),
    (
        {**LEAF, "when": "jobs.b.state == 'failed'"},
        "/when",
        "column 6: there is no field 'b' here; the only field is a",
    ),
    (
        {**LEAF, "stages": [{"processor": "double"}, {"processor": "double", "when": "item"}]},
        "/stages/1/when",
        "column 1: there is no field 'item' here; did you mean items?",
    ),
]


@pytest.mark.parametrize(("sub_job", "place", "message"), MISTAKES_IN_A_ROW)
def test_so_is_one_in_a_sequence(sub_job: dict[str, Any], place: str, message: str) -> None:
    code, found = refusal(tree(sub_job, **IN_A_ROW))
    assert (code, found) == ("invalid_job", {f"/jobs/EU/jobs/b{place}": message})


UNSAYABLE = re.compile(
    "in the jobs above|hold_timeout_seconds goes with|there is no field|of the job above have"
)
"""What no schema can say: it knows nothing of what is inherited, and no JMESPath."""


@pytest.mark.parametrize(
    ("document", "message"),
    [
        *((tree(sub_job), message) for sub_job, _, message in MISTAKES),
        *((tree(sub_job, **IN_A_ROW), message) for sub_job, _, message in MISTAKES_IN_A_ROW),
    ],
)
def test_the_published_schema_says_so_where_it_can(document: dict[str, Any], message: str) -> None:
    assert SCHEMA.is_valid(document) is bool(UNSAYABLE.search(message))


@pytest.mark.parametrize(
    "document",
    [
        {"processor": "double", "jobs": {"a": LEAF}},
        {"jobs": {"a": {**LEAF, "stages": [{"processor": "double", "when": "first"}]}}},
        {"processor": "double", **IN_A_ROW, "jobs": {"a": LEAF, "b": {"input": "previous"}}},
        {"processor": "double", "source": "upload", "jobs": {"a": {}}, "max_jobs": None},
        {"processor": "double", "chunks": [[1]], "jobs": {"a": {"options": {}}}},
        {"stages": [{"processor": "double"}], "jobs": {"a": {"order": None, "chunks": [[1]]}}},
        {"processor": "double", **LEAF, "compensate": {"processor": "double"}, "jobs": None},
        {
            "processor": "double",
            "jobs": {"a": {"order": "sequence", "jobs": {"b": {**LEAF, "when": "`true`"}}}},
        },
    ],
)
def test_what_fits_together_is_taken_by_the_schema_too(document: dict[str, Any]) -> None:
    prepared(document)
    assert [error.message for error in SCHEMA.iter_errors(document)] == []


def test_the_first_of_a_sequence_has_no_job_before_it() -> None:
    document = {**IN_A_ROW, "processor": "double", "jobs": {"a": {"input": "previous"}, "b": LEAF}}
    assert refusal(document) == (
        "invalid_job",
        {"/jobs/a/input": "there is no job before the first one"},
    )


@pytest.mark.parametrize("name", ["items", "chunks", "source"])
def test_data_that_no_job_gets_is_refused(name: str) -> None:
    data = {"items": [1], "chunks": [[1]], "source": "upload"}[name]
    sub_jobs = {"a": LEAF, "b": {"input": "previous"}}
    document = {name: data, **IN_A_ROW, "processor": "double", "jobs": sub_jobs}
    code, found = refusal(document)
    assert (code, list(found)) == ("invalid_job", ["/chunks" if name == "chunks" else "/items"])
    assert "goes to none of the jobs" in "".join(found.values())


@pytest.mark.parametrize(
    "said", [{"chunk_size": 5}, {"max_chunk_bytes": 5}, {"item_key": "id"}, {"check_items": True}]
)
def test_what_is_said_of_data_stands_where_the_data_is(said: dict[str, Any]) -> None:
    (name,) = said
    place = "goes with the data, which is given at"
    assert refusal(tree(said, items=[1]))[1] == {
        f"/jobs/EU/jobs/b/{name}": f"{place} the job as a whole"
    }
    further = {"items": [1], "jobs": {"c": {"jobs": {"d": {}}, **said}}}
    assert refusal(tree(further))[1] == {
        f"/jobs/EU/jobs/b/jobs/c/{name}": f"{place} /jobs/EU/jobs/b"
    }


def test_a_job_between_may_say_how_the_data_below_it_is_cut() -> None:
    jobs = {"gets": {}, "has": {"items": [1, 2]}}
    document = tree({"chunk_size": 1, "jobs": jobs}, items=[1, 2, 3])
    counts = {path: one.spec.chunk_size for path, one in below(prepared(document))}
    assert (counts["EU/b/has"], counts["EU/b/gets"]) == (1, 100)


@pytest.mark.parametrize(
    ("document", "place", "message"),
    [
        ({"jobs": {"a": LEAF}}, "/jobs/a", NO_WORK),
        (
            {"jobs": {"a": {**LEAF, "processor": "double"}}, "options": {}},
            "/options",
            "goes with processor: there is none, nor in the jobs above",
        ),
        (
            {"stages": [{"processor": "double"}], "jobs": {"a": {**LEAF, "options": {}}}},
            "/jobs/a/options",
            "the stages of the job above have options of their own: give stages, as a whole",
        ),
        ({"processor": "double", **LEAF, "input": "previous"}, "/input", OF_SUB_JOBS),
        ({"processor": "double", **LEAF, "when": "true"}, "/when", OF_SUB_JOBS),
        ({"processor": "double", **LEAF, "max_jobs": 5}, "/max_jobs", "goes with jobs"),
        ({"processor": "double", "jobs": {}}, "/jobs", "must have at least 1 sub-job"),
        (
            {"processor": "double", "jobs": {"a": LEAF}, "compensate": {"processor": "double"}},
            "/compensate",
            TO_SUB_JOBS,
        ),
        (
            {"stages": [{"processor": "double", "when": "items ="}], **LEAF},
            "/stages/0/when",
            "column 7: write == for =",
        ),
    ],
)
def test_so_is_a_mistake_at_the_top(document: dict[str, Any], place: str, message: str) -> None:
    code, found = refusal(document)
    assert (code, list(found)) == ("invalid_job", [place])
    assert found[place].startswith(message)


def test_all_mistakes_of_a_tree_are_told_at_once_up_to_twenty() -> None:
    _, found = refusal({"jobs": {f"job {number}": {} for number in range(30)}})
    assert len(found) == 20
    assert found["/jobs/job 0"] == f"{NO_DATA}; {NO_WORK}"


@pytest.mark.parametrize(
    ("says", "code", "place", "message"),
    [
        (
            {"processor": "doubel"},
            "unknown_processor",
            "/processor",
            meant("processor", "double"),
        ),
        (
            {"reducer": "colect"},
            "unknown_reducer",
            "/reducer",
            meant("reducer", "collect"),
        ),
        (
            {"options": {"fail_probability": 2}},
            "invalid_options",
            "/options/fail_probability",
            "must be at most 1",
        ),
        (
            {"processor": "transform", "options": {"uper": True}},
            "invalid_options",
            "/options/uper",
            "unknown option; did you mean upper?",
        ),
        (
            {"compensate": {"processor": "trasform"}},
            "unknown_processor",
            "/compensate/processor",
            meant("processor", "transform"),
        ),
        (
            {"compensate": {"processor": "transform", "options": {"upper": 1}}},
            "invalid_options",
            "/compensate/options/upper",
            "must be true or false, not a number",
        ),
    ],
)
def test_names_and_options_are_checked_wherever_they_stand(
    says: dict[str, Any], code: str, place: str, message: str
) -> None:
    assert refusal(tree({**LEAF, **says})) == (code, {f"/jobs/EU/jobs/b{place}": message})


def test_a_processor_that_workers_had_is_told_so_in_a_sub_job() -> None:
    gone = PublishedCode(
        Published(CODE.processors.entries, {"old": timedelta(days=3)}), Published()
    )
    _, found = refusal(tree({**LEAF, "processor": "old"}), code=gone)
    assert "no worker has had this processor for 3 days" in found["/jobs/EU/jobs/b/processor"]
