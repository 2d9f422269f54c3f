"""The client steers and repairs jobs: what it sends, and how it reads what comes back."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from fanfold import (
    ChildState,
    Fanfold,
    FanfoldError,
    ItemState,
    Job,
    JobState,
    Refused,
    Unreachable,
)
from fanfold.client.errors import WaitTimeout
from tests.unit.either_client import Connect
from tests.unit.gateway_double import Answer, Asked, serving
from tests.unit.test_client import a_child, a_job, always, parameters

AT = "2026-11-21T20:12:00.123Z"
FAILURE = {"type": "ValidationError", "message": "no price", "retryable": False}


def sent(asked: Asked) -> tuple[str, str, Any]:
    return asked.method, asked.path, json.loads(asked.body) if asked.body else None


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda fanfold: fanfold.pause("job_1"), ("POST", "/jobs/job_1/pause", None)),
        (lambda fanfold: fanfold.resume("job_1"), ("POST", "/jobs/job_1/resume", None)),
        (lambda fanfold: fanfold.release("job_1"), ("POST", "/jobs/job_1/release", None)),
        (lambda fanfold: fanfold.cancel("job_1"), ("DELETE", "/jobs/job_1", None)),
        (
            lambda fanfold: fanfold.cancel("job_1", drain=True),
            ("DELETE", "/jobs/job_1?drain=true", None),
        ),
        (lambda fanfold: fanfold.get("job_1", run=1), ("GET", "/jobs/job_1?run=1", None)),
        (
            lambda fanfold: fanfold.update(
                "job_1", max_concurrency=5, max_per_second=None, labels={"team": "a", "old": None}
            ),
            (
                "PATCH",
                "/jobs/job_1",
                {
                    "max_concurrency": 5,
                    "max_per_second": None,
                    "labels": {"team": "a", "old": None},
                },
            ),
        ),
    ],
)
def test_a_control_is_one_request_and_gives_the_job(
    connect: Connect, call: Callable[[Fanfold], Job], expected: tuple[str, str, Any]
) -> None:
    with serving(always(a_job(state="paused"), 202)) as server, connect(server.url) as fanfold:
        job = call(fanfold)
    assert [sent(asked) for asked in server.asked] == [expected]
    assert (job.state, job.is_finished) == (JobState.PAUSED, False)


def test_changes_are_a_merge_patch(connect: Connect) -> None:
    with serving(always(a_job())) as server, connect(server.url) as fanfold:
        fanfold.update("job_1", priority=1)
    assert server.asked[0].headers["content-type"] == "application/merge-patch+json"


def test_one_child_is_cancelled_or_resolved_at_its_address(connect: Connect) -> None:
    answers = [
        Answer(202, a_child(7, state="cancelled")),
        Answer(200, a_child(7, resolved_by="client", run=2)),
        Answer(200, a_child(7)),
    ]
    with serving(lambda _: answers.pop(0)) as server, connect(server.url) as fanfold:
        assert fanfold.cancel_child("job_1", 7).state == "cancelled"
        resolved = fanfold.resolve_child("job_1", 7, [{"sku": "ü"}, None])
        fanfold.resolve_child("job_1", 7, None)
    assert (resolved.resolved_by, resolved.run) == ("client", 2)
    assert [sent(asked)[:2] for asked in server.asked] == [
        ("DELETE", "/jobs/job_1/children/7"),
        ("PUT", "/jobs/job_1/children/7/result"),
        ("PUT", "/jobs/job_1/children/7/result"),
    ]
    assert [json.loads(asked.body) for asked in server.asked[1:]] == [[{"sku": "ü"}, None], None]
    assert server.asked[1].headers["content-type"] == "application/json"


def test_a_redrive_without_anything_selects_nothing_by_itself(connect: Connect) -> None:
    with serving(always(a_job(run=2), 202)) as server, connect(server.url) as fanfold:
        assert fanfold.redrive("job_1").run == 2
    assert sent(server.asked[0]) == ("POST", "/jobs/job_1/redrive", {})
    assert server.asked[0].headers["content-type"] == "application/json"


def test_a_redrive_sends_its_selection_its_corrections_and_what_changes(connect: Connect) -> None:
    with serving(always(a_job(), 202)) as server, connect(server.url) as fanfold:
        fanfold.redrive(
            "job_1",
            states=["failed"],
            error_types={"ValidationError"},
            indexes=range(2),
            corrections=({"index": n, "item": 0, "value": {"n": n}} for n in range(2)),
            processor="double",
            options={"fail_attempts": 0},
            retry={"max_attempts": 5},
            max_per_second=0.5,
        )
    assert sent(server.asked[0])[2] == {
        "select": {"states": ["failed"], "error_types": ["ValidationError"], "indexes": [0, 1]},
        "corrections": [
            {"index": 0, "item": 0, "value": {"n": 0}},
            {"index": 1, "item": 0, "value": {"n": 1}},
        ],
        "processor": "double",
        "options": {"fail_attempts": 0},
        "retry": {"max_attempts": 5},
        "max_per_second": 0.5,
    }


def test_a_list_that_turned_out_empty_does_not_redrive_everything(connect: Connect) -> None:
    problem = {"code": "nothing_selected", "detail": "No chunk is selected."}
    with (
        serving(always(problem, 422)) as server,
        connect(server.url) as fanfold,
        pytest.raises(Refused, match="No chunk is selected"),
    ):
        fanfold.redrive("job_1", indexes=[])
    assert sent(server.asked[0])[2] == {"select": {"indexes": []}}


@pytest.mark.parametrize("given", [{"states": "failed"}, {"error_types": "ValueError"}])
def test_one_text_is_no_list_of_them(connect: Connect, given: dict[str, Any]) -> None:
    with (
        serving(always(a_job(), 202)) as server,
        connect(server.url) as fanfold,
        pytest.raises(TypeError, match=r"are a list, like \['"),
    ):
        fanfold.redrive("job_1", **given)
    assert server.asked == []


def test_a_redrive_whose_connection_breaks_is_sent_again_with_the_same_key(
    connect: Connect,
) -> None:
    answers = [Answer(None), Answer(None), Answer(202, a_job(run=2))]
    with serving(lambda _: answers.pop(0)) as server, connect(server.url) as fanfold:
        corrections = iter([{"index": 0, "item": 0, "value": 1}])
        assert fanfold.redrive("job_1", corrections=corrections).run == 2
    (key,) = {asked.headers["idempotency-key"] for asked in server.asked}
    assert len(key) >= 16
    assert [asked.body for asked in server.asked] == [server.asked[0].body] * 3


def test_redrives_have_keys_of_their_own_or_the_one_given(connect: Connect) -> None:
    with serving(always(a_job(), 202)) as server, connect(server.url) as fanfold:
        fanfold.redrive("job_1")
        fanfold.redrive("job_1")
        fanfold.redrive("job_1", idempotency_key="mine")
        with pytest.raises(FanfoldError, match="an idempotency key has 1 to 255"):
            fanfold.redrive("job_1", idempotency_key=" ")
    first, second, third = [asked.headers["idempotency-key"] for asked in server.asked]
    assert first != second
    assert third == "mine"


def test_other_controls_are_sent_once(connect: Connect) -> None:
    with serving(lambda _: Answer(None)) as server, connect(server.url) as fanfold:
        for call in (fanfold.pause, fanfold.resume, fanfold.release, fanfold.cancel):
            with pytest.raises(Unreachable):
                call("job_1")
    assert len(server.asked) == 4


def failed_line(index: int, item: int, value: Any, **more: Any) -> dict[str, Any]:
    return {"index": index, "item": item, "value": value, "error": FAILURE, **more}


def test_failures_are_streamed_as_objects(connect: Connect) -> None:
    lines = [failed_line(3, 1, {"id": "ü"}, key="ü"), failed_line(4, 0, None)]
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    with serving(lambda _: Answer(raw=body)) as server, connect(server.url) as fanfold:
        first, second = fanfold.failures("job_1")
    assert (first.index, first.item, first.key, first.value) == (3, 1, "ü", {"id": "ü"})
    assert first.error is not None
    assert first.error.type == "ValidationError"
    assert (second.key, second.value) == (None, None)
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("GET", "/jobs/job_1/failures?format=ndjson")
    assert asked.headers["accept-encoding"] == "gzip"


def test_failures_go_back_as_corrections(connect: Connect) -> None:
    lines = [failed_line(3, 1, {"price": "2"}, key="c-7")]
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    answers = [Answer(raw=body), Answer(202, a_job())]
    with serving(lambda _: answers.pop(0)) as server, connect(server.url) as fanfold:
        corrected = [
            failed.model_copy(update={"value": {"price": int(failed.value["price"])}})
            for failed in fanfold.failures("job_1")
        ]
        fanfold.redrive("job_1", corrections=corrected)
    assert sent(server.asked[1])[2] == {"corrections": [failed_line(3, 1, {"price": 2}, key="c-7")]}


def test_failures_as_csv_are_given_as_they_come(connect: Connect) -> None:
    text = b"index,item,error_type,error_message,sku\r\n"
    with serving(lambda _: Answer(raw=text)) as server, connect(server.url) as fanfold:
        assert b"".join(fanfold.failure_bytes("job_1", format="csv")) == text
    assert parameters(server.asked[0]) == [("format", "csv")]


def test_failures_that_break_off_are_not_taken_for_all_of_them(connect: Connect) -> None:
    line = json.dumps(failed_line(0, 0, 1)).encode()
    broken = Answer(raw=line + b'\n{"ind', promised_bytes=5000)
    with serving(lambda _: broken) as server, connect(server.url) as fanfold:
        failures = fanfold.failures("job_1")
        assert next(failures).value == 1
        with pytest.raises(Unreachable, match="broke off"):
            next(failures)


def test_attempts_are_read_with_how_many_are_not_kept(connect: Connect) -> None:
    attempts = [
        {
            "run": 1,
            "stage": 0,
            "number": 101,
            "state": "failed",
            "error": FAILURE | {"type": "WorkerLost"},
            "started_at": None,
            "finished_at": None,
        },
        {
            "run": 2,
            "stage": 0,
            "number": 102,
            "state": "succeeded",
            "error": None,
            "started_at": AT,
            "finished_at": AT,
        },
    ]
    answered = {"attempts": attempts, "omitted": 100}
    with serving(always(answered)) as server, connect(server.url) as fanfold:
        found = fanfold.attempts("job_1", 7)
    assert server.asked[0].path == "/jobs/job_1/children/7/attempts"
    assert found.omitted == 100
    lost, last = found.attempts
    assert lost.error is not None
    assert (lost.error.type, lost.started_at) == ("WorkerLost", None)
    assert (last.run, last.number, last.state) == (2, 102, "succeeded")
    assert found.model_dump(mode="json", exclude_unset=True) == answered


def test_a_dry_run_needs_no_key_and_says_what_would_be(connect: Connect) -> None:
    plan = {
        "valid": True,
        "chunks": 2,
        "items": 3,
        "execution": "workflow",
        "largest_chunk_bytes": 40,
    }
    answers = [Answer(None), Answer(200, plan)]
    with serving(lambda _: answers.pop(0)) as server, connect(server.url) as fanfold:
        found = fanfold.validate({"items": [1, 2, 3], "processor": "double"})
    assert (found.valid, found.chunks, found.items) == (True, 2, 3)
    assert {asked.path for asked in server.asked} == {"/jobs?validate_only=true"}
    assert "idempotency-key" not in server.asked[1].headers
    assert json.loads(server.asked[1].body)["items"] == [1, 2, 3]


def test_a_waiting_or_paused_job_is_waited_for_to_its_end(connect: Connect) -> None:
    states = ["running", "paused", "waiting", "running", "partially_succeeded"]
    seen: list[str] = []
    with (
        serving(lambda _: Answer(200, a_job(state=states.pop(0)))) as server,
        connect(server.url) as fanfold,
    ):
        job = fanfold.wait("job_1", on_progress=lambda job: seen.append(job.state))
    assert job.state == "partially_succeeded"
    assert seen == ["running", "paused", "waiting", "running", "partially_succeeded"]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("paused", "it is paused, 0 percent done, and goes on once it is resumed"),
        ("waiting", "and goes on once what is held is redriven, resolved or released"),
    ],
)
def test_a_wait_that_takes_too_long_says_what_the_job_waits_for(
    connect: Connect, state: str, words: str
) -> None:
    with (
        serving(always(a_job(state=state))) as server,
        connect(server.url) as fanfold,
        pytest.raises(WaitTimeout, match=words),
    ):
        fanfold.wait("job_1", timeout=0)


def test_what_is_held_is_not_finished() -> None:
    counts = {**a_job()["chunks"], "total": 3, "succeeded": 2, "held": 1}
    job = Job.model_validate(a_job(state="waiting", chunks=counts))
    assert job.state is JobState.WAITING
    assert not job.is_finished
    assert (job.chunks.held, job.chunks.finished) == (1, 2)
    assert ChildState("held") is ChildState.HELD
    assert ItemState("held") is ItemState.HELD


def test_a_job_says_by_which_rule_and_where_it_was_stopped() -> None:
    error = FAILURE | {"type": "ToleranceExceeded", "rule": "consecutive", "index": 17}
    job = Job.model_validate(a_job(state="failed", error=error, start_at=AT))
    assert job.error is not None
    assert (job.error.rule, job.error.index) == ("consecutive", 17)
    assert job.start_at is not None
    assert job.start_at.year == 2026
    plain = Job.model_validate(a_job(state="failed", error=FAILURE)).error
    assert plain is not None
    assert (plain.rule, plain.index) == (None, None)
