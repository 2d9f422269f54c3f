"""Large input on the real stack: as a form with curl, in parts, broken off, killed halfway."""

import gzip
import json
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fanfold.devstack.running import RunningStack
from tests.e2e.faults import kill
from tests.e2e.journeys import finish, get, submit
from tests.e2e.reader import curl
from tests.waiting import eventually

NewStack = Callable[..., RunningStack]
COUNT = {"processor": "count_by", "options": {"field": "to"}, "reducer": "merge_counts"}
ECHO = {"processor": "transform", "reducer": "merge"}
NDJSON = {"Content-Type": "application/x-ndjson"}
LINES: list[dict[str, Any]] = [
    {"to": ["ARN", "OUL", "JFK"][number % 3], "n": number} for number in range(3000)
]
DATA = "".join(json.dumps(line) + "\n" for line in LINES).encode()


def connected(stack: RunningStack) -> httpx.Client:
    return httpx.Client(base_url=stack.url, timeout=60)


def rows(stack: RunningStack, job_id: str | None = None) -> int:
    """How many rows the ledger holds of this upload, or of all those that are not sealed."""
    with sqlite3.connect(stack.data_dir / "ledger.db") as ledger:
        where, parameters = ("WHERE job_id = ?", (job_id,)) if job_id else ("", ())
        tables = ("uploads", "received_chunks") + (("inputs", "chunks") if job_id else ())
        counts = [
            ledger.execute(f"SELECT COUNT(*) FROM {table} {where}", parameters).fetchone()[0]
            for table in tables
        ]
    return sum(counts)


def put(api: httpx.Client, job_id: str, part: int, content: Any, **headers: str) -> httpx.Response:
    return api.put(
        f"/jobs/{job_id}/items",
        params={"part": part},
        content=content,
        headers=NDJSON | {name.replace("_", "-"): value for name, value in headers.items()},
    )


def seal(api: httpx.Client, job_id: str) -> httpx.Response:
    return api.post(f"/jobs/{job_id}/seal")


@pytest.mark.parametrize(
    "name", ["flights.ndjson", "flights.ndjson.gz", "flights.json", "f.csv.gz"]
)
def test_curl_sends_a_job_and_its_items_in_one_form(
    stack: RunningStack, api: httpx.Client, tmp_path: Path, name: str
) -> None:
    data = DATA
    if ".csv" in name:
        data = b"to,n\r\n" + b"".join(b"%s,%d\r\n" % (x["to"].encode(), x["n"]) for x in LINES)
    if name.endswith(".json"):
        data = json.dumps(LINES).encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    (tmp_path / "job.json").write_text(json.dumps({**COUNT, "chunk_size": 700}))
    command = [curl(), "-sS", "-F", "job=<job.json", "-F", f"items=@{name}", f"{stack.url}/jobs"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, timeout=60)
    job = json.loads(answer.stdout)
    assert (job["chunks"]["total"], job["items"]["total"]) == (5, 3000)
    assert finish(api, job["id"])["result"] == {"ARN": 1000, "OUL": 1000, "JFK": 1000}


def test_a_form_is_the_same_job_for_the_same_key(api: httpx.Client) -> None:
    def send(data: bytes, key: str) -> httpx.Response:
        return api.post(
            "/jobs",
            data={"job": json.dumps(COUNT)},
            files={"items": ("a.ndjson", data)},
            headers={"Idempotency-Key": key},
        )

    first, again = send(DATA, "form-key"), send(DATA, "form-key")
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.request.headers["content-type"] != again.request.headers["content-type"]
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["idempotency-replayed"] == "true"
    other = send(DATA + b"{}\n", "form-key")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    finish(api, first.json()["id"])


def test_parts_sent_out_of_order_and_twice_come_out_in_their_order(
    stack: RunningStack, api: httpx.Client
) -> None:
    job = submit(api, source="upload", chunk_size=2, execution="workflow", **ECHO)
    job_id = job["id"]
    assert (job["state"], job["execution"]) == ("receiving", "workflow")
    empty = seal(api, job_id)
    assert (empty.status_code, empty.json()["code"]) == (422, "invalid_job")
    assert put(api, job_id, 30, b"5\n6\n").json() == {"part": 30, "items": 2, "chunks": 1}
    assert put(api, job_id, 2, b"[3,4]", Content_Type="application/json").status_code == 200
    assert put(api, job_id, 1, b"0\n").status_code == 200
    compressed = gzip.compress(b"1\n2\n\n2.50\n")
    assert put(api, job_id, 1, compressed, Content_Encoding="gzip").json()["items"] == 3
    broken = put(api, job_id, 2, b"7\n\n{8}\n")
    assert (broken.status_code, broken.json()["code"]) == (422, "invalid_item")
    assert broken.json()["errors"][0]["pointer"] == "/items/1"
    assert broken.json()["errors"][0]["message"].startswith("line 3, column 2: ")
    waiting = get(api, job_id)
    assert (waiting["chunks"]["total"], waiting["items"]["total"]) == (4, 7)
    sealed, again = seal(api, job_id), seal(api, job_id)
    assert (sealed.status_code, again.status_code) == (202, 202)
    assert sealed.json()["state"] != "receiving"
    assert finish(api, job_id)["result"] == [1, 2, 2.5, 3, 4, 5, 6]
    late = put(api, job_id, 4, b"9\n")
    assert (late.status_code, late.json()["code"]) == (409, "job_not_receiving")
    eventually(lambda: rows(stack) == 0, what="nothing is left of the uploads")


