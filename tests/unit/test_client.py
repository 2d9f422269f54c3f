"""The Python client against a real HTTP server that answers as it is told."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from fanfold import Fanfold, FanfoldError, Refused, Unreachable
from tests.unit.either_client import Connect
from tests.unit.gateway_double import Answer, Asked, serving


def a_job(job_id: str = "job_1", state: str = "running", **fields: Any) -> dict[str, Any]:
    counts = ("pending", "running", "succeeded", "failed", "cancelled")
    return {
        "id": job_id,
        "name": None,
        "state": state,
        "chunks": {"total": 0, **dict.fromkeys(counts, 0)},
        "items": {"total": 0, "succeeded": 0, "failed": 0},
        "success_rate": None,
        "progress": {"percent": 0.0, "chunks_per_second": None, "eta_seconds": None},
        "errors": [],
        "error": None,
        "labels": {},
        "created_at": "2026-11-21T20:12:00.123Z",
        "started_at": None,
        "finished_at": None,
        "links": {"self": "", "children": "", "results": "", "temporal_ui": None},
        "result": None,
        **fields,
    }


def a_child(index: int, **fields: Any) -> dict[str, Any]:
    return {
        "index": index,
        "state": "succeeded",
        "item_count": 1,
        "attempts": 1,
        "error": None,
        "item_errors": [],
        "workflow_id": "",
        "started_at": None,
        "finished_at": None,
        "duration_seconds": None,
        "result": [index],
        **fields,
    }


def always(body: Any, status: int = 200) -> Callable[[Asked], Answer]:
    return lambda _: Answer(status, body)


def parameters(asked: Asked) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(asked.path).query)


def test_a_job_is_submitted_as_json_with_a_key(connect: Connect) -> None:
    with serving(always(a_job(), 202)) as server, connect(server.url) as fanfold:
        job = fanfold.submit({"items": ["ü", 10**30], "processor": "double"})
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/jobs")
    assert json.loads(asked.body) == {"items": ["ü", 10**30], "processor": "double"}
    assert asked.headers["content-type"] == "application/json"
    assert len(asked.headers["idempotency-key"]) >= 16
    assert (job.id, job.is_finished) == ("job_1", False)


def test_json_text_is_sent_as_it_is_and_with_the_key_that_is_given(connect: Connect) -> None:
    with serving(always(a_job(), 202)) as server, connect(server.url) as fanfold:
        fanfold.submit(b'{"items": [1e5] }', idempotency_key="mine")
    assert server.asked[0].body == b'{"items": [1e5] }'
    assert server.asked[0].headers["idempotency-key"] == "mine"


def test_each_submission_has_a_key_of_its_own(connect: Connect) -> None:
    with serving(always(a_job(), 202)) as server, connect(server.url) as fanfold:
        fanfold.submit({})
        fanfold.submit({})
    assert len({asked.headers["idempotency-key"] for asked in server.asked}) == 2


def test_a_broken_connection_is_tried_again_with_the_same_key(connect: Connect) -> None:
    answers = [Answer(None), Answer(None), Answer(202, a_job())]
    with serving(lambda _: answers.pop(0)) as server, connect(server.url) as fanfold:
        assert fanfold.submit({}).id == "job_1"
    assert len(server.asked) == 3
    assert len({asked.headers["idempotency-key"] for asked in server.asked}) == 1


def test_after_three_broken_connections_it_gives_up(connect: Connect) -> None:
    with serving(lambda _: Answer(None)) as server, connect(server.url) as fanfold:
        with pytest.raises(Unreachable, match=server.url):
            fanfold.submit({})
        assert len(server.asked) == 3


def test_a_refusal_is_not_tried_again_and_carries_the_problem(connect: Connect) -> None:
    fault = {"pointer": "/items", "message": "there are no items"}
    problem = {"code": "invalid_job", "detail": "/items: there are no items", "errors": [fault]}
    with serving(always(problem, 422)) as server, connect(server.url) as fanfold:
        with pytest.raises(Refused, match=r"^/items: there are no items$") as refused:
            fanfold.submit({})
        assert len(server.asked) == 1
    assert (refused.value.status, refused.value.code) == (422, "invalid_job")
    assert refused.value.errors == [fault]


@pytest.mark.parametrize("raw", [b"", b"<html>bad gateway</html>", b"[]", b"null"])
def test_an_error_without_a_problem_is_a_refusal_all_the_same(connect: Connect, raw: bytes) -> None:
    with (
        serving(lambda _: Answer(502, raw=raw)) as server,
        connect(server.url) as fanfold,
        pytest.raises(Refused, match="the gateway answered 502") as refused,
    ):
        fanfold.get("job_1")
    assert (refused.value.code, refused.value.errors) == ("unknown", [])


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html>welcome</html>",
        b"{}",
        b"[]",
        b'{"id": "job_1"}',
    ],
)
def test_what_is_no_gateway_is_told_so(connect: Connect, raw: bytes) -> None:
    calls: list[Callable[[Fanfold], object]] = [
        lambda fanfold: fanfold.get("job_1"),
        lambda fanfold: fanfold.submit({}),
        lambda fanfold: list(fanfold.jobs()),
        lambda fanfold: list(fanfold.children("job_1")),
        lambda fanfold: list(fanfold.items("job_1")),
        lambda fanfold: fanfold.processors(),
    ]
    with serving(lambda _: Answer(200, raw=raw)) as server, connect(server.url) as fanfold:
        for call in calls:
            with pytest.raises(FanfoldError, match="is not a Fanfold gateway"):
                call(fanfold)


def test_nobody_at_the_address_is_unreachable(connect: Connect) -> None:
    with serving(always({})) as server:
        url = server.url
    with connect(url) as fanfold, pytest.raises(Unreachable, match="does not answer"):
        fanfold.get("job_1")


def test_waiting_asks_again_until_the_job_is_finished(connect: Connect) -> None:
    states = ["pending", "running", "cancelling", "cancelled"]
    with (
        serving(lambda _: Answer(200, a_job(state=states.pop(0)))) as server,
        connect(server.url) as fanfold,
    ):
        assert fanfold.wait("job_1").state == "cancelled"
    assert [asked.headers["prefer"] for asked in server.asked] == ["wait=30"] * 4


def test_a_job_is_read_and_cancelled_at_its_address(connect: Connect) -> None:
    with serving(always(a_job(result={"FI": 10**30}))) as server, connect(server.url) as fanfold:
        assert fanfold.get("job_1").result == {"FI": 10**30}
        assert fanfold.get("job_1", wait_seconds=5).id == "job_1"
        fanfold.cancel("job_1")
    told = [(asked.method, asked.path, asked.headers.get("prefer")) for asked in server.asked]
    assert told == [
        ("GET", "/jobs/job_1", None),
        ("GET", "/jobs/job_1", "wait=5"),
        ("DELETE", "/jobs/job_1", None),
    ]


def _pages(asked: Asked) -> Answer:
    """2,500 children, at most a thousand a page."""
    given = dict(parameters(asked))
    start = int(given.get("cursor", "0"))
    end = min(start + int(given["limit"]), 2500)
    page: dict[str, Any] = {"children": [a_child(index) for index in range(start, end)]}
    if end < 2500:
        page["next_cursor"] = str(end)
    return Answer(200, page)


@pytest.mark.parametrize(
    ("limit", "limits_asked"),
    [(None, [1000, 1000, 1000]), (1500, [1000, 500]), (1000, [1000]), (7, [7]), (0, [])],
)
def test_children_are_read_page_by_page_up_to_the_limit(
    connect: Connect, limit: int | None, limits_asked: list[int]
) -> None:
    with serving(_pages) as server, connect(server.url) as fanfold:
        found = [child.index for child in fanfold.children("job_1", state="failed", limit=limit)]
    assert found == list(range(2500 if limit is None else limit))
    assert [int(dict(parameters(asked))["limit"]) for asked in server.asked] == limits_asked
    assert {dict(parameters(asked))["state"] for asked in server.asked} <= {"failed"}


def test_jobs_are_filtered_by_state_and_every_label(connect: Connect) -> None:
    with serving(always({"jobs": [a_job("job_2"), a_job("job_1")]})) as server:
        with connect(server.url) as fanfold:
            found = fanfold.jobs(state="failed", labels={"team": "a b", "env": "x:y"}, limit=5)
            assert [job.id for job in found] == ["job_2", "job_1"]
        (asked,) = server.asked
    assert sorted(parameters(asked)) == [
        ("label", "env:x:y"),
        ("label", "team:a b"),
        ("limit", "5"),
        ("state", "failed"),
    ]


def test_results_come_as_children(connect: Connect) -> None:
    lines = [json.dumps(a_child(index)).encode() for index in range(300)]
    with (
        serving(lambda _: Answer(raw=b"".join(line + b"\n" for line in lines))) as server,
        connect(server.url) as fanfold,
    ):
        found = list(fanfold.results("job_1", state="succeeded"))
    assert [(child.index, child.result) for child in found] == [(n, [n]) for n in range(300)]
    (asked,) = server.asked
    assert sorted(parameters(asked)) == [("format", "ndjson"), ("state", "succeeded")]


def test_results_that_break_off_are_not_taken_for_all_of_them(connect: Connect) -> None:
    line = json.dumps(a_child(0)).encode()
    broken = Answer(raw=line + b'\n{"ind', promised_bytes=5000)
    with serving(lambda _: broken) as server, connect(server.url) as fanfold:
        results = fanfold.results("job_1")
        assert next(results).index == 0
        with pytest.raises(Unreachable, match="broke off"):
            next(results)


def test_a_refusal_of_results_is_told(connect: Connect) -> None:
    problem = {"code": "job_not_found", "detail": "There is no job of this id."}
    with (
        serving(always(problem, 404)) as server,
        connect(server.url) as fanfold,
        pytest.raises(Refused, match="There is no job of this id") as refused,
    ):
        list(fanfold.results("job_1"))
    assert refused.value.code == "job_not_found"
