"""Every request to a gateway, and how its answer is read. No I/O happens here.

A shell sends a `Call`, hands `Call.read` what came back, and has the answer as the client's own
type, or one of the errors of `errors.py`.
"""

import json
import math
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar
from urllib.parse import quote, urlsplit

import pydantic

from fanfold.client.errors import FanfoldError, Refused, Unreachable, WaitTimeout
from fanfold.client.models import Answer, CatalogEntry, Child, Item, Job, Part
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

Read = TypeVar("Read")
Model = TypeVar("Model", bound=Answer)

_FIRST_ERROR_STATUS = 400
_TRIES = 3
_LONGEST_PAGE = 1000
# How long one request of `wait` waits: short where somebody watches the progress.
_LONGEST_WAIT_SECONDS = 30
_WATCHING_SECONDS = 1


class _NotOurs(Exception):
    """An answer that no gateway gives."""


@dataclass(frozen=True, kw_only=True)
class Call(Generic[Read]):
    """A request, and how its answer is read."""

    method: str
    path: str
    reader: Callable[[bytes], Read]
    parameters: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | Source | None = None
    tries: int = 1
    """How often it is sent where nobody answers: more than once if that cannot do harm."""

    def read(self, url: str, status: int, content: bytes) -> Read:
        """The answer; raises Refused, or Unreachable where it is none of a gateway."""
        if status >= _FIRST_ERROR_STATUS:
            raise refused(status, content)
        try:
            return self.reader(content)
        except _NotOurs:
            raise Unreachable(f"{url} is not a Fanfold gateway") from None


_ERROR_NUMBER = re.compile(r"^\[Errno -?\d+\] ")
"""Of the operating system; the words after it say the same."""


@dataclass(frozen=True)
class Page(Generic[Read]):
    """Some of many, and how the next ones are asked for."""

    entries: list[Read]
    next: "Call[Page[Read]] | None"


def connection(url: str, headers: Mapping[str, str] | None) -> tuple[str, dict[str, str]]:
    """What goes for every call: address and headers; raises Unreachable where it is none."""
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        raise Unreachable(f"'{url}' is no address of a gateway, like http://localhost:8000")
    # Only results are worth compressing, and ask for it.
    return url, {"Accept-Encoding": "identity", **(headers or {})}


def no_answer(url: str, error: Exception) -> Unreachable:
    """The error for a gateway that cannot be reached, or does not speak HTTP."""
    why = _ERROR_NUMBER.sub("", str(error))
    return Unreachable(f"{url} does not answer: {why}")


def refused(status: int, content: bytes) -> Refused:
    """The error that an answer of this status is."""
    try:
        problem = json.loads(content)
    except ValueError:
        problem = {}
    return Refused(status, problem if isinstance(problem, dict) else {})


def submit(job: JobBody, items: Items | None, key: str | None) -> Call[Job]:
    """Submit a job, with its items in it or streamed beside it."""
    if items is None:
        return _submission(_job_text(job), "application/json", key)
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
    form = JobForm(_job_text(job), items, file_name=file_name)
    return _submission(form, form.media_type, key)


def _submission(content: bytes | Source, media_type: str, key: str | None) -> Call[Job]:
    # The key makes it harmless to send it again: it cannot become a second job.
    headers = {"Content-Type": media_type, "Idempotency-Key": _sendable(key)}
    return Call(
        method="POST",
        path="/jobs",
        reader=_reader(Job),
        headers=headers,
        content=content,
        tries=_tries(content),
    )


def _sendable(key: str | None) -> str:
    """The key, or a new one; raises FanfoldError for one that no header can hold."""
    if key is None:
        return uuid.uuid4().hex
    if not (key.isascii() and key.isprintable() and key == key.strip() and key):
        raise FanfoldError(
            "an idempotency key has 1 to 255 printable ASCII characters, with no blank at its ends"
        )
    return key


def put_part(job_id: str, number: int, items: Items) -> Call[Part]:
    """Send a part of the items; sent again under its number it takes the earlier one's place."""
    content = Ndjson(items)
    return Call(
        method="PUT",
        path=f"{_job_path(job_id)}/items",
        reader=_reader(Part),
        parameters=(("part", str(number)),),
        headers={"Content-Type": "application/x-ndjson"},
        content=content,
        tries=_tries(content),
    )


def seal(job_id: str) -> Call[Job]:
    """Start a job whose items came in parts."""
    return Call(method="POST", path=f"{_job_path(job_id)}/seal", reader=_reader(Job))


def get(job_id: str, wait_seconds: int | None = None) -> Call[Job]:
    """The job; with `wait_seconds` as soon as it is finished, or then."""
    headers = {"Prefer": f"wait={wait_seconds}"} if wait_seconds is not None else {}
    return Call(method="GET", path=_job_path(job_id), reader=_reader(Job), headers=headers)


