"""Mistakes in calls of the client are told before anything is sent."""

from typing import Any

import pytest

from fanfold import FanfoldError
from fanfold.client.errors import Refused, Unreachable
from fanfold.devstack.running import free_ports
from tests.unit.either_client import Connect
from tests.unit.gateway_double import Answer, serving
from tests.unit.test_client import a_job, always

JOB = {"processor": "double"}


@pytest.mark.parametrize("items", ["abc", b"1\n2\n", {"a": 1}])
def test_what_can_be_iterated_over_is_not_yet_items(connect: Connect, items: Any) -> None:
    with serving(always(a_job(), 202)) as server, connect(server.url) as fanfold:
        for call in (
            lambda: fanfold.submit(JOB, items=items),
            lambda: fanfold.put_part("job_1", 1, items),
        ):
            with pytest.raises(TypeError, match="items are a list or a generator"):
                call()
    assert server.asked == []


@pytest.mark.parametrize("key", ["", " a", "a ", "a\nb", "caf\u00e9"])
def test_a_key_that_no_header_can_hold_is_told_and_not_replaced(connect: Connect, key: str) -> None:
    with (
        serving(always(a_job(), 202)) as server,
        connect(server.url) as fanfold,
        pytest.raises(FanfoldError, match="an idempotency key has 1 to 255 printable"),
    ):
        fanfold.submit(JOB, idempotency_key=key)
    assert server.asked == []


def test_nobody_there_is_told_without_numbers_of_the_system(connect: Connect) -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    with (
        connect(url) as fanfold,
        pytest.raises(Unreachable, match=f"^{url} does not answer: [A-Z]") as unreachable,
    ):
        fanfold.get("job_1")
    assert "Errno" not in str(unreachable.value)


def test_a_job_has_an_id(connect: Connect) -> None:
    with (
        serving(always(a_job())) as server,
        connect(server.url) as fanfold,
        pytest.raises(FanfoldError, match="the id of the job is empty"),
    ):
        fanfold.get("")
    assert server.asked == []


def test_a_file_is_no_string(connect: Connect) -> None:
    name: Any = "items.ndjson"
    with (
        serving(lambda _: Answer(202, a_job())) as server,
        connect(server.url) as fanfold,
        pytest.raises(TypeError, match=r"by its pathlib\.Path"),
    ):
        fanfold.submit_file(JOB, name)
    assert server.asked == []


def test_a_fault_of_the_whole_job_is_told_once() -> None:
    detail = "the job: must be an object, not null"
    faults = [{"pointer": "", "message": "must be an object, not null"}]
    assert str(Refused(422, {"detail": detail, "errors": faults})) == detail
