"""The calls that steer a job while it runs, and repair it afterwards. No I/O happens here."""

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from fanfold.client.exchange import Call, given, job_path, reader, sendable_key, tries_of
from fanfold.client.models import Attempts, Child, FailedItem, Job
from fanfold.client.transfer import json_text

Correction = Mapping[str, Any] | FailedItem
"""An item's place, `index` and `item`, and its new `value`."""


class JobChanges(TypedDict, total=False):
    """What can be changed of a job; None takes a limit away, or goes back to the default."""

    name: str | None
    labels: Mapping[str, str | None] | None
    """Labels to set; None removes one. Those that are not named stay."""
    max_concurrency: int | None
    max_per_second: float | None
    tolerated_failures: Mapping[str, Any] | None
    priority: int | None
    deadline_seconds: float | None
    retention_hours: float | None


class RunChanges(TypedDict, total=False):
    """What can be different in the next run of a job; the rest stays as it was."""

    processor: str
    stages: Iterable[Mapping[str, Any]]
    options: Mapping[str, Any]
    retry: Mapping[str, Any]
    chunk_timeout_seconds: float
    max_concurrency: int
    max_per_second: float
    tolerated_failures: Mapping[str, Any]


def pause(job_id: str) -> Call[Job]:
    """Let no further attempt begin."""
    return _told(job_id, "pause")


def resume(job_id: str) -> Call[Job]:
    """Let a paused job go on."""
    return _told(job_id, "resume")


def release(job_id: str) -> Call[Job]:
    """Give up the held chunks of a waiting job."""
    return _told(job_id, "release")


def update(job_id: str, changes: JobChanges) -> Call[Job]:
    """Change limits, priority, name or labels."""
    return Call(
        method="PATCH",
        path=job_path(job_id),
        reader=reader(Job),
        headers={"Content-Type": "application/merge-patch+json"},
        content=json_text(changes),
    )


def cancel(job_id: str, *, drain: bool) -> Call[Job]:
    """Cancel the job; with `drain` what is in flight may finish."""
    return Call(
        method="DELETE",
        path=job_path(job_id),
        reader=reader(Job),
        parameters=tuple(given(drain="true" if drain else None)),
    )


def cancel_child(job_id: str, index: int) -> Call[Child]:
    """Cancel one chunk."""
    return Call(method="DELETE", path=_child_path(job_id, index), reader=reader(Child))


def redrive(
    job_id: str,
    *,
    states: Iterable[str] | None,
    error_types: Iterable[str] | None,
    indexes: Iterable[int] | None,
    corrections: Iterable[Correction] | None,
    key: str | None,
    changes: RunChanges,
) -> Call[Job]:
    """Run chunks again. A list that is given, and empty, selects nothing, rather than all."""
    select = {
        "states": _list("states", states),
        "error_types": _list("error_types", error_types),
        "indexes": _list("indexes", indexes),
    }
    body: dict[str, Any] = dict(changes)
    if narrowed := {name: values for name, values in select.items() if values is not None}:
        body["select"] = narrowed
    if corrections is not None:
        # As they came: an earlier gateway refuses fields that it did not send.
        body["corrections"] = [
            one.model_dump(exclude_unset=True) if isinstance(one, FailedItem) else one
            for one in corrections
        ]
    content = json_text(body)
    return Call(
        method="POST",
        path=f"{job_path(job_id)}/redrive",
        reader=reader(Job),
        # The key makes it harmless to send it again: it cannot become a second run.
        headers={"Content-Type": "application/json", "Idempotency-Key": sendable_key(key)},
        content=content,
        tries=tries_of(content),
    )


def resolve_child(job_id: str, index: int, result: Any) -> Call[Child]:  # noqa: ANN401 - any JSON value
    """Give a held chunk its result."""
    return Call(
        method="PUT",
        path=f"{_child_path(job_id, index)}/result",
        reader=reader(Child),
        headers={"Content-Type": "application/json"},
        content=json_text(result),
    )


def attempts(job_id: str, index: int) -> Call[Attempts]:
    """What became of each attempt at a chunk."""
    return Call(
        method="GET", path=f"{_child_path(job_id, index)}/attempts", reader=reader(Attempts)
    )


def failures(
    job_id: str,
    format: str,  # noqa: A002 - the gateway's word for it
) -> Call[None]:
    """The items that failed, compressed on the way; what comes back is streamed."""
    return Call(
        method="GET",
        path=f"{job_path(job_id)}/failures",
        reader=lambda _: None,
        parameters=(("format", format),),
        headers={"Accept-Encoding": "gzip"},
    )


def _told(job_id: str, what: str) -> Call[Job]:
    return Call(method="POST", path=f"{job_path(job_id)}/{what}", reader=reader(Job))


def _child_path(job_id: str, index: int) -> str:
    return f"{job_path(job_id)}/children/{index}"


def _list(name: str, values: Iterable[Any] | None) -> list[Any] | None:
    # Text can be iterated over too, and its letters are surely not meant.
    if isinstance(values, str):
        raise TypeError(f"{name} are a list, like [{values!r}], not one text")
    return None if values is None else list(values)
