"""Steering and repairing jobs from the command line, on a real stack."""

import csv
import io
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fanfold.devstack.running import RunningStack
from tests.e2e.journeys import begun, get
from tests.e2e.test_cli import Cli
from tests.waiting import eventually

PRICES: dict[str, Any] = {
    "items": [
        {"sku": "tea", "price": 3.5},
        {"sku": "cup", "price": "12.50"},
        {"sku": "pot", "price": 31},
        {"sku": "jar", "price": "four"},
    ],
    "item_key": "sku",
    "processor": "validate",
    "options": {"rules": [{"field": "price", "type": "number"}]},
    "reducer": "merge",
}
IN_PAIRS = PRICES | {"chunk_size": 2}
HELD = PRICES | {"chunk_size": 1, "on_failure": "hold"}
CORRECTED = {"cup": {"sku": "cup", "price": 12.5}, "jar": {"sku": "jar", "price": 4}}


@pytest.fixture
def cli(stack: RunningStack, tmp_path: Path) -> Cli:
    return Cli(stack.url, tmp_path)


def submitted(cli: Cli, job: dict[str, Any], *options: str) -> str:
    done = cli.submit(job, "--json", *options)
    assert done.stdout, done.stderr
    job_id: str = json.loads(done.stdout)["id"]
    return job_id


def gated(gate: Path, chunks: int, **job: Any) -> dict[str, Any]:
    options = {"directory": str(gate)}
    return {
        "items": list(range(chunks)),
        "chunk_size": 1,
        "processor": "gated",
        "options": options,
        "max_concurrency": 1,
        "reducer": "sum",
        **job,
    }


def is_in(api: httpx.Client, job_id: str, state: str) -> None:
    eventually(lambda: get(api, job_id)["state"] == state, what=f"{job_id} is {state}")


def test_a_paused_job_begins_nothing_until_it_is_resumed(
    cli: Cli, api: httpx.Client, gate: Path, execution: str
) -> None:
    job_id = submitted(cli, gated(gate, 3, execution=execution), "--no-wait")
    eventually(lambda: begun(gate), what="it runs")

    assert f"{job_id} paused" in cli.run("pause", job_id).stdout
    assert f"{job_id} paused" in cli.run("pause", job_id).stdout
    (gate / "open").touch()
    eventually(lambda: get(api, job_id)["chunks"]["succeeded"] == 1, what="one finishes")

    assert get(api, job_id)["state"] == "paused"
    assert len(begun(gate)) == 1
    assert cli.run("resume", job_id).returncode == 0
    assert cli.run("watch", job_id).returncode == 0
    assert len(begun(gate)) == 3


def test_what_is_not_paused_cannot_be_resumed(cli: Cli) -> None:
    job_id = submitted(cli, PRICES)

    resumed, paused = cli.run("resume", job_id), cli.run("pause", job_id)

    assert (resumed.returncode, paused.returncode) == (1, 1)
    assert "(job_not_paused)" in resumed.stderr
    assert "(job_already_finished)" in paused.stderr


def test_watching_a_paused_job_says_once_how_to_resume_it(
    cli: Cli, api: httpx.Client, gate: Path
) -> None:
    job_id = submitted(cli, gated(gate, 2), "--no-wait")
    cli.run("pause", job_id)
    watching = cli.started("watch", job_id)
    told = line_of(watching, "The job is paused")
    (gate / "open").touch()

    command = re.search(r"fanfold (resume job_\w+)$", told)
    assert command is not None, told
    assert cli.run(*command[1].split()).returncode == 0
    _, err = watching.communicate(timeout=60)

    assert watching.returncode == 0
    assert "The job is paused" not in err
    assert get(api, job_id)["state"] == "succeeded"


def line_of(process: "subprocess.Popen[str]", words: str) -> str:
    """The first line on standard error that has these words."""
    assert process.stderr is not None
    return next(line.strip() for line in process.stderr if words in line)


def test_limits_names_and_labels_are_changed_and_taken_away(cli: Cli, gate: Path) -> None:
    job = gated(gate, 3, name="before", labels={"old": "x", "kept": "y"}, max_per_second=5)
    job_id = submitted(cli, job, "--no-wait")

    (job,) = cli.objects(
        *("set", job_id, "--max-concurrency", "7", "--max-per-second", "none"),
        *("--priority", "1", "--deadline", "3600", "--name", "after", "--retention-hours", "2"),
        *("--tolerated-failures", '{"count": 1}', "--label", "new:z", "--remove-label", "old"),
    )

    assert {name: job[name] for name in ("max_concurrency", "max_per_second", "priority")} == {
        "max_concurrency": 7,
        "max_per_second": None,
        "priority": 1,
    }
    assert (job["deadline_seconds"], job["name"], job["retention_hours"]) == (3600, "after", 2)
    assert job["tolerated_failures"]["count"] == 1
    assert job["labels"] == {"kept": "y", "new": "z"}
    (again,) = cli.objects("set", job_id, "--deadline", "none", "--priority", "none")
    assert (again["deadline_seconds"], again["priority"]) == (None, 3)


