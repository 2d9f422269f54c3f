"""Runs docs/howto/use-the-python-client.md: its scripts, and compares what they print."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fanfold.devstack.running import RunningStack
from tests.e2e.pages import Page

ROOT = Path(__file__).parents[2]
PAGE = Page("use-the-python-client.md")
URL = "http://localhost:8000"


def test_every_output_on_the_page_is_of_a_script_on_the_page() -> None:
    assert PAGE.outputs
    assert set(PAGE.outputs) <= set(PAGE.files)


@pytest.mark.parametrize("script", PAGE.files)
def test_a_script_prints_what_the_page_says(
    script: str, stack: RunningStack, tmp_path: Path
) -> None:
    text = PAGE.files[script]
    assert URL in text
    (tmp_path / script).write_text(text.replace(URL, stack.url))

    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == PAGE.outputs.get(script, done.stdout)


def test_the_scripts_pass_the_strictest_type_check(tmp_path: Path) -> None:
    PAGE.write_to(tmp_path)

    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull, "."],
        cwd=tmp_path,
        env=os.environ | {"MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout
