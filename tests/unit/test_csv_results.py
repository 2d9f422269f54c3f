"""Results as CSV: a row an item, columns from the first results, nothing lost after them."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.app.answers import csv_table
from fanfold.app.answers.csv_results import csv_rows
from fanfold.app.answers.tree import Leaf
from fanfold.contract.failures import Failure
from fanfold.contract.json_values import encode
from fanfold.contract.states import ChunkState
from fanfold.ledger.chunks import ChunkData
from fanfold.ledger.records import ChunkOutput, ChunkRecord, ItemError
from tests.unit.any_json import storable_text, values
from tests.unit.leaves import ROOT, a_job, a_part, chunks_of

BROKEN = Failure(type="Broken", message='it "broke", badly', retryable=True)


def child(
    index: int,
    result: Any,
    *,
    error: Failure | None = None,
    item_errors: tuple[ItemError, ...] = (),
    items: list[Any] | None = None,
) -> ChunkData:
    """A chunk of an item processor where its result is an array, of a chunk processor otherwise."""
    state = ChunkState.SUCCEEDED
    if error is not None:
        state = ChunkState.FAILED if result is None else ChunkState.PARTIALLY_SUCCEEDED
    by_item, dropped = isinstance(result, list), sum(one.is_dropped for one in item_errors)
    record = ChunkRecord(
        index=index,
        state=state,
        item_count=len(result) + dropped if by_item else 1,
        items_failed=len(item_errors),
        attempts=1,
        error=error,
        started_at=0,
        finished_at=0,
        result_bytes=0,
        by_item=by_item,
        block=None,
        stage=0,
        stage_attempts=1,
        run=1,
        resolved_by=None,
    )
    body = b"" if result is None else encode(result)
    output = ChunkOutput(body=body, item_errors=item_errors, by_item=by_item)
    return ChunkData(record, encode(items or []), output)


def text_of(
    children: Sequence[ChunkData],
    columns: Sequence[str] | None = None,
    item_key: str | None = None,
) -> str:
    job = a_job(item_key=item_key)
    return text(csv_rows(chunks_of((Leaf(job), children)), columns, of=job))


def text(parts: AsyncIterator[bytes]) -> str:
    async def collect() -> bytes:
        return b"".join([part async for part in parts])

    return asyncio.run(collect()).decode()


def rows_of(
    children: Sequence[ChunkData],
    columns: Sequence[str] | None = None,
    item_key: str | None = None,
) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text_of(children, columns, item_key), newline="")))


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


def test_each_item_of_a_chunk_has_its_own_state_and_error() -> None:
    errors = (
        ItemError(item=1, type="ValidationError", message="iata is missing"),
        ItemError(item=2, type="ItemDropped", message="no airport", is_dropped=True),
    )
    assert rows_of([child(4, [{"a": 1}, None, {"a": 3}], error=BROKEN, item_errors=errors)]) == [
        ["index", "item", "state", "error", "a", "more"],
        ["4", "0", "succeeded", "", "1", ""],
        ["4", "1", "failed", "ValidationError: iata is missing", "", ""],
        ["4", "2", "failed", "ItemDropped: no airport", "", ""],
        ["4", "3", "succeeded", "", "3", ""],
    ]


def test_of_a_chunk_that_failed_as_a_whole_each_item_is_a_row() -> None:
    whole = child(1, None, error=BROKEN)
    whole = replace(whole, record=replace(whole.record, item_count=2, by_item=True))
    why = 'Broken: it "broke", badly'
    assert rows_of([whole])[1:] == [["1", "0", "failed", why, ""], ["1", "1", "failed", why, ""]]


def test_items_that_failed_before_a_chunk_processor_have_rows_before_its_result() -> None:
    errors = (ItemError(item=3, type="T", message="m"),)
    assert rows_of([child(0, {"FI": 2}, error=BROKEN, item_errors=errors)])[1:] == [
        ["0", "3", "failed", "T: m", "", ""],
        ["0", "", "partially_succeeded", 'Broken: it "broke", badly', "2", ""],
    ]


def test_of_what_a_chunk_processor_has_made_each_element_has_its_own_state() -> None:
    errors = (
        ItemError(item=0, type="T", message="before", is_derived=True, is_remade=True),
        ItemError(item=1, type="T", message="m", stage=1, is_derived=True),
    )
    made = child(0, [5, None], error=BROKEN, item_errors=errors)
    made = replace(made, record=replace(made.record, by_item=False))
    assert rows_of([made])[1:] == [
        ["0", "0", "succeeded", "", "5", ""],
        ["0", "1", "failed", "T: m", "", ""],
    ]


def test_keys_are_a_column_where_the_job_has_them() -> None:
    errors = (ItemError(item=1, type="T", message="m", key="b"),)
    items = [{"id": "a"}, {"id": "b"}, {"id": [1]}, 4]
    chunk = child(0, [1, None, 3, 4], error=BROKEN, item_errors=errors, items=items)
    assert rows_of([chunk], item_key="id") == [
        ["index", "item", "key", "state", "error", "value", "more"],
        ["0", "0", "a", "succeeded", "", "1", ""],
        ["0", "1", "b", "failed", "T: m", "", ""],
        ["0", "2", "[1]", "succeeded", "", "3", ""],
        ["0", "3", "", "succeeded", "", "4", ""],
    ]


def test_fields_that_come_up_later_are_in_the_last_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_table, "SAMPLE_CHUNKS", 1)
    rows = rows_of([child(0, [{"a": 1}]), child(1, [{"a": 2, "b": [None], "c": "x"}, 5])])
    assert rows[0] == ["index", "item", "state", "error", "a", "more"]
    assert rows[2][4] == "2"
    assert json.loads(rows[2][5]) == {"b": [None], "c": "x"}
    assert rows[3][4:] == ["", '{"value":5}']


def test_columns_are_bounded_and_nothing_beyond_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_table, "MAX_COLUMNS", 2)
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


def test_of_a_job_made_of_jobs_each_row_says_where_it_is_from_and_has_the_key_of_its_job() -> None:
    chunks = chunks_of(
        (a_part("EU"), [child(0, [1])]),
        (a_part("US", item_key="sku"), [child(0, [2], items=[{"sku": "a1"}])]),
    )
    assert text(csv_rows(chunks, None, of=ROOT)).splitlines() == [
        "job,path,index,item,key,state,error,value,more",
        "job_EU,EU,0,0,,succeeded,,1,",
        "job_US,US,0,0,a1,succeeded,,2,",
    ]


def test_text_that_looks_like_a_formula_is_given_as_it_is() -> None:
    assert rows_of([child(0, ["=1+1", "-5", -5])])[1:] == [
        ["0", "0", "succeeded", "", "=1+1", ""],
        ["0", "1", "succeeded", "", "-5", ""],
        ["0", "2", "succeeded", "", "-5", ""],
    ]


def test_a_large_result_comes_in_parts() -> None:
    job = a_job()

    async def sizes() -> list[int]:
        chunks = chunks_of((Leaf(job), [child(0, list(range(5000)))]))
        parts = csv_rows(chunks, ["value"], of=job)
        return [part.count(b"\r\n") async for part in parts]

    assert asyncio.run(sizes()) == [1] + [csv_table.ROWS_AT_ONCE] * 10


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
