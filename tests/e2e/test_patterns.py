"""Runs docs/patterns.md: sends every request of the page, and compares what comes back."""

import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from fanfold.devstack.running import running
from tests.e2e.pages import ANSWER, DOCS, Page
from tests.e2e.reader import curl
from tests.e2e.trees import FINISHED
from tests.waiting import eventually

PAGE = Page("patterns.md", DOCS)
ROOT = Path(__file__).parents[2]
URL = "http://localhost:8000"
SECTIONS = {
    heading: requests
    for heading, blocks in PAGE.sections().items()
    if (requests := {each.place: each.text for each in blocks if each.language == "sh"})
}
ANSWERS = {
    block.place.removeprefix(ANSWER): block
    for block in PAGE.blocks
    if block.place.startswith(ANSWER)
}
AT_REST = {*FINISHED, "waiting"}
# Most of them wait for one another, and what they do is small.
AT_ONCE = 6


def test_every_request_on_the_page_has_its_answer() -> None:
    assert list(ANSWERS) == list(PAGE.scripts)
    assert len(ANSWERS) > 40


def test_every_section_of_the_page_is_in_one_of_its_tables() -> None:
    headings = [line.removeprefix("### ") for line in PAGE.text.splitlines() if line[:4] == "### "]
    contents = PAGE.text.partition("\n## ")[0]
    parts = {"Order fulfilment", "Data pipeline", "Service deployment", "Report generation"}

    missing = [
        heading
        for heading in headings
        if f"(#{heading.lower().replace(',', '').replace(' ', '-')})" not in contents
    ]

    assert set(missing) == parts  # told by the link to all of them
    assert "(#applications)" in contents


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The stack that the page has its reader start."""
    curl()
    directory = tmp_path_factory.mktemp("reader")
    PAGE.write_to(directory)
    (start,) = (line for line in PAGE.commands if line.endswith("fanfold up"))
    processors = start.removeprefix("FANFOLD_PROCESSORS=").removesuffix(" fanfold up")
    settings = {"FANFOLD_PROCESSORS": processors, "PYTHONPATH": str(ROOT)}
    with running(tmp_path_factory.mktemp("data"), settings, directory=directory) as stack:
        yield stack.url


@pytest.fixture(scope="module")
def answered(url: str) -> Iterator[dict[str, "Future[dict[str, str]]"]]:
    """What the requests of each section were answered, by their names; sections run together."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {heading: pool.submit(send, requests, url) for heading, requests in SECTIONS.items()}


def send(requests: dict[str, str], url: str) -> dict[str, str]:
    """Run the blocks one after the other; `$id` is the id of the last answer that has one."""
    printed: dict[str, str] = {}
    job_id = ""
    for name, block in requests.items():
        text = subprocess.run(
            ["bash", "-c", block.replace(URL, url)],
            env=os.environ | {"id": job_id},
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        ).stdout
        is_job, known_id = text.startswith('{"id":'), job_id
        if is_job and "Prefer: wait=" in block:
            text = at_rest(text, url)
        if is_job:
            job_id = json.loads(text)["id"]
        printed[name] = text.replace(known_id or "no id yet", "$id")
    return printed


def at_rest(text: str, url: str) -> str:
    """The job once nothing of it runs: a busy machine may take longer than the page waits."""

    def asked_again() -> str:
        again = httpx.get(f"{url}/jobs/{job['id']}", headers={"Prefer": "wait=10"}, timeout=30)
        return again.text if again.json()["state"] in AT_REST else ""

    job = json.loads(text)
    if job["state"] in AT_REST:
        return text
    return eventually(asked_again, what=f"{job['id']} is at rest", timeout_seconds=100)


@pytest.mark.parametrize("heading", SECTIONS)
def test_what_comes_back_is_what_the_page_says(
    answered: dict[str, "Future[dict[str, str]]"], heading: str
) -> None:
    printed = answered[heading].result()

    for name, text in printed.items():
        answer = ANSWERS[name]
        read = read_lines if answer.language == "ndjson" else json.loads
        given, wanted = read(text), read(answer.text)
        assert shown_of(given, wanted) == wanted, f"{name}: {text}"


def test_a_sequence_takes_as_long_as_all_of_its_jobs(
    answered: dict[str, "Future[dict[str, str]]"],
) -> None:
    job = json.loads(answered["Sequential against parallel"].result()["sequential"])
    started, finished = (
        datetime.fromisoformat(job[f"{what}_at"]) for what in ("started", "finished")
    )

    assert finished - started >= timedelta(seconds=4 * 0.3)


def read_lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def shown_of(given: Any, wanted: Any) -> Any:
    """Of an answer what the page shows: of objects some of the fields, of arrays all elements."""
    if isinstance(given, dict) and isinstance(wanted, dict):
        return {name: shown_of(given.get(name, "absent"), value) for name, value in wanted.items()}
    if isinstance(given, list) and isinstance(wanted, list) and len(given) == len(wanted):
        return [shown_of(one, other) for one, other in zip(given, wanted, strict=True)]
    return given
