"""Runs docs/howto/repair-a-job.md from top to bottom, as its reader pastes it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from fanfold.devstack.running import RunningStack
from tests.e2e.journeys import get
from tests.e2e.pages import Page
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
PAGE = Page("repair-a-job.md")
URL = "http://localhost:8000"
# After these the page's reader is told to look until the job waits.
UNTIL_WAITING = {"hold", "release"}

# What a command of the page never says, unless something is wrong.
_MISTAKES = ("urn:fanfold:problem", "fanfold: ", "Traceback", "command not found")


def test_every_output_on_the_page_is_of_a_block_on_the_page() -> None:
    assert PAGE.outputs
    assert set(PAGE.outputs) <= set(PAGE.scripts)
    assert set(PAGE.scripts) >= UNTIL_WAITING


@pytest.fixture
def shell(stack: RunningStack, tmp_path: Path) -> Callable[[str], str]:
    """Runs a block in the reader's directory and gives what it prints; `$id` and `$url` stay."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    PAGE.write_to(tmp_path)
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "FANFOLD_URL": stack.url,
        "COLUMNS": "200",
    }

    def run(block: str) -> str:
        script = f"[ -e .shell ] && . ./.shell\n{block}\ndeclare -p id url > .shell 2>&-\n"
        return subprocess.run(
            ["bash", "-c", script.replace(URL, stack.url)],
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
        if name in UNTIL_WAITING:
            wait_until_waiting(api, shell("echo $id").strip())


def wait_until_waiting(api: httpx.Client, job_id: str) -> None:
    eventually(lambda: get(api, job_id)["state"] == "waiting", what="the job waits")
