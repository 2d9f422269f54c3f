"""The gateway's operations as methods."""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from fanfold.client.errors import Refused, Unreachable
from fanfold.client.models import Child, Job
from fanfold.client.transfer import BrokenOff, OnProgress, WatchedFile, expanded, lines_of

Answer = TypeVar("Answer", bound=BaseModel)

# Longer than the longest `Prefer: wait`, which the gateway answers in time by itself.
_TIMEOUT = httpx.Timeout(30.0, read=90.0)
_LONGEST_WAIT_SECONDS = 30
_TRIES = 3


class Fanfold:
    """A connection to a gateway; use it in a `with` block. Not to be shared by threads.

    Every method raises Refused where the gateway answers with a problem, and
    Unreachable where it does not answer.
    """

    def __init__(self, url: str) -> None:
        """Talk to the gateway at this base URL."""
        self._http = httpx.Client(
            base_url=url, timeout=_TIMEOUT, headers={"Accept-Encoding": "identity"}
        )

    def __enter__(self) -> Self:
        """Keep connections open until the block ends."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit(self, job: Mapping[str, Any] | bytes, *, idempotency_key: str | None = None) -> Job:
        """Submit a job, given as the request's object or as its JSON text.

        Without a key of yours one is made up, so that trying again after a broken
        connection (which this does, twice) cannot make a second job.
        """
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": idempotency_key or uuid.uuid4().hex,
        }
        body = _job_text(job)
        return self._submitted(lambda: self._json("POST", "/jobs", content=body, headers=headers))

    def submit_file(
        self,
        job: Mapping[str, Any] | bytes,
        items: Path,
        *,
        idempotency_key: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Job:
        """Submit a job whose items are in a file, which is read and sent bit by bit.

        What the file holds is told by its name: .ndjson, .jsonl, .csv or .json, and then
        .gz where it is compressed. Raises OSError where it cannot be read.
        """
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        body = _job_text(job)

        def send() -> Any:  # noqa: ANN401 - any JSON value
            with WatchedFile(items, on_progress) as file:
                # The job first: the gateway has to know it before the items arrive.
                files: list[tuple[str, Any]] = [
                    ("job", (None, body, "application/json")),
                    ("items", (items.name, file, "application/octet-stream")),
                ]
                return self._json("POST", "/jobs", files=files, headers=headers)

        return self._submitted(send)

    def _submitted(self, send: Callable[[], Any]) -> Job:
        for _ in range(_TRIES - 1):
            try:
                return self._as(Job, send())
            except Unreachable:
                continue
        return self._as(Job, send())

    def get(self, job_id: str, *, wait_seconds: int | None = None) -> Job:
        """The job; with `wait_seconds` as soon as it is finished, or then."""
        headers = {"Prefer": f"wait={wait_seconds}"} if wait_seconds is not None else {}
        return self._as(Job, self._json("GET", f"/jobs/{job_id}", headers=headers))

    def wait(self, job_id: str) -> Job:
        """The job once it is finished, however long that takes."""
        while True:
            job = self.get(job_id, wait_seconds=_LONGEST_WAIT_SECONDS)
            if job.is_finished:
                return job

    def cancel(self, job_id: str) -> Job:
        """Cancel the job; what has finished is kept."""
        return self._as(Job, self._json("DELETE", f"/jobs/{job_id}"))

    def purge(self, job_id: str) -> None:
        """Remove a finished job with all its data."""
        self._request("DELETE", f"/jobs/{job_id}", params={"purge": "true"})

    def jobs(
        self, *, state: str | None = None, labels: Mapping[str, str] | None = None, limit: int = 100
    ) -> Iterator[Job]:
        """At most `limit` jobs, newest first, read page by page."""
        parameters: list[tuple[str, str]] = [
            ("label", f"{name}:{value}") for name, value in (labels or {}).items()
        ]
        if state is not None:
            parameters.append(("state", state))
        for job in self._pages("/jobs", "jobs", parameters, limit):
            yield self._as(Job, job)

    def children(
        self, job_id: str, *, state: str | None = None, limit: int | None = None
    ) -> Iterator[Child]:
        """The job's children in index order, read page by page."""
        parameters = [("state", state)] if state is not None else []
        for child in self._pages(f"/jobs/{job_id}/children", "children", parameters, limit):
            yield self._as(Child, child)

    def child(self, job_id: str, index: int) -> Child:
        """One child of the job."""
        return self._as(Child, self._json("GET", f"/jobs/{job_id}/children/{index}"))

    def results(self, job_id: str, *, state: str | None = None) -> Iterator[bytes]:
        """The finished children in index order, each as its line of JSON, streamed."""
        yield from lines_of(self.result_bytes(job_id, state=state))

    def result_bytes(
        self,
        job_id: str,
        *,
        state: str | None = None,
        format: str = "ndjson",  # noqa: A002 - the gateway's word for it
        columns: Sequence[str] = (),
    ) -> Iterator[bytes]:
        """The results as NDJSON or CSV, as they arrive, compressed on the way only."""
        parameters = {"format": format}
        if state is not None:
            parameters["state"] = state
        if columns:
            parameters["columns"] = ",".join(columns)
        with self._streamed(f"/jobs/{job_id}/results", parameters) as response:
            is_compressed = response.headers.get("Content-Encoding") == "gzip"
            pieces = response.iter_raw()
            yield from expanded(pieces) if is_compressed else pieces

    @contextmanager
    def _streamed(self, path: str, parameters: Mapping[str, str]) -> Iterator[httpx.Response]:
        headers = {"Accept-Encoding": "gzip"}
        try:
            with self._http.stream("GET", path, params=parameters, headers=headers) as response:
                if response.is_error:
                    response.read()
                    raise _refused(response)
                yield response
        except (httpx.HTTPError, BrokenOff) as error:
            raise Unreachable(f"{self._http.base_url} broke off: {error}") from error

    def processors(self) -> list[dict[str, Any]]:
        """What the workers can do with a chunk."""
        return self._list("processors", self._json("GET", "/processors"))

    def _pages(
        self, path: str, key: str, parameters: list[tuple[str, str]], limit: int | None
    ) -> Iterator[dict[str, Any]]:
        cursor: str | None = None
        left = limit
        while left is None or left > 0:
            asked = [*parameters, ("limit", str(min(left or 1000, 1000)))]
            if cursor is not None:
                asked.append(("cursor", cursor))
            page = self._json("GET", path, params=asked)
            entries = self._list(key, page)
            yield from entries
            cursor = page.get("next_cursor")
            if cursor is None:
                return
            left = left - len(entries) if left is not None else None

    def _request(self, method: str, path: str, **arguments: Any) -> httpx.Response:  # noqa: ANN401 - httpx's own
        try:
            response = self._http.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise Unreachable(f"{self._http.base_url} does not answer: {error}") from error
        if response.is_error:
            raise _refused(response)
        return response

    def _json(self, method: str, path: str, **arguments: Any) -> Any:  # noqa: ANN401 - httpx's own
        try:
            return self._request(method, path, **arguments).json()
        except ValueError:
            raise self._no_gateway() from None

    def _as(self, model: type[Answer], value: Any) -> Answer:  # noqa: ANN401 - any JSON value
        try:
            return model.model_validate(value)
        except ValidationError:
            raise self._no_gateway() from None

    def _list(self, key: str, answer: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - any JSON value
        if not isinstance(answer, dict) or not isinstance(answer.get(key), list):
            raise self._no_gateway()
        entries: list[dict[str, Any]] = answer[key]
        return entries

    def _no_gateway(self) -> Unreachable:
        return Unreachable(f"{self._http.base_url} is not a Fanfold gateway")


def _job_text(job: Mapping[str, Any] | bytes) -> bytes:
    return job if isinstance(job, bytes) else json.dumps(job).encode()


def _refused(response: httpx.Response) -> Refused:
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    return Refused(response.status_code, problem if isinstance(problem, dict) else {})
