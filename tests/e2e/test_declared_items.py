"""What processors declare: shown in the catalog, with an example that runs, and checked at POST."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from fanfold.devstack.running import RunningStack, running
from tests.e2e.declared import FUNCTIONS, NAMES
from tests.e2e.journeys import finish, get, run, submit

GOOD = {
    "id": "ABC1",
    "net": 4.5,
    "currency": "EUR",
    "ordered": "2026-01-31",
    "lines": [{"sku": "ab", "count": 2}],
}
BAD = {**GOOD, "net": "4.5", "lines": [{"sku": "ab", "count": 100}]}
SHIP = {"processor": "ship", "options": {"carrier": "bike"}, "check_items": True}
NDJSON = {"Content-Type": "application/x-ndjson"}
# It shows failures.
WITH_FAILURES = {"double", "validate"}


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    directory = tmp_path_factory.mktemp("declared")
    settings = {"FANFOLD_PROCESSORS": NAMES, "FANFOLD_RECONCILE_INTERVAL_SECONDS": "0.5"}
    with running(directory, settings) as stack:
        yield stack


@pytest.fixture
def api(declared: RunningStack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=declared.url, timeout=60) as client:
        yield client


def lines(*items: Any) -> bytes:
    return "".join(json.dumps(item) + "\n" for item in items).encode()


def catalog(api: httpx.Client, kind: str = "processors") -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in api.get(f"/{kind}").json()[kind]}


def jobs(api: httpx.Client) -> list[str]:
    return [job["id"] for job in api.get("/jobs").json()["jobs"]]


def faults(response: httpx.Response) -> dict[str, str]:
    """The messages by place, of items that do not fit."""
    problem = response.json()
    assert (response.status_code, problem["code"]) == (422, "item_schema_mismatch"), problem
    return {fault["pointer"]: fault["message"] for fault in problem["errors"]}


def put(api: httpx.Client, job_id: str, content: Any, part: int = 1) -> httpx.Response:
    return api.put(f"/jobs/{job_id}/items", params={"part": part}, content=content, headers=NDJSON)


def test_every_example_in_the_catalog_runs(api: httpx.Client) -> None:
    for kind in ("processors", "reducers"):
        entries = catalog(api, kind)
        assert len(entries) > 3
        for name, entry in entries.items():
            if name == "coded":  # nobody can make up what fits a pattern
                assert entry["example"] is None
                continue
            is_checked = bool(entry.get("item_schema"))
            job = run(api, **entry["example"], check_items=is_checked)
            expected = (
                {"succeeded", "partially_succeeded"} if name in WITH_FAILURES else {"succeeded"}
            )
            assert job["state"] in expected, (name, job["errors"])


def test_the_catalog_says_what_a_processor_takes_and_what_fits(api: httpx.Client) -> None:
    entries = catalog(api)
    assert {function.__name__ for function in FUNCTIONS} < set(entries)
    assert (entries["ship"]["takes"], entries["weigh"]["takes"]) == ("item", "chunk")
    assert entries["due"]["item_schema"] == {"type": "string", "format": "date-time"}
    assert entries["weigh"]["item_schema"]["$ref"] == "#/$defs/Order"
    assert entries["anything"]["item_schema"] is None
    assert entries["sizes"]["example"] == {"processor": "sizes", "items": ["a"]}
    assert "takes" not in catalog(api, "reducers")["sum"]


def test_items_that_do_not_fit_are_refused_before_anything_is_recorded(api: httpx.Client) -> None:
    before = jobs(api)
    places = {"/items/1/lines/0/count", "/items/1/net"}
    assert set(faults(api.post("/jobs", json={**SHIP, "items": [GOOD, BAD]}))) == places
    in_chunks = faults(api.post("/jobs", json={**SHIP, "chunks": [[GOOD], [GOOD, BAD]]}))
    assert set(in_chunks) == {place.replace("/items/1", "/chunks/1/1") for place in places}
    form: dict[str, Any] = {
        "job": (None, json.dumps(SHIP), "application/json"),
        "items": ("items.ndjson", lines(GOOD, BAD), "application/x-ndjson"),
    }
    in_form = faults(api.post("/jobs", files=form))
    assert set(in_form) == places
    assert all(message.startswith("line 2: ") for message in in_form.values())
    assert jobs(api) == before


def test_a_job_that_does_not_ask_is_taken_and_its_items_fail(api: httpx.Client) -> None:
    job = run(api, **{**SHIP, "check_items": False, "items": [{**GOOD, "lines": []}]})
    assert job["state"] == "failed"


def test_a_form_whose_items_fit_runs(api: httpx.Client) -> None:
    form: dict[str, Any] = {
        "job": (None, json.dumps(SHIP), "application/json"),
        "items": ("items.ndjson", lines(GOOD, GOOD), "application/x-ndjson"),
    }
    accepted = api.post("/jobs", files=form)
    assert accepted.status_code == 202, accepted.text
    assert finish(api, accepted.json()["id"])["items"]["succeeded"] == 2


def test_of_a_part_that_does_not_fit_nothing_is_kept(api: httpx.Client) -> None:
    job = submit(api, **SHIP, source="upload")
    assert put(api, job["id"], lines(GOOD)).status_code == 200

    refused = faults(put(api, job["id"], lines(*[GOOD] * 2500, BAD), part=2))

    assert set(refused) == {"/items/2500/lines/0/count", "/items/2500/net"}
    assert all(message.startswith("line 2501: ") for message in refused.values())
    assert get(api, job["id"])["items"]["total"] == 1
    assert put(api, job["id"], lines(GOOD, GOOD), part=2).status_code == 200
    assert api.post(f"/jobs/{job['id']}/seal").status_code == 202
    assert finish(api, job["id"])["items"] == {"total": 3, "succeeded": 3, "failed": 0}


def test_in_csv_numbers_are_refused_and_texts_are_not(api: httpx.Client) -> None:
    def form(processor: str, table: bytes, **options: Any) -> dict[str, Any]:
        job = {"processor": processor, "options": options, "check_items": True}
        return {
            "job": (None, json.dumps(job), "application/json"),
            "items": ("items.csv", table, "text/csv"),
        }

    refused = faults(api.post("/jobs", files=form("named", b"a,b\n1,2\n")))
    assert set(refused) == {"/items/0/a", "/items/0/b"}
    assert all(message.endswith("in CSV every value is a string") for message in refused.values())
    accepted = api.post("/jobs", files=form("coded", b"code\nHEL\nARN\n"))
    assert accepted.status_code == 202, accepted.text
    assert finish(api, accepted.json()["id"])["state"] == "succeeded"


@pytest.mark.parametrize("data", [{"items": [1]}, {"source": "upload"}])
def test_a_check_that_cannot_be_made_is_refused(api: httpx.Client, data: dict[str, Any]) -> None:
    before = jobs(api)
    asked = {"processor": "anything", "options": {"label": "x"}, "check_items": True, **data}
    response = api.post("/jobs", json=asked)
    assert (response.status_code, response.json()["code"]) == (422, "item_schema_unknown")
    assert "anything declares no item schema" in response.json()["detail"]
    assert jobs(api) == before
