"""Input that is read as a whole, and output that is there whole or not at all."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from fanfold.cli.connection import die
from fanfold.cli.exits import Exit

_STANDARD_INPUT = "-"


def name_of(file: str) -> str:
    """What messages call a file, or standard input."""
    return "standard input" if file == _STANDARD_INPUT else file


def read(file: str, command: str) -> bytes:
    """What is in a file, or in standard input; ends the command where it cannot be read."""
    try:
        return sys.stdin.buffer.read() if file == _STANDARD_INPUT else Path(file).read_bytes()
    except OSError as error:
        die(Exit.USAGE, f"{command}: {file}: {error.strerror}")


def write(pieces: Iterable[bytes], path: Path | None, command: str) -> None:
    """Write to a file or standard output; ends the command where that cannot be done."""
    try:
        with _writing(path) as file:
            for piece in pieces:
                file.write(piece)
    except BrokenPipeError:
        raise
    except OSError as error:
        die(Exit.REFUSED, f"{command}: {path}: {error.strerror}")


@contextmanager
def _writing(path: Path | None) -> Iterator[BinaryIO]:
    """Standard output, or a file that takes its name when all is written; raises OSError."""
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with unfinished.open("xb") as file:
            yield file
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
