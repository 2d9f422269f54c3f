"""Where things are written: JSON and text to standard output, progress and remarks beside it."""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)

from fanfold import Fanfold, Job, JobState
from fanfold.cli import hints
from fanfold.client.transfer import OnProgress

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def print_objects(answers: Iterable[BaseModel]) -> None:
    """One line of JSON each, with every field that the gateway sent, and no other."""
    for answer in answers:
        value = answer.model_dump(mode="json", exclude_unset=True)
        sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def tell_of_more(more: int | None, *, limit: int, is_least: bool = False) -> None:
    """Say that not all are shown, how many there are more, and how to see them."""
    if more is None:
        text = f"There are more; see some of them with --limit {10 * limit}."
    else:
        number = f"At least {more}" if is_least else f"{more}"
        text = f"{number} more not shown; see them with --limit {limit + more}."
    remark(text)


def remark(text: str) -> None:
    """Say something beside what is printed, after it."""
    sys.stdout.flush()
    err.print(escape(text), soft_wrap=True)


@contextmanager
def sending(items: Path) -> Iterator[OnProgress]:
    """Show a progress bar by bytes, on standard error; what to tell it about is yielded."""
    columns = (
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeElapsedColumn(),
    )
    size = items.stat().st_size if items.is_file() else None
    with Progress(*columns, console=err) as progress:
        name = items.name if size is not None else "standard input"
        task = progress.add_task(escape(name), total=size)
        yield lambda sent: progress.update(task, completed=sent)


def watch(fanfold: Fanfold, job: Job, url: str) -> Job:
    """Show a progress bar, on standard error, until the job is finished.

    Where the job goes on only once somebody says so, it is said how, once.
    """
    columns = (
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=False) as progress:
        task = progress.add_task(escape(job.name or job.id), total=job.items.total, note="")
        told: tuple[str, bool] | None = None

        def update(job: Job) -> None:
            nonlocal told
            now = (str(job.state), hints.needs_a_look(job))
            if now != told and (hint := hints.what_to_do(job, url)):
                remark(hint)
            told = now
            finished = job.items.succeeded + job.items.failed
            progress.update(task, completed=finished, total=job.items.total, note=_note(job))

        update(job)
        return job if job.is_finished else fanfold.wait(job.id, on_progress=update)


def _note(job: Job) -> str:
    # Its items may never come, and until then nothing moves.
    waits = ", waits for its items and the seal" if job.state == JobState.RECEIVING else ""
    if job.state == JobState.PENDING and job.start_at is not None:
        waits = f", starts at {job.start_at:%Y-%m-%d %H:%M:%SZ}"
    parts = [f"{job.state}{waits}"]
    if job.jobs is not None and job.order is not None:
        parts.append(f"{job.jobs.finished} of {job.jobs.total} jobs")
    if job.items.failed:
        parts.append(f"{job.items.failed} failed")
    if job.chunks.held:
        parts.append(f"{job.chunks.held} held")
    if job.progress.chunks_per_second is not None:
        parts.append(f"{job.progress.chunks_per_second:g} chunks/s")
    if job.progress.eta_seconds is not None:
        parts.append(f"{job.progress.eta_seconds} s left")
    return ", ".join(parts)
