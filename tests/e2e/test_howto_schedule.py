"""Follows docs/howto/run-jobs-on-a-schedule.md from top to bottom, as its reader pastes it."""

from pathlib import Path

import httpx
import pytest

from fanfold.devstack.running import RunningStack
from tests.e2e.pages import Page
from tests.e2e.reader import Reader
from tests.waiting import eventually

PAGE = Page("run-jobs-on-a-schedule.md")


def test_every_output_on_the_page_is_of_a_block_on_the_page() -> None:
    assert PAGE.outputs
    assert set(PAGE.outputs) <= set(PAGE.scripts)


@pytest.fixture
def reader(stack: RunningStack, tmp_path: Path) -> Reader:
    return Reader(PAGE, stack, tmp_path)


def test_the_commands_do_what_the_page_says(reader: Reader, api: httpx.Client) -> None:
    for name in PAGE.scripts:
        reader.follow(name)
        if name == "run":
            eventually(lambda: has_succeeded(api), what="the job of the schedule has succeeded")


def has_succeeded(api: httpx.Client) -> bool:
    jobs = api.get("/schedules/nightly/jobs", params={"limit": 1}).json()["jobs"]
    return [job["state"] for job in jobs] == ["succeeded"]
