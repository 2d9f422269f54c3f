"""Results as CSV: a row an item, columns from the first results, nothing lost after them."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.app.answers import csv_results
from fanfold.app.answers.csv_results import Child, csv_rows
from fanfold.contract.failures import Failure
from fanfold.contract.json_values import encode
from fanfold.contract.states import ChunkState
from fanfold.ledger.records import ChunkOutput, ChunkRecord
from tests.unit.any_json import storable_text, values

BROKEN = Failure(type="Broken", message='it "broke", badly', retryable=True)


def child(index: int, result: Any, *, error: Failure | None = None) -> Child:
    record = ChunkRecord(
        index=index,
        state=ChunkState.FAILED if error else ChunkState.SUCCEEDED,
        item_count=1,
        items_failed=0,
        attempts=1,
        error=error,
        started_at=0,
        finished_at=0,
        result_bytes=0,
        block=None,
    )
    return record, ChunkOutput(body=b"" if result is None else encode(result))


def text_of(children: Sequence[Child], columns: Sequence[str] | None = None) -> str:
    async def given_children() -> AsyncIterator[Child]:
        for each in children:
            yield each

    async def collect() -> bytes:
        return b"".join([part async for part in csv_rows(given_children(), columns)])

    return asyncio.run(collect()).decode()


def rows_of(children: Sequence[Child], columns: Sequence[str] | None = None) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text_of(children, columns), newline="")))


def test_each_item_is_a_row_and_its_fields_are_columns() -> None:
    assert rows_of(
        [child(0, [{"a": 1, "b": "x"}, {"b": "y", "c": 2.5}]), child(7, [{"a": 3}])]
    ) == [
        ["index", "item", "state", "error", "a", "b", "c", "more"],
        ["0", "0", "succeeded", "", "1", "x", "", ""],
        ["0", "1", "succeeded", "", "", "y", "2.5", ""],
        ["7", "0", "succeeded", "", "3", "", "", ""],
    ]


def test_items_that_are_no_objects_are_in_the_column_value() -> None:
    assert rows_of([child(0, [2, "x", None, [1, "ü"], True])]) == [
        ["index", "item", "state", "error", "value", "more"],
        ["0", "0", "succeeded", "", "2", ""],
        ["0", "1", "succeeded", "", "x", ""],
        ["0", "2", "succeeded", "", "", ""],
        ["0", "3", "succeeded", "", '[1,"ü"]', ""],
        ["0", "4", "succeeded", "", "true", ""],
    ]


def test_a_result_that_is_no_array_is_one_row() -> None:
    assert rows_of([child(0, {"FI": 2, "SE": 1}), child(1, {"FI": 5})]) == [
        ["index", "item", "state", "error", "FI", "SE", "more"],
        ["0", "", "succeeded", "", "2", "1", ""],
        ["1", "", "succeeded", "", "5", "", ""],
    ]


def test_a_chunk_without_a_result_is_a_row_that_says_why() -> None:
    assert rows_of([child(0, [1]), child(1, None, error=BROKEN)])[1:] == [
        ["0", "0", "succeeded", "", "1", ""],
        ["1", "", "failed", 'Broken: it "broke", badly', "", ""],
    ]


def test_of_a_failed_chunk_what_its_items_gave_has_its_rows() -> None:
    assert rows_of([child(0, [1, None], error=BROKEN)])[1:] == [
        ["0", "0", "failed", 'Broken: it "broke", badly', "1", ""],
        ["0", "1", "failed", 'Broken: it "broke", badly', "", ""],
    ]


def test_fields_that_come_up_later_are_in_the_last_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_results, "SAMPLE_CHUNKS", 1)
    rows = rows_of([child(0, [{"a": 1}]), child(1, [{"a": 2, "b": [None], "c": "x"}, 5])])
    assert rows[0] == ["index", "item", "state", "error", "a", "more"]
    assert rows[2][4] == "2"
    assert json.loads(rows[2][5]) == {"b": [None], "c": "x"}
    assert rows[3][4:] == ["", '{"value":5}']


def test_columns_are_bounded_and_nothing_beyond_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_results, "MAX_COLUMNS", 2)
    rows = rows_of([child(0, [{"a": 1, "b": 2, "c": 3}])])
    assert rows[0][4:] == ["a", "b", "more"]
    assert rows[1][4:] == ["1", "2", '{"c":3}']


def test_named_columns_are_given_in_their_order_and_no_others() -> None:
    assert rows_of([child(0, [{"a": 1, "b": 2, "c": 3}, {"c": 4}])], ["c", "a"]) == [
        ["index", "item", "state", "error", "c", "a"],
        ["0", "0", "succeeded", "", "3", "1"],
        ["0", "1", "succeeded", "", "4", ""],
    ]


def test_fields_named_like_a_column_of_the_chunk_are_told_apart() -> None:
    item = {"index": 9, "result.index": 8, "more": 7, "state": "x"}
    header = rows_of([child(0, [item])])[0]
    assert header[4:] == [
        "result.index",
        "result.result.index",
        "result.more",
        "result.state",
        "more",
    ]
    assert len(set(header)) == len(header)


def test_without_a_child_there_is_the_header_alone() -> None:
    assert text_of([]) == "index,item,state,error,more\r\n"


def test_text_that_looks_like_a_formula_is_given_as_it_is() -> None:
    assert rows_of([child(0, ["=1+1", "-5", -5])])[1:] == [
        ["0", "0", "succeeded", "", "=1+1", ""],
        ["0", "1", "succeeded", "", "-5", ""],
        ["0", "2", "succeeded", "", "-5", ""],
    ]


def test_a_large_result_comes_in_parts() -> None:
    async def given_child() -> AsyncIterator[Child]:
        yield child(0, list(range(5000)))

    async def sizes() -> list[int]:
        return [part.count(b"\r\n") async for part in csv_rows(given_child(), ["value"])]

    assert asyncio.run(sizes()) == [1] + [csv_results.ROWS_AT_ONCE] * 10


@given(st.lists(st.dictionaries(storable_text, values, max_size=4), min_size=1, max_size=4))
def test_every_value_can_be_read_back(items: list[dict[str, Any]]) -> None:
    header, *rows = rows_of([child(0, items)])
    assert {len(row) for row in rows} == {len(header)}
    fields = list(dict.fromkeys(name for item in items for name in item))
    for item, row in zip(items, rows, strict=True):
        for name, cell in zip(fields, row[4:-1], strict=True):
            value = item.get(name)
            if value is None or isinstance(value, str):
                assert cell == (value or "")
            else:
                assert json.loads(cell) == value
