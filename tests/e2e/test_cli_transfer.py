"""The command line with files: items sent from one, results written to one, a job removed."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from fanfold.devstack.running import RunningStack
from tests.e2e.test_cli import Cli

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
    assert "does not exist" in done.stderr


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
