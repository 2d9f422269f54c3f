"""What people see: a progress bar on long work, tables, the end of a job."""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)
from rich.table import Column, Table

from fanfold.client.http import Fanfold
from fanfold.client.models import Child, Job
from fanfold.client.transfer import OnProgress
from fanfold.contract.states import ChunkState, JobState

MAX_SHOWN_RESULT = 2000

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

_COLORS: dict[str, str] = {
    JobState.SUCCEEDED: "green",
    JobState.PARTIALLY_SUCCEEDED: "yellow",
    JobState.FAILED: "red",
    JobState.CANCELLED: "magenta",
    JobState.RUNNING: "cyan",
    JobState.CANCELLING: "magenta",
}


def print_json(value: Any) -> None:  # noqa: ANN401 - any JSON value
    """One line of JSON on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


@contextmanager
def sending(file: Path) -> Iterator[OnProgress]:
    """Show a progress bar by bytes, on standard error; what to tell it about is yielded."""
    columns = (
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err) as progress:
        task = progress.add_task(file.name, total=file.stat().st_size)
        yield lambda sent: progress.update(task, completed=sent)


def watch(fanfold: Fanfold, job: Job) -> Job:
    """Show a progress bar, on standard error, until the job is finished."""
    columns = (
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=False) as progress:
        task = progress.add_task(job.name or job.id, total=job.chunks.total, note="")
        while True:
            progress.update(task, completed=job.chunks.finished, note=_note(job))
            if job.is_finished:
                return job
            job = fanfold.get(job.id, wait_seconds=1)


def print_job(job: Job, base_url: str) -> None:
    """A finished or running job for a person: state, counts, failures, result, links."""
    out.print(f"[bold]{job.id}[/] {_colored(job.state)}  {_counts(job)}")
    if job.items.failed:
        out.print(f"  items: {job.items.succeeded} succeeded, {job.items.failed} failed")
    for group in job.errors:
        out.print(f"  {group.count} x [red]{group.type}[/]: {group.message}", markup=True)
    if job.error is not None:
        out.print(f"  [red]{job.error.type}[/]: {job.error.message}")
    if job.result is not None:
        text = json.dumps(job.result, ensure_ascii=False)
        shown = text if len(text) <= MAX_SHOWN_RESULT else text[:MAX_SHOWN_RESULT] + " ..."
        out.print("  result:", end=" ")
        out.print(shown, markup=False, soft_wrap=True)
    out.print(f"  {base_url}{job.links.self}", soft_wrap=True)
    if job.links.temporal_ui is not None:
        out.print(f"  {job.links.temporal_ui}", soft_wrap=True)


def print_jobs(jobs: Iterable[Job]) -> None:
    """A table of jobs."""
    table = Table(Column("id", no_wrap=True, min_width=30), "state", "chunks", "failed", "name")
    for job in jobs:
        table.add_row(
            job.id,
            _colored(job.state),
            f"{job.chunks.finished}/{job.chunks.total}",
            str(job.chunks.failed),
            job.name or "",
        )
    out.print(table)


def print_children(children: Iterable[Child]) -> None:
    """A table of children."""
    table = Table("index", "state", "items", "attempts", "seconds", "result or error")
    for child in children:
        if child.error is not None:
            last = f"{child.error.type}: {child.error.message}"
        else:
            last = json.dumps(child.result, ensure_ascii=False) if child.result is not None else ""
        table.add_row(
            str(child.index),
            _colored(child.state),
            str(child.item_count),
            str(child.attempts),
            "" if child.duration_seconds is None else f"{child.duration_seconds:.3f}",
            last[:100],
        )
    out.print(table)


def _note(job: Job) -> str:
    parts = [job.state.value]
    if job.chunks.failed:
        parts.append(f"{job.chunks.failed} failed")
    if job.progress.chunks_per_second is not None:
        parts.append(f"{job.progress.chunks_per_second:g}/s")
    if job.progress.eta_seconds is not None:
        parts.append(f"{job.progress.eta_seconds} s left")
    return ", ".join(parts)


def _counts(job: Job) -> str:
    chunks = job.chunks
    parts = [f"{chunks.succeeded} of {chunks.total} chunks succeeded"]
    for state, count in (
        (ChunkState.FAILED, chunks.failed),
        (ChunkState.CANCELLED, chunks.cancelled),
        (ChunkState.RUNNING, chunks.running),
        (ChunkState.PENDING, chunks.pending),
    ):
        if count:
            parts.append(f"{count} {state}")
    return ", ".join(parts)


def _colored(state: str) -> str:
    color = _COLORS.get(state)
    return f"[{color}]{state}[/]" if color else state
