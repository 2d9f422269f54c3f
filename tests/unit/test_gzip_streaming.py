"""Long answers: in pieces, compressed if asked for, with turns for others in between."""

import asyncio
import gc
import gzip
import itertools
import socket
import time
import zlib
from collections.abc import AsyncIterator

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from fanfold.app.http.accept import wants_csv, wants_gzip
from fanfold.app.http.streaming import PIECE_BYTES, gzipped, in_pieces


async def parts_of(parts: list[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def collected(stream: AsyncIterator[bytes]) -> list[bytes]:
    async def collect() -> list[bytes]:
        return [piece async for piece in stream]

    return asyncio.run(collect())


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("deflate, gzip, br, zstd", True),
        ("br", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip; q=0.0, *", False),
        ("gzip;q=0.001", True),
        ("identity;q=0.5, gzip;q=1.0", True),
        ("identity, gzip;q=0.5", False),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=much", False),
        ("gzip;q=-1", False),
        ("gzip;q=nan", False),
        (",;,", False),
    ],
)
def test_gzip_is_sent_where_it_is_asked_for(header: str | None, *, expected: bool) -> None:
    assert wants_gzip(header) is expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, False),
        ("*/*", False),
        ("text/html, */*;q=0.8", False),
        ("text/csv", True),
        ("Text/CSV; header=present", True),
        ("application/x-ndjson, text/csv;q=0.9", False),
        ("application/x-ndjson;q=0.5, text/csv", True),
        ("text/csv;q=0", False),
    ],
)
def test_csv_is_sent_where_it_is_named_and_not_less_wanted(
    header: str | None, *, expected: bool
) -> None:
    assert wants_csv(None, header) is expected


def test_small_parts_are_put_together_and_none_is_lost() -> None:
    parts = [b"%d\n" % number for number in range(100_000)]
    pieces = collected(in_pieces(parts_of(parts)))
    assert b"".join(pieces) == b"".join(parts)
    assert {PIECE_BYTES <= len(piece) < PIECE_BYTES + 10 for piece in pieces[:-1]} == {True}
    assert collected(in_pieces(parts_of([]))) == []


def test_others_have_turns_while_a_source_never_waits() -> None:
    async def busy() -> AsyncIterator[bytes]:
        for _ in range(100):
            until = time.perf_counter() + 0.001
            while time.perf_counter() < until:
                pass
            yield b"x"

    async def count_turns() -> int:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        waiting = asyncio.create_task(other())
        assert [piece async for piece in in_pieces(busy())] == [b"x" * 100]
        waiting.cancel()
        return turns

    assert asyncio.run(count_turns()) >= 20


def test_what_is_compressed_expands_to_the_same_bytes() -> None:
    pieces = [b"a" * 100_000, b"", b"end"]
    sent = collected(gzipped(parts_of(pieces)))
    assert gzip.decompress(b"".join(sent)) == b"".join(pieces)
    assert sum(map(len, sent)) < 1000
    assert gzip.decompress(b"".join(collected(gzipped(parts_of([]))))) == b""


def test_each_compressed_piece_can_be_read_when_it_arrives() -> None:
    pieces = [b"first", b"second"]
    sent = collected(gzipped(parts_of(pieces)))
    expander = zlib.decompressobj(16 + zlib.MAX_WBITS)
    assert [expander.decompress(each) for each in sent[:2]] == pieces


@pytest.mark.alone
def test_a_large_piece_is_compressed_beside_the_event_loop() -> None:
    async def longest_pause() -> float:
        longest, last = 0.0, time.perf_counter()

        async def watch() -> None:
            nonlocal longest, last
            while True:
                await asyncio.sleep(0)
                now = time.perf_counter()
                longest, last = max(longest, now - last), now

        watching = asyncio.create_task(watch())
        source = parts_of([bytes(range(256)) * 100_000])
        async for _ in gzipped(source):
            pass
        watching.cancel()
        return longest

    started = time.perf_counter()
    pause = asyncio.run(longest_pause())
    assert pause < (time.perf_counter() - started) / 2


@pytest.mark.parametrize("is_compressed", [False, True])
def test_a_client_that_hangs_up_ends_the_work(*, is_compressed: bool) -> None:
    ended = asyncio.Event()
    app = FastAPI()

    async def endless() -> AsyncIterator[bytes]:
        try:
            for number in itertools.count():
                yield b"%d\n" % number
        finally:
            ended.set()

    @app.get("/")
    async def stream() -> StreamingResponse:
        pieces = in_pieces(endless())
        return StreamingResponse(gzipped(pieces) if is_compressed else pieces)

    async def hang_up() -> None:
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            server = uvicorn.Server(uvicorn.Config(app, log_config=None))
            serving = asyncio.create_task(server.serve([listening]))
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.read(100)).startswith(b"HTTP/1.1 200")
            writer.close()
            async with asyncio.timeout(5):
                while not ended.is_set():
                    # Nobody holds what makes the answer any more, but for itself.
                    gc.collect()
                    await asyncio.sleep(0.01)
            server.should_exit = True
            await serving

    asyncio.run(hang_up())