def test_a_change_that_cannot_be_is_refused(cli: Cli) -> None:
    job_id = submitted(cli, PRICES)

    done = cli.run("set", job_id, "--max-concurrency", "2")

    assert (done.returncode, done.stdout) == (1, "")
    assert "(job_already_finished)" in done.stderr
    assert cli.run("set", job_id, "--name", "afterwards").returncode == 0


def test_one_child_is_cancelled_and_the_others_go_on(cli: Cli, gate: Path) -> None:
    job_id = submitted(cli, gated(gate, 3), "--no-wait")
    eventually(lambda: begun(gate), what="it runs")

    shown = cli.run("cancel-child", job_id, "2").stdout
    (gate / "open").touch()
    done = cli.run("watch", job_id, "--json")

    assert shown.startswith(f"child 2 of {job_id}: cancelled\n")
    assert json.loads(done.stdout)["chunks"]["succeeded"] == 2
    assert json.loads(done.stdout)["result"] == 2
    refused = cli.run("cancel-child", job_id, "0")
    assert "(child_already_finished)" in refused.stderr


def test_a_drained_job_finishes_what_is_in_flight(cli: Cli, api: httpx.Client, gate: Path) -> None:
    job_id = submitted(cli, gated(gate, 3), "--no-wait")
    eventually(lambda: begun(gate), what="it runs")

    assert "cancelling" in cli.run("cancel", job_id, "--drain").stdout
    (gate / "open").touch()
    done = cli.run("watch", job_id)

    assert done.returncode == 5
    chunks = get(api, job_id)["chunks"]
    assert (chunks["succeeded"], chunks["cancelled"]) == (1, 2)


def test_failures_are_those_of_http_and_their_values_are_what_was_submitted(
    cli: Cli, api: httpx.Client, tmp_path: Path
) -> None:
    job_id = submitted(cli, IN_PAIRS)

    lines = [json.loads(line) for line in cli.run("failures", job_id).stdout.splitlines()]
    values = cli.run("failures", job_id, "--values-only").stdout
    table = tmp_path / "failed.csv"
    written = cli.run("failures", job_id, "--format", "csv", "--output", str(table))

    assert [(line["index"], line["item"], line["key"]) for line in lines] == [
        (0, 1, "cup"),
        (1, 1, "jar"),
    ]
    assert {line["error"]["type"] for line in lines} == {"ValidationError"}
    http = api.get(f"/jobs/{job_id}/failures").text
    assert lines == [json.loads(line) for line in http.splitlines()]
    assert [json.loads(line) for line in values.splitlines()] == [
        PRICES["items"][1],
        PRICES["items"][3],
    ]
    assert written.returncode == 0, written.stderr
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert [(row["index"], row["item"], row["sku"]) for row in rows] == [
        ("0", "1", "cup"),
        ("1", "1", "jar"),
    ]


