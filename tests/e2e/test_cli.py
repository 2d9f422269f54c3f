"""The command line against a real stack: output for people, JSON and exit codes for scripts."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fanfold.devstack.running import RunningStack, free_ports
from tests.e2e.journeys import begun
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
ODD = {"chunks": [[1], [3]], "processor": "double", "reducer": "sum", "name": "odd"}
EVEN = {"options": {"fail_if_divisible_by": 2}, "retry": {"max_attempts": 1}}


class Cli:
    def __init__(self, url: str, directory: Path) -> None:
        self._url = url
        self._directory = directory

    def run(self, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "fanfold.cli.main", *arguments],
            cwd=ROOT,
            env=os.environ | {"FANFOLD_URL": self._url},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            **more,
        )

    def submit(self, job: dict[str, Any], *options: str) -> subprocess.CompletedProcess[str]:
        file = self._directory / "job.json"
        file.write_text(json.dumps(job))
        return self.run("submit", str(file), *options)


@pytest.fixture
def cli(stack: RunningStack, tmp_path: Path) -> Cli:
    return Cli(stack.url, tmp_path)


def test_submit_shows_the_end_of_the_job(cli: Cli) -> None:
    done = cli.submit(ODD)

    assert done.returncode == 0, done.stderr
    assert "succeeded" in done.stdout
    assert "result: 8" in done.stdout
    assert "2/2" in done.stderr  # the progress bar


@pytest.mark.parametrize(("chunks", "code"), [([[1], [3]], 0), ([[1], [2]], 3), ([[2], [4]], 4)])
def test_the_exit_code_says_how_the_job_ended(cli: Cli, chunks: Any, code: int) -> None:
    assert cli.submit(ODD | EVEN | {"chunks": chunks}, "--json").returncode == code


def test_json_output_is_one_object_a_line(cli: Cli) -> None:
    job = json.loads(cli.submit(ODD, "--json").stdout)
    assert job["result"] == 8

    listed = [json.loads(line) for line in cli.run("list", "--json").stdout.splitlines()]
    shown = [
        json.loads(line) for line in cli.run("children", job["id"], "--json").stdout.splitlines()
    ]
    lines = [json.loads(line) for line in cli.run("results", job["id"]).stdout.splitlines()]

    assert listed[0]["id"] == job["id"]
    assert [child["result"] for child in shown] == [[2], [6]] == [line["result"] for line in lines]


def test_tables_for_people_name_what_failed(cli: Cli) -> None:
    job = json.loads(cli.submit(ODD | EVEN | {"chunks": [[1], [2]]}, "--json").stdout)

    table = cli.run("children", job["id"], "--state", "failed").stdout

    assert "ApplicationError" in table
    assert job["id"] in cli.run("list").stdout


def test_watch_and_cancel(cli: Cli, gate: Path) -> None:
    held = {"chunks": [[1]], "processor": "gated", "options": {"directory": str(gate)}}
    job = json.loads(cli.submit(held, "--no-wait", "--json").stdout)
    assert job["state"] == "pending"
    eventually(lambda: begun(gate), what="it runs")

    assert "cancelling" in cli.run("cancel", job["id"]).stdout
    watched = cli.run("watch", job["id"], "--json")

    assert json.loads(watched.stdout)["state"] == "cancelled"
    assert watched.returncode == 5


def test_a_refused_job_says_what_is_wrong_and_where(cli: Cli) -> None:
    done = cli.submit(ODD | {"chunk_sise": 2})

    assert done.returncode == 1
    assert "/chunk_sise" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_job_is_read_from_standard_input(cli: Cli) -> None:
    done = cli.run("submit", "-", "--json", input=json.dumps(ODD))

    assert json.loads(done.stdout)["result"] == 8


def test_the_same_key_is_the_same_job(cli: Cli) -> None:
    first, second = (json.loads(cli.submit(ODD, "--json", "--key", "cli").stdout) for _ in "12")

    assert first["id"] == second["id"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("submit", "no-such-file.json"), 2, "no-such-file.json"),
        (("watch", "job_nothing"), 1, "job_not_found"),
        (("list", "--state", "unheard_of"), 1, "invalid_parameter"),
        (("list", "--url", "not a url"), 6, ""),
        (("unheard-of",), 2, "No such command"),
    ],
)
def test_mistakes_are_told_in_a_line(
    cli: Cli, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = cli.run(*arguments)

    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_gateway_that_is_not_there_has_an_exit_code_of_its_own(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    done = Cli(f"http://127.0.0.1:{port}", tmp_path).run("list")

    assert done.returncode == 6
    assert "does not answer" in done.stderr
