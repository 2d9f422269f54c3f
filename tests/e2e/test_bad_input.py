"""Bad input gets a problem document that says what and where, and leaves nothing behind."""

import json
from typing import Any

import httpx
import pytest

JSON = {"Content-Type": "application/json"}
PLAIN = b'{"items":[1],"processor":"double"}'


def posted(api: httpx.Client, body: bytes, **headers: str) -> httpx.Response:
    """The response, after checking that it is a problem and that nothing was recorded."""

    def newest() -> Any:
        return api.get("/jobs", params={"limit": 1}).json()["jobs"]

    before = newest()
    response = api.post("/jobs", content=body, headers=JSON | headers)
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert {"type", "title", "status", "detail", "code"} <= problem.keys()
    assert problem["status"] == response.status_code
    assert "Traceback" not in response.text
    assert newest() == before, "something was recorded"
    return response


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"items":[1],"processor":"double"',
        b'{"items":[1] "processor":"double"}',
        b"\xff\xfe{\x00}\x00",
        b'{"items":["\xff"],"processor":"double"}',
        b'\xef\xbb\xbf{"items":[1],"processor":"double"}',
        b'{"items":[NaN],"processor":"double"}',
        b'{"items":[Infinity],"processor":"double"}',
        b'{"items":[-Infinity],"processor":"double"}',
        b'{"items":[01],"processor":"double"}',
        b"{'items':[1]}",
        b'{"items":["a\nb"],"processor":"double"}',
        b'{"items":[' + b"[" * 100_000 + b"]" * 100_000 + b'],"processor":"double"}',
        b'{"items":[' + b"9" * 20_001 + b'],"processor":"double"}',
    ],
)
def test_what_is_not_json_is_a_400(api: httpx.Client, body: bytes) -> None:
    response = posted(api, body)

    assert (response.status_code, response.json()["code"]) == (400, "malformed_json")


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        (b"[]", "invalid_job", ""),
        (b"null", "invalid_job", ""),
        (b"{}", "invalid_job", ""),
        (b'{"items":[1]}', "invalid_job", ""),
        (b'{"processor":"double"}', "invalid_job", ""),
        (b'{"items":[1],"chunks":[[1]],"processor":"double"}', "invalid_job", ""),
        (b'{"items":[1],"processor":"double","stages":[]}', "invalid_job", "/stages"),
        (b'{"items":[],"processor":"double"}', "invalid_job", "/items"),
        (b'{"chunks":[],"processor":"double"}', "invalid_job", "/chunks"),
        (b'{"chunks":[[1],[]],"processor":"double"}', "invalid_job", "/chunks/1"),
        (b'{"chunks":[1],"processor":"double"}', "invalid_job", "/chunks/0"),
        (b'{"items":[1],"processor":"double","colour":1}', "invalid_job", "/colour"),
        (b'{"items":[1],"processor":"double","chunk_size":0}', "invalid_job", "/chunk_size"),
        (b'{"items":[1],"processor":"double","chunk_size":"9"}', "invalid_job", "/chunk_size"),
        (b'{"items":[1],"processor":"double","chunk_size":true}', "invalid_job", "/chunk_size"),
        (b'{"items":[1],"processor":"double","max_concurrency":0}', "invalid_job",
         "/max_concurrency"),
        (b'{"items":[1],"processor":"double","max_concurrency":1e400}', "invalid_job",
         "/max_concurrency"),
        (b'{"items":[1],"processor":"double","retry":{"max_attempts":0}}', "invalid_job",
         "/retry/max_attempts"),
        (b'{"items":[1],"processor":"double","retry":{"tries":1}}', "invalid_job", "/retry/tries"),
        (b'{"items":[1],"processor":"double","chunk_timeout_seconds":1e999}', "invalid_job",
         "/chunk_timeout_seconds"),
        (b'{"items":[1],"processor":"double","chunk_timeout_seconds":-1}', "invalid_job",
         "/chunk_timeout_seconds"),
        (b'{"items":[1],"processor":"double","tolerated_failures":{}}', "invalid_job",
         "/tolerated_failures"),
        (b'{"items":[1],"processor":"double","execution":"warp"}', "invalid_job", "/execution"),
        (b'{"items":[1],"processor":"unheard_of"}', "unknown_processor", "/processor"),
        (b'{"items":[1],"stages":[{"processor":"double"},{"processor":"unheard_of"}]}',
         "unknown_processor", "/stages/1/processor"),
        (b'{"items":[1],"processor":"double","reducer":"unheard_of"}', "unknown_reducer",
         "/reducer"),
        (b'{"items":[1],"processor":"double","options":{"delay_seconds":[1]}}', "invalid_options",
         "/options/delay_seconds"),
        (b'{"items":[1],"processor":"double","options":{"colour":1}}', "invalid_options",
         "/options/colour"),
        (b'{"items":[0,1e999],"processor":"double"}', "invalid_value", "/items/1"),
        (b'{"items":[{"a":["\\u0000"]}],"processor":"double"}', "invalid_value", "/items/0/a/0"),
        (b'{"items":[{"\\u0000":1}],"processor":"double"}', "invalid_value", "/items/0"),
        (b'{"chunks":[[1],["\\ud800"]],"processor":"double"}', "invalid_value", "/chunks/1/0"),
        (b'{"items":["\\udc00\\ud800"],"processor":"double"}', "invalid_value", "/items/0"),
        (b'{"items":[1],"processor":"double","name":"\\u0000"}', "invalid_value", "/name"),
        (b'{"items":[1],"processor":"double","labels":{"a":"\\ud800"}}', "invalid_job",
         "/labels/a"),
        (b'{"items":[1],"processor":"double","labels":{"a":1}}', "invalid_job", "/labels/a"),
        (b'{"items":[' + b"[" * 900 + b"]" * 900 + b'],"processor":"double"}', "limit_exceeded",
         "/items/0"),
        (b'{"items":["' + b"x" * 1_048_576 + b'"],"processor":"transform"}', "limit_exceeded",
         "/items/0"),
        (b'{"items":["xx"],"max_chunk_bytes":3,"processor":"transform"}', "limit_exceeded",
         "/items/0"),
    ],
)  # fmt: skip
def test_what_is_no_valid_job_is_a_422_with_a_pointer(
    api: httpx.Client, body: bytes, code: str, pointer: str
) -> None:
    response = posted(api, body)

    assert (response.status_code, response.json()["code"]) == (422, code)
    assert pointer in [fault["pointer"] for fault in response.json()["errors"]]


def test_a_lone_surrogate_in_a_name_is_refused(api: httpx.Client) -> None:
    assert posted(api, b'{"items":[1],"processor":"\\ud800"}').status_code == 422


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "", "*"])
def test_another_media_type_is_a_415(api: httpx.Client, media_type: str) -> None:
    response = posted(api, PLAIN, **{"Content-Type": media_type})

    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")


def test_a_compressed_body_is_a_415(api: httpx.Client) -> None:
    response = posted(api, PLAIN, **{"Content-Encoding": "gzip"})

    assert response.json()["code"] == "unsupported_content_encoding"


def test_a_body_over_the_limit_is_a_413_announced_or_not(api: httpx.Client) -> None:
    too_large = b" " * (32 * 1024 * 1024 + 1)

    def parts() -> Any:
        for _ in range(33):
            yield b" " * (1024 * 1024)

    announced = posted(api, too_large)
    streamed = api.post("/jobs", content=parts(), headers=JSON)

    assert (announced.status_code, announced.json()["code"]) == (413, "body_too_large")
    assert streamed.status_code == 413
    assert streamed.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("key", ["", '""', "x" * 256, "tab\there", "caf\u00e9"])
def test_a_bad_idempotency_key_is_a_400(api: httpx.Client, key: str) -> None:
    response = api.post(
        "/jobs",
        content=PLAIN,
        headers=[
            (b"Content-Type", b"application/json"),
            (b"Idempotency-Key", key.encode("latin-1")),
        ],
    )

    assert (response.status_code, response.json()["code"]) == (400, "invalid_idempotency_key")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=-1", "limit=x", "state=unheard_of", "cursor=%00", "cursor=",
        "cursor=bm90aGluZw", "label=nocolon", "label=:x", "label=a%00:b",
    ],
)  # fmt: skip
def test_a_bad_query_of_the_job_list_is_a_400(api: httpx.Client, query: str) -> None:
    response = api.get(f"/jobs?{query}")

    assert response.status_code == 400
    assert response.json()["code"] in {"invalid_parameter", "invalid_cursor"}


def test_two_idempotency_keys_are_a_400(api: httpx.Client) -> None:
    keys = [("Idempotency-Key", "one"), ("Idempotency-Key", "two")]
    response = api.post("/jobs", content=PLAIN, headers=[*JSON.items(), *keys])

    assert (response.status_code, response.json()["code"]) == (400, "invalid_idempotency_key")
    assert "more than one" in response.json()["detail"]


def test_an_answer_does_not_grow_with_a_name_that_was_sent(api: httpx.Client) -> None:
    name = "x" * 1_000_000
    for body in (
        {"items": [1], "processor": "double", name: 1},
        {"items": [1], "processor": "double", "options": {name: 1}},
        {"items": [1], "processor": "double", "labels": {name: ""}},
        {"items": [{name: "\0"}], "processor": "transform"},
        {"items": [{"a": {name: "\0"}}], "processor": "transform"},
    ):
        response = posted(api, json.dumps(body).encode())

        assert response.status_code == 422
        assert len(response.content) < 2_000


def test_a_field_given_twice_is_named_by_its_beginning(api: httpx.Client) -> None:
    twice = b'"%b":1' % (b"x" * 1_000_000)
    for options in (b"%b,%b" % (twice, twice), b'"options":{%b,%b}' % (twice, twice)):
        response = posted(api, b'{"items":[1],"processor":"double",%b}' % options)

        assert response.status_code == 422
        assert len(response.content) < 2_000


def test_many_faults_are_reported_together(api: httpx.Client) -> None:
    response = posted(api, b'{"items":1,"colour":2,"chunk_size":-1}')

    pointers = {fault["pointer"] for fault in response.json()["errors"]}
    assert {"/items", "/colour", "/chunk_size"} <= pointers