def test_the_values_that_failed_are_a_job_of_their_own(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "again.ndjson"
    job_id = submitted(cli, IN_PAIRS)
    cli.run("failures", job_id, "--values-only", "--output", str(file))

    done = cli.submit({"processor": "transform"}, "--items", str(file), "--json")

    assert json.loads(done.stdout)["items"] == {"total": 2, "succeeded": 2, "failed": 0}


def corrected(text: str) -> Iterator[str]:
    for line in text.splitlines():
        failed = json.loads(line)
        yield json.dumps(failed | {"value": CORRECTED[failed["key"]]})


def test_what_failed_is_corrected_and_run_again(cli: Cli) -> None:
    job_id = submitted(cli, IN_PAIRS)
    lines = "\n".join(corrected(cli.run("failures", job_id).stdout))

    done = cli.run("redrive", job_id, "--corrections", "-", input=lines)

    assert done.returncode == 0, done.stderr
    assert f"{job_id} succeeded, run 2" in done.stdout
    assert "4/4" in done.stderr  # the progress bar
    (job,) = cli.objects("get", job_id)
    assert [item["price"] for item in job["result"]] == [3.5, 12.5, 31, 4]
    (first,) = cli.objects("get", job_id, "--run", "1")
    assert (first["state"], first["run"]) == ("partially_succeeded", 1)
    assert "(run_not_found)" in cli.run("get", job_id, "--run", "3").stderr
    assert cli.run("failures", job_id).stdout == ""


def test_only_what_is_selected_runs_again_and_with_what_has_changed(cli: Cli) -> None:
    job_id = submitted(cli, IN_PAIRS)
    options = json.dumps({"rules": [{"field": "price", "required": True}]})

    done = cli.run("redrive", job_id, "--index", "1", "--options", options, "--json")

    assert done.returncode == 3, done.stderr
    assert json.loads(done.stdout)["items"] == {"total": 4, "succeeded": 3, "failed": 1}
    assert [child["run"] for child in cli.objects("children", job_id)] == [1, 2]
    nothing = cli.run("redrive", job_id, "--error-type", "ConnectionError")
    assert (nothing.returncode, "(nothing_selected)" in nothing.stderr) == (1, True)


def test_the_same_key_is_the_same_run(cli: Cli) -> None:
    job_id = submitted(cli, IN_PAIRS)

    runs = [cli.objects("redrive", job_id, "--no-wait", "--key", job_id)[0]["run"] for _ in "12"]

    assert runs == [2, 2]


def test_a_correction_of_an_item_that_is_not_there_is_named_by_its_line(cli: Cli) -> None:
    job_id = submitted(cli, IN_PAIRS)
    lines = "\n" + json.dumps({"index": 0, "item": 7, "value": 1})

    done = cli.run("redrive", job_id, "--corrections", "-", input=lines)

    assert done.returncode == 1
    assert "/corrections/0 is line 2 of standard input" in done.stderr
    assert cli.objects("get", job_id)[0]["run"] == 1


def test_every_failed_attempt_is_shown(cli: Cli) -> None:
    retry = {"max_attempts": 3, "initial_interval_seconds": 0.01}
    job = {"items": [1], "processor": "double", "options": {"fail_attempts": 2}, "retry": retry}
    job_id = submitted(cli, job)

    attempts = cli.objects("attempts", job_id, "0")

    assert [(each["number"], each["state"]) for each in attempts] == [
        (1, "failed"),
        (2, "failed"),
        (3, "succeeded"),
    ]
    table = cli.run("attempts", job_id, "0")
    assert table.stdout.count("failed") >= 2
    assert table.stderr == ""
    assert "(child_not_found)" in cli.run("attempts", job_id, "9").stderr


def test_what_is_held_is_corrected_resolved_or_given_up(
    cli: Cli, api: httpx.Client, execution: str
) -> None:
    job_id = submitted(cli, HELD | {"execution": execution}, "--no-wait")
    is_in(api, job_id, "waiting")
    held = cli.objects("children", job_id, "--state", "held")
    cup, jar = corrected(cli.run("failures", job_id).stdout)

    redriven = cli.run(
        *("redrive", job_id, "--index", "1", "--corrections", "-", "--no-wait"), input=cup
    )
    resolved = cli.run("resolve", job_id, "3", "-", input=f"[{json.dumps(CORRECTED['jar'])}]")
    done = cli.run("watch", job_id, "--json")

    assert jar
    assert [child["index"] for child in held] == [1, 3]
    assert redriven.returncode == resolved.returncode == 0, redriven.stderr + resolved.stderr
    assert "  result given by: client" in resolved.stdout.splitlines()
    job = json.loads(done.stdout)
    assert (job["state"], job["run"]) == ("succeeded", 1)
    assert [item["price"] for item in job["result"]] == [3.5, 12.5, 31, 4]
    assert "(child_not_held)" in cli.run("resolve", job_id, "0", "-", input="1").stderr
    assert "(job_not_waiting)" in cli.run("release", job_id).stderr


def test_what_is_given_up_has_failed(cli: Cli, api: httpx.Client) -> None:
    job_id = submitted(cli, HELD, "--no-wait")
    is_in(api, job_id, "waiting")

    watching = cli.started("watch", job_id)
    told = line_of(watching, "The job waits for you: 2 chunks are held.")
    command = re.search(r"fanfold (release job_\w+)$", told)
    assert command is not None, told
    assert cli.run(*command[1].split()).returncode == 0
    watching.communicate(timeout=60)

    assert watching.returncode == 3
    assert get(api, job_id)["chunks"]["failed"] == 2


def test_a_dry_run_says_how_a_job_is_cut_and_records_nothing(cli: Cli, api: httpx.Client) -> None:
    job = cli.written(IN_PAIRS | {"labels": {"dry": "run"}})

    (plan,) = cli.objects("submit", job, "--dry-run")
    refused = cli.submit(IN_PAIRS | {"chunk_sise": 2}, "--dry-run")

    assert (plan["valid"], plan["chunks"], plan["items"]) == (True, 2, 4)
    assert (refused.returncode, "/chunk_sise" in refused.stderr) == (1, True)
    assert api.get("/jobs?label=dry:run").json()["jobs"] == []


def test_a_job_says_by_which_rule_it_was_stopped_and_where(cli: Cli) -> None:
    job = {
        "items": [1, 2, 4, 6, 8],
        "chunk_size": 1,
        "max_concurrency": 1,
        "processor": "double",
        "options": {"fail_if_divisible_by": 2},
        "retry": {"max_attempts": 1},
        "tolerated_failures": {"consecutive": 1},
    }

    done = cli.submit(job)

    assert done.returncode == 4
    assert re.search(r"ToleranceExceeded: .*\(rule: consecutive, at chunk 2\)", done.stdout)
