"""Jobs made of jobs at a gateway alone: what is recorded of them, however their data comes."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.gateway_alone import gateway_alone

SCATTERED: dict[str, Any] = {
    "processor": "any_name",
    "chunk_size": 2,
    "jobs": {"a": {}, "b": {"jobs": {"c": {}, "own": {"items": [7]}}}},
}
LINES = b"1\n2\n3\n"
NDJSON = "application/x-ndjson"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gateway")


@pytest.fixture(scope="module")
def api(directory: Path) -> Iterator[httpx.Client]:
    """Without workers: no names of processors are known, so every one is taken."""
    limits = {"FANFOLD_MAX_CHUNKS": "9", "FANFOLD_MAX_JOBS_IN_TREE": "5"}
    with (
        gateway_alone(directory, **limits) as gateway,
        httpx.Client(base_url=gateway.url, timeout=30) as client,
    ):
        yield client


def form(job: dict[str, Any], lines: bytes = LINES) -> dict[str, Any]:
    return {
        "job": (None, json.dumps(job), "application/json"),
        "items": ("items.ndjson", lines, NDJSON),
    }


def chunks_by_path(directory: Path, job_id: str) -> dict[str | None, int]:
    with sqlite3.connect(f"file:{directory}/data/ledger.db?mode=ro", uri=True) as ledger:
        rows = ledger.execute(
            "SELECT jobs.path, COUNT(chunks.idx) FROM jobs LEFT JOIN chunks ON job_id = jobs.id "
            "WHERE jobs.id = ? OR jobs.root_id = ? GROUP BY jobs.id ORDER BY jobs.position",
            (job_id, job_id),
        )
        return dict(rows.fetchall())


def totals(job: dict[str, Any]) -> tuple[int, int]:
    return job["chunks"]["total"], job["items"]["total"]


def newest(api: httpx.Client) -> Any:
    return api.get("/jobs", params={"limit": 1}).json()["jobs"]


EVERY_LEAF = {None: 0, "a": 2, "b": 0, "b/c": 2, "b/own": 1}


def test_data_beside_a_tree_is_every_leaf_s(api: httpx.Client, directory: Path) -> None:
    job = api.post("/jobs", json={**SCATTERED, "items": [1, 2, 3]}).json()
    assert totals(job) == (5, 7)
    assert chunks_by_path(directory, job["id"]) == EVERY_LEAF


def test_so_is_the_data_of_a_form(api: httpx.Client, directory: Path) -> None:
    response = api.post("/jobs", files=form(SCATTERED))
    assert response.status_code == 202, response.text
    assert totals(response.json()) == (5, 7)
    assert chunks_by_path(directory, response.json()["id"]) == EVERY_LEAF


def test_so_is_data_that_is_sent_in_parts(api: httpx.Client, directory: Path) -> None:
    job_id = api.post("/jobs", json={**SCATTERED, "source": "upload"}).json()["id"]
    for part, lines in ((2, b"3\n"), (1, b"1\n2\n")):
        sent = api.put(
            f"/jobs/{job_id}/items?part={part}", content=lines, headers={"Content-Type": NDJSON}
        )
        assert sent.status_code == 200, sent.text
    sealed = api.post(f"/jobs/{job_id}/seal")
    assert sealed.status_code == 202, sealed.text
    assert totals(sealed.json()) == (5, 7)
    assert chunks_by_path(directory, job_id) == EVERY_LEAF


def test_a_tree_that_waits_for_data_is_not_sealed_without_any(api: httpx.Client) -> None:
    job = api.post("/jobs", json={**SCATTERED, "source": "upload"}).json()
    assert (job["state"], totals(job)) == ("receiving", (0, 0))
    sealed = api.post(f"/jobs/{job['id']}/seal")
    assert (sealed.status_code, sealed.json()["code"]) == (422, "invalid_job")


@pytest.mark.parametrize("is_form", [False, True], ids=["body", "form"])
def test_a_dry_run_says_how_large_the_tree_is(api: httpx.Client, is_form: bool) -> None:
    how: Any = (
        {"files": form(SCATTERED)} if is_form else {"json": {**SCATTERED, "items": [1, 2, 3]}}
    )
    before = newest(api)
    found = api.post("/jobs?validate_only=true", **how).json()
    assert found == {
        "valid": True,
        "chunks": 5,
        "items": 7,
        "execution": "workflow",
        "largest_chunk_bytes": 5,
        "jobs": 4,
    }
    assert newest(api) == before


def test_more_chunks_than_the_whole_tree_may_have_are_refused(api: httpx.Client) -> None:
    before = newest(api)
    for how in (
        {"files": form(SCATTERED, b"1\n" * 10)},
        {"json": {**SCATTERED, "items": [1] * 10}},
    ):
        response = api.post("/jobs", **how)  # type: ignore[arg-type]
        assert (response.status_code, response.json()["code"]) == (422, "limit_exceeded")
    assert newest(api) == before
    job_id = api.post("/jobs", json={**SCATTERED, "source": "upload"}).json()["id"]
    sent = api.put(
        f"/jobs/{job_id}/items?part=1", content=b"1\n" * 10, headers={"Content-Type": NDJSON}
    )
    assert (sent.status_code, sent.json()["code"]) == (422, "limit_exceeded")


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({"processor": "x", "jobs": {}}, "invalid_job", "/jobs"),
        ({"processor": "x", "jobs": {"a": {}}}, "invalid_job", "/jobs/a"),
        ({"processor": "x", "jobs": {"a/b": {"items": [1]}}}, "invalid_job", "/jobs/a~1b"),
        ({"jobs": {"a": {"items": [1], "colour": 1}}}, "invalid_job", "/jobs/a/colour"),
        (
            {"processor": "x", "jobs": {str(number): {"items": [1]} for number in range(6)}},
            "limit_exceeded",
            "/jobs",
        ),
    ],
)
def test_a_bad_tree_is_a_422_with_a_pointer_and_leaves_nothing_behind(
    api: httpx.Client, body: dict[str, Any], code: str, pointer: str
) -> None:
    before = newest(api)
    response = api.post("/jobs", json=body)
    assert (response.status_code, response.json()["code"]) == (422, code)
    assert [fault["pointer"] for fault in response.json()["errors"]] == [pointer]
    assert newest(api) == before


def test_a_form_whose_data_no_job_gets_is_refused(api: httpx.Client) -> None:
    job = {"processor": "any_name", "jobs": {"own": {"items": [7]}}}
    response = api.post("/jobs", files=form(job))
    assert response.json()["errors"][0]["pointer"] == "/items"
