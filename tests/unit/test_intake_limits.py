"""What passes through an upload is bounded: bytes, items, chunks, and the size of a chunk."""

import gzip
import zlib

import pytest

from fanfold.app.intake.items.formats import Format
from fanfold.intake.cutting import Cut
from tests.unit.intake import items, limits, read, refusal


def test_a_gzip_bomb_is_stopped_at_the_limit() -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    status, code, _, message = refusal(
        bomb, Format.NDJSON, is_gzip=True, within=limits(max_upload_bytes=1_000_000)
    )
    assert (status, code) == (413, "body_too_large")
    assert "FANFOLD_MAX_UPLOAD_BYTES" in message


def test_a_line_of_blanks_without_an_end_is_stopped() -> None:
    bomb = gzip.compress(b"1\n" + b" " * 10_000_000)
    status, code, place, _ = refusal(bomb, Format.NDJSON, is_gzip=True)
    assert (status, code, place) == (422, "limit_exceeded", "/items")


@pytest.mark.parametrize("is_over", [False, True])
def test_the_limit_of_bytes_counts_what_comes_plain_too(is_over: bool) -> None:
    within = limits(max_upload_bytes=3 if is_over else 4)
    if is_over:
        assert refusal(b"1\n2\n", Format.NDJSON, within=within)[0] == 413
    else:
        assert items(b"1\n2\n", Format.NDJSON, within=within) == [1, 2]


@pytest.mark.parametrize("kept", [1, 12, -9, -1])
def test_gzip_that_breaks_off_is_refused(kept: int) -> None:
    data = gzip.compress(b"1\n2\n")[:kept]
    assert refusal(data, Format.NDJSON, is_gzip=True)[:2] == (400, "malformed_gzip")


@pytest.mark.parametrize(
    "data",
    [b"1\n2\n", b"", gzip.compress(b"1\n", mtime=0)[:-8] + b"12345678", zlib.compress(b"1\n")],
)
def test_what_is_not_gzip_is_refused(data: bytes) -> None:
    assert refusal(data, Format.NDJSON, is_gzip=True)[:2] == (400, "malformed_gzip")


@pytest.mark.parametrize("size", [1, 1000])
def test_gzip_files_in_a_row_count_as_one(size: int) -> None:
    data = gzip.compress(b"1\n2") + gzip.compress(b"") + gzip.compress(b"3\n4") + b"\0" * 512
    assert items(data, Format.NDJSON, is_gzip=True, piece_bytes=size) == [1, 23, 4]


def test_items_and_chunks_are_limited() -> None:
    data = b"1\n" * 10
    assert len(items(data, Format.NDJSON, within=limits(max_items=10))) == 10
    assert refusal(data, Format.NDJSON, within=limits(max_items=9))[1:3] == (
        "limit_exceeded",
        "/items",
    )
    cut = Cut(2, None)
    assert len(read(data, Format.NDJSON, cut=cut, within=limits(max_chunks=5))) == 5
    assert refusal(data, Format.NDJSON, cut=cut, within=limits(max_chunks=4))[1:3] == (
        "limit_exceeded",
        "/chunk_size",
    )


def test_a_chunk_larger_than_a_gateway_holds_is_refused() -> None:
    status, code, place, message = refusal(b"11\n" * 10, Format.NDJSON, cut=Cut(100, None, 13))
    assert (status, code, place) == (422, "limit_exceeded", "/items/4")
    assert "max_chunk_bytes" in message
    assert read(b"11\n" * 4, Format.NDJSON, cut=Cut(100, None, 13)) == [[11] * 4]


def test_chunks_are_closed_before_they_grow_too_large() -> None:
    assert read(b"11\n" * 10, Format.NDJSON, cut=Cut(100, 13, 100)) == [
        [11] * 4,
        [11] * 4,
        [11] * 2,
    ]
    assert refusal(b"1\n" + b"1" * 20, Format.NDJSON, cut=Cut(9, 13))[2] == "/items/1"
