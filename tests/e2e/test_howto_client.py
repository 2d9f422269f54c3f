"""Runs docs/howto/use-the-python-client.md: its scripts, and compares what they print."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fanfold.devstack.running import RunningStack
from tests.e2e.pages import Page

ROOT = Path(__file__).parents[2]
PAGE = Page("use-the-python-client.md")
LARGE = Page("send-large-data.md")
URL = "http://localhost:8000"


def test_every_output_on_the_page_is_of_a_script_on_the_page() -> None:
    assert PAGE.outputs
    assert set(PAGE.outputs) <= set(PAGE.files)


@pytest.mark.parametrize("script", PAGE.files)
def test_a_script_prints_what_the_page_says(
    script: str, stack: RunningStack, tmp_path: Path
) -> None:
    printed = output_of(PAGE.files[script], stack, tmp_path)
    assert printed == PAGE.outputs.get(script, printed)


def test_the_script_that_sends_large_data_sends_all_of_it(
    stack: RunningStack, tmp_path: Path
) -> None:
    flights = b'{"airline": "AY"}\n{"airline": "SK"}\n{"airline": "AY"}\n'
    (tmp_path / "flights.ndjson.gz").write_bytes(gzip.compress(flights))
    (tmp_path / "airlines.txt").write_text("BA\nBA\n")
    (script,) = LARGE.files.values()

    assert output_of(script, stack, tmp_path) == "{'AY': 2, 'SK': 1}\n{'BA': 2}\n"


def output_of(script: str, stack: RunningStack, directory: Path) -> str:
    assert URL in script
    done = subprocess.run(
        [sys.executable, "-c", script.replace(URL, stack.url)],
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_scripts_pass_the_strictest_type_check(tmp_path: Path) -> None:
    PAGE.write_to(tmp_path)
    LARGE.write_to(tmp_path)

    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull, "."],
        cwd=tmp_path,
        env=os.environ | {"MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout
