"""The mistakes people make, over HTTP: every answer says what is wrong, where, and what to do."""

import gzip
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from fanfold.contract.states import ChunkState, JobState

JOB: dict[str, Any] = {"items": [1], "processor": "double"}
NDJSON = "application/x-ndjson"
NO_PROCESSOR = "no worker has a processor of this name"
NO_REDUCER = "no worker has a reducer of this name"
SEE_PROCESSORS = "GET /processors lists those there are"
NO_REGULAR_EXPRESSION = "is not a regular expression (without look-around and back-references)"
SINGLE_QUOTES = "text stands in single quotes: JSON wants double quotes"
NO_PARAMETER = "there is no such query parameter here"
STATES = list(JobState)
CHILD_STATES = list(ChunkState)
SENT = ("a.ndjson", b"1\n2\n")


def told(response: httpx.Response, status: int, code: str) -> str:
    """The detail of a problem, after checking what every problem has."""
    problem = response.json()
    assert (response.status_code, problem["code"]) == (status, code), problem
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["type"].endswith(code)
    detail: str = problem["detail"]
    return detail


@pytest.fixture
def receiving(api: httpx.Client) -> Iterator[str]:
    job = api.post("/jobs", json={"source": "upload", "processor": "double"}).json()
    yield job["id"]
    api.delete(f"/jobs/{job['id']}")


@pytest.mark.parametrize(
    ("changed", "code", "detail"),
    [
        ({"procesor": "x"}, "invalid_job", "/procesor: unknown field; did you mean processor?"),
        (
            {"retry": {"max_attemps": 1}},
            "invalid_job",
            "/retry/max_attemps: unknown field; did you mean max_attempts?",
        ),
        (
            {"tolerated_failures": {"cuont": 1}},
            "invalid_job",
            "/tolerated_failures/cuont: unknown field; did you mean count?",
        ),
        (
            {"max_attempts": 1},
            "invalid_job",
            "/max_attempts: unknown field here; it is a field of retry",
        ),
        (
            {"timeout": 5},
            "invalid_job",
            "/timeout: unknown field; did you mean chunk_timeout_seconds or hold_timeout_seconds?",
        ),
        (
            {"chunk_timeout_seconds": 10**400},
            "invalid_job",
            "/chunk_timeout_seconds: must fit a 64-bit float",
        ),
        ({"retry": 5}, "invalid_job", "/retry: must be an object, not a number"),
        (
            {"execution": "worklow"},
            "invalid_job",
            "/execution: must be auto, workflow or activity; did you mean workflow?",
        ),
        ({"source": "uplod", "items": None}, "invalid_job", "/source: must be upload"),
        (
            {"processor": "doubel"},
            "unknown_processor",
            f"/processor: {NO_PROCESSOR}; did you mean double? {SEE_PROCESSORS}",
        ),
        (
            {"processor": "qqq"},
            "unknown_processor",
            f"/processor: {NO_PROCESSOR}; {SEE_PROCESSORS}",
        ),
        (
            {"reducer": "summ"},
            "unknown_reducer",
            f"/reducer: {NO_REDUCER}; did you mean sum? GET /reducers lists those there are",
        ),
        (
            {"options": {"fail_if_divisble_by": 2}},
            "invalid_options",
            "/options/fail_if_divisble_by: unknown option; did you mean fail_if_divisible_by?",
        ),
        (
            {"options": {"fail_if_divisible_by": "2"}},
            "invalid_options",
            "/options/fail_if_divisible_by: must be an integer, not a string",
        ),
        (
            {"options": {"delay_seconds": [5, 1]}},
            "invalid_options",
            "/options/delay_seconds/1: must not be below the number before it",
        ),
        (
            {"processor": "validate", "options": {"rules": [{"pattern": "["}]}},
            "invalid_options",
            f"/options/rules/0/pattern: {NO_REGULAR_EXPRESSION}",
        ),
        (
            {"processor": "validate", "options": {"rules": [{"minimum": 2, "maximum": 1}]}},
            "invalid_options",
            "/options/rules/0/minimum: must not be above maximum",
        ),
        (
            {"processor": "validate", "options": {"on_invalid": None}},
            "invalid_options",
            "/options/on_invalid: must be fail or drop",
        ),
        (
            {"processor": "validate", "options": {"rules": [{"choices": []}]}},
            "invalid_options",
            "/options/rules/0/choices: must have at least 1 item, not 0",
        ),
        (
            {"processor": "count_by", "options": {"by": "sku"}},
            "invalid_options",
            "/options/by: unknown option; the only option is field",
        ),
        (
            {"processor": "word_count", "options": {"min_length": -1}},
            "invalid_options",
            "/options/min_length: must be at least 1",
        ),
        (
            {"items": [1, "x"], "check_items": True},
            "item_schema_mismatch",
            "/items/1: must be a number, not a string",
        ),
        (
            {"stages": [{"processor": "validate", "options": {"rulez": []}}], "processor": None},
            "invalid_options",
            "/stages/0/options/rulez: unknown option; did you mean rules?",
        ),
    ],
)
def test_a_mistake_in_a_job_gets_the_nearest_right_word(
    api: httpx.Client, changed: dict[str, Any], code: str, detail: str
) -> None:
    assert told(api.post("/jobs", json={**JOB, **changed}), 422, code) == detail


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "The body is empty: it has to hold the job, a JSON object."),
        (
            b'{"items":[1],\n "processor":"double",}',
            "The body is not JSON: line 2, column 23: a comma stands before the closing bracket.",
        ),
        (
            b"{'items':[1]}",
            f"The body is not JSON: line 1, column 2: {SINGLE_QUOTES}.",
        ),
    ],
)
def test_what_is_not_json_is_explained(api: httpx.Client, body: bytes, detail: str) -> None:
    response = api.post("/jobs", content=body, headers={"Content-Type": "application/json"})
    assert told(response, 400, "malformed_json") == detail


def test_a_field_given_twice_is_no_silent_choice(api: httpx.Client) -> None:
    body = b'{"items":[1],"processor":"double","processor":"transform"}'
    response = api.post("/jobs", content=body, headers={"Content-Type": "application/json"})
    assert told(response, 422, "invalid_job") == "/processor: is given more than once"


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("/jobs?stat=failed", f"stat: {NO_PARAMETER}; did you mean state?"),
        (
            "/jobs?page=1",
            f"page: {NO_PARAMETER}; those there are: state, label, parent, limit, cursor",
        ),
        (
            "/jobs?state=runing",
            f"state: must be {', '.join(STATES[:-1])} or {STATES[-1]}; did you mean running?",
        ),
        ("/jobs?limit=abc", "limit: must be an integer"),
        ("/jobs?limit=1.0", "limit: must be an integer"),
        ("/jobs?limit=1_0", "limit: must be an integer"),
        ("/jobs?limit=%2B5", "limit: must be an integer"),
        (
            "/jobs?=5",
            "A query parameter has no name; those there are: state, label, parent, limit, cursor",
        ),
        ("/jobs?limit=0", "limit: must be at least 1"),
        ("/jobs?limit=5&limit=6", "limit: is there more than once"),
        ("/jobs?label=team", "label: must be a name, a colon and a value: label=team:data"),
        (
            "/jobs?label=my%20team:data",
            "label: no label has this name: names are 1 to 64 of A-Z a-z 0-9 _ . - /",
        ),
        ("/jobs?label=a:b&label=a:c", "label: no job has two values of the same label"),
        (
            "{job}/children?state=fialed",
            f"state: must be {', '.join(CHILD_STATES[:-1])} or cancelled; did you mean failed?",
        ),
        (
            "{job}/results?fromat=csv",
            f"fromat: {NO_PARAMETER}; did you mean format?",
        ),
        ("{job}/results?format=xml", "format: must be ndjson or csv"),
        ("{job}/results?columns=a", "columns: goes with format=csv: add that, or leave it out"),
        ("{job}?wait=5", f"wait: {NO_PARAMETER}; those there are: run"),
        ("/processors?name=double", "This address takes no query parameters."),
        ("/livez?x", "This address takes no query parameters."),
    ],
)
def test_a_mistake_in_a_query_is_named(
    api: httpx.Client, receiving: str, path: str, detail: str
) -> None:
    response = api.get(path.replace("{job}", f"/jobs/{receiving}"))
    assert told(response, 400, "invalid_parameter") == detail


def test_labels_may_be_several(api: httpx.Client) -> None:
    assert api.get("/jobs?label=a:b&label=c:d").status_code == 200


@pytest.mark.parametrize("wait", ["wait=abc", "wait=-1", "wait=1.5", "wait", "foo, wait=abc"])
def test_a_wait_that_says_no_seconds_records_nothing(api: httpx.Client, wait: str) -> None:
    name = f"never recorded {wait}"
    response = api.post("/jobs", json={**JOB, "name": name}, headers={"Prefer": wait})
    assert told(response, 400, "invalid_parameter") == (
        "Prefer: wait needs a whole number of seconds from 0 on, as in `Prefer: wait=10`; "
        "more than 60 are 60"
    )
    assert name not in [job["name"] for job in api.get("/jobs").json()["jobs"]]


def test_other_preferences_are_ignored(api: httpx.Client, receiving: str) -> None:
    response = api.get(f"/jobs/{receiving}", headers={"Prefer": "respond-async, handling=strict"})
    assert response.status_code == 200


@pytest.mark.parametrize("index", ["-1", "abc", "1.5", "1.0", "+0", "99999999999999999999"])
def test_an_index_that_is_none_is_explained(api: httpx.Client, receiving: str, index: str) -> None:
    response = api.get(f"/jobs/{receiving}/children/{index}")
    assert told(response, 404, "child_not_found") == (
        "The index of a child is a whole number from 0 to chunks.total - 1."
    )


