"""Runs the examples as their pages say, and compares what they print."""

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import pytest

from examples.booking.agency import open_agency
from examples.booking.trips import KINDS, TRIPS, trips_job
from fanfold import Fanfold
from fanfold.devstack.running import RunningStack, running
from tests.e2e.pages import Page
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
NAMES = ("word_count", "stock", "booking")
PAGES = {name: Page("README.md", EXAMPLES / name) for name in NAMES}


def processors_of(page: Page) -> list[str]:
    """Those that the page has its reader start the stack with."""
    (start,) = (line for line in page.commands if line.endswith("fanfold up"))
    return start.removeprefix("FANFOLD_PROCESSORS=").removesuffix(" fanfold up").split(",")


def test_the_first_page_starts_a_stack_for_all_of_them() -> None:
    page = Page("README.md", EXAMPLES)
    assert processors_of(page) == [one for name in NAMES for one in processors_of(PAGES[name])]
    runs = [line for line in page.commands if line.startswith("python -m ")]
    assert runs == [PAGES[name].scripts["run"].strip() for name in NAMES]


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """The stack of the first page, started in the root of the repository."""
    names = ",".join(processors_of(Page("README.md", EXAMPLES)))
    with running(tmp_path_factory.mktemp("data"), {"FANFOLD_PROCESSORS": names}) as stack:
        yield stack


@pytest.fixture(scope="module")
def printed(examples: RunningStack) -> Iterator[dict[str, "Future[str]"]]:
    """What each script prints; they run together."""

    def run(command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command.split()[1:]],
            cwd=ROOT,
            env=os.environ | {"FANFOLD_URL": examples.url},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "100.0 %" in done.stderr, "it shows its progress"
        return done.stdout

    with ThreadPoolExecutor(len(NAMES)) as pool:
        yield {name: pool.submit(run, page.scripts["run"]) for name, page in PAGES.items()}


@pytest.mark.parametrize("name", ["stock", "booking"])
def test_an_example_prints_what_its_page_says(printed: dict[str, "Future[str]"], name: str) -> None:
    assert printed[name].result() == PAGES[name].outputs["run"]


def test_the_words_are_counted_as_one_loop_counts_them(printed: dict[str, "Future[str]"]) -> None:
    counts = Counter(re.findall("[a-z]+(?:'[a-z]+)?", "\n".join(topics.values()).lower()))
    lines = printed["word_count"].result().splitlines()

    assert lines[1] == f"{counts.total()} words, {len(counts)} different ones"
    assert [int(line.split()[1]) for line in lines[2:-1]] == [
        count for _, count in counts.most_common(10)
    ]
    assert all(counts[line.split()[0]] == int(line.split()[1]) for line in lines[2:-1])


def test_the_page_shows_what_the_word_count_prints(printed: dict[str, "Future[str]"]) -> None:
    """But for the numbers, and the words in the table: Python's text grows with its version."""
    shown, given = (
        re.sub(r"^  \w+", "  WORD", re.sub(r" *\d+", " N", text), flags=re.MULTILINE)
        for text in (PAGES["word_count"].outputs["run"], printed["word_count"].result())
    )

    assert given == shown


def test_nothing_of_a_trip_that_failed_stays_booked_though_all_workers_are_killed(
    examples: RunningStack,
) -> None:
    with open_agency(delay_seconds=0.3) as agency, Fanfold(examples.url) as client:
        job = client.submit(trips_job(agency.url))
        eventually(lambda: "cancelled" in states(agency.bookings()), what="one is cancelled")
        for pid in (examples.data_dir / "run").glob("worker-*.pid"):
            os.kill(int(pid.read_text()), signal.SIGKILL)
        trips = {trip["name"]: trip["state"] for trip in client.wait(job.id).result}
        bookings = agency.bookings()

    assert trips == {
        "Ada": "failed",
        "Alan": "succeeded",
        "Emmy": "failed",
        "Grace": "failed",
        "Kurt": "succeeded",
    }
    booked = [(one["traveller"], one["kind"]) for one in bookings if one["state"] == "booked"]
    assert sorted(booked) == sorted(
        (traveller, kind)
        for traveller in TRIPS
        if trips[traveller] == "succeeded"
        for kind in KINDS
    )


def states(bookings: list[dict[str, Any]]) -> set[str]:
    return {booking["state"] for booking in bookings}
