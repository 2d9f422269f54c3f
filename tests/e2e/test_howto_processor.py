"""Runs docs/howto/write-a-processor.md: its files, its commands' settings, its jobs and answers."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fanfold.devstack.running import running
from tests.e2e.pages import Page

PAGE = Page("write-a-processor.md")
ROOT = Path(__file__).parents[2]

ANSWERS = {place: json.loads(text) for place, text in PAGE.answers.items()}
STARTS = [
    line.split("=", 1)[1].split(" ") for line in PAGE.commands if "FANFOLD_PROCESSORS=" in line
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader's directory, with every file of the page in it."""
    directory = tmp_path_factory.mktemp("shop")
    PAGE.write_to(directory)
    return directory


@pytest.fixture(scope="module")
def shop_api(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The stack that the page's last start command makes."""
    processors, *command = STARTS[-1]
    assert command == ["fanfold", "up"]
    settings = {"FANFOLD_PROCESSORS": processors, "PYTHONPATH": str(ROOT)}
    data = tmp_path_factory.mktemp("data")
    with (
        running(data, settings, directory=shop) as stack,
        httpx.Client(base_url=stack.url, timeout=60) as client,
    ):
        yield client


def test_every_job_on_the_page_has_its_answer() -> None:
    assert {place for place in PAGE.files if place.startswith("jobs/")} == set(ANSWERS)
    assert ANSWERS


def test_the_last_start_command_names_every_processor_that_a_job_uses() -> None:
    first, last = (set(names.split(",")) for names, *_ in (STARTS[0], STARTS[-1]))
    named = {reference.partition(":")[2] for reference in last}
    used = {json.loads(PAGE.files[place])["processor"] for place in ANSWERS}

    assert first < last
    assert used <= named


@pytest.mark.parametrize("place", ANSWERS)
def test_a_job_gives_the_answer_on_the_page(shop_api: httpx.Client, shop: Path, place: str) -> None:
    given = (shop / place).read_bytes()
    headers = {"Content-Type": "application/json", "Prefer": "wait=30"}

    answer: dict[str, Any] = shop_api.post("/jobs", content=given, headers=headers).json()

    expected: dict[str, Any] = ANSWERS[place]
    assert {name: answer.get(name) for name in expected} == expected


def test_the_order_to_iceland_takes_three_attempts_and_the_voucher_none(
    shop_api: httpx.Client, shop: Path
) -> None:
    job = json.loads((shop / "jobs/route.json").read_text())
    answer = shop_api.post("/jobs", json=job, headers={"Prefer": "wait=30"}).json()

    child = shop_api.get(f"/jobs/{answer['id']}/children/0").json()

    assert child["attempts"] == job["retry"]["max_attempts"]
    assert [(error["item"], error["type"]) for error in child["item_errors"]] == [
        (1, "ItemDropped")
    ]


def test_the_cup_alone_has_failed(shop_api: httpx.Client, shop: Path) -> None:
    job = json.loads((shop / "jobs/no-price.json").read_text())
    answer = shop_api.post("/jobs", json=job, headers={"Prefer": "wait=30"}).json()

    child = shop_api.get(f"/jobs/{answer['id']}/children/1").json()

    assert child["state"] == "partially_succeeded"
    assert child["result"] == [None, {"sku": "pot", "gross": 37.2}]
    assert [(error["item"], error["type"]) for error in child["item_errors"]] == [
        (0, "ValidationError")
    ]
    assert child["attempts"] == 1
    assert [(group["first_index"], group["first_item"]) for group in answer["errors"]] == [(1, 0)]


def test_the_catalog_shows_the_docstring_and_the_options(shop_api: httpx.Client) -> None:
    entries = {one["name"]: one for one in shop_api.get("/processors").json()["processors"]}

    assert entries["add_tax"]["description"] == "Add the tax to an order's net price."
    assert entries["add_tax"]["options_schema"]["properties"]["rate"]["default"] == 0.24


def test_the_page_s_own_tests_pass(shop: Path) -> None:
    """As the reader runs them: in their directory, with Fanfold on the path."""
    (command,) = (line.split(" ") for line in PAGE.commands if "pytest" in line)
    done = subprocess.run(
        [sys.executable, *command[1:], "-q", "-p", "no:cacheprovider"],
        cwd=shop,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{PAGE.files['tests/test_shop.py'].count('def test_')} passed" in done.stdout