def cancel(job_id: str) -> Call[Job]:
    """Cancel the job."""
    return Call(method="DELETE", path=_job_path(job_id), reader=_reader(Job))


def purge(job_id: str) -> Call[None]:
    """Remove a finished job with all its data."""
    return Call(
        method="DELETE",
        path=_job_path(job_id),
        reader=lambda _: None,
        parameters=(("purge", "true"),),
    )


def child(job_id: str, index: int) -> Call[Child]:
    """One child of the job."""
    return Call(method="GET", path=f"{_job_path(job_id)}/children/{index}", reader=_reader(Child))


def jobs(
    state: str | None, labels: Mapping[str, str] | None, limit: int | None
) -> Call[Page[Job]] | None:
    """Jobs, newest first."""
    asked = [("label", f"{name}:{value}") for name, value in (labels or {}).items()]
    return _listing("/jobs", Job, "jobs", [*_given(state=state), *asked], limit)


def children(job_id: str, state: str | None, limit: int | None) -> Call[Page[Child]] | None:
    """The job's children in index order."""
    path = f"{_job_path(job_id)}/children"
    return _listing(path, Child, "children", _given(state=state), limit)


def items(job_id: str, state: str | None, limit: int | None) -> Call[Page[Item]] | None:
    """The job's items in order."""
    return _listing(f"{_job_path(job_id)}/items", Item, "items", _given(state=state), limit)


def results(
    job_id: str,
    state: str | None,
    format: str,  # noqa: A002 - the gateway's word for it
    columns: Sequence[str],
) -> Call[None]:
    """The results, compressed on the way; what comes back is streamed, not read at once."""
    return Call(
        method="GET",
        path=f"{_job_path(job_id)}/results",
        reader=lambda _: None,
        parameters=tuple(_given(format=format, state=state, columns=",".join(columns) or None)),
        headers={"Accept-Encoding": "gzip"},
    )


def read_result(url: str, line: bytes) -> Child:
    """A line of the results."""
    try:
        return _reader(Child)(line)
    except _NotOurs:
        raise Unreachable(f"{url} is not a Fanfold gateway") from None


def processors() -> Call[list[CatalogEntry]]:
    """What the workers can do with a chunk or an item."""
    return Call(method="GET", path="/processors", reader=_list_reader("processors"))


def reducers() -> Call[list[CatalogEntry]]:
    """What the workers can make of all results."""
    return Call(method="GET", path="/reducers", reader=_list_reader("reducers"))


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


def _listing(
    path: str,
    model: type[Model],
    key: str,
    asked: list[tuple[str, str]],
    limit: int | None,
    cursor: str | None = None,
) -> Call[Page[Model]] | None:
    """The call for the next page of at most `limit` entries; None where no more are wanted."""
    if limit is not None and limit <= 0:
        return None

    def read(content: bytes) -> Page[Model]:
        page = _json(content)
        entries = [_as(model, entry) for entry in _entries(page, key)]
        cursor = page.get("next_cursor")
        if cursor is None:
            return Page(entries, None)
        left = None if limit is None else limit - len(entries)
        return Page(entries, _listing(path, model, key, asked, left, cursor))

    size = str(min(limit or _LONGEST_PAGE, _LONGEST_PAGE))
    parameters = (*asked, *_given(limit=size, cursor=cursor))
    return Call(method="GET", path=path, reader=read, parameters=parameters)


def _job_path(job_id: str) -> str:
    if not job_id:
        raise FanfoldError("the id of the job is empty")
    return f"/jobs/{quote(job_id, safe='')}"


def _job_text(job: JobBody) -> bytes:
    if isinstance(job, str):
        return job.encode()
    return job if isinstance(job, bytes) else json_text(job)


def _tries(content: bytes | Source) -> int:
    return _TRIES if isinstance(content, bytes) or content.is_repeatable else 1


def _given(**parameters: str | None) -> list[tuple[str, str]]:
    return [(name, value) for name, value in parameters.items() if value is not None]


def _reader(model: type[Model]) -> Callable[[bytes], Model]:
    return lambda content: _as(model, _json(content))


def _list_reader(key: str) -> Callable[[bytes], list[CatalogEntry]]:
    return lambda content: [_as(CatalogEntry, entry) for entry in _entries(_json(content), key)]


def _json(content: bytes) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return json.loads(content)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise _NotOurs from None
    except ValueError as error:  # an integer of more digits than Python takes, unless it is told to
        raise FanfoldError(f"the answer cannot be read: {error}") from error


def _as(model: type[Model], value: Any) -> Model:  # noqa: ANN401 - any JSON value
    try:
        return model.model_validate(value)
    except pydantic.ValidationError:
        raise _NotOurs from None


def _entries(answer: Any, key: str) -> list[Any]:  # noqa: ANN401 - any JSON value
    if not isinstance(answer, dict) or not isinstance(answer.get(key), list):
        raise _NotOurs
    entries: list[Any] = answer[key]
    return entries
