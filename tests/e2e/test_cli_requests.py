"""What the commands that steer and repair send, and show, against a server that answers as told."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_cli import Cli
from tests.unit.gateway_double import Answer, Asked, Server, serving
from tests.unit.test_client import a_child, a_job
from tests.unit.test_client_steering import FAILURE, failed_line, sent
from tests.waiting import eventually


class Gateway:
    """Answers in the order given, and the last one for ever."""

    def __init__(self, server: Server, answers: list[Answer]) -> None:
        self.asked, self.url, self._answers = server.asked, server.url, answers

    def answers(self, *answers: Answer) -> None:
        self._answers[:] = answers


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    answers: list[Answer] = []

    def answer(_: Asked) -> Answer:
        return answers.pop(0) if len(answers) > 1 else answers[0]

    with serving(answer) as server:
        yield Gateway(server, answers)


@pytest.fixture
def cli(gateway: Gateway, tmp_path: Path) -> Cli:
    return Cli(gateway.url, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "state", "expected"),
    [
        (("pause", "job_1"), "paused", ("POST", "/jobs/job_1/pause", None)),
        (("resume", "job_1"), "running", ("POST", "/jobs/job_1/resume", None)),
        (("release", "job_1"), "running", ("POST", "/jobs/job_1/release", None)),
        (("cancel", "job_1"), "cancelling", ("DELETE", "/jobs/job_1", None)),
        (
            ("cancel", "job_1", "--drain"),
            "cancelling",
            ("DELETE", "/jobs/job_1?drain=true", None),
        ),
        (("get", "job_1", "--run", "1"), "failed", ("GET", "/jobs/job_1?run=1", None)),
        (
            (
                *("set", "job_1", "--max-concurrency", "10", "--max-per-second", "0.5"),
                *("--priority", "1", "--deadline", "60", "--name", "slower"),
            ),
            "running",
            (
                "PATCH",
                "/jobs/job_1",
                {
                    "max_concurrency": 10,
                    "max_per_second": 0.5,
                    "priority": 1,
                    "deadline_seconds": 60,
                    "name": "slower",
                },
            ),
        ),
        (
            (
                *("set", "job_1", "--max-per-second", "none", "--name", "none"),
                *("--tolerated-failures", '{"percent": 5}', "--retention-hours", "none"),
            ),
            "running",
            (
                "PATCH",
                "/jobs/job_1",
                {
                    "max_per_second": None,
                    "name": None,
                    "tolerated_failures": {"percent": 5},
                    "retention_hours": None,
                },
            ),
        ),
        (
            ("set", "job_1", "--label", "team:data", "--label", "a:", "--remove-label", "old"),
            "running",
            ("PATCH", "/jobs/job_1", {"labels": {"team": "data", "a": "", "old": None}}),
        ),
    ],
)
def test_a_control_is_one_request_and_shows_the_job(
    cli: Cli, gateway: Gateway, arguments: tuple[str, ...], state: str, expected: Any
) -> None:
    gateway.answers(Answer(202, a_job(state=state, run=2)))

    done = cli.run(*arguments)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"job_1 {state}, run 2\n")
    assert [sent(asked) for asked in gateway.asked] == [expected]
    assert cli.objects(*arguments) == [a_job(state=state, run=2)]


def test_one_child_is_cancelled(cli: Cli, gateway: Gateway) -> None:
    gateway.answers(Answer(202, a_child(7, state="cancelled", run=2, result=None)))

    done = cli.run("cancel-child", "job_1", "7")

    assert done.stdout.splitlines()[:2] == [
        "child 7 of job_1: cancelled",
        "  items: 1, attempts: 1, run: 2",
    ]
    assert sent(gateway.asked[0]) == ("DELETE", "/jobs/job_1/children/7", None)


@pytest.mark.parametrize("source", ["file", "-"])
def test_a_held_child_is_given_its_result(
    cli: Cli, gateway: Gateway, tmp_path: Path, source: str
) -> None:
    gateway.answers(Answer(200, a_child(7, resolved_by="client", result=[{"n": 1}])))
    text = '[{"n": 1}]\n'
    file = tmp_path / "result.json"
    file.write_text(text)

    done = cli.run("resolve", "job_1", "7", str(file) if source == "file" else "-", input=text)

    assert done.returncode == 0, done.stderr
    assert "  result given by: client" in done.stdout.splitlines()
    assert sent(gateway.asked[0]) == ("PUT", "/jobs/job_1/children/7/result", [{"n": 1}])


def test_a_result_that_is_no_json_is_not_sent(cli: Cli, gateway: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    file.write_text("{\n  'n': 1}")

    done = cli.run("resolve", "job_1", "7", str(file))

    assert (done.returncode, done.stdout, gateway.asked) == (2, "", [])
    assert done.stderr == (
        f"fanfold resolve: {file}: not JSON: line 2, column 3: text stands in single quotes: "
        "JSON wants double quotes\n"
    )


def test_attempts_are_a_table_which_says_what_is_not_kept(cli: Cli, gateway: Gateway) -> None:
    times = {"started_at": "2026-11-21T20:12:00.000Z", "finished_at": "2026-11-21T20:12:01.500Z"}
    lost = {"started_at": None, "finished_at": None}
    attempts = [
        {"run": 1, "stage": 0, "number": 3, "state": "failed", "error": FAILURE, **lost},
        {"run": 2, "stage": 0, "number": 4, "state": "succeeded", "error": None, **times},
    ]
    gateway.answers(Answer(200, {"attempts": attempts, "omitted": 2}))

    done = cli.run("attempts", "job_1", "7")

    rows = [line.split("│")[1:-1] for line in done.stdout.splitlines() if "│" in line]
    cells = [[cell.strip() for cell in row] for row in rows if row[0].strip()]
    assert [row[:4] for row in cells] == [["1", "0", "3", "failed"], ["2", "0", "4", "succeeded"]]
    assert cells[1][4:6] == ["20:12:00", "1.500"]
    assert "ValidationError" in done.stdout
    assert done.stderr == "2 earlier attempts are not kept.\n"
    assert cli.objects("attempts", "job_1", "7") == attempts
    assert gateway.asked[0].path == "/jobs/job_1/children/7/attempts"


def test_failures_are_streamed_whole_or_as_their_values(
    cli: Cli, gateway: Gateway, tmp_path: Path
) -> None:
    lines = [failed_line(0, 1, {"price": "ü", "n": 10**30}), failed_line(2, 0, None)]
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    gateway.answers(Answer(raw=body))

    whole = cli.run("failures", "job_1")
    values = cli.run("failures", "job_1", "--values-only")
    file = tmp_path / "failed.ndjson"
    cli.run("failures", "job_1", "--values-only", "--output", str(file))

    assert whole.stdout.encode() == body
    assert values.stdout == file.read_text()
    assert values.stdout.splitlines() == ['{"price": "ü", "n": 1' + 30 * "0" + "}", "null"]


def test_failures_as_csv_have_no_values_alone(cli: Cli, gateway: Gateway) -> None:
    gateway.answers(Answer(raw=b"index,item\r\n"))

    assert cli.run("failures", "job_1", "--format", "csv").stdout == "index,item\n"
    assert gateway.asked[0].path == "/jobs/job_1/failures?format=csv"
    done = cli.run("failures", "job_1", "--format", "csv", "--values-only")
    assert (done.returncode, len(gateway.asked)) == (2, 1)
    assert "--values-only gives NDJSON; leave --format out" in done.stderr


def test_a_redrive_sends_what_is_asked_for_and_exits_as_the_job_ends(
    cli: Cli, gateway: Gateway
) -> None:
    gateway.answers(
        Answer(202, a_job(run=2)), Answer(200, a_job(state="partially_succeeded", run=2))
    )

    done = cli.run(
        *("redrive", "job_1", "--state", "failed", "--state", "cancelled"),
        *("--error-type", "ValueError", "--index", "3", "--index", "4"),
        *("--processor", "double", "--options", "{}", "--retry", '{"max_attempts": 5}'),
        *("--chunk-timeout", "1.5", "--max-concurrency", "2", "--max-per-second", "7"),
        *("--tolerated-failures", "null", "--key", "mine"),
    )

    assert done.returncode == 3, done.stderr
    assert "job_1 partially_succeeded, run 2" in done.stdout
    assert sent(gateway.asked[0]) == (
        "POST",
        "/jobs/job_1/redrive",
        {
            "select": {
                "states": ["failed", "cancelled"],
                "error_types": ["ValueError"],
                "indexes": [3, 4],
            },
            "processor": "double",
            "options": {},
            "retry": {"max_attempts": 5},
            "chunk_timeout_seconds": 1.5,
            "max_concurrency": 2,
            "max_per_second": 7,
            "tolerated_failures": None,
        },
    )
    assert gateway.asked[0].headers["idempotency-key"] == "mine"


def test_a_redrive_need_not_be_waited_for(cli: Cli, gateway: Gateway) -> None:
    gateway.answers(Answer(202, a_job(run=2)))

    done = cli.run("redrive", "job_1", "--no-wait", "--json")

    assert (done.returncode, json.loads(done.stdout)["run"]) == (0, 2)
    assert [sent(asked) for asked in gateway.asked] == [("POST", "/jobs/job_1/redrive", {})]


CORRECTIONS = [failed_line(3, 1, {"price": 2}, key="c"), failed_line(4, 0, None)]


@pytest.mark.parametrize("source", ["file", "-"])
def test_corrections_are_lines_of_failures(
    cli: Cli, gateway: Gateway, tmp_path: Path, source: str
) -> None:
    gateway.answers(Answer(202, a_job(run=2)))
    text = "\n\n".join(json.dumps(line) for line in CORRECTIONS)
    file = tmp_path / "corrected.ndjson"
    file.write_text(text)

    place = str(file) if source == "file" else "-"
    done = cli.run("redrive", "job_1", "--no-wait", "--corrections", place, input=text)

    assert done.returncode == 0, done.stderr
    assert sent(gateway.asked[0])[2] == {"corrections": CORRECTIONS}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there are no corrections in it"),
        (
            '\n{"index": 0, "item": 1, value: 2}',
            "line 2, column 25: the name of a field has to stand in double quotes",
        ),
        ('{"price": 2}', "line 1: 'index' is missing (lines are like those of fanfold failures)"),
        ("[1]", "line 1: must be an object, not an array"),
        ('{"index": true, "item": 1, "value": 2}', "line 1: 'index' must be a whole number"),
        ('{"index": 0, "item": -1, "value": 2}', "line 1: 'item' must be a whole number from 0"),
        ('{"index": 0, "item": 0}', "line 1: 'value' is missing"),
        (
            '{"index": 5, "item": 2, "value": 1}\n{"index": 5, "item": 2, "value": 3}',
            "line 2: line 1 corrects the same item, 2 of chunk 5",
        ),
    ],
)
def test_a_line_that_is_no_correction_is_named_before_anything_is_sent(
    cli: Cli, gateway: Gateway, text: str, said: str
) -> None:
    done = cli.run("redrive", "job_1", "--corrections", "-", input=text)

    assert (done.returncode, done.stdout, gateway.asked) == (2, "", [])
    assert done.stderr.startswith(f"fanfold redrive: standard input: {said}")
    assert len(done.stderr.splitlines()) == 1


def test_a_correction_that_the_gateway_refuses_is_named_by_its_line(
    cli: Cli, gateway: Gateway
) -> None:
    fault = {"pointer": "/corrections/1/item", "message": "the chunk has 1 item"}
    problem = {
        "code": "invalid_job",
        "detail": "/corrections/1/item: the chunk has 1 item",
        "errors": [fault],
    }
    gateway.answers(Answer(422, problem))
    text = "\n\n".join(json.dumps(line) for line in CORRECTIONS)

    done = cli.run("redrive", "job_1", "--corrections", "-", input=text)

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "fanfold: /corrections/1/item: the chunk has 1 item (invalid_job)",
        "  /corrections/1 is line 3 of standard input",
    ]


def test_a_dry_run_submits_nothing(cli: Cli, gateway: Gateway) -> None:
    plan = {
        "valid": True,
        "chunks": 2,
        "items": 3,
        "execution": "activity",
        "largest_chunk_bytes": 40,
    }
    gateway.answers(Answer(200, plan))
    job = cli.written({"items": [1, 2, 3], "processor": "double"})

    done = cli.run("submit", job, "--dry-run")

    assert done.stdout.splitlines() == [
        "valid: 3 items in 2 chunks",
        "  execution: activity",
        "  largest chunk: 40 bytes",
        "  nothing was submitted",
    ]
    assert cli.objects("submit", job, "--dry-run") == [plan]
    assert {asked.path for asked in gateway.asked} == {"/jobs?validate_only=true"}


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("paused", "The job is paused; to let it go on: fanfold resume job_1"),
        (
            "waiting",
            (
                "The job waits for you: 2 chunks are held. What failed: fanfold failures job_1; "
                "to run it again: fanfold redrive job_1; to give it up: fanfold release job_1"
            ),
        ),
    ],
)
def test_watching_says_once_what_a_job_waits_for_and_goes_on(
    cli: Cli, gateway: Gateway, state: str, said: str
) -> None:
    chunks = {**a_job()["chunks"], "total": 2, "held": 2}
    still = Answer(200, a_job(state=state, chunks=chunks))
    gateway.answers(
        Answer(200, a_job()), still, still, still, Answer(200, a_job(state="cancelled"))
    )

    done = cli.run("watch", "job_1")

    assert done.returncode == 5
    assert [line for line in done.stderr.splitlines() if line.startswith("The job")] == [said]


def test_ctrl_c_while_a_redrive_is_waited_for_says_how_to_go_on(cli: Cli, gateway: Gateway) -> None:
    gateway.answers(Answer(202, a_job(run=2)))
    waiting = cli.started("redrive", "job_1")
    eventually(lambda: len(gateway.asked) > 1, what="it waits")

    waiting.send_signal(signal.SIGINT)
    out, err = waiting.communicate(timeout=30)

    assert (waiting.returncode, out) == (130, "")
    assert "the job goes on; to watch it again: fanfold watch job_1" in err