def test_auto_execution_is_decided_when_the_job_is_sealed(api: httpx.Client) -> None:
    job = submit(api, source="upload", chunk_size=1, **COUNT)
    assert job["execution"] == "auto"
    assert put(api, job["id"], 1, b'{"to":1}\n').status_code == 200
    assert seal(api, job["id"]).json()["execution"] == "workflow"
    finish(api, job["id"])


def test_a_receiving_job_can_be_cancelled_and_its_data_goes(
    stack: RunningStack, api: httpx.Client
) -> None:
    job_id = submit(api, source="upload", **COUNT)["id"]
    assert put(api, job_id, 1, DATA).status_code == 200
    cancelled = api.delete(f"/jobs/{job_id}")
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert put(api, job_id, 2, DATA).status_code == 409
    assert seal(api, job_id).status_code == 409
    eventually(lambda: rows(stack, job_id) == 0, what="its data is deleted")
    assert finish(api, job_id)["chunks"]["total"] == 0


@pytest.mark.parametrize(
    ("job", "items", "status", "code"),
    [
        (COUNT, ("a.ndjson", b"1\n{\n"), 422, "invalid_item"),
        (COUNT, ("a.ndjson.gz", b"1\n"), 400, "malformed_gzip"),
        (COUNT, ("a.ndjson.gz", gzip.compress(DATA)[:-20]), 400, "malformed_gzip"),
        (COUNT, ("a.txt", b"1\n"), 415, "unsupported_media_type"),
        (COUNT, ("a.ndjson", b"\n"), 422, "invalid_job"),
        ({**COUNT, "items": [1]}, ("a.ndjson", b"1\n"), 422, "invalid_job"),
        ({**COUNT, "processor": "no such"}, ("a.ndjson", b"1\n"), 422, "unknown_processor"),
        ([], ("a.ndjson", b"1\n"), 422, "invalid_job"),
    ],
)
def test_a_bad_form_leaves_nothing_behind(
    stack: RunningStack,
    api: httpx.Client,
    job: Any,
    items: tuple[str, bytes],
    status: int,
    code: str,
) -> None:
    before = api.get("/jobs").json()["jobs"]
    answer = api.post("/jobs", data={"job": json.dumps(job)}, files={"items": items})
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert rows(stack) == 0
    assert {one["id"] for one in api.get("/jobs").json()["jobs"]} == {one["id"] for one in before}


@pytest.mark.parametrize("part", ["0", "100001", "x", ""])
def test_a_part_has_a_number(api: httpx.Client, part: str) -> None:
    job_id = submit(api, source="upload", **COUNT)["id"]
    answer = api.put(f"/jobs/{job_id}/items", params={"part": part}, content=b"", headers=NDJSON)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
    assert put(api, "job_none", 1, b"").status_code == 404
    assert seal(api, "job_none").status_code == 404
    api.delete(f"/jobs/{job_id}")


def test_an_early_refusal_is_heard_while_the_client_still_sends(api: httpx.Client) -> None:
    job_id = submit(api, source="upload", **COUNT)["id"]

    def lines() -> Iterator[bytes]:
        yield b"{]\n"
        for _ in range(200):
            yield DATA

    answer = put(api, job_id, 1, lines())
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/items/0")
    assert get(api, job_id)["items"]["total"] == 0
    api.delete(f"/jobs/{job_id}")


def half_sent(stack: RunningStack, path: str, head: bytes, data: bytes) -> socket.socket:
    """A connection over which the beginning of a body was sent."""
    connection = socket.create_connection(("127.0.0.1", stack.http_port), timeout=30)
    connection.sendall(
        f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n".encode()
        + head
        + b"\r\n\r\n"
        + data
    )
    return connection


