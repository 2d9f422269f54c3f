"""Processors that tests steer: named to the stacks' workers in FANFOLD_PROCESSORS."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from fanfold.processing import ProcessorContext, example


def gated(item: int, *, directory: str, context: ProcessorContext) -> int:
    """Note in the directory who has begun the item, wait for `open` or `open-INDEX`, double it."""
    place, index = Path(directory), context.chunk_index
    (place / f"begun-{index}-{context.attempt}").write_text(str(os.getpid()))
    while not ((place / "open").exists() or (place / f"open-{index}").exists()):
        time.sleep(0.01)
    (place / f"done-{context.chunk_index}-{context.attempt}").touch()
    return item * 2


def undone(item: dict[str, Any], *, directory: str, context: ProcessorContext) -> list[Any]:
    """Undo what a chunk did: note that it has begun, wait for `open`, note that it is done."""
    place, name = Path(directory), "-".join(map(str, item["result"]))
    (place / f"undoing-{name}-{context.attempt}").touch()
    while not (place / "open").exists():
        time.sleep(0.01)
    with (place / "undone").open("a") as log:
        log.write(f"{name}\n")
    return list(item["items"])


def endless(item: int) -> int:
    """Never end, and never wait for anything either."""
    while True:
        item += 1


def deadly(item: int, *, context: ProcessorContext, deaths: int = 1) -> int:
    """Kill the worker process in the first so many attempts."""
    if context.attempt <= deaths:
        os.kill(os.getpid(), signal.SIGKILL)
    return item * 2


def picky(
    item: int, *, directory: str, fail_first: bool = True, final: tuple[int, ...] = ()
) -> int:
    """Note every call; fail even items at their first call, and those of `final` for good."""
    calls = Path(directory) / f"calls-{item}"
    earlier = len(calls.read_text()) if calls.exists() else 0
    calls.write_text("x" * (earlier + 1))
    if item in final:
        raise ValueError("the call fails for good")
    if item % 2 == 0 and fail_first and earlier == 0:
        raise ConnectionError("the first call fails")
    return item * 2


def flattened(chunk: list[list[Any]]) -> list[Any]:
    """Makes one list of all the lists in the chunk."""
    return [each for given in chunk for each in given]


@example({"items": [["/"]], "processor": "flattened"})
class Awaited:
    """A reducer that gives the paths that chunks gave, and fails while one of them is not there."""

    name = "awaited"

    def __init__(self) -> None:
        self._paths: list[str] = []

    def add(self, _index: int, result: list[str]) -> None:
        self._paths += result

    def result(self) -> list[str]:
        for path in self._paths:
            Path(path).stat()
        return self._paths


NAMES = ",".join(
    f"{__name__}:{name}"
    for name in ("gated", "undone", "endless", "deadly", "picky", "flattened", "Awaited")
)
