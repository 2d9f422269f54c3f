"""A chunk processor's attempt, and results that cannot be recorded."""

import asyncio
import dataclasses
import datetime as dt
import json
from collections.abc import Callable
from typing import Any

import pydantic
import pytest
from temporalio.exceptions import ApplicationError

from fanfold.contract.job_spec import RetrySpec
from fanfold.ledger.records import ChunkOutput, ItemError
from fanfold.processing import ItemDropped, ProcessorContext, ValidationError
from fanfold.workers.execution import End
from fanfold.workers.results import MAX_DEPTH
from tests.unit.attempted import an_attempt, attempted, failure_of, outcome_of, result_of


class Point(pydantic.BaseModel):
    x: int


@dataclasses.dataclass
class Pair:
    a: int
    b: dt.date


def total(chunk: list[int]) -> int:
    return sum(chunk)


async def total_async(chunk: list[int]) -> int:
    await asyncio.sleep(0)
    return sum(chunk)


KINDS = pytest.mark.parametrize("function", [total, total_async])


def giving(result: Any) -> Callable[..., Any]:
    """A processor whose result is this, whatever its chunk."""

    def give(chunk: Any) -> Any:
        assert chunk
        return result

    return give


@KINDS
def test_the_result_is_what_the_processor_gives_back(function: Callable[..., Any]) -> None:
    assert result_of(function, [1, 2, 10**30]) == 3 + 10**30


@KINDS
def test_data_that_does_not_fit_fails_the_whole_chunk(function: Callable[..., Any]) -> None:
    outcome = attempted(function, [1, "x", 3])
    assert outcome.failure is not None
    assert (outcome.failure.type, outcome.failure.retryable) == ("ValidationError", False)
    assert outcome.failure.message.startswith("1: must be an integer, not a string")
    assert (outcome.end, outcome.output) == (End.FAILED, ChunkOutput(by_item=False))


@pytest.mark.parametrize(
    ("error", "kind", "message", "retryable"),
    [
        (OSError("no route"), "OSError", "no route", True),
        (ValidationError("is wrong"), "ValidationError", "is wrong", False),
        (ItemDropped("all of it"), "ItemDropped", "all of it", True),
        (ExceptionGroup("two", [ValueError("1"), KeyError("2")]), "ExceptionGroup", "two (2", True),
        (TimeoutError("the socket's"), "TimeoutError", "the socket's", True),
        (StopIteration("early"), "RuntimeError", "StopIteration", True),
        (SystemExit(3), "RuntimeError", "SystemExit: 3", True),
    ],
)
def test_whatever_is_raised_is_the_chunks_failure(
    error: BaseException, kind: str, message: str, *, retryable: bool
) -> None:
    def failing(chunk: list[int]) -> int:
        assert chunk
        raise error

    outcome = attempted(failing, [1, 2])
    assert outcome.failure is not None
    assert (outcome.failure.type, outcome.failure.retryable) == (kind, retryable)
    assert message in outcome.failure.message
    assert outcome.end is (End.AGAIN if retryable else End.FAILED)


def test_the_job_may_say_which_failures_are_final() -> None:
    def failing(chunk: list[int]) -> int:
        raise OSError(f"{len(chunk)}")

    outcome = attempted(failing, [1], retry=RetrySpec(non_retryable=("OSError",)))
    assert outcome.failure is not None
    assert not outcome.failure.retryable


def test_what_earlier_stages_dropped_stays_beside_the_result() -> None:
    dropped = (ItemError(item=1, type="ItemDropped", message="empty", is_dropped=True),)
    attempt = an_attempt([1, 2], stage=1, earlier_errors=dropped)
    outcome = asyncio.run(outcome_of(total, attempt))
    assert outcome.output == ChunkOutput(body=b"3", item_errors=dropped, by_item=False)


def test_a_chunk_is_told_where_it_is() -> None:
    def where(chunk: list[int], *, context: ProcessorContext) -> list[Any]:
        assert chunk
        return [context.job_id, context.chunk_index, context.item_index, context.attempt]

    outcome = asyncio.run(outcome_of(where, an_attempt([1], number=2, index=5)))
    assert json.loads(outcome.output.body) == ["job_1", 5, 0, 2]


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (None, "null"),
        ((1, 2), "[1,2]"),
        ({1: "a", None: "b"}, '{"1":"a","null":"b"}'),
        ({"ü": "\u2028 \\u0000"}, '{"ü":"\u2028 \\\\u0000"}'),
        (dt.date(2026, 11, 21), '"2026-11-21"'),
        (Point(x=1), '{"x":1}'),
        ([Pair(10**30, dt.date(2026, 11, 21))], '[{"a":1%s,"b":"2026-11-21"}]' % ("0" * 30)),
        ({"s": {5}, "d": 1}, '{"s":[5],"d":1}'),
        (b"bytes", '"bytes"'),
    ],
)
def test_a_result_becomes_the_json_that_is_meant(result: Any, text: str) -> None:
    assert attempted(giving(result), [1]).output.body.decode() == text


