"""Processors whose behaviour is decided beforehand, and that note when they begin and end.

A directory of the job's holds both: `script.json` says what an item does in each run, and
each call of a processor writes a line to `calls.ndjson` as it begins, and one as it ends.
"""

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fanfold.processing import ItemDropped, ProcessorContext, ValidationError

BEHAVIOURS: Final = ("ok", "slow", "fails", "fails once", "is wrong", "is dropped")
_SLOW_SECONDS: Final = 0.4
_QUICK_SECONDS: Final = 0.02
_SLICE_SECONDS: Final = 0.01


def scripted(
    item: Any, *, directory: str, note: int = 0, context: ProcessorContext
) -> dict[str, Any]:
    """Do what the script says of this item in this run; say where and of what that was."""
    with _noted(Path(directory), context):
        _behave(Path(directory), context, context.item_index)
    return _told(item, note, context)


def scripted_chunk(
    chunk: list[Any], *, directory: str, note: int = 0, context: ProcessorContext
) -> list[dict[str, Any]]:
    """The same of a chunk as a whole, which does what is said of each of its items in turn."""
    with _noted(Path(directory), context):
        for item in range(len(chunk)):
            _behave(Path(directory), context, item, may_drop=False)
    return [_told(item, note, context) for item in chunk]


NAMES = ",".join(f"{__name__}:{name}" for name in ("scripted", "scripted_chunk"))


def _told(item: Any, note: int, context: ProcessorContext) -> dict[str, Any]:
    value = item["value"] if isinstance(item, dict) else item  # of the stage before
    return {"value": value, "run": context.run, "note": note}


def _behave(
    directory: Path, context: ProcessorContext, item: int, *, may_drop: bool = True
) -> None:
    script = json.loads((directory / "script.json").read_text())
    by_run = script.get(f"{context.chunk_index}/{item}/{context.stage}", [])
    behaviour = by_run[context.run - 1] if context.run <= len(by_run) else "ok"
    _take_time(_SLOW_SECONDS if behaviour == "slow" else _QUICK_SECONDS)
    if behaviour == "fails" or (behaviour == "fails once" and context.attempt == 1):
        raise ConnectionError("as scripted")
    if behaviour == "is wrong":
        raise ValidationError("as scripted")
    if behaviour == "is dropped" and may_drop:
        raise ItemDropped("as scripted")


def _take_time(seconds: float) -> None:
    # In slices: a call that is told to stop hears of it between two lines of Python.
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(_SLICE_SECONDS)


@contextmanager
def _noted(directory: Path, context: ProcessorContext) -> Iterator[None]:
    try:
        _note(directory, context, "begins")
        yield
    finally:
        _note(directory, context, "ends")


def _note(directory: Path, context: ProcessorContext, what: str) -> None:
    # The clock is one for all processes; a line this short is written as a whole.
    line = {
        "at": time.monotonic(),
        "what": what,
        "pid": os.getpid(),
        "thread": threading.get_ident(),
        "chunk": context.chunk_index,
        "item": context.item_index,
        "stage": context.stage,
        "run": context.run,
        "attempt": context.attempt,
    }
    log = os.open(directory / "calls.ndjson", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(log, json.dumps(line).encode() + b"\n")
    finally:
        os.close(log)


@dataclass(slots=True, kw_only=True)
class Call:
    """One call of a processor, as it noted it."""

    pid: int
    thread: int
    chunk: int
    item: int
    stage: int
    run: int
    attempt: int
    began_at: float
    ended_at: float | None = None
    """None of one that goes on, or whose process was killed."""
    is_first: bool = True
    """Whether it is the first of its attempt."""

    @property
    def place(self) -> tuple[int, int]:
        return self.pid, self.thread


@dataclass(slots=True)
class Script:
    """The directory of a job, from the side of those who write the script."""

    directory: Path
    behaviours: dict[str, list[str]] = field(default_factory=dict)

    def write(self, behaviours: Mapping[str, Sequence[str]]) -> None:
        """What items do from now on, by `chunk/item/stage`: in the first run, the second..."""
        self.behaviours = {key: list(by_run) for key, by_run in behaviours.items()}
        self.directory.mkdir(exist_ok=True)
        new = self.directory / "script.new"
        new.write_text(json.dumps(self.behaviours))
        new.rename(self.directory / "script.json")

    def calls(self) -> list[Call]:
        """All calls so far, in the order in which they began."""
        log = self.directory / "calls.ndjson"
        lines = log.read_bytes().splitlines() if log.exists() else []
        calls: list[Call] = []
        going_on: dict[tuple[int, int], Call] = {}
        last: dict[tuple[int, int, int, int, int], Call] = {}
        for line in map(json.loads, lines):
            at, what = line.pop("at"), line.pop("what")
            place = line["pid"], line["thread"]
            if what == "ends":
                if place in going_on:
                    going_on.pop(place).ended_at = at
                continue
            call = Call(**line, began_at=at)
            attempt = (call.pid, call.chunk, call.run, call.stage, call.attempt)
            before = last.get(attempt)
            # The items of an attempt are run in their order.
            call.is_first = before is None or before.item >= call.item
            last[attempt] = going_on[place] = call
            calls.append(call)
        return calls
