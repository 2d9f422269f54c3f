"""Decompresses data as it arrives, under a limit of bytes."""

import zlib
from collections.abc import Iterator
from itertools import chain

from fanfold.app.http.errors import BodyTooLarge, MalformedRequest

BLOCK_BYTES = 256 * 1024
LEAST_BYTES = 64 * 1024
"""Smaller blocks are joined: each one has a fixed cost for the parsers."""
_BOM = b"\xef\xbb\xbf"
_GZIP_WINDOW = 31  # zlib's number for: a gzip header, and the largest window


def decompressed(blocks: Iterator[bytes], *, is_gzip: bool, max_bytes: int) -> Iterator[bytes]:
    """The data in blocks, without a byte order mark.

    Raises MalformedRequest for what is not gzip, and BodyTooLarge as soon as there are more
    than `max_bytes` of data, however small they are compressed.
    """
    plain = _gunzipped(blocks) if is_gzip else blocks
    size, waiting_bytes = 0, 0
    waiting: list[bytes] = []
    is_first = True
    for block in chain(plain, [b""]):
        size += len(block)
        if size > max_bytes:
            raise BodyTooLarge(
                "body_too_large",
                f"At most {max_bytes} bytes of items, counted uncompressed, are allowed at a "
                "time (FANFOLD_MAX_UPLOAD_BYTES).",
            )
        waiting.append(block)
        waiting_bytes += len(block)
        if block and waiting_bytes < max(LEAST_BYTES, len(_BOM)):
            continue
        joined = b"".join(waiting)
        yield joined.removeprefix(_BOM) if is_first else joined
        waiting, waiting_bytes, is_first = [], 0, False


def _gunzipped(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """One gzip file, or several in a row, which count as one."""
    member = zlib.decompressobj(_GZIP_WINDOW)
    try:
        for block in blocks:
            left = block
            while left:
                if member.eof:
                    # Another gzip file may follow, or zeros as padding.
                    left = left.lstrip(b"\0")
                    if not left:
                        break
                    member = zlib.decompressobj(_GZIP_WINDOW)
                data = member.decompress(left, BLOCK_BYTES)
                if data:
                    yield data
                left = member.unused_data if member.eof else member.unconsumed_tail
            while not member.eof and (data := member.decompress(b"", BLOCK_BYTES)):
                yield data
    except zlib.error:
        detail = "The items are said to be compressed with gzip, but are not, or are damaged."
        raise MalformedRequest("malformed_gzip", detail) from None
    if not member.eof:
        raise MalformedRequest("malformed_gzip", "The compressed items end before they are whole.")