_ITSELF: list[Any] = []
_ITSELF.append(_ITSELF)
_DEEP: list[Any] = []
for _ in range(50_000):
    _DEEP = [_DEEP]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (float("nan"), "the result is not a finite number"),
        ([1, {"a": float("inf")}], "the result[1]['a'] is a number too large for a 64-bit float"),
        ({"a": ["x\x00"]}, "the result['a'][0] holds a NUL character"),
        (["\ud800"], "the result[0] holds a lone surrogate, which is not a Unicode character"),
        ([dt.date(2026, 1, 1), "\ud800"], "the result[1] holds a lone surrogate"),
        pytest.param(
            10**20_001, "the result holds an integer of more than 20000 digits", id="long integer"
        ),
        (_ITSELF, "the result contains itself"),
        (_DEEP, "the result is nested too deeply"),
        (object(), "the result is not JSON: Unable to serialize unknown type: <class 'object'>"),
        (b"\xff", "the result is not JSON: "),
        (lambda: 1, "the result is not JSON: "),
    ],
)
def test_a_result_that_is_no_json_is_a_failure_that_names_the_place(
    result: Any, message: str
) -> None:
    kind, found = failure_of(giving(result), [1])
    assert kind == "InvalidResult"
    assert found.startswith(message)


def test_a_result_that_is_no_json_is_not_tried_again() -> None:
    outcome = attempted(giving(object()), [1, 2])
    assert outcome.failure is not None
    assert not outcome.failure.retryable
    assert outcome.end is End.FAILED


@pytest.mark.parametrize("opened", ["[", '{"a":'])
def test_a_result_that_not_every_reader_could_parse_is_refused(opened: str) -> None:
    closed = "]" if opened == "[" else "}"

    def nested(depth: int) -> Any:
        return json.loads(opened * depth + "1" + closed * depth)

    assert attempted(giving(nested(MAX_DEPTH)), [1]).failure is None
    failure = attempted(giving(nested(MAX_DEPTH + 1)), [1]).failure
    assert failure is not None
    assert failure.message == f"the result is nested more than {MAX_DEPTH} levels deep"


def test_a_result_may_be_just_as_large_as_is_allowed() -> None:
    assert attempted(giving("x" * 98), [1], max_result_bytes=100).failure is None
    outcome = attempted(giving("ü" * 50), [1], max_result_bytes=100)
    assert outcome.failure is not None
    assert outcome.failure.type == "InvalidResult"
    assert outcome.failure.message == (
        "the result takes 102 bytes of JSON text; at most 100 are allowed "
        "(FANFOLD_MAX_CHUNK_RESULT_BYTES)"
    )


def test_the_results_of_all_items_together_are_what_the_limit_is_about() -> None:
    def same(item: str) -> str:
        return item

    assert attempted(same, ["x" * 46, "y" * 47], max_result_bytes=100).failure is None
    outcome = attempted(same, ["x" * 47, "y" * 47, ""], max_result_bytes=100)
    assert outcome.failure is not None
    # All of its items have failed, each of which is shown.
    assert outcome.output == ChunkOutput(by_item=True)


@pytest.mark.parametrize(
    ("delay", "seconds"), [(dt.timedelta(milliseconds=125), 0.125), (None, None)]
)
def test_the_wait_that_a_chunk_asks_for_is_kept(
    delay: dt.timedelta | None, seconds: float | None
) -> None:
    def asking(chunk: list[int]) -> int:
        raise ApplicationError(str(chunk), next_retry_delay=delay)

    async def asking_async(chunk: list[int]) -> int:
        raise ApplicationError(str(chunk), next_retry_delay=delay)

    for function in (asking, asking_async):
        outcome = attempted(function, [1])
        assert outcome.failure is not None
        assert outcome.failure.retryable
        assert outcome.retry_seconds == seconds
