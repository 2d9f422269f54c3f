"""What every call to a gateway has in common: a request, and how its answer is read.

A shell sends a `Call`, hands `Call.read` what came back, and has the answer as the client's own
type, or one of the errors of `errors.py`. No I/O happens here.
"""

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlsplit

import pydantic

from fanfold.client.errors import FanfoldError, Refused, Unreachable
from fanfold.client.models import Answer, CatalogEntry
from fanfold.client.transfer import Source

Read = TypeVar("Read")
Model = TypeVar("Model", bound=Answer)

_FIRST_ERROR_STATUS = 400
_TRIES = 3
_LONGEST_PAGE = 1000
# Of the operating system; the words after it say the same.
_ERROR_NUMBER = re.compile(r"^\[Errno -?\d+\] ")


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


def sendable_key(key: str | None) -> str:
    """The key, or a new one; raises FanfoldError for one that no header can hold."""
    if key is None:
        return uuid.uuid4().hex
    if not (key.isascii() and key.isprintable() and key == key.strip() and key):
        raise FanfoldError(
            "an idempotency key has 1 to 255 printable ASCII characters, with no blank at its ends"
        )
    return key


def read_line(model: type[Model], url: str, line: bytes) -> Model:
    """A line of a streamed answer."""
    try:
        return reader(model)(line)
    except _NotOurs:
        raise Unreachable(f"{url} is not a Fanfold gateway") from None


def listing(
    path: str,
    model: type[Model],
    key: str,
    asked: list[tuple[str, str]],
    limit: int | None,
    cursor: str | None = None,
) -> Call[Page[Model]] | None:
    """The call for a page of at most `limit` entries; None where no more are wanted."""
    if limit is not None and limit <= 0:
        return None

    def read(content: bytes) -> Page[Model]:
        page = _json(content)
        entries = [_as(model, entry) for entry in _entries(page, key)]
        cursor = page.get("next_cursor")
        if cursor is None:
            return Page(entries, None)
        left = None if limit is None else limit - len(entries)
        return Page(entries, listing(path, model, key, asked, left, cursor))

    size = str(min(limit or _LONGEST_PAGE, _LONGEST_PAGE))
    parameters = (*asked, *given(limit=size, cursor=cursor))
    return Call(method="GET", path=path, reader=read, parameters=parameters)


def job_path(job_id: str) -> str:
    """The address of a job; raises FanfoldError where its id is empty."""
    if not job_id:
        raise FanfoldError("the id of the job is empty")
    return f"/jobs/{quote(job_id, safe='')}"


def tries_of(content: bytes | Source) -> int:
    """How often a body may be sent: more than once where it is there a second time."""
    return _TRIES if isinstance(content, bytes) or content.is_repeatable else 1


def given(**parameters: str | None) -> list[tuple[str, str]]:
    """The query parameters that have a value."""
    return [(name, value) for name, value in parameters.items() if value is not None]


def reader(model: type[Model]) -> Callable[[bytes], Model]:
    """Reads an answer that is one `model`."""
    return lambda content: _as(model, _json(content))


def list_reader(key: str) -> Callable[[bytes], list[CatalogEntry]]:
    """Reads an answer whose entries are under `key`."""
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
