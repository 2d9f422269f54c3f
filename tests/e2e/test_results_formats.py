"""Results as NDJSON or CSV, plain or compressed, of a finished job and of a running one."""

import csv
import gzip
import io
import json
import zlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from fanfold.devstack.running import RunningStack
from tests.e2e.journeys import begun, finish, run, submit
from tests.e2e.test_retention import tables_with
from tests.waiting import eventually

HALF: dict[str, Any] = {
    "chunks": [[1, 3], [2], [5]],
    "processor": "double",
    "options": {"fail_if_divisible_by": 2},
    "retry": {"max_attempts": 1},
}


def table(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def plain(api: httpx.Client, address: str, **arguments: Any) -> httpx.Response:
    """The answer of a client that takes no compression."""
    headers = {"Accept-Encoding": "identity"} | arguments.pop("headers", {})
    return api.get(address, headers=headers, **arguments)


def test_results_come_as_csv(api: httpx.Client) -> None:
    job_id = run(api, **HALF)["id"]

    response = plain(api, f"/jobs/{job_id}/results", params={"format": "csv"})

    assert response.headers["content-type"].startswith("text/csv; charset=utf-8")
    assert table(response.text) == [
        ["index", "item", "state", "error", "value", "more"],
        ["0", "0", "succeeded", "", "2", ""],
        ["0", "1", "succeeded", "", "6", ""],
        ["1", "0", "failed", "ApplicationError: Simulated failure for value 2", "", ""],
        ["2", "0", "succeeded", "", "10", ""],
    ]


def test_csv_takes_the_same_filter_and_named_columns(api: httpx.Client) -> None:
    items = [{"country": "FI", "name": "a,b", "where": {"lat": 1}}]
    job_id = run(api, items=items, processor="transform")["id"]

    asked = {"format": "csv", "state": "succeeded", "columns": "where,name"}
    response = plain(api, f"/jobs/{job_id}/results", params=asked)

    assert table(response.text) == [
        ["index", "item", "state", "error", "where", "name"],
        ["0", "0", "succeeded", "", '{"lat":1}', "a,b"],
    ]
    none = plain(api, f"/jobs/{job_id}/results", params={"format": "csv", "state": "failed"})
    assert none.text == "index,item,state,error,more\r\n"


@pytest.mark.parametrize(
    ("accept", "parameters", "expected"),
    [
        ("*/*", {}, "application/x-ndjson"),
        ("text/csv", {}, "text/csv"),
        ("text/csv", {"format": "ndjson"}, "application/x-ndjson"),
        ("application/x-ndjson", {"format": "csv"}, "text/csv"),
    ],
)
def test_the_parameter_decides_over_the_header(
    api: httpx.Client, accept: str, parameters: dict[str, str], expected: str
) -> None:
    job_id = run(api, **HALF)["id"]

    response = plain(api, f"/jobs/{job_id}/results", params=parameters, headers={"Accept": accept})

    assert response.headers["content-type"].partition(";")[0] == expected
    assert response.headers["vary"] == "Accept, Accept-Encoding"


@pytest.mark.parametrize(
    "parameters", [{"format": "xml"}, {"format": ""}, {"columns": "a"}, {"format": "CSV"}]
)
def test_a_format_that_is_not_known_is_refused(
    api: httpx.Client, parameters: dict[str, str]
) -> None:
    job_id = run(api, **HALF)["id"]

    refused = api.get(f"/jobs/{job_id}/results", params=parameters)

    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_parameter")


def test_a_column_named_again_and_again_is_given_once(api: httpx.Client) -> None:
    job_id = run(api, **HALF)["id"]
    columns = "value," * 1000 + "a"

    given = plain(api, f"/jobs/{job_id}/results", params={"format": "csv", "columns": columns})

    assert given.text.splitlines()[0] == "index,item,state,error,value,a"


@pytest.mark.parametrize("parameters", [{}, {"format": "csv"}])
def test_a_compressed_answer_expands_to_the_plain_one(
    api: httpx.Client, parameters: dict[str, str]
) -> None:
    job_id = run(api, **HALF)["id"]
    address = f"/jobs/{job_id}/results"
    expected = plain(api, address, params=parameters)
    assert "content-encoding" not in expected.headers

    with api.stream(
        "GET", address, params=parameters, headers={"Accept-Encoding": "gzip"}
    ) as response:
        sent = b"".join(response.iter_raw())

    assert response.headers["content-encoding"] == "gzip"
    assert gzip.decompress(sent) == expected.content


def test_of_a_running_job_what_is_finished_arrives_compressed(
    api: httpx.Client, gate: Path
) -> None:
    job_id = submit(
        api,
        chunks=[[1], [2]],
        processor="gated",
        options={"directory": str(gate)},
        max_concurrency=1,
    )["id"]
    eventually(lambda: begun(gate), what="it runs")

    with api.stream("GET", f"/jobs/{job_id}/results", headers={"Accept-Encoding": "gzip"}) as sent:
        expander = zlib.decompressobj(16 + zlib.MAX_WBITS)
        text = b"".join(expander.decompress(piece) for piece in sent.iter_raw())

    assert text == b""
    assert expander.eof
    (gate / "open").touch()
    finish(api, job_id)


@pytest.mark.parametrize("listing", ["results", "items?limit=1000"])
def test_what_is_sent_of_a_job_that_is_removed_meanwhile_is_not_taken_for_all(
    api: httpx.Client, stack: RunningStack, listing: str
) -> None:
    job_id = run(api, **large_job())["id"]

    lines = removed_while_sent(api, stack, job_id, listing)

    assert bool(lines) == (listing == "results")
    assert all(len(json.loads(line)["result"]) == 50 for line in lines)


def removed_while_sent(
    api: httpx.Client, stack: RunningStack, job_id: str, listing: str
) -> list[bytes]:
    """Remove a job while a listing of it is sent, which then breaks off; the whole lines of it."""
    address, headers = f"/jobs/{job_id}/{listing}", {"Accept-Encoding": "identity"}
    with api.stream("GET", address, headers=headers) as response:
        pieces = response.iter_raw()
        received = [next(pieces)]
        with httpx.Client(base_url=stack.url) as other:
            assert other.delete(f"/jobs/{job_id}?purge=true").status_code == httpx.codes.NO_CONTENT
        eventually(lambda: not tables_with(stack, job_id), what="its rows are deleted")
        with pytest.raises(httpx.RemoteProtocolError):
            received.extend(pieces)
    return b"".join(received).split(b"\n")[:-1]


def large_job() -> dict[str, Any]:
    """Some 30 MB of results: more than what is under way between the two sides."""
    item = {"text": "x" * 15_000}
    return {
        "items": [item] * 2_000,
        "chunk_size": 50,
        "processor": "transform",
        "execution": "activity",
    }
