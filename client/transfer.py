"""Large bodies, both ways in flat memory: items or a file sent, an answer expanded and read.

What is sent is given twice, as pieces for a blocking connection and for an async one.
"""

import asyncio
import io
import json
import uuid
import zlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable
from urllib.parse import quote

from pydantic_core import to_jsonable_python

# What one network packet may expand to at once: a few bytes of gzip can hold a gigabyte.
_EXPANDED_BYTES = 256 * 1024
_GZIP_FORMAT = 16 + zlib.MAX_WBITS
_SENT_BYTES = 64 * 1024

_encode = json.JSONEncoder(default=to_jsonable_python).encode

OnProgress = Callable[[int], None]
"""Told how many bytes of the file have been sent so far."""

Items = Iterable[Any] | AsyncIterable[Any]


class BrokenOff(Exception):
    """A compressed answer ended before its end, or is none."""


@runtime_checkable
class Source(Protocol):
    """Bytes that are sent piece by piece."""

    @property
    def is_repeatable(self) -> bool:
        """Whether they can be given a second time."""

    def pieces(self) -> Iterator[bytes]:
        """The bytes, for a blocking connection."""

    def async_pieces(self) -> AsyncIterator[bytes]:
        """The bytes, for an async connection."""


def json_text(value: Any) -> bytes:  # noqa: ANN401 - what the user has
    """The value as JSON; dates, dataclasses, pydantic models and such have one obvious form."""
    return _encode(value).encode()


@dataclass(frozen=True)
class Ndjson:
    """Items of any number, each a line of JSON, read as they are sent."""

    items: Items

    def __post_init__(self) -> None:
        """Refuse what can be iterated over, and is surely not meant as items."""
        if isinstance(self.items, str | bytes | Mapping):
            kind = type(self.items).__name__
            raise TypeError(f"items are a list or a generator of JSON values, not a {kind}")

    @property
    def is_repeatable(self) -> bool:
        """A generator can be read once only."""
        return not isinstance(self.items, Iterator | AsyncIterator)

    def pieces(self) -> Iterator[bytes]:
        """As Source has it."""
        if isinstance(self.items, AsyncIterable):
            raise TypeError("items of an async generator are sent by AsyncFanfold")
        lines = _Batch()
        for item in self.items:
            yield from lines.add(json_text(item) + b"\n")
        yield from lines.rest()

    async def async_pieces(self) -> AsyncIterator[bytes]:
        """As Source has it."""
        lines = _Batch()
        async for item in _each(self.items):
            for piece in lines.add(json_text(item) + b"\n"):
                yield piece
        for piece in lines.rest():
            yield piece


class _Batch:
    """Puts lines together to pieces that are worth sending."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._size = 0

    def add(self, line: bytes) -> list[bytes]:
        self._lines.append(line)
        self._size += len(line)
        return self.rest() if self._size >= _SENT_BYTES else []

    def rest(self) -> list[bytes]:
        piece = b"".join(self._lines)
        self._lines, self._size = [], 0
        return [piece] if piece else []


async def _each(items: Items) -> AsyncIterator[Any]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


@dataclass(frozen=True)
class FileBytes:
    """A file as it is."""

    path: Path
    on_progress: OnProgress | None = None
    is_repeatable: bool = True

    def __post_init__(self) -> None:
        """Raises OSError where it cannot be read, before anything is sent."""
        self.path.open("rb").close()

    def pieces(self) -> Iterator[bytes]:
        """As Source has it."""
        with self.path.open("rb") as file:
            while piece := file.read(_SENT_BYTES):
                yield piece
                self._tell(file)

    async def async_pieces(self) -> AsyncIterator[bytes]:
        """As Source has it."""
        with await asyncio.to_thread(self.path.open, "rb") as file:
            while piece := await asyncio.to_thread(file.read, _SENT_BYTES):
                yield piece
                self._tell(file)

    def _tell(self, file: io.BufferedReader) -> None:
        if self.on_progress is not None:
            self.on_progress(file.tell())


@dataclass(frozen=True)
class StreamBytes:
    """A stream as it is: a pipe, say."""

    stream: BinaryIO
    on_progress: OnProgress | None = None
    is_repeatable: bool = False

    def pieces(self) -> Iterator[bytes]:
        """As Source has it."""
        # What has come is sent: whoever writes slowly is not waited for.
        read, sent = getattr(self.stream, "read1", self.stream.read), 0
        while piece := read(_SENT_BYTES):
            yield piece
            sent += len(piece)
            if self.on_progress is not None:
                self.on_progress(sent)

    async def async_pieces(self) -> AsyncIterator[bytes]:
        """As Source has it."""
        pieces = self.pieces()
        while piece := await asyncio.to_thread(next, pieces, b""):
            yield piece


class JobForm:
    """A form with a job and then its items: the gateway has to know the job before they arrive."""

    def __init__(self, job: bytes, items: Source, *, file_name: str) -> None:
        """`file_name` says what the items are: .ndjson, .csv and so on."""
        boundary = uuid.uuid4().hex
        self.media_type = f"multipart/form-data; boundary={boundary}"
        self.is_repeatable = items.is_repeatable
        self._items = items
        self._head = (
            f"--{boundary}\r\n"
            'Content-Disposition: form-data; name="job"\r\n'
            "Content-Type: application/json\r\n\r\n"
        ).encode()
        self._head += job
        self._head += (
            f"\r\n--{boundary}\r\n"
            f'Content-Disposition: form-data; name="items"; filename="{quote(file_name)}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()

    def pieces(self) -> Iterator[bytes]:
        """As Source has it."""
        yield self._head
        yield from self._items.pieces()
        yield self._tail

    async def async_pieces(self) -> AsyncIterator[bytes]:
        """As Source has it."""
        yield self._head
        async for piece in self._items.async_pieces():
            yield piece
        yield self._tail


class Expander:
    """Gives the bytes that an answer holds, never many at once."""

    def __init__(self, encoding: str | None) -> None:
        """`encoding` is the answer's Content-Encoding: gzip or none."""
        self._gzip = zlib.decompressobj(_GZIP_FORMAT) if encoding == "gzip" else None

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """What this piece gives; raises BrokenOff where it is no gzip."""
        if self._gzip is None:
            yield piece
            return
        try:
            while piece and not self._gzip.eof:
                if text := self._gzip.decompress(piece, _EXPANDED_BYTES):
                    yield text
                piece = self._gzip.unconsumed_tail
        except zlib.error as error:
            raise BrokenOff(str(error)) from error

    def end(self) -> Iterator[bytes]:
        """What is left; raises BrokenOff where the end is missing."""
        if self._gzip is None:
            return
        try:
            while rest := self._gzip.decompress(b"", _EXPANDED_BYTES):
                yield rest
        except zlib.error as error:
            raise BrokenOff(str(error)) from error
        if not self._gzip.eof:
            raise BrokenOff("the compressed data ended too early")


class Lines:
    """Puts lines together from a text that comes in pieces."""

    def __init__(self) -> None:
        """Start with no text."""
        self._begun: list[bytes] = []

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The lines that end in this piece, without their ends."""
        first, *more = piece.split(b"\n")
        self._begun.append(first)
        for line in more:
            yield b"".join(self._begun)
            self._begun = [line]

    def end(self) -> Iterator[bytes]:
        """The last line, where nothing ended it."""
        if last := b"".join(self._begun):
            yield last
