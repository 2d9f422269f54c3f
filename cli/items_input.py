"""Where a job's items come from, and the file name that tells the gateway what they are."""

import io
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

STANDARD_INPUT = Path("-")
_GZIP_MAGIC = b"\x1f\x8b"
_TOLD_BY_NAME = (".ndjson", ".jsonl", ".csv", ".json")


class ItemsFormat(StrEnum):
    """How items are written down."""

    NDJSON = "ndjson"
    CSV = "csv"
    JSON = "json"


class UnknownFormat(Exception):
    """Nothing says how the items are written down; the message says what would."""


@dataclass(frozen=True)
class ItemsInput:
    """A file or a stream, and the name that it goes by."""

    items: Path | BinaryIO
    file_name: str


def items_input(path: Path, items_format: ItemsFormat | None) -> ItemsInput:
    """The items of a file, of a pipe, or of standard input, which is NDJSON by default.

    Where a format is given, the first bytes tell whether they are compressed, else the name
    does. Raises UnknownFormat, and OSError where the file cannot be read.
    """
    if path == STANDARD_INPUT:
        return _stream(sys.stdin.buffer, "items", items_format or ItemsFormat.NDJSON)
    if items_format is None and not path.name.lower().removesuffix(".gz").endswith(_TOLD_BY_NAME):
        raise UnknownFormat(
            f"the name of {path} does not tell what is in it; say so with --items-format: "
            f"{', '.join(ItemsFormat)}"
        )
    if not path.is_file():  # a pipe, which can be read once only
        return _stream(path.open("rb"), path.name, items_format)
    if items_format is None:
        return ItemsInput(path, path.name)
    with path.open("rb") as file:
        return ItemsInput(path, _name(path.stem, items_format, file.read(len(_GZIP_MAGIC))))


def _stream(stream: BinaryIO, name: str, items_format: ItemsFormat | None) -> ItemsInput:
    if items_format is None:
        return ItemsInput(stream, name)
    # Whatever cannot be peeked into is no process's input, and not compressed.
    begins = stream.peek(1) if isinstance(stream, io.BufferedReader) else b""
    return ItemsInput(stream, _name(name, items_format, begins))


def _name(stem: str, items_format: ItemsFormat, begins: bytes) -> str:
    return f"{stem}.{items_format}{'.gz' if begins.startswith(_GZIP_MAGIC) else ''}"