def test_a_job_that_was_never_an_upload_is_not_sealed(api: httpx.Client) -> None:
    with_items = api.post("/jobs", json=JOB).json()["id"]
    files: Any = {"job": (None, '{"processor": "double"}'), "items": SENT}
    by_form = api.post("/jobs", files=files).json()["id"]
    for job_id in (with_items, by_form):
        detail = told(api.post(f"/jobs/{job_id}/seal"), 409, "job_not_an_upload")
        assert 'Only a job that was posted with "source": "upload" is sealed.' in detail


def test_an_upload_is_sealed_once_it_has_items_and_again_without_harm(
    api: httpx.Client, receiving: str
) -> None:
    seal = f"/jobs/{receiving}/seal"
    assert told(api.post(seal), 422, "invalid_job") == (
        "/items: there are no items: send some with PUT /jobs/{job_id}/items, and seal then"
    )
    assert api.put(f"/jobs/{receiving}/items?part=1", json=[1, 2]).status_code == 200
    assert [api.post(seal).status_code for _ in range(2)] == [202, 202]


@pytest.mark.parametrize(
    ("data", "media_type", "place", "words"),
    [
        (b"[1,2,3]\n", NDJSON, "/items", "the only line is an array of 3 values; if it holds all"),
        (
            gzip.compress(b"1\n", mtime=0),
            NDJSON,
            "/items",
            "compressed with gzip, and nothing says so",
        ),
        (b'{"a":1}\n{"a":2}\n', "text/csv", "/items", "the header begins like JSON"),
        (b"a;b\n1;2\n", "text/csv", "/items", "a single column with a semicolon in its name"),
        (
            b'{"a":1}\n{"a":2}\n',
            "application/json",
            "/items",
            "one a line are sent as application/",
        ),
        (
            b'{"a":1}\n{a:2}\n',
            NDJSON,
            "/items/1",
            "line 2, column 2: not JSON: the name of a field",
        ),
    ],
)
def test_data_in_another_format_than_it_is_said_to_be_in_is_recognised(
    api: httpx.Client, receiving: str, data: bytes, media_type: str, place: str, words: str
) -> None:
    headers = {"Content-Type": media_type}
    response = api.put(f"/jobs/{receiving}/items?part=1", content=data, headers=headers)
    assert words in told(response, 422, "invalid_item")
    assert [fault["pointer"] for fault in response.json()["errors"]] == [place]
    job = api.get(f"/jobs/{receiving}").json()
    assert job["items"]["total"] == 0


def test_data_that_is_not_gzip_is_called_so(api: httpx.Client, receiving: str) -> None:
    headers = {"Content-Type": NDJSON, "Content-Encoding": "gzip"}
    for data, words in (
        (b"1\n", "but are not"),
        (gzip.compress(b"1\n2\n")[:-4], "before they are"),
    ):
        response = api.put(f"/jobs/{receiving}/items?part=1", content=data, headers=headers)
        assert words in told(response, 400, "malformed_gzip")


SEND = "send `job`, with the job as JSON, and after it `items`, and nothing else."


@pytest.mark.parametrize(
    ("parts", "status", "code", "detail"),
    [
        (
            [("job", (None, "")), ("items", SENT)],
            400,
            "malformed_json",
            "The part `job` is empty: it has to hold the job, a JSON object.",
        ),
        (
            [("job", (None, "string")), ("items", SENT)],
            400,
            "malformed_json",
            "The part `job` is not JSON: line 1, column 1: a JSON value has to be here.",
        ),
        (
            [("items", SENT)],
            400,
            "malformed_multipart",
            f"The form has the part `items` before, or without, the part `job`; {SEND}",
        ),
        (
            [("job", (None, json.dumps({"processor": "double"})))],
            400,
            "malformed_multipart",
            f"The form has no part `items`; {SEND}",
        ),
        (
            [("data", (None, "x")), ("items", SENT)],
            400,
            "malformed_multipart",
            f"The form has an unknown part where `job` has to be; {SEND}",
        ),
        (
            [("job", (None, '{"processor":"double"}')), ("items", SENT), ("more", (None, "x"))],
            400,
            "malformed_multipart",
            f"The form has more after the part `items`; {SEND}",
        ),
        (
            [("job", (None, '{"procesor":"double"}')), ("items", SENT)],
            422,
            "invalid_job",
            "/procesor: unknown field; did you mean processor?",
        ),
    ],
)
def test_a_form_with_other_parts_says_which(
    api: httpx.Client, parts: list[Any], status: int, code: str, detail: str
) -> None:
    assert told(api.post("/jobs", files=parts), status, code) == detail


def test_no_answer_repeats_what_was_given(api: httpx.Client) -> None:
    secret = "hunter2hunter2"
    for changed in (
        {"max_concurrency": secret},
        {"options": {"seed": secret}},
        {"execution": secret},
    ):
        response = api.post("/jobs", json={**JOB, **changed})
        assert response.status_code == 422
        assert secret not in response.text
