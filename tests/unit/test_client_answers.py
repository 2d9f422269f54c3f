"""How the client shows what a gateway says: objects, times, states and errors."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest

import fanfold as public
from fanfold import Child, ChildState, Job, JobState, Refused, Unreachable, WaitTimeout
from tests.unit.either_client import Connect
from tests.unit.gateway_double import Answer, serving
from tests.unit.test_client import a_child, a_job, always, parameters
from tests.unit.test_client_transfer import form_of

AT = "2026-11-21T20:12:00.123Z"


def test_times_are_times_and_states_are_states() -> None:
    job = Job.model_validate(a_job(state="succeeded", finished_at=AT))
    assert job.finished_at == datetime(2026, 11, 21, 20, 12, 0, 123000, tzinfo=UTC)
    assert job.state is JobState.SUCCEEDED
    assert (job.state, job.is_finished) == ("succeeded", True)


@pytest.mark.parametrize("state", ["hibernating", "parked"])
def test_a_state_of_a_later_release_is_its_text(state: str) -> None:
    job = Job.model_validate(a_job(state=state))
    assert (str(job.state), job.is_finished) == (state, False)
    assert state not in list(JobState)
    assert str(Child.model_validate(a_child(0, state=state)).state) == state


def test_what_a_later_release_adds_is_kept() -> None:
    job = Job.model_validate(a_job(priority=3, links={**a_job()["links"], "events": "/e"}))
    assert job.model_dump()["priority"] == 3
    assert job.links.model_dump()["events"] == "/e"


def test_what_was_answered_can_be_written_again_as_it_was() -> None:
    answered = a_job(state="unheard_of", finished_at=AT, priority=3, result={"n": 10**30})
    again = Job.model_validate(answered).model_dump(mode="json", exclude_unset=True)
    assert again == answered
    assert json.loads(json.dumps(again)) == answered


def test_what_an_earlier_release_leaves_out_has_a_default() -> None:
    job, child = Job.model_validate(a_job()), Child.model_validate(a_child(0))
    assert (job.options, job.item_key, job.chunks.partially_succeeded) == (None, None, 0)
    assert (job.priority, job.on_failure, job.max_per_second, job.chunks.held) == (
        3,
        "record",
        None,
        0,
    )
    assert (child.traceback, child.run, child.resolved_by) == (None, 1, None)


def test_partially_succeeded_chunks_are_finished() -> None:
    counts = {**a_job()["chunks"], "succeeded": 1, "partially_succeeded": 2, "failed": 4}
    assert Job.model_validate(a_job(chunks=counts)).chunks.finished == 7
    assert ChildState("partially_succeeded") is ChildState.PARTIALLY_SUCCEEDED


def test_the_counts_of_sub_jobs_are_read_and_a_skipped_one_is_finished() -> None:
    assert Job.model_validate(a_job()).jobs is None
    counts = {"total": 9, "running": 2, "succeeded": 1, "skipped": 3, "cancelled": 1, "failed": 2}
    job = Job.model_validate(a_job(jobs=counts, path="EU/FI", parent="job_0", state="skipped"))
    assert job.jobs is not None
    assert (job.jobs.finished, job.jobs.waiting) == (7, 0)
    assert (job.path, job.parent, job.is_finished) == ("EU/FI", "job_0", True)


def test_sub_jobs_are_read_page_by_page(connect: Connect) -> None:
    pages: list[dict[str, Any]] = [
        {"jobs": [a_job(path="a")], "next_cursor": "more"},
        {"jobs": [a_job(path="b")]},
    ]
    with serving(lambda _: Answer(body=pages.pop(0))) as server, connect(server.url) as fanfold:
        assert [job.path for job in fanfold.sub_jobs("job_1", state="failed")] == ["a", "b"]
    assert [asked.path.partition("?")[0] for asked in server.asked] == ["/jobs/job_1/jobs"] * 2
    assert [dict(parameters(asked)).get("cursor") for asked in server.asked] == [None, "more"]
    assert dict(parameters(server.asked[1]))["state"] == "failed"


def test_the_jobs_of_one_are_asked_for_by_its_id(connect: Connect) -> None:
    with serving(always({"jobs": []})) as server, connect(server.url) as fanfold:
        assert list(fanfold.jobs(parent="job_1", labels={"a": "b"}, limit=5)) == []
    asked = parameters(server.asked[0])
    assert sorted(asked) == [("label", "a:b"), ("limit", "5"), ("parent", "job_1")]


def test_lines_of_a_tree_say_which_job_they_are_of(connect: Connect) -> None:
    of = {"job": "job_2", "path": "EU/FI"}
    error = {"type": "T", "message": "m", "retryable": True}
    failed = {**of, "index": 0, "item": 1, "value": 2, "error": error}
    lines = [json.dumps({**of, **a_child(0)}), json.dumps(a_child(1))]
    with (
        serving(lambda _: Answer(raw="\n".join(lines).encode())) as server,
        connect(server.url) as fanfold,
    ):
        found = list(fanfold.results("job_1"))
    assert [(child.job, child.path) for child in found] == [("job_2", "EU/FI"), (None, None)]
    with (
        serving(lambda _: Answer(raw=json.dumps(failed).encode())) as server,
        connect(server.url) as fanfold,
    ):
        (item,) = fanfold.failures("job_1")
    assert (item.job, item.path, item.value) == ("job_2", "EU/FI", 2)


def test_items_are_read_page_by_page(connect: Connect) -> None:
    failed = {"type": "ValidationError", "message": "no price", "retryable": False}
    item = {"index": 0, "item": 1, "key": "c-7", "state": "failed", "value": {"id": "c-7"}}
    pages: list[dict[str, Any]] = [
        {"items": [item | {"result": None, "error": failed}], "next_cursor": "more"},
        {"items": [item | {"item": 2, "state": "succeeded", "result": 4, "error": None}]},
    ]
    with serving(lambda _: Answer(body=pages.pop(0))) as server, connect(server.url) as fanfold:
        first, second = fanfold.items("job_1", state="failed")
    assert (first.key, first.state, first.value) == ("c-7", "failed", {"id": "c-7"})
    assert first.error is not None
    assert first.error.message == "no price"
    assert (second.item, second.result, second.error) == (2, 4, None)
    assert [dict(parameters(asked)).get("cursor") for asked in server.asked] == [None, "more"]


def test_the_catalog_is_read(connect: Connect) -> None:
    entry = {"name": "sum", "description": "Adds.", "options_schema": {}, "example": {}}
    body = {"processors": [], "reducers": [entry]}
    with serving(always(body)) as server, connect(server.url) as fanfold:
        assert fanfold.processors() == []
        assert [reducer.name for reducer in fanfold.reducers()] == ["sum"]
    assert [asked.path for asked in server.asked] == ["/processors", "/reducers"]


def test_items_of_a_generator_are_sent_beside_the_job_as_they_come(connect: Connect) -> None:
    def items() -> Iterator[Any]:
        for number in range(30_000):
            yield {"n": number, "day": date(2026, 11, 21)}

    with serving(always(a_job(), 202)) as server, connect(server.url) as fanfold:
        fanfold.submit('{"processor": "double"}', items=items())
    (asked,) = server.asked
    assert "content-length" not in asked.headers
    job, sent = form_of(asked)
    assert job == ("job", None, "application/json", b'{"processor": "double"}')
    assert sent[:2] == ("items", "items.ndjson")
    lines = sent[3].splitlines()
    assert len(lines) == 30_000
    assert json.loads(lines[-1]) == {"n": 29_999, "day": "2026-11-21"}


def test_a_list_of_items_is_sent_again_and_a_generator_is_not(connect: Connect) -> None:
    with serving(lambda _: Answer(None)) as server, connect(server.url) as fanfold:
        with pytest.raises(Unreachable):
            fanfold.submit({}, items=[1])
        with pytest.raises(Unreachable):
            fanfold.submit({}, items=iter([1]))
    assert len(server.asked) == 3 + 1


def test_what_a_generator_raises_is_raised(connect: Connect) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise LookupError("no more rows")

    with (
        serving(always(a_job(), 202)) as server,
        connect(server.url) as fanfold,
        pytest.raises(LookupError, match="no more rows"),
    ):
        fanfold.submit({}, items=items())


def test_parts_are_sent_under_their_numbers_and_sealed(connect: Connect) -> None:
    part = {"part": 2, "items": 3, "chunks": 1}
    answers = [Answer(None), Answer(200, part), Answer(202, a_job())]
    with serving(lambda _: answers.pop(0)) as server, connect(server.url) as fanfold:
        assert fanfold.put_part("job_1", 2, [1, "ü", None]).items == 3
        assert fanfold.seal("job_1").id == "job_1"
    told = [(asked.method, asked.path, asked.body) for asked in server.asked]
    assert told == [
        ("PUT", "/jobs/job_1/items?part=2", b'1\n"\\u00fc"\nnull\n'),
        ("PUT", "/jobs/job_1/items?part=2", b'1\n"\\u00fc"\nnull\n'),
        ("POST", "/jobs/job_1/seal", b""),
    ]
    assert server.asked[0].headers["content-type"] == "application/x-ndjson"


def test_waiting_tells_the_progress_and_asks_often(connect: Connect) -> None:
    states = ["pending", "running", "succeeded"]
    seen: list[str] = []
    with (
        serving(lambda _: Answer(200, a_job(state=states.pop(0)))) as server,
        connect(server.url) as fanfold,
    ):
        fanfold.wait("job_1", on_progress=lambda job: seen.append(job.state))
    assert seen == ["pending", "running", "succeeded"]
    assert {asked.headers["prefer"] for asked in server.asked} == {"wait=1"}


@pytest.mark.parametrize("timeout", [0, 0.05])
def test_a_wait_that_takes_too_long_says_how_far_the_job_is(
    connect: Connect, timeout: float
) -> None:
    progress = {"percent": 12.5, "chunks_per_second": None, "eta_seconds": None}
    with (
        serving(always(a_job(progress=progress))) as server,
        connect(server.url) as fanfold,
        pytest.raises(
            WaitTimeout, match=r"job_1 has not finished yet: it is running, 12\.5 percent done"
        ) as timed_out,
    ):
        fanfold.wait("job_1", timeout=timeout)
    assert isinstance(timed_out.value, TimeoutError)
    assert timed_out.value.job.id == "job_1"
    asked = server.asked[0].headers["prefer"]
    assert asked == ("wait=1" if timeout else "wait=0")


def test_a_refusal_says_every_fault_once_with_its_place(connect: Connect) -> None:
    problem = {
        "code": "invalid_job",
        "detail": "/items: there are no items",
        "errors": [
            {"pointer": "/items", "message": "there are no items"},
            {"pointer": "", "message": "name a processor or stages"},
            {"pointer": "/retry/max_attempts", "message": "at least 1"},
        ],
    }
    with (
        serving(always(problem, 422)) as server,
        connect(server.url) as fanfold,
        pytest.raises(Refused) as refused,
    ):
        fanfold.submit({})
    assert str(refused.value).splitlines() == [
        "/items: there are no items",
        "  the job: name a processor or stages",
        "  /retry/max_attempts: at least 1",
    ]
    assert refused.value.detail == "/items: there are no items"


@pytest.mark.parametrize(
    "url", ["", "localhost:8000", "not a url", "http://", "http://h:x", "ftp://h"]
)
def test_what_is_no_address_is_told_at_once(connect: Connect, url: str) -> None:
    with pytest.raises(Unreachable, match=r"is no address of a gateway, like http://localhost"):
        connect(url)


def test_headers_for_a_proxy_go_with_every_request(connect: Connect) -> None:
    headers = {"Authorization": "Bearer x"}
    with (
        serving(always(a_job())) as server,
        connect(server.url, headers=headers) as fanfold,
    ):
        fanfold.get("job_1")
        fanfold.cancel("job_1")
    assert [asked.headers["authorization"] for asked in server.asked] == ["Bearer x"] * 2


def test_an_id_is_one_step_of_the_path_whatever_is_in_it(connect: Connect) -> None:
    with serving(always(a_job())) as server, connect(server.url) as fanfold:
        fanfold.get("../a b?c#d")
    assert server.asked[0].path == "/jobs/..%2Fa%20b%3Fc%23d"


def test_an_integer_too_long_for_python_is_told(connect: Connect) -> None:
    body = json.dumps(a_job()).replace('"result": null', '"result": ' + "9" * 30_000).encode()
    with (
        serving(lambda _: Answer(raw=body)) as server,
        connect(server.url) as fanfold,
        pytest.raises(public.FanfoldError, match="set_int_max_str_digits"),
    ):
        fanfold.get("job_1")
