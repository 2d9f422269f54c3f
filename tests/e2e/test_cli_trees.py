"""Jobs made of jobs on the command line: the tree, its counts, and where its lines are from."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from fanfold.devstack.running import RunningStack
from tests.e2e.test_cli import Cli, is_asking
from tests.e2e.trees import PICKY, ended, in_states
from tests.waiting import eventually

TREE: dict[str, Any] = {
    **PICKY,
    "name": "stock",
    "reducer": "sum",
    "jobs": {
        "EU": {"jobs": {"FI": {"items": [1, 2], "chunk_size": 1}, "SE": {"items": [3]}}},
        "US": {"items": [4]},
    },
}


@pytest.fixture
def cli(stack: RunningStack, tmp_path: Path) -> Cli:
    return Cli(stack.url, tmp_path)


@pytest.fixture
def tree(api: httpx.Client) -> str:
    """The id of the tree above, once it has ended."""
    job_id: str = api.post("/jobs", json=TREE).json()["id"]
    ended(api, job_id)
    return job_id


def test_a_tree_that_is_waited_for_shows_how_its_jobs_stand(cli: Cli) -> None:
    done = cli.submit(TREE)

    assert done.returncode == 3, done.stderr
    assert "jobs:   0 of 2 succeeded, 1 partially succeeded, 1 failed" in done.stdout
    assert "items:  2 of 4 succeeded, 2 failed" in done.stdout
    assert "2 of 2 jobs" in done.stderr  # beside the progress bar
    assert "4/4" in done.stderr


def test_the_jobs_that_a_job_is_made_of_are_a_tree(cli: Cli, tree: str) -> None:
    done = cli.run("jobs", tree)

    assert done.returncode == 0, done.stderr
    header, *rows = done.stdout.splitlines()
    assert header.split() == ["job", "state", "items", "failed", "id"]
    assert [row.split()[:4] for row in rows] == [
        ["EU", "partially_succeeded", "3/3", "1"],
        ["FI", "partially_succeeded", "2/2", "1"],
        ["SE", "succeeded", "1/1", "0"],
        ["US", "failed", "1/1", "1"],
    ]
    assert [row.index(row.lstrip()[0]) for row in rows] == [0, 2, 2, 0]
    ids = [json.loads(line)["id"] for line in cli.run("jobs", tree, "--json").stdout.splitlines()]
    assert [row.split()[4] for row in rows] == ids


def test_where_there_is_room_the_tree_has_bars(
    cli: Cli, tree: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert "━" in cli.run("jobs", tree).stdout
    monkeypatch.setenv("COLUMNS", "80")
    assert "━" not in cli.run("jobs", tree).stdout


def test_what_is_not_shown_of_a_tree_is_said(cli: Cli, tree: str) -> None:
    some = cli.run("jobs", tree, "--limit", "2")
    assert [line.split()[0] for line in some.stdout.splitlines()[1:]] == ["EU", "FI"]
    assert "--limit 20" in some.stderr
    failed = cli.objects("jobs", tree, "--state", "failed")
    assert [job["path"] for job in failed] == ["US"]
    assert cli.run("jobs", tree, "--state", "waiting").stderr == (
        "The job has no sub-job in this state.\n"
    )
    leaf = failed[0]["id"]
    assert cli.run("jobs", leaf).stderr == "The job is not made of other jobs.\n"
    wrong = cli.run("jobs", tree, "--state", "skiped")
    assert wrong.returncode == 2
    assert "did you mean 'skipped'?" in wrong.stderr


def test_a_sub_job_says_what_it_is_a_part_of(cli: Cli, tree: str) -> None:
    _, part, *_ = cli.objects("jobs", tree)
    shown = cli.run("get", part["id"]).stdout
    assert f"path:   EU/FI, part of {part['parent']}" in shown
    whole = cli.run("get", tree).stdout
    assert f"(first: chunk 1, item 0 of {part['id']})" in whole


def test_children_and_items_of_a_tree_say_where_they_are_from(cli: Cli, tree: str) -> None:
    for command in ("children", "items"):
        table = cli.run(command, tree).stdout
        assert "path" in "".join(table.splitlines()[:3])
        assert "EU/FI" in table
        found = cli.objects(command, tree)
        assert [one["path"] for one in found][:3] == ["EU/FI", "EU/FI", "EU/SE"]
    _, part, *_ = cli.objects("jobs", tree)
    assert "path" not in cli.run("children", part["id"]).stdout
    lines = [json.loads(line) for line in cli.run("failures", tree).stdout.splitlines()]
    assert [line["path"] for line in lines] == ["EU/FI", "US"]
    wrong = cli.run("child", tree, "0")
    assert (wrong.returncode, "job_has_no_chunks" in wrong.stderr) == (1, True)


def test_a_line_of_the_failures_of_a_tree_corrects_the_job_that_it_names(
    cli: Cli, api: httpx.Client, tree: str, tmp_path: Path
) -> None:
    lines = [json.loads(line) for line in cli.run("failures", tree).stdout.splitlines()]
    corrected = {**next(line for line in lines if line["path"] == "US"), "value": 5}
    (tmp_path / "corrected.ndjson").write_text(json.dumps(corrected))
    file = str(tmp_path / "corrected.ndjson")
    _, other, *_ = cli.objects("jobs", tree)

    refused = cli.run("redrive", other["id"], "--corrections", file, "--index", "0")
    assert refused.returncode == 1
    assert "the item is of another job" in refused.stderr

    done = cli.run("redrive", corrected["job"], "--corrections", file)
    assert done.returncode == 0, done.stderr
    assert "result: 10" in done.stdout
    assert ended(api, tree)["result"] == 18


def test_a_dry_run_says_how_many_jobs_there_would_be(cli: Cli) -> None:
    assert "4 items in 4 chunks of 4 jobs" in cli.submit(TREE, "--dry-run").stdout


def test_who_watches_a_tree_is_told_where_it_needs_a_person(cli: Cli, api: httpx.Client) -> None:
    held = {**PICKY, "items": [2], "on_failure": "hold"}
    jobs = {"held": held, "done": {**PICKY, "items": [1]}}
    job_id = api.post("/jobs", json={"jobs": jobs}).json()["id"]
    in_states(api, job_id, held="waiting", done="succeeded")
    job = api.get(f"/jobs/{job_id}").json()
    assert (job["state"], job["jobs"]["waiting"], job["chunks"]["held"]) == ("running", 1, 1)
    watching = cli.started("watch", job_id)
    eventually(partial(is_asking, watching), what="it watches")
    part = cli.objects("jobs", job_id)[0]["id"]
    assert api.post(f"/jobs/{job_id}/release").json()["code"] == "job_not_waiting"

    released = cli.run("release", part)

    assert released.returncode == 0, released.stderr
    _, told = watching.communicate(timeout=60)
    assert watching.returncode == 3
    assert f"fanfold jobs {job_id}" in told
