"""Schedules from the command line, on a real stack."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanfold.devstack.running import RunningStack
from tests.e2e.test_cli import Cli
from tests.waiting import eventually

JOB = {"items": [1, 2], "processor": "double", "reducer": "sum"}


@pytest.fixture
def cli(stack: RunningStack, tmp_path: Path) -> Cli:
    (tmp_path / "job.json").write_text(json.dumps(JOB))
    return Cli(stack.url, tmp_path)


@pytest.fixture
def name(cli: Cli) -> Iterator[str]:
    """The name of a schedule that is gone at the end."""
    name = f"of-the-cli-{time.time_ns()}"
    yield name
    cli.run("schedules", "delete", name)


def create(cli: Cli, tmp_path: Path, name: str, *options: str) -> str:
    done = cli.run("schedules", "create", name, str(tmp_path / "job.json"), *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_schedule_is_made_shown_listed_steered_and_deleted(
    cli: Cli, tmp_path: Path, name: str
) -> None:
    made = create(
        cli,
        tmp_path,
        name,
        *("--cron", "0 0 1 1 *", "--time-zone", "Europe/Helsinki"),
        *("--overlap", "allow_all", "--paused", "--note", "[bold]mine"),
    )
    assert f"{name} paused  [bold]mine" in made
    assert "when: 0 0 1 1 * Europe/Helsinki, overlap: allow_all" in made
    assert "next: " in made

    eventually(
        lambda: name in [one["name"] for one in cli.objects("schedules", "list")],
        what="the schedule is listed",
    )
    assert "0 0 1 1 *" in cli.run("schedules", "list").stdout
    assert "paused" not in cli.run("schedules", "resume", name).stdout
    assert "paused" in cli.run("schedules", "pause", name).stdout
    assert cli.run("schedules", "run", name).returncode == 0

    def job_of_run() -> str | None:
        (schedule,) = cli.objects("schedules", "get", name)
        return schedule["runs"][0]["job"] if schedule["runs"] else None

    job_id = eventually(job_of_run, what="its job is recorded")
    assert job_id is not None
    shown = cli.run("schedules", "get", name).stdout
    assert job_id in shown
    assert [job["id"] for job in cli.objects("list", "--label", f"schedule:{name}")] == [job_id]

    assert cli.run("schedules", "delete", name).returncode == 0
    gone = cli.run("schedules", "get", name)
    assert (gone.returncode, gone.stderr) == (
        1,
        "fanfold: There is no schedule of this name. (schedule_not_found)\n",
    )


def test_an_interval_is_said_in_seconds(cli: Cli, tmp_path: Path, name: str) -> None:
    assert "when: every 86400 seconds, overlap: skip" in create(
        cli, tmp_path, name, "--every", "86400"
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "give --cron or --every, and only one of them"),
        (["--cron", "@daily", "--every", "60"], "give --cron or --every, and only one of them"),
        (["--every", "60", "--time-zone", "UTC"], "--time-zone goes with --cron"),
        (["--every", "0"], "'0' is no whole number from 1 on"),
        (["--every", "60", "--overlap", "skipp"], "'skipp' is not one of 'skip'"),
    ],
)
def test_a_mistake_on_the_command_line_is_told_before_anything_is_sent(
    cli: Cli, tmp_path: Path, options: list[str], words: str
) -> None:
    done = cli.run("schedules", "create", "wrong", str(tmp_path / "job.json"), *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_the_gateway_refuses_is_told_with_its_place(
    cli: Cli, tmp_path: Path, name: str
) -> None:
    done = cli.run("schedules", "create", name, str(tmp_path / "job.json"), "--cron", "0 3 * *")
    assert done.returncode == 1
    assert "/cron: CronString does not have 5-7 fields (invalid_schedule)" in done.stderr