def test_a_client_that_breaks_off_changes_nothing(stack: RunningStack, api: httpx.Client) -> None:
    job_id = submit(api, source="upload", chunk_size=10, **COUNT)["id"]
    assert put(api, job_id, 1, DATA).status_code == 200
    kept = rows(stack, job_id)
    head = b"Content-Type: application/x-ndjson"
    with half_sent(stack, f"/jobs/{job_id}/items?part=1", head, DATA * 40):
        eventually(lambda: rows(stack, job_id) > kept, what="some of it is stored")
    eventually(lambda: rows(stack, job_id) == kept, what="what was sent is deleted")
    assert seal(api, job_id).status_code == 202
    assert finish(api, job_id)["result"] == {"ARN": 1000, "OUL": 1000, "JFK": 1000}


def test_a_silent_client_is_told_so_while_others_are_served(new_stack: NewStack) -> None:
    stack = new_stack(FANFOLD_BODY_TIMEOUT_SECONDS="1")
    with connected(stack) as api:
        job_id = submit(api, source="upload", **COUNT)["id"]
        head = b"Content-Type: application/x-ndjson"
        with half_sent(stack, f"/jobs/{job_id}/items?part=1", head, DATA) as connection:
            assert get(api, job_id)["state"] == "receiving"
            assert b"408" in connection.recv(65536).split(b"\r\n")[0]
        assert rows(stack, job_id) == 0


def test_one_never_sealed_is_closed_with_an_error(new_stack: NewStack) -> None:
    stack = new_stack(FANFOLD_SEAL_TIMEOUT_SECONDS="1")
    with connected(stack) as api:
        job_id = submit(api, source="upload", **COUNT)["id"]
        assert put(api, job_id, 1, DATA).status_code == 200
        job = finish(api, job_id)
        assert (job["state"], job["error"]["type"]) == ("failed", "NeverSealed")
        eventually(lambda: rows(stack, job_id) == 0, what="its data is deleted")


def test_a_gateway_killed_in_the_middle_of_uploads_loses_nothing_that_was_whole(
    new_stack: NewStack,
) -> None:
    stack = new_stack()
    ledger_path = stack.data_dir / "ledger.db"
    killed = threading.Event()

    def endless() -> Iterator[bytes]:
        for _ in range(60):
            yield DATA
        killed.wait(60)

    with connected(stack) as api:
        job_id = submit(api, source="upload", chunk_size=100, **COUNT)["id"]
        assert put(api, job_id, 2, DATA).status_code == 200
        kept = rows(stack, job_id)

        def send_in_vain() -> None:
            with connected(stack) as sender, pytest.raises(httpx.HTTPError):
                put(sender, job_id, 2, endless())

        def send_form_in_vain() -> None:
            form = (
                b'--b\r\nContent-Disposition: form-data; name="job"\r\n\r\n'
                + json.dumps({**COUNT, "chunk_size": 100}).encode()
                + b'\r\n--b\r\nContent-Disposition: form-data; name="items"; filename="a.ndjson"'
                + b"\r\n\r\n"
            )

            def body() -> Iterator[bytes]:
                yield form
                yield from endless()

            headers = {"Content-Type": "multipart/form-data; boundary=b"}
            with connected(stack) as sender, pytest.raises(httpx.HTTPError):
                sender.post("/jobs", content=body(), headers=headers)

        senders = [threading.Thread(target=send) for send in (send_in_vain, send_form_in_vain)]
        for sender in senders:
            sender.start()
        with sqlite3.connect(ledger_path) as ledger:
            unfinished = "SELECT COUNT(*) FROM uploads WHERE is_complete = 0 AND chunk_count > 0"
            eventually(
                lambda: ledger.execute(unfinished).fetchone()[0] == 2, what="both are half stored"
            )
        kill(stack, "gateway")
        killed.set()
        for sender in senders:
            sender.join()
        eventually(lambda: _is_ready(stack), what="the gateway is back")
        assert [one["id"] for one in api.get("/jobs").json()["jobs"]] == [job_id]
        assert get(api, job_id)["items"]["total"] == 3000
        assert rows(stack, job_id) > kept
        with sqlite3.connect(ledger_path) as ledger:  # as it is after a quarter of an hour
            ledger.execute("UPDATE uploads SET touched_at = 1 WHERE is_complete = 0")
        eventually(lambda: rows(stack, job_id) == kept, what="the rest of it is deleted")
        with sqlite3.connect(ledger_path) as ledger:
            jobs = "SELECT COUNT(DISTINCT job_id) FROM inputs"
            eventually(
                lambda: ledger.execute(jobs).fetchone()[0] == 1, what="the form's data is deleted"
            )
        assert put(api, job_id, 1, DATA).status_code == 200
        assert seal(api, job_id).status_code == 202
        assert finish(api, job_id)["result"] == {"ARN": 2000, "OUL": 2000, "JFK": 2000}


def _is_ready(stack: RunningStack) -> bool:
    try:
        return httpx.get(f"{stack.url}/livez", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
