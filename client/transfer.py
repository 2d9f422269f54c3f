"""Large bodies, both ways in flat memory: a file that is sent, an answer that is expanded."""

import io
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

# What one network packet may expand to at once: a few bytes of gzip can hold a gigabyte.
_PIECE_BYTES = 256 * 1024
_GZIP_FORMAT = 16 + zlib.MAX_WBITS

OnProgress = Callable[[int], None]
"""Told how many bytes of the file have been sent so far."""


class BrokenOff(Exception):
    """A compressed answer ended before its end, or is none."""


class WatchedFile(io.FileIO):
    """A file that tells how far it has been read."""

    def __init__(self, path: Path, on_progress: OnProgress | None) -> None:
        """Open it for reading; raises OSError."""
        super().__init__(path)
        self._on_progress = on_progress

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file."""
        data = super().read(size) or b""
        if self._on_progress is not None:
            self._on_progress(self.tell())
        return data


def expanded(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes that a gzip stream holds, never many at once; raises BrokenOff."""
    expander = zlib.decompressobj(_GZIP_FORMAT)
    try:
        for piece in pieces:
            data = piece
            while data and not expander.eof:
                if text := expander.decompress(data, _PIECE_BYTES):
                    yield text
                data = expander.unconsumed_tail
        while rest := expander.decompress(b"", _PIECE_BYTES):
            yield rest
    except zlib.error as error:
        raise BrokenOff(str(error)) from error
    if not expander.eof:
        raise BrokenOff("the compressed data ended too early")


def lines_of(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The lines in a text that comes in pieces, without their ends."""
    begun: list[bytes] = []
    for piece in pieces:
        first, *more = piece.split(b"\n")
        begun.append(first)
        for line in more:
            yield b"".join(begun)
            begun = [line]
    if last := b"".join(begun):
        yield last
