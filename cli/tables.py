"""Jobs, children, items and the catalog as people read them."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, TypeVar

from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Column, Table

from fanfold import (
    Attempt,
    CatalogEntry,
    Child,
    ChunkCounts,
    DryRun,
    Failure,
    Item,
    ItemError,
    Job,
    JobCounts,
    JobFailure,
    Schedule,
)
from fanfold.cli.output import err, out

MAX_SHOWN_RESULT = 2000
MAX_CELL = 100
MAX_ITEM_ERRORS = 20

_COLORS = {
    "succeeded": "green",
    "partially_succeeded": "yellow",
    "failed": "red",
    "cancelled": "magenta",
    "running": "cyan",
    "paused": "yellow",
    "waiting": "yellow",
    "held": "yellow",
    "cancelling": "magenta",
}
_GOING_ON = ("running", "pending")
WIDTH_WITH_BARS = 100
BAR_WIDTH = 12

Line = TypeVar("Line", Child, Item)


def print_job(job: Job, base_url: str) -> None:
    """A job: its items, its chunks, why what failed did, the result, addresses."""
    run = f", run {job.run}" if job.run > 1 else ""
    name = escape(_printable(job.name or ""))
    _line(f"[bold]{job.id}[/] {_colored(job.state)}{run}  {name}".rstrip())
    if job.path is not None:
        _line(f"  path:   {escape(_printable(job.path))}, part of {escape(str(job.parent))}")
    if job.jobs is not None:
        _line(f"  jobs:   {_jobs(job.jobs)}")
    items = f"{job.items.succeeded} of {job.items.total} succeeded"
    _line(f"  items:  {items}{f', {job.items.failed} failed' if job.items.failed else ''}")
    _line(f"  chunks: {_chunks(job)}")
    for group in job.errors:
        first = f"chunk {group.first_index}"
        if group.first_item is not None:
            first += f", item {group.first_item}"
        if group.first_job is not None:
            first += f" of {escape(group.first_job)}"
        _line(f"  {group.count} x {_error(group.type, group.message)} (first: {first})")
    if job.is_finished and (others := job.items.failed - sum(one.count for one in job.errors)) > 0:
        _line(f"  {others} more failed otherwise; all: fanfold items {job.id} --state failed")
    if job.error is not None:
        _line(f"  {_failure(job.error)}{_where_stopped(job.error)}")
    if job.result is not None:
        _line(f"  result: {escape(_cut(_json(job.result), MAX_SHOWN_RESULT))}")
    _line(f"  {base_url.rstrip('/')}{job.links.self}")
    if job.links.temporal_ui is not None:
        _line(f"  {job.links.temporal_ui}")


def print_jobs(jobs: Iterable[Job]) -> None:
    """A table of jobs."""
    table = Table(_whole("id", 30), _state(), "items", "failed", _folded("name"))
    for job in jobs:
        table.add_row(
            job.id,
            _colored(job.state),
            f"{job.items.succeeded + job.items.failed}/{job.items.total}",
            str(job.items.failed),
            escape(_printable(job.name or "")),
        )
    out.print(table)


def print_tree(jobs: Sequence[tuple[int, Job]]) -> None:
    """Jobs that another one is made of, each below the one that it is a part of.

    With a bar of their progress where there is room.
    """
    has_bars = out.width >= WIDTH_WITH_BARS
    columns: list[Column | str] = [
        _folded("job"),
        Column("state", no_wrap=True),
        "items",
        "failed",
        _whole("id", 30),
    ]
    if has_bars:
        columns.insert(2, "")
    table = Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for level, job in jobs:
        finished = job.items.succeeded + job.items.failed
        name = (job.path or "").rpartition("/")[2]
        bar = ProgressBar(max(job.items.total, 1), finished, width=BAR_WIDTH)
        table.add_row(
            f"{'  ' * level}{escape(_printable(name))}",
            _colored(job.state),
            *([bar] if has_bars else []),
            f"{finished}/{job.items.total}",
            str(job.items.failed),
            job.id,
        )
    out.print(table)


def print_children(children: Iterable[Child]) -> None:
    """A table of children."""
    first, children = _first_of(children)
    table = Table(
        *_origin(first),
        "index",
        _state(),
        "items",
        "attempts",
        "seconds",
        _folded("result or error"),
    )
    cells = _Cells()
    for child in children:
        table.add_row(
            *([] if child.path is None else [cells.cell(child.path)]),
            str(child.index),
            _colored(child.state),
            str(child.item_count),
            str(child.attempts),
            "" if child.duration_seconds is None else f"{child.duration_seconds:.3f}",
            cells.outcome(child.error, child.result),
        )
    out.print(table)
    cells.tell_of_cuts()


def print_items(items: Iterable[Item]) -> None:
    """A table of items."""
    first, items = _first_of(items)
    table = Table(*_origin(first), "index", "item", "key", _state(), _folded("result or error"))
    cells = _Cells()
    for item in items:
        table.add_row(
            *([] if item.path is None else [cells.cell(item.path)]),
            str(item.index),
            str(item.item),
            "" if item.key is None else cells.cell(_json(item.key)),
            _colored(item.state),
            cells.outcome(item.error, item.result),
        )
    out.print(table)
    cells.tell_of_cuts()


def print_child(job_id: str, child: Child) -> None:
    """One child: its outcome, its items' errors, and where the processor's code failed."""
    _line(f"[bold]child {child.index}[/] of {escape(job_id)}: {_colored(child.state)}")
    seconds = "" if child.duration_seconds is None else f", seconds: {child.duration_seconds:.3f}"
    run = f", run: {child.run}" if child.run > 1 else ""
    _line(f"  items: {child.item_count}, attempts: {child.attempts}{run}{seconds}")
    if child.resolved_by is not None:
        _line(f"  result given by: {escape(_printable(child.resolved_by))}")
    if child.error is not None and not child.item_errors:
        _line(f"  {_failure(child.error)}")
    for error in child.item_errors[:MAX_ITEM_ERRORS]:
        _line(f"  item {error.item}{_key(error)}: {_error(error.type, error.message)}")
    if (more := len(child.item_errors) - MAX_ITEM_ERRORS) > 0:
        _line(f"  ... {more} more items failed; see them with --json")
    if child.result is not None:
        _line(f"  result: {escape(_cut(_json(child.result), MAX_SHOWN_RESULT))}")
    if child.traceback:
        for line in child.traceback.splitlines():
            _line(f"  {escape(_printable(line))}")


def print_attempts(attempts: Iterable[Attempt]) -> None:
    """A table of attempts at a child; the dates are left to JSON, so that errors have room."""
    table = Table(
        "run",
        "stage",
        "attempt",
        _whole("state", 9),
        _whole("started", 8),
        "seconds",
        _folded("error"),
    )
    cells = _Cells()
    for attempt in attempts:
        started, finished = attempt.started_at, attempt.finished_at
        table.add_row(
            str(attempt.run),
            str(attempt.stage),
            str(attempt.number),
            _colored(attempt.state),
            "" if started is None else f"{started:%H:%M:%S}",
            f"{(finished - started).total_seconds():.3f}" if started and finished else "",
            cells.outcome(attempt.error, None),
        )
    out.print(table)
    cells.tell_of_cuts()


def print_dry_run(found: DryRun) -> None:
    """What would become of a job."""
    of_jobs = f" of {found.jobs} jobs" if found.jobs is not None else ""
    _line(f"[green]valid[/]: {found.items} items in {found.chunks} chunks{of_jobs}")
    _line(f"  execution: {escape(_printable(found.execution))}")
    _line(f"  largest chunk: {found.largest_chunk_bytes} bytes")
    _line("  nothing was submitted")


def print_schedules(schedules: Iterable[Schedule]) -> None:
    """A table of schedules."""
    table = Table(_folded("name"), _folded("when"), "paused", _whole("next run", 17), "note")
    for schedule in schedules:
        due = schedule.next_runs[0] if schedule.next_runs else None
        table.add_row(
            escape(_printable(schedule.name)),
            _when(schedule),
            "yes" if schedule.paused else "",
            "" if due is None else f"{due:%Y-%m-%d %H:%MZ}",
            escape(_printable(schedule.note or "")),
        )
    out.print(table)


def print_schedule(schedule: Schedule) -> None:
    """A schedule: when it submits its job, and what came of the last times."""
    note = f"  {escape(_printable(schedule.note))}" if schedule.note else ""
    paused = " [yellow]paused[/]" if schedule.paused else ""
    _line(f"[bold]{escape(_printable(schedule.name))}[/]{paused}{note}")
    _line(f"  when: {_when(schedule)}, overlap: {schedule.overlap}")
    for moment in schedule.next_runs[:3]:
        _line(f"  next: {moment:%Y-%m-%d %H:%M:%SZ}")
    for run in schedule.runs:
        came = _error("refused", run.error) if run.error else run.job or "not recorded yet"
        _line(f"  ran:  {run.started_at:%Y-%m-%d %H:%M:%SZ} {came}")


def print_catalog(entries: Iterable[CatalogEntry]) -> None:
    """Names, first lines of descriptions, and options with their types and defaults."""
    for entry in entries:
        first = next(iter(entry.description.splitlines()), "")
        _line(f"[bold]{escape(entry.name)}[/]  {escape(_printable(first))}".rstrip())
        required = set(entry.options_schema.get("required", ()))
        for name, schema in entry.options_schema.get("properties", {}).items():
            text = f"{name}: {_type(schema)}"
            if name in required:
                text += ", required"
            elif schema.get("default") is not None:
                text += f" = {_json(schema['default'])}"
            _line(f"  {escape(_printable(text))}")


def _when(schedule: Schedule) -> str:
    if schedule.every_seconds is not None:
        return f"every {schedule.every_seconds:g} seconds"
    zone = f" {schedule.time_zone}" if schedule.time_zone else ""
    return escape(_printable(f"{schedule.cron or 'as set in Temporal'}{zone}"))


def _whole(header: str, width: int) -> Column:
    """A column that is never made narrower, so that what is copied from it is whole."""
    return Column(header, no_wrap=True, min_width=width)


def _state() -> Column:
    return _whole("state", len("partially_succeeded"))


def _folded(header: str) -> Column:
    """A column of several lines rather than cut."""
    return Column(header, overflow="fold")


def _first_of(answers: Iterable[Line]) -> tuple[Line | None, Iterator[Line]]:
    """The first of them, if there is one, and all of them."""
    each = iter(answers)
    first = next(each, None)
    return first, each if first is None else chain([first], each)


def _origin(first: Child | Item | None) -> list[Column]:
    """The column that says where children of a job made of jobs are from; else none."""
    return [] if first is None or first.path is None else [_folded("path")]


class _Cells:
    """Texts for cells of a table, which says so where it had to cut some."""

    def __init__(self) -> None:
        self._has_cut = False

    def cell(self, text: str) -> str:
        line = " ".join(text.split())
        self._has_cut = self._has_cut or len(line) > MAX_CELL
        return escape(_printable(_cut(line, MAX_CELL)))

    def outcome(self, error: Failure | None, result: object) -> str:
        if error is not None:
            return self.cell(f"{error.type}: {error.message}")
        return self.cell(_json(result)) if result is not None else ""

    def tell_of_cuts(self) -> None:
        if self._has_cut:
            err.print("What ends in … was cut; --json has it whole.", soft_wrap=True)


def _line(markup: str) -> None:
    # Not wrapped: what is copied or searched for stays in one piece.
    out.print(markup, soft_wrap=True)


def _chunks(job: Job) -> str:
    return _counts(job.chunks, ("partially_succeeded", "failed", "cancelled", "held", *_GOING_ON))


def _jobs(counts: JobCounts) -> str:
    others = ("partially_succeeded", "failed", "cancelled", "skipped")
    return _counts(counts, (*others, "waiting", "paused", "cancelling", *_GOING_ON))


def _counts(counts: ChunkCounts | JobCounts, others: Iterable[str]) -> str:
    """How many succeeded, and how many are in these other states."""
    there = {state.replace("_", " "): getattr(counts, state) for state in others}
    parts = [f"{count} {words}" for words, count in there.items() if count]
    return ", ".join([f"{counts.succeeded} of {counts.total} succeeded", *parts])


def _failure(failure: Failure) -> str:
    return _error(failure.type, failure.message)


def _where_stopped(failure: JobFailure) -> str:
    parts = [f"rule: {escape(_printable(failure.rule))}"] if failure.rule is not None else []
    if failure.index is not None:
        parts.append(f"at chunk {failure.index}")
    return f" ({', '.join(parts)})" if parts else ""


def _error(kind: str, message: str) -> str:
    return f"[red]{escape(_printable(kind))}[/]: {escape(_printable(message))}"


def _key(error: ItemError) -> str:
    return "" if error.key is None else f" ({escape(_cut(_json(error.key), MAX_CELL))})"


def _type(schema: dict[str, Any]) -> str:
    """The type that a JSON schema names, in a word or a few."""
    if "enum" in schema or "const" in schema:
        return " or ".join(_json(value) for value in schema.get("enum", [schema.get("const")]))
    if forms := schema.get("anyOf", schema.get("oneOf")):
        return " or ".join(dict.fromkeys(_type(form) for form in forms))
    if (kind := schema.get("type")) == "array" and schema.get("items"):
        return f"array of {_type(schema['items'])}"
    return str(kind or schema.get("$ref", "any value").rpartition("/")[2])


def _json(value: object) -> str:
    return _printable(json.dumps(value, ensure_ascii=False))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _printable(text: str) -> str:
    """The text as it may go to a terminal, which data must not steer."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def _colored(state: str) -> str:
    color = _COLORS.get(state)
    return f"[{color}]{state}[/]" if color else escape(state)
