"""The items that failed, as NDJSON and CSV: each as it was submitted, with why."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.app.answers import csv_table
from fanfold.app.answers.failures import csv_failures, ndjson_failures
from fanfold.app.answers.tree import Leaf, LeafChunk
from fanfold.app.http.streaming import LARGE_BYTES, PIECE_BYTES
from fanfold.contract.failures import Failure
from fanfold.contract.json_values import encode
from fanfold.contract.states import ChunkState
from fanfold.ledger.chunks import ChunkData
from fanfold.ledger.records import ChunkOutput, ChunkRecord, ItemError
from tests.unit.any_json import exactly, storable_text, values
from tests.unit.leaves import ROOT, a_job, a_part, chunks_of

BROKEN = Failure(type="Broken", message='it "broke", badly', retryable=True, traceback="in f")
SHOWN = {"type": "Broken", "message": 'it "broke", badly', "retryable": True}
Writer = Callable[[Sequence[ChunkData]], list[bytes]]


def chunk(
    items: list[Any],
    *errors: ItemError,
    index: int = 0,
    state: ChunkState = ChunkState.PARTIALLY_SUCCEEDED,
    items_failed: int | None = None,
) -> ChunkData:
    """A chunk of which these items failed; as a whole, where it is said how many did."""
    record = ChunkRecord(
        index=index,
        state=state,
        item_count=len(items),
        items_failed=len(errors) if items_failed is None else items_failed,
        attempts=1,
        error=None if state is ChunkState.SUCCEEDED else BROKEN,
        started_at=0,
        finished_at=0,
        result_bytes=0,
        by_item=True,
        block=None,
        stage=0,
        stage_attempts=1,
        run=1,
        resolved_by=None,
    )
    return ChunkData(record, encode(items), ChunkOutput(item_errors=errors, by_item=True))


def parts_of(parts: AsyncIterator[bytes]) -> list[bytes]:
    async def collect() -> list[bytes]:
        return [part async for part in parts]

    return asyncio.run(collect())


def ndjson(chunks: Sequence[ChunkData], item_key: str | None = None) -> list[bytes]:
    return parts_of(ndjson_failures(chunks_of((Leaf(a_job(item_key=item_key)), chunks))))


def csv_parts(chunks: Sequence[ChunkData], item_key: str | None = None) -> list[bytes]:
    job = a_job(item_key=item_key)
    return parts_of(csv_failures(chunks_of((Leaf(job), chunks)), of=job))


def lines_of(chunks: Sequence[ChunkData], item_key: str | None = None) -> list[dict[str, Any]]:
    text = b"".join(ndjson(chunks, item_key))
    assert text.endswith(b"\n") or not text
    return [json.loads(line) for line in text.splitlines()]


def table_of(chunks: Sequence[ChunkData], item_key: str | None = None) -> list[list[str]]:
    text = b"".join(csv_parts(chunks, item_key)).decode()
    return list(csv.reader(io.StringIO(text, newline="")))


def broken(item: int) -> ItemError:
    return ItemError(item=item, type="T", message=f"m{item}", is_final=True)


def test_each_item_that_failed_is_a_line_with_what_was_submitted() -> None:
    assert lines_of([chunk([1, {"a": 2}, [3]], broken(2), broken(1), index=7)]) == [
        {
            "index": 7,
            "item": item,
            "value": value,
            "error": {"type": "T", "message": f"m{item}", "retryable": False},
        }
        for item, value in [(1, {"a": 2}), (2, [3])]
    ]


def test_an_item_that_was_left_out_is_among_them_though_its_chunk_succeeded() -> None:
    dropped = ItemError(item=1, type="ItemDropped", message="no airport", is_dropped=True)
    (line,) = lines_of([chunk([1, 2], dropped, state=ChunkState.SUCCEEDED)])
    assert (line["value"], line["error"]["type"]) == (2, "ItemDropped")


def test_all_items_of_a_chunk_that_failed_as_a_whole_are_there() -> None:
    whole = chunk(["a", "b", "c"], broken(1), state=ChunkState.FAILED, items_failed=3)
    errors = [line["error"] for line in lines_of([whole])]
    assert errors == [SHOWN, {"type": "T", "message": "m1", "retryable": False}, SHOWN]


def test_items_that_stand_and_fall_together_have_the_error_of_their_chunk() -> None:
    made = ItemError(item=5, type="T", message="m", is_derived=True)
    lines = lines_of([chunk([1, 2], made, items_failed=2)])
    assert [(line["item"], line["error"]) for line in lines] == [(0, SHOWN), (1, SHOWN)]


@pytest.mark.parametrize("written", ["waits for a person", "some state of a later release"])
def test_what_failed_is_told_without_the_state_of_the_chunk(written: str) -> None:
    unknown = ChunkState.read(written)
    some = chunk([1, 2], broken(1), state=unknown)
    whole = chunk([3, 4], state=unknown, items_failed=2)
    assert [line["value"] for line in lines_of([some, whole])] == [2, 3, 4]


def test_keys_are_shown_where_the_job_has_them_and_only_there() -> None:
    given = chunk([{"id": "a"}, {"id": [1]}, 4], *map(broken, range(3)))
    assert [line["key"] for line in lines_of([given], "id")] == ["a", [1], None]
    assert all("key" not in line for line in lines_of([given]))
    table = table_of([given], "id")
    assert table[0][:5] == ["index", "item", "key", "error_type", "error_message"]
    assert [row[2] for row in table[1:]] == ["a", "[1]", ""]


def test_the_fields_of_the_items_are_columns() -> None:
    given = chunk([{"a": 1, "b": "x"}, 7, {"b": None, "c": {"d": [1]}}], *map(broken, range(3)))
    assert table_of([given]) == [
        ["index", "item", "error_type", "error_message", "a", "b", "value", "c", "more"],
        ["0", "0", "T", "m0", "1", "x", "", "", ""],
        ["0", "1", "T", "m1", "", "", "7", "", ""],
        ["0", "2", "T", "m2", "", "", "", '{"d":[1]}', ""],
    ]


def test_the_fields_of_items_that_did_not_fail_are_no_columns() -> None:
    (header, _) = table_of([chunk([{"fine": 1}, {"bad": 2}], broken(1))])
    assert header[4:] == ["bad", "more"]


def test_fields_that_come_up_later_are_in_the_last_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_table, "SAMPLE_CHUNKS", 1)
    later = chunk([{"a": 2, "b": [None]}], broken(0), index=1)
    table = table_of([chunk([{"a": 1}], broken(0)), later])
    assert table[0][4:] == ["a", "more"]
    assert table[2][4:] == ["2", '{"b":[null]}']


def test_fields_named_like_one_of_the_first_columns_are_told_apart() -> None:
    item = {"index": 9, "error_type": "x", "value.index": 8, "more": 7, "key": 1}
    (header, _) = table_of([chunk([item], broken(0))])
    assert header[4:] == [
        *("value.index", "value.error_type", "value.value.index", "value.more", "key", "more"),
    ]
    (header, _) = table_of([chunk([item], broken(0))], "key")
    assert header[-2:] == ["value.key", "more"]


def test_without_a_failure_there_is_nothing_but_the_header() -> None:
    assert lines_of([]) == []
    assert table_of([]) == [["index", "item", "error_type", "error_message", "more"]]


def test_of_a_job_made_of_jobs_each_failure_says_where_it_is_from() -> None:
    def chunks() -> AsyncIterator[LeafChunk]:
        return chunks_of(
            (a_part("EU"), [chunk([1], broken(0))]),
            (a_part("US", item_key="sku"), [chunk([{"sku": "a1"}], broken(0))]),
        )

    lines = [json.loads(line) for line in parts_of(ndjson_failures(chunks()))]
    assert [(line["job"], line["path"], line.get("key", "none")) for line in lines] == [
        ("job_EU", "EU", "none"),
        ("job_US", "US", "a1"),
    ]
    table = b"".join(parts_of(csv_failures(chunks(), of=ROOT))).decode().splitlines()
    assert table == [
        "job,path,index,item,key,error_type,error_message,value,sku,more",
        "job_EU,EU,0,0,,T,m0,1,,",
        "job_US,US,0,0,a1,T,m0,,a1,",
    ]


@pytest.mark.parametrize("writer", [ndjson, csv_parts])
def test_of_a_large_chunk_no_more_than_a_piece_is_made_at_a_time(writer: Writer) -> None:
    large = chunk(["x" * 10] * 20_000, state=ChunkState.FAILED, items_failed=20_000)
    assert large.size_bytes > LARGE_BYTES
    parts = writer([large])
    assert sum(part.count(b"\n") for part in parts) >= len(parts) > 10
    assert max(map(len, parts)) < 2 * PIECE_BYTES


@given(st.lists(st.one_of(values, st.dictionaries(storable_text, values)), min_size=1, max_size=4))
def test_what_comes_back_is_what_was_submitted(items: list[Any]) -> None:
    whole = chunk(items, state=ChunkState.FAILED, items_failed=len(items))
    assert [exactly(line["value"]) for line in lines_of([whole])] == [exactly(v) for v in items]
