"""The calls that submit jobs and read what became of them. No I/O happens here."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from fanfold.client.errors import WaitTimeout
from fanfold.client.exchange import (
    Call,
    Page,
    given,
    job_path,
    list_reader,
    listing,
    reader,
    sendable_key,
    tries_of,
)
from fanfold.client.models import CatalogEntry, Child, DryRun, Item, Job, Part
from fanfold.client.transfer import (
    FileBytes,
    Items,
    JobForm,
    Ndjson,
    OnProgress,
    Source,
    StreamBytes,
    json_text,
)

JobBody = Mapping[str, Any] | str | bytes
"""A job as an object, or as JSON text."""
OnJob = Callable[[Job], object]
"""Told how the job is, whenever that was asked."""

# How long one request of `wait` waits: short where somebody watches the progress.
_LONGEST_WAIT_SECONDS = 30
_WATCHING_SECONDS = 1


def submit(job: JobBody, items: Items | None, key: str | None) -> Call[Job]:
    """Submit a job, with its items in it or streamed beside it."""
    if items is None:
        return _submission(job_text(job), "application/json", key)
    return _form(job, Ndjson(items), "items.ndjson", key)


def submit_file(
    job: JobBody,
    items: Path | BinaryIO,
    file_name: str | None,
    key: str | None,
    on_progress: OnProgress | None,
) -> Call[Job]:
    """Submit a job whose items are in a file or stream; raises OSError where it cannot be read."""
    if isinstance(items, Path):
        return _form(job, FileBytes(items, on_progress), file_name or items.name, key)
    if isinstance(items, str):
        raise TypeError("a file of items is given by its pathlib.Path")
    if file_name is None:
        raise TypeError("a stream of items needs a file_name, like items.ndjson")
    return _form(job, StreamBytes(items, on_progress), file_name, key)


def _form(job: JobBody, items: Source, file_name: str, key: str | None) -> Call[Job]:
    form = JobForm(job_text(job), items, file_name=file_name)
    return _submission(form, form.media_type, key)


def _submission(content: bytes | Source, media_type: str, key: str | None) -> Call[Job]:
    # The key makes it harmless to send it again: it cannot become a second job.
    headers = {"Content-Type": media_type, "Idempotency-Key": sendable_key(key)}
    return Call(
        method="POST",
        path="/jobs",
        reader=reader(Job),
        headers=headers,
        content=content,
        tries=tries_of(content),
    )


def validate(job: JobBody) -> Call[DryRun]:
    """Ask what would become of a job; nothing is recorded, so it needs no key."""
    content = job_text(job)
    return Call(
        method="POST",
        path="/jobs",
        reader=reader(DryRun),
        parameters=(("validate_only", "true"),),
        headers={"Content-Type": "application/json"},
        content=content,
        tries=tries_of(content),
    )


def put_part(job_id: str, number: int, items: Items) -> Call[Part]:
    """Send a part of the items; sent again under its number it takes the earlier one's place."""
    content = Ndjson(items)
    return Call(
        method="PUT",
        path=f"{job_path(job_id)}/items",
        reader=reader(Part),
        parameters=(("part", str(number)),),
        headers={"Content-Type": "application/x-ndjson"},
        content=content,
        tries=tries_of(content),
    )


def seal(job_id: str) -> Call[Job]:
    """Start a job whose items came in parts."""
    return Call(method="POST", path=f"{job_path(job_id)}/seal", reader=reader(Job))


def get(job_id: str, wait_seconds: int | None = None, run: int | None = None) -> Call[Job]:
    """The job; with `wait_seconds` as soon as it is finished, or then."""
    headers = {"Prefer": f"wait={wait_seconds}"} if wait_seconds is not None else {}
    return Call(
        method="GET",
        path=job_path(job_id),
        reader=reader(Job),
        parameters=tuple(given(run=None if run is None else str(run))),
        headers=headers,
    )


def purge(job_id: str) -> Call[None]:
    """Remove a finished job with all its data."""
    return Call(
        method="DELETE",
        path=job_path(job_id),
        reader=lambda _: None,
        parameters=(("purge", "true"),),
    )


def child(job_id: str, index: int) -> Call[Child]:
    """One child of the job."""
    return Call(method="GET", path=f"{job_path(job_id)}/children/{index}", reader=reader(Child))


def jobs(
    state: str | None, labels: Mapping[str, str] | None, parent: str | None, limit: int | None
) -> Call[Page[Job]] | None:
    """Jobs, newest first."""
    asked = [("label", f"{name}:{value}") for name, value in (labels or {}).items()]
    return listing("/jobs", Job, "jobs", [*given(state=state, parent=parent), *asked], limit)


def sub_jobs(job_id: str, state: str | None, limit: int | None) -> Call[Page[Job]] | None:
    """The jobs that a job is made of, in order."""
    return listing(f"{job_path(job_id)}/jobs", Job, "jobs", given(state=state), limit)


def children(job_id: str, state: str | None, limit: int | None) -> Call[Page[Child]] | None:
    """The job's children in index order."""
    path = f"{job_path(job_id)}/children"
    return listing(path, Child, "children", given(state=state), limit)


def items(job_id: str, state: str | None, limit: int | None) -> Call[Page[Item]] | None:
    """The job's items in order."""
    return listing(f"{job_path(job_id)}/items", Item, "items", given(state=state), limit)


def results(
    job_id: str,
    state: str | None,
    format: str,  # noqa: A002 - the gateway's word for it
    columns: Sequence[str],
) -> Call[None]:
    """The results, compressed on the way; what comes back is streamed, not read at once."""
    return Call(
        method="GET",
        path=f"{job_path(job_id)}/results",
        reader=lambda _: None,
        parameters=tuple(given(format=format, state=state, columns=",".join(columns) or None)),
        headers={"Accept-Encoding": "gzip"},
    )


def processors() -> Call[list[CatalogEntry]]:
    """What the workers can do with a chunk or an item."""
    return Call(method="GET", path="/processors", reader=list_reader("processors"))


def reducers() -> Call[list[CatalogEntry]]:
    """What the workers can make of all results."""
    return Call(method="GET", path="/reducers", reader=list_reader("reducers"))


class Waiting:
    """Asks for a job until it is finished, or the time is up."""

    def __init__(self, job_id: str, timeout: float | None, on_progress: OnJob | None) -> None:
        """`timeout` in seconds; `on_progress` is told of the job about every second."""
        self._job_id = job_id
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._on_progress = on_progress

    def call(self) -> Call[Job]:
        """The next question."""
        seconds = _LONGEST_WAIT_SECONDS if self._on_progress is None else _WATCHING_SECONDS
        # The header takes whole seconds.
        return get(self._job_id, min(seconds, math.ceil(max(0, self._left()))))

    def is_over(self, job: Job) -> bool:
        """Whether the job is finished; raises WaitTimeout where there is no time to ask again."""
        if self._on_progress is not None:
            self._on_progress(job)
        if not job.is_finished and self._left() <= 0:
            raise WaitTimeout(job)
        return job.is_finished

    def _left(self) -> float:
        return (
            _LONGEST_WAIT_SECONDS if self._deadline is None else self._deadline - time.monotonic()
        )


def job_text(job: JobBody) -> bytes:
    """The JSON text of a job."""
    if isinstance(job, str):
        return job.encode()
    return job if isinstance(job, bytes) else json_text(job)
