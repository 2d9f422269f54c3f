"""fanfold.testing: a processor is called as a worker does, and what it gives is checked."""

from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest

from fanfold import ItemDropped, ProcessorContext, RetryLater, ValidationError
from fanfold.testing import run


@dataclass
class Order:
    sku: str
    net: float


def gross(item: Order, *, rate: float = 0.5) -> dict[str, Any]:
    return {"order": item, "gross": item.net * (1 + rate), "day": date(2026, 11, 21)}


async def late(item: int, *, context: ProcessorContext) -> str:
    if context.attempt == 1:
        raise RetryLater(2)
    return f"{item}: {context.idempotency_key}"


def total(chunk: list[int]) -> int:
    return sum(chunk)


def test_items_are_checked_and_converted_and_results_are_what_a_job_shows() -> None:
    assert run(gross, [{"sku": "tea", "net": "4"}], options={"rate": 1}) == [
        {"order": {"sku": "tea", "net": 4.0}, "gross": 8.0, "day": "2026-11-21"}
    ]


def test_a_chunk_processor_is_called_once() -> None:
    assert run(total, [1, 2, 3]) == 6


def test_an_async_processor_has_its_context() -> None:
    assert run(late, [7, 8], attempt=2) == ["7: job_test/0/0/0", "8: job_test/0/1/0"]
    with pytest.raises(RetryLater):
        run(late, [7])


def test_the_key_of_an_item_is_in_its_context() -> None:
    def key(item: Any, *, context: ProcessorContext) -> Any:
        return [item, context.item_key]

    assert run(key, [{"id": "a"}, {}, "b"], item_key="id") == [
        [{"id": "a"}, "a"],
        [{}, None],
        ["b", None],
    ]


@pytest.mark.parametrize("items", [[{"sku": "tea"}], [None], [{"sku": "tea", "net": "much"}]])
def test_an_item_that_does_not_fit_is_refused(items: list[Any]) -> None:
    with pytest.raises(ValidationError):
        run(gross, items)


@pytest.mark.parametrize("options", [{"rate": "high"}, {"colour": "red"}])
def test_options_that_do_not_fit_are_refused_also_without_items(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(options))):
        run(gross, [], options=options)


@pytest.mark.parametrize(
    ("result", "complaint"),
    [
        ({"a": [float("nan")]}, r"the result\['a'\]\[0\] is not a finite number"),
        (object(), "the result is not JSON"),
        ("\x00", "the result holds a NUL character"),
    ],
)
def test_a_result_that_is_not_json_is_told(result: object, complaint: str) -> None:
    def give(item: Any) -> Any:
        return result if item else None

    with pytest.raises(TypeError, match=complaint):
        run(give, [1])


def test_what_the_processor_raises_is_raised() -> None:
    def drop(item: Any) -> Any:
        raise ItemDropped(f"{item} is not wanted")

    with pytest.raises(ItemDropped, match="1 is not wanted"):
        run(drop, [1])


def test_what_is_no_processor_is_told_as_a_worker_tells_it() -> None:
    def wrong(value: int) -> int:
        return value

    with pytest.raises(TypeError, match="the first parameter must be named 'item' or 'chunk'"):
        run(wrong, [1])
