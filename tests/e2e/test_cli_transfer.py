"""The command line with files: items sent from one, results written to one, a job removed."""

import csv
import gzip
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest

from fanfold.devstack.running import RunningStack
from tests.e2e.test_cli import Cli, is_asking
from tests.unit.gateway_double import Answer, serving
from tests.waiting import eventually

COUNT: dict[str, Any] = {
    "processor": "count_by",
    "options": {"field": "country"},
    "reducer": "merge_counts",
    "chunk_size": 2,
}
AIRPORTS = [{"iata": "HEL", "country": "FI"}, {"iata": "ARN", "country": "SE"}] * 3
EXPECTED = {"FI": 3, "SE": 3}


@pytest.fixture
def cli(stack: RunningStack, tmp_path: Path) -> Cli:
    return Cli(stack.url, tmp_path)


def written(directory: Path, name: str) -> Path:
    """The airports in a file of this name, in the format that the name tells."""
    path = directory / name
    texts = {
        ".ndjson": "".join(json.dumps(airport) + "\n" for airport in AIRPORTS),
        ".json": json.dumps(AIRPORTS),
        ".csv": "iata,country\n" + "".join(f"{a['iata']},{a['country']}\n" for a in AIRPORTS),
    }
    text = texts[Path(name.removesuffix(".gz")).suffix].encode()
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return path


@pytest.mark.parametrize("name", ["a.ndjson", "a.ndjson.gz", "a.csv", "a.csv.gz", "a.json"])
def test_items_are_sent_from_a_file(cli: Cli, tmp_path: Path, name: str) -> None:
    done = cli.submit(COUNT, "--items", str(written(tmp_path, name)), "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["result"] == EXPECTED
    assert name in done.stderr  # the progress bar of the file


@pytest.mark.parametrize("name", ["a.ndjson", "a.ndjson.gz", "a.csv", "a.csv.gz", "a.json"])
@pytest.mark.parametrize("source", ["standard input", "a name that tells nothing"])
def test_items_come_from_standard_input_and_from_any_file(
    cli: Cli, tmp_path: Path, name: str, source: str
) -> None:
    path = written(tmp_path, name)
    options = [] if "ndjson" in name else ["--items-format", path.suffixes[0][1:]]
    if source == "standard input":
        with path.open("rb") as stdin:
            job = cli.written(COUNT)
            done = cli.run("submit", job, "--items", "-", *options, "--json", stdin=stdin)
    else:
        unnamed = path.rename(tmp_path / "export.dat")
        options = options or ["--items-format", "ndjson"]
        done = cli.submit(COUNT, "--items", str(unnamed), *options, "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["result"] == EXPECTED


def test_items_from_standard_input_are_sent_as_they_come_and_never_all_held(
    tmp_path: Path,
) -> None:
    line = json.dumps("x" * 65_000) + "\n"
    with serving(lambda _: Answer(422, {"detail": "seen", "code": "seen"})) as server:
        cli = Cli(server.url, tmp_path)
        sending = cli.started("submit", cli.written(COUNT), "--items", "-", stdin=subprocess.PIPE)
        assert sending.stdin is not None
        for _ in range(3000):
            sending.stdin.write(line)
        held_bytes = psutil.Process(sending.pid).memory_info().rss
        _, err = sending.communicate(timeout=60)

        assert "seen" in err
        assert sending.returncode == 1
        assert server.asked[0].body.count(line.encode()) == 3000
        assert held_bytes < 120 * 1024 * 1024 < 3000 * len(line)


def test_ctrl_c_while_items_are_sent_says_that_the_job_may_not_be_there(cli: Cli) -> None:
    sending = cli.started("submit", cli.written(COUNT), "--items", "-", stdin=subprocess.PIPE)
    assert sending.stdin is not None
    sending.stdin.write("[1]\n")
    sending.stdin.flush()
    eventually(lambda: is_asking(sending), what="it sends")

    sending.send_signal(signal.SIGINT)
    _, err = sending.communicate(timeout=30)

    assert sending.returncode == 130
    assert "interrupted before the gateway answered; `fanfold list` shows" in err
    assert "Traceback" not in err


def test_items_come_from_a_pipe_with_a_name(cli: Cli, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    sending = cli.started(
        "submit", cli.written(COUNT), "--items", str(pipe), "--items-format", "csv", "--json"
    )
    pipe.write_bytes(written(tmp_path, "a.csv").read_bytes())
    out, err = sending.communicate(timeout=60)

    assert sending.returncode == 0, err
    assert json.loads(out)["result"] == EXPECTED


def test_a_bad_line_is_told_with_its_number(cli: Cli, tmp_path: Path) -> None:
    path = written(tmp_path, "a.ndjson")
    path.write_text(path.read_text() + "{not json\n")

    done = cli.submit(COUNT, "--items", str(path))

    assert done.returncode == 1
    assert "line 7" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_of_items_that_is_not_there_is_told(cli: Cli, tmp_path: Path) -> None:
    done = cli.submit(COUNT, "--items", str(tmp_path / "absent.csv"))

    assert done.returncode == 2
    assert "absent.csv: No such file" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "has no items; give them with --items FILE, or with --items - from standard input"),
        (("--items", "{items}"), "say so with --items-format: ndjson, csv, json"),
        (("--items", "-", "--items-format", "xml"), "'xml' is not one of 'ndjson', 'csv', 'json'"),
    ],
)
def test_a_job_whose_items_cannot_be_told_is_not_sent(
    tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    items = written(tmp_path, "a.csv").rename(tmp_path / "export")
    with serving(lambda _: Answer(500)) as server:
        cli = Cli(server.url, tmp_path)

        done = cli.submit(COUNT, *(option.format(items=items) for option in options))

        assert server.asked == []
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_job_and_its_items_cannot_both_be_standard_input(cli: Cli) -> None:
    done = cli.run("submit", "-", "--items", "-", input="{}")

    assert done.returncode == 2
    assert "cannot both be standard input" in done.stderr


def test_results_are_written_to_a_file_as_csv(cli: Cli, tmp_path: Path) -> None:
    job = json.loads(cli.submit(COUNT | {"items": AIRPORTS}, "--json").stdout)
    path = tmp_path / "out" / "results.csv"
    path.parent.mkdir()

    done = cli.run("results", job["id"], "--format", "csv", "--output", str(path))

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["index"], row["FI"], row["SE"]) for row in rows] == [
        (str(index), "1", "1") for index in range(3)
    ]
    assert [each.name for each in path.parent.iterdir()] == ["results.csv"]
    named = cli.run("results", job["id"], "--format", "csv", "--columns", "SE").stdout
    assert named.splitlines()[0] == "index,item,state,error,SE"


def test_of_results_that_do_not_come_no_file_is_left(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "out" / "results.ndjson"
    path.parent.mkdir()
    path.write_text("of before")

    done = cli.run("results", "job_nothing", "--output", str(path))

    assert done.returncode == 1
    assert [each.name for each in path.parent.iterdir()] == ["results.ndjson"]
    assert path.read_text() == "of before"


def test_a_file_that_cannot_be_written_is_told(cli: Cli, tmp_path: Path) -> None:
    done = cli.run("results", "job_nothing", "--output", str(tmp_path / "absent" / "a.csv"))

    assert done.returncode == 1
    assert "No such file" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_finished_job_is_purged(cli: Cli) -> None:
    job = json.loads(cli.submit(COUNT | {"items": AIRPORTS}, "--json").stdout)

    assert cli.run("purge", job["id"]).returncode == 0

    again = cli.run("purge", job["id"])
    assert again.returncode == 1
    assert "job_not_found" in again.stderr
