"""Runs docs/howto/repair-a-job.md from top to bottom, as its reader pastes it."""

from pathlib import Path

import httpx
import pytest

from fanfold.devstack.running import RunningStack
from tests.e2e.journeys import get
from tests.e2e.pages import Page
from tests.e2e.reader import Reader
from tests.waiting import eventually

PAGE = Page("repair-a-job.md")
# After these the page's reader is told to look until the job waits.
UNTIL_WAITING = {"hold", "release"}


def test_every_output_on_the_page_is_of_a_block_on_the_page() -> None:
    assert PAGE.outputs
    assert set(PAGE.outputs) <= set(PAGE.scripts)
    assert set(PAGE.scripts) >= UNTIL_WAITING


@pytest.fixture
def reader(stack: RunningStack, tmp_path: Path) -> Reader:
    return Reader(PAGE, stack, tmp_path)


def test_the_commands_do_what_the_page_says(reader: Reader, api: httpx.Client) -> None:
    for name in PAGE.scripts:
        reader.follow(name)
        if name in UNTIL_WAITING:
            wait_until_waiting(api, reader.paste("echo $id").strip())


def wait_until_waiting(api: httpx.Client, job_id: str) -> None:
    eventually(lambda: get(api, job_id)["state"] == "waiting", what="the job waits")
