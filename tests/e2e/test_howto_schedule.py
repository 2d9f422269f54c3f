"""Follows docs/howto/run-jobs-on-a-schedule.md from top to bottom, as its reader pastes it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from fanfold.devstack.running import RunningStack
from tests.e2e.pages import Page
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
PAGE = Page("run-jobs-on-a-schedule.md")
URL = "http://localhost:8000"

# What a command of the page never says, unless something is wrong.
_MISTAKES = ("urn:fanfold:problem", "fanfold: ", "Traceback", "command not found")


def test_every_output_on_the_page_is_of_a_block_on_the_page() -> None:
    assert PAGE.outputs
    assert set(PAGE.outputs) <= set(PAGE.scripts)


@pytest.fixture
def shell(stack: RunningStack, tmp_path: Path) -> Callable[[str], str]:
    """Runs a block in the reader's directory and gives what it prints."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    PAGE.write_to(tmp_path)
    script = tmp_path / "hourly.py"
    script.write_text(script.read_text().replace(URL, stack.url))
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "FANFOLD_URL": stack.url,
        "TEMPORAL_ADDRESS": stack.temporal_address,
        "COLUMNS": "200",
    }

    def run(block: str) -> str:
        return subprocess.run(
            ["bash", "-c", block.replace(URL, stack.url)],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        ).stdout

    return run


def test_the_commands_do_what_the_page_says(shell: Callable[[str], str], api: httpx.Client) -> None:
    for name, block in PAGE.scripts.items():
        printed = shell(block)

        assert not [words for words in _MISTAKES if words in printed], f"{name}: {printed}"
        lines = iter(printed.splitlines())
        for expected in PAGE.outputs.get(name, "").splitlines():
            # The lines are there in this order; between them may be others.
            assert any(expected in line for line in lines), f"{name}: {expected!r} in {printed}"
        if name == "run":
            eventually(lambda: has_succeeded(api), what="the job of the schedule has succeeded")


def has_succeeded(api: httpx.Client) -> bool:
    jobs = api.get("/schedules/nightly/jobs", params={"limit": 1}).json()["jobs"]
    return [job["state"] for job in jobs] == ["succeeded"]
