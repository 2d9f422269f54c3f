"""A mistake on the command line is told in one line: what is wrong, and the nearest right word."""

from pathlib import Path

import pytest

from fanfold.devstack.running import RunningStack
from tests.e2e.test_cli import Cli


@pytest.fixture
def cli(stack: RunningStack, tmp_path: Path) -> Cli:
    return Cli(stack.url, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("submit", "no-such-file.json"), 2, "no-such-file.json: No such file"),
        (("submit",), 2, "fanfold submit: Missing argument 'file'"),
        (("watch", "job_nothing"), 1, "job_not_found"),
        (("get", "job_nothing"), 1, "job_not_found"),
        (("list", "--state", "sucess"), 2, "'sucess' is no state of a job; did you mean 'succeed"),
        (("list", "--state", "xyz"), 2, "(states: receiving, pending, running, "),
        (("children", "job_1", "--state", "fail"), 2, "no state of a child; did you mean 'failed'"),
        (("items", "job_1", "--state", "fail"), 2, "no state of an item; did you mean 'failed'"),
        (("results", "job_1", "--state", "done"), 2, "'done' is no state of a child"),
        (("list", "--label", "team"), 2, "'team' is no name:value, like team:data"),
        (("list", "--label", ":data"), 2, "':data' is no name:value"),
        (("list", "--limit", "0"), 2, "'0' is no whole number from 1 on"),
        (("list", "--limit", "1_0"), 2, "'1_0' is no whole number from 1 on"),
        (("list", "--label", "a:b", "--label", "a:c"), 2, "no job has two values of the same"),
        (("results", "job_1", "--format", "xml"), 2, "'--format': 'xml' is not one of"),
        (("submit", "a.json", "--items-format", "csv"), 2, "--items-format goes with --items"),
        (("submit", "pyproject.toml", "--key", " "), 1, "an idempotency key has 1 to 255"),
        (("get", ""), 1, "the id of the job is empty"),
        (("child", "job_1", "9" * 5000), 1, "job_not_found"),
        (("list", "--limit", "many"), 2, "'many' is no whole number from 1 on"),
        (("list", "--lable", "a:b"), 2, "--label"),
        (("child", "job_1", "x"), 2, "'x' is no whole number from 0 on"),
        (("list", "--url", "not a url"), 6, "'not a url'"),
        (("wach", "job_1"), 2, "Did you mean 'watch'?"),
        (("unheard-of",), 2, "No such command 'unheard-of'"),
        (("set", "job_1"), 2, "nothing is to be changed; say what, like --max-concurrency 10"),
        (
            ("set", "job_1", "--max-concurrency", "0"),
            2,
            "'0' is no whole number from 1 on, nor 'none'",
        ),
        (
            ("set", "job_1", "--max-per-second", "fast"),
            2,
            "'fast' is no number above 0, nor 'none'",
        ),
        (("set", "job_1", "--max-per-second", "0.0"), 2, "'0.0' is no number above 0"),
        (("set", "job_1", "--deadline", "nan"), 2, "'nan' is no number above 0"),
        (("set", "job_1", "--label", "team=data"), 2, "'team=data' is no name:value"),
        (
            ("set", "job_1", "--tolerated-failures", "{count: 1}"),
            2,
            "this is not JSON: line 1, column",
        ),
        (("redrive", "job_1", "--state", "fail"), 2, "no state of a child; did you mean 'failed'"),
        (("redrive", "job_1", "--index", "x"), 2, "'x' is no whole number from 0 on"),
        (("redrive", "job_1", "--options", "{"), 2, "this is not JSON: line 1, column 2"),
        (("redrive", "job_1", "--corrections", "absent.ndjson"), 2, "absent.ndjson: No such file"),
        (("resolve", "job_1", "0", "absent.json"), 2, "absent.json: No such file"),
        (("resolve", "job_1", "x", "-"), 2, "'x' is no whole number from 0 on"),
        (("get", "job_1", "--run", "0"), 2, "'0' is no whole number from 1 on"),
        (
            ("submit", "a.json", "--dry-run", "--items", "-"),
            2,
            "--dry-run checks a job with its items",
        ),
    ],
)
def test_mistakes_are_told_in_a_line(
    cli: Cli, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = cli.run(*arguments)

    assert done.returncode == code
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_a_limit_may_be_larger_than_anything(cli: Cli) -> None:
    assert cli.run("list", "--limit", "9" * 5000).returncode == 0


def test_a_job_whose_items_are_sent_later_is_not_waited_for(cli: Cli, tmp_path: Path) -> None:
    job = tmp_path / "job.json"
    job.write_text('{"name": "sent later", "source": "upload", "processor": "double"}')

    done = cli.run("submit", str(job))

    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "with --items FILE, or submit it with --no-wait" in done.stderr
    assert "sent later" not in cli.run("list").stdout

    (submitted,) = cli.objects("submit", str(job), "--no-wait")

    assert submitted["state"] == "receiving"
    assert cli.run("cancel", submitted["id"]).returncode == 0


def test_without_a_command_the_help_is_shown(cli: Cli) -> None:
    done = cli.run()

    assert done.returncode == 0
    assert "submit" in done.stdout
