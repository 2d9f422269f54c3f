"""The command line against a real stack: output for people, JSON and exit codes for scripts."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from fanfold.contract.version import VERSION
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

    def objects(self, *arguments: str) -> list[Any]:
        """What the command prints with --json."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def started(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        """The command, running."""
        return subprocess.Popen(
            [sys.executable, "-m", "fanfold.cli.main", *arguments],
            cwd=ROOT,
            env=os.environ | {"FANFOLD_URL": self._url},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def written(self, job: dict[str, Any]) -> str:
        """The path of a file with the job."""
        file = self._directory / "job.json"
        file.write_text(json.dumps(job))
        return str(file)

    def submit(self, job: dict[str, Any], *options: str) -> subprocess.CompletedProcess[str]:
        return self.run("submit", self.written(job), *options)


def is_asking(process: subprocess.Popen[str]) -> bool:
    """Whether the command has a connection to the gateway, so that it waits for its answer."""
    return bool(psutil.Process(process.pid).net_connections())


@pytest.fixture
def cli(stack: RunningStack, tmp_path: Path) -> Cli:
    return Cli(stack.url, tmp_path)


def test_submit_shows_the_end_of_the_job(cli: Cli) -> None:
    done = cli.submit(ODD)

    assert done.returncode == 0, done.stderr
    assert "succeeded" in done.stdout
    assert "items:  2 of 2 succeeded" in done.stdout
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


def test_get_shows_the_job_as_it_is_now(cli: Cli, gate: Path) -> None:
    held = {"chunks": [[1]], "processor": "gated", "options": {"directory": str(gate)}}
    (job,) = cli.objects("submit", cli.written(held), "--no-wait")
    eventually(lambda: begun(gate), what="it runs")

    shown = cli.run("get", job["id"])

    assert shown.returncode == 0
    assert f"{job['id']} running" in shown.stdout
    assert "items:  0 of 1 succeeded" in shown.stdout


@pytest.mark.parametrize("command", ["watch", "submit"])
def test_ctrl_c_says_that_the_job_goes_on_and_how_to_watch_it(
    cli: Cli, gate: Path, command: str
) -> None:
    held = {"chunks": [[1]], "processor": "gated", "options": {"directory": str(gate)}}
    if command == "submit":
        waiting = cli.started("submit", cli.written(held))
    else:
        (job,) = cli.objects("submit", cli.written(held), "--no-wait")
        waiting = cli.started("watch", job["id"])
        eventually(lambda: is_asking(waiting), what="it watches")
    eventually(lambda: begun(gate), what="it runs")
    eventually(lambda: is_asking(waiting), what="it waits")

    waiting.send_signal(signal.SIGINT)
    out, err = waiting.communicate(timeout=30)

    assert waiting.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    told = re.search(r"the job goes on; to watch it again: fanfold (watch job_\w+)", err)
    assert told is not None, err
    (gate / "open").touch()
    assert cli.run(*told[1].split()).returncode == 0


def test_a_job_with_failures_shows_items_first_and_where_each_failure_was_first(cli: Cli) -> None:
    done = cli.submit(ODD | EVEN | {"chunks": [[1], [2], [3], [4], [2]]})

    lines = [line.strip() for line in done.stdout.splitlines()]
    assert "partially_succeeded  odd" in lines[0]
    assert lines[1:3] == [
        "items:  2 of 5 succeeded, 3 failed",
        "chunks: 2 of 5 succeeded, 3 failed",
    ]
    assert "2 x ApplicationError: Simulated failure for value 2 (first: chunk 1" in lines[3]
    assert "1 x ApplicationError: Simulated failure for value 4 (first: chunk 3" in lines[4]


def test_json_has_every_field_that_http_has_and_no_other(cli: Cli, api: httpx.Client) -> None:
    done = cli.submit(
        ODD | EVEN | {"chunks": [[1], [2]], "labels": {"a": "b"}, "reducer": "collect"}, "--json"
    )
    job = json.loads(done.stdout)
    address = f"/jobs/{job['id']}"

    assert [job] == [api.get(address).json()] == cli.objects("get", job["id"])
    listed = cli.objects("list", "--limit", "1", "--label", "a:b")
    assert listed == api.get("/jobs?limit=1&label=a:b").json()["jobs"]
    children = api.get(f"{address}/children").json()["children"]
    assert cli.objects("children", job["id"]) == children
    assert cli.objects("child", job["id"], "1") == children[1:]
    assert cli.objects("processors") == api.get("/processors").json()["processors"]
    assert cli.objects("reducers") == api.get("/reducers").json()["reducers"]


def test_an_integer_of_any_size_is_shown(cli: Cli) -> None:
    large = int("9" * 5000)
    job = cli.written({"items": [large], "processor": "transform", "reducer": "collect"})

    (shown,) = cli.objects("submit", job)

    assert shown["result"][0]["result"] == [large]


def test_a_child_shows_its_errors(cli: Cli) -> None:
    job = json.loads(cli.submit(ODD | EVEN | {"chunks": [[1], [2, 3]]}, "--json").stdout)

    shown = cli.run("child", job["id"], "1").stdout

    assert f"child 1 of {job['id']}: " in shown
    assert "items: 2, attempts: 1, seconds: " in shown
    assert "item 0: ApplicationError: Simulated failure for value 2" in shown


def test_processors_and_reducers_are_listed_with_their_options(cli: Cli) -> None:
    processors = cli.run("processors").stdout
    reducers = cli.run("reducers").stdout

    assert (
        "double  Give back twice the number, after simulated delays and failures.\n" in processors
    )
    assert "  fail_if_divisible_by: integer or null\n" in processors
    assert "  seed: integer = 0\n" in processors
    assert "  directory: string, required\n" in processors
    assert "merge_counts  " in reducers


def test_the_version_is_shown(cli: Cli) -> None:
    assert cli.run("--version").stdout == f"fanfold {VERSION}\n"


def test_what_is_not_shown_is_told_with_how_to_see_it(cli: Cli) -> None:
    many = ODD | {"chunks": [[1]] * 7, "labels": {"many": "yes"}}
    jobs = [json.loads(cli.submit(many, "--json").stdout) for _ in range(3)]

    children = cli.run("children", jobs[0]["id"], "--limit", "3")
    as_json = cli.run("children", jobs[0]["id"], "--limit", "3", "--state", "succeeded", "--json")
    listed = cli.run("list", "--label", "many:yes", "--limit", "2")

    told = "4 more not shown; see them with --limit 7."
    assert told in children.stderr
    assert told in as_json.stderr
    assert [json.loads(line)["index"] for line in as_json.stdout.splitlines()] == [0, 1, 2]
    assert "1 more not shown; see them with --limit 3." in listed.stderr
    assert jobs[0]["id"] not in listed.stdout
    for complete in (
        cli.run("children", jobs[0]["id"], "--limit", "7"),
        cli.run("list", "--label", "many:yes", "--limit", "3"),
    ):
        assert complete.stderr == ""


def test_a_long_error_is_cut_in_a_table_and_whole_in_json(cli: Cli) -> None:
    field = "x" * 200
    rules = {"rules": [{"field": field, "required": True}]}
    job = {"items": [{"a": 1}], "processor": "validate", "options": rules}
    (done,) = [json.loads(cli.submit(job, "--json").stdout)]

    table = cli.run("children", done["id"])

    assert "…" in table.stdout
    assert "What ends in … was cut; --json has it whole." in table.stderr
    assert field in cli.objects("children", done["id"])[0]["error"]["message"]
    assert field in cli.run("child", done["id"], "0").stdout


def test_what_data_says_cannot_steer_the_terminal(cli: Cli) -> None:
    name = "[bold]no markup[/] \x1b[31mred"

    shown = cli.submit(ODD | {"name": name, "reducer": "collect"}).stdout

    assert "[bold]no markup[/] \\x1b[31mred" in shown


def test_a_reader_who_has_seen_enough_is_no_error(cli: Cli) -> None:
    job = json.loads(cli.submit(ODD | {"chunks": [[1]] * 2000}, "--json").stdout)
    listing = cli.started("children", job["id"], "--limit", "2000", "--json")

    assert listing.stdout is not None
    listing.stdout.readline()
    listing.stdout.close()

    assert listing.stderr is not None
    assert listing.stderr.read() == ""
    assert listing.wait(timeout=30) == 0


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


def test_a_gateway_that_is_not_there_has_an_exit_code_of_its_own(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    done = Cli(f"http://127.0.0.1:{port}", tmp_path).run("list")

    assert done.returncode == 6
    assert "does not answer" in done.stderr
