"""What went wrong, to be corrected: the items that failed, and the attempts at a chunk."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from fanfold.devstack.running import RunningStack
from tests.e2e.journeys import begun, finish, get, run, submit
from tests.e2e.test_items import EXECUTIONS, items
from tests.e2e.test_results_formats import large_job, plain, removed_while_sent, table
from tests.waiting import eventually

ROWS: list[dict[str, Any]] = [
    {"id": f"k{number}", "text": text, "n": number}
    for number, text in enumerate(["a", "", "b", None, "c", "a"])
]
CHECKED: dict[str, Any] = {
    "items": ROWS,
    "item_key": "id",
    "chunk_size": 4,
    "stages": [
        {
            "processor": "validate",
            "options": {"rules": [{"field": "text", "required": True}], "on_invalid": "drop"},
        },
        {"processor": "validate", "options": {"rules": [{"field": "text", "choices": ["a"]}]}},
    ],
    "retry": {"max_attempts": 1},
    "reducer": "merge",
}


def failures(api: httpx.Client, job_id: str) -> list[dict[str, Any]]:
    response = api.get(f"/jobs/{job_id}/failures")
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.content.splitlines()]


@EXECUTIONS
def test_each_item_that_failed_or_was_left_out_is_a_line(api: httpx.Client, execution: str) -> None:
    job_id = run(api, **CHECKED, execution=execution)["id"]

    lines = failures(api, job_id)

    told = [(line["index"], line["item"], line["key"], line["error"]["type"]) for line in lines]
    assert told == [
        (0, 1, "k1", "ItemDropped"),
        (0, 2, "k2", "ValidationError"),
        (0, 3, "k3", "ItemDropped"),
        (1, 0, "k4", "ValidationError"),
    ]
    assert [line["value"] for line in lines] == [ROWS[number] for number in (1, 2, 3, 4)]
    listed = items(api, job_id, state="failed")
    assert lines == [{name: one[name] for name in lines[0]} for one in listed]


def test_failures_come_as_csv(api: httpx.Client) -> None:
    job_id = run(api, **CHECKED)["id"]

    response = plain(api, f"/jobs/{job_id}/failures", params={"format": "csv"})

    assert response.headers["content-type"].startswith("text/csv; charset=utf-8")
    header, *lines = table(response.text)
    assert header == [
        *("index", "item", "key", "error_type", "error_message", "id", "text", "n", "more"),
    ]
    assert [(line[:4], line[5:]) for line in lines] == [
        (["0", "1", "k1", "ItemDropped"], ["k1", "", "1", ""]),
        (["0", "2", "k2", "ValidationError"], ["k2", "b", "2", ""]),
        (["0", "3", "k3", "ItemDropped"], ["k3", "", "3", ""]),
        (["1", "0", "k4", "ValidationError"], ["k4", "c", "4", ""]),
    ]
    named = plain(api, f"/jobs/{job_id}/failures", headers={"Accept": "text/csv"})
    assert named.text == response.text


@EXECUTIONS
def test_of_a_chunk_that_failed_as_a_whole_all_items_are_there(
    api: httpx.Client, execution: str
) -> None:
    job = run(
        api,
        items=[{"country": "FI"}, 7, {"country": "SE"}],
        chunk_size=2,
        processor="count_by",
        options={"field": "country"},
        retry={"max_attempts": 1},
        execution=execution,
    )
    lines = failures(api, job["id"])
    assert [(line["index"], line["item"], line["value"]) for line in lines] == [
        (0, 0, {"country": "FI"}),
        (0, 1, 7),
    ]
    group = job["errors"][0]
    assert all(line["error"]["message"] == group["message"] for line in lines)
    assert all("key" not in line for line in lines)


@pytest.mark.parametrize("parameters", [{}, {"format": "csv"}])
def test_failures_are_compressed_where_that_is_accepted(
    api: httpx.Client, parameters: dict[str, str]
) -> None:
    job_id = run(api, **CHECKED)["id"]
    address = f"/jobs/{job_id}/failures"
    expected = plain(api, address, params=parameters)

    headers = {"Accept-Encoding": "gzip"}
    with api.stream("GET", address, params=parameters, headers=headers) as response:
        sent = b"".join(response.iter_raw())

    assert response.headers["content-encoding"] == "gzip"
    assert gzip.decompress(sent) == expected.content


def test_failures_of_a_running_job_are_those_so_far(api: httpx.Client, gate: Path) -> None:
    job_id = submit(
        api,
        chunks=[["no number"], [1], [2]],
        stages=[
            {"processor": "validate", "options": {"rules": [{"type": "integer"}]}},
            {"processor": "gated", "options": {"directory": str(gate)}},
        ],
        retry={"max_attempts": 1},
        max_concurrency=2,
    )["id"]
    eventually(
        lambda: begun(gate) and get(api, job_id)["chunks"]["failed"], what="one runs, one failed"
    )

    assert [line["value"] for line in failures(api, job_id)] == ["no number"]

    (gate / "open").touch()
    finish(api, job_id)


def test_what_failed_can_be_corrected_and_sent_as_a_new_job(api: httpx.Client) -> None:
    lines = failures(api, run(api, **CHECKED)["id"])
    corrected = [line["value"] | {"text": "a"} for line in lines]

    job = run(api, **CHECKED | {"items": corrected})

    assert (job["state"], job["result"]) == ("succeeded", corrected)
    assert failures(api, job["id"]) == []
    text = plain(api, f"/jobs/{job['id']}/failures", params={"format": "csv"}).text
    assert text == "index,item,key,error_type,error_message,more\r\n"


def test_a_csv_of_failures_can_be_read_as_items(api: httpx.Client) -> None:
    job_id = run(api, **CHECKED)["id"]
    text = plain(api, f"/jobs/{job_id}/failures", params={"format": "csv"}).text

    spec = json.dumps({"processor": "transform", "reducer": "merge"})
    form = [
        ("job", ("job.json", spec, "application/json")),
        ("items", ("failures.csv", text, "text/csv")),
    ]
    sent = api.post("/jobs", files=form)

    job = finish(api, sent.json()["id"])
    assert job["result"] == list(csv.DictReader(io.StringIO(text, newline="")))


def test_what_is_sent_of_a_job_that_is_removed_meanwhile_is_not_taken_for_all(
    api: httpx.Client, stack: RunningStack
) -> None:
    rules = [{"field": "absent", "required": True}]
    job_id = run(api, **large_job() | {"processor": "validate", "options": {"rules": rules}})["id"]

    lines = removed_while_sent(api, stack, job_id, "failures")

    assert len(lines) < 2_000
    assert all(json.loads(line)["error"]["type"] == "ValidationError" for line in lines)


@pytest.mark.parametrize("parameters", [{"format": "xml"}, {"state": "failed"}])
def test_parameters_that_are_not_known_are_refused(
    api: httpx.Client, parameters: dict[str, str]
) -> None:
    job_id = run(api, **CHECKED)["id"]
    refused = api.get(f"/jobs/{job_id}/failures", params=parameters)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_parameter")


@pytest.mark.parametrize("address", ["failures", "children/0/attempts"])
def test_there_is_nothing_of_a_job_that_is_not_there(api: httpx.Client, address: str) -> None:
    unknown = api.get(f"/jobs/job_01m8c9v1bb0wdqt7n4bff6jpym/{address}")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "job_not_found")


@EXECUTIONS
def test_a_child_that_succeeded_at_once_has_one_attempt(api: httpx.Client, execution: str) -> None:
    job_id = run(api, items=[1], processor="double", execution=execution)["id"]
    child = api.get(f"/jobs/{job_id}/children/0").json()

    answer = api.get(f"/jobs/{job_id}/children/0/attempts")

    assert answer.json() == {
        "attempts": [
            {
                "run": 1,
                "stage": 0,
                "number": 1,
                "state": "succeeded",
                "error": None,
                "started_at": child["started_at"],
                "finished_at": child["finished_at"],
            }
        ],
        "omitted": 0,
    }


@pytest.mark.parametrize("index", ["1", "-1", "x", "99999999999"])
def test_there_are_no_attempts_at_a_child_that_is_not_there(api: httpx.Client, index: str) -> None:
    job_id = run(api, items=[1], processor="double")["id"]
    answer = api.get(f"/jobs/{job_id}/children/{index}/attempts")
    assert (answer.status_code, answer.json()["code"]) == (404, "child_not_found")
