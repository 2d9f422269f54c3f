"""The gateway's operations as methods."""

import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from client.errors import Refused, Unreachable
from client.models import Child, Job

Answer = TypeVar("Answer", bound=BaseModel)

# Longer than the longest `Prefer: wait`, which the gateway answers in time by itself.
_TIMEOUT = httpx.Timeout(30.0, read=90.0)
_LONGEST_WAIT_SECONDS = 30


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
        body = job if isinstance(job, bytes) else json.dumps(job).encode()
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": idempotency_key or uuid.uuid4().hex,
        }
        for _ in range(2):
            try:
                return self._as(Job, self._json("POST", "/jobs", content=body, headers=headers))
            except Unreachable:
                continue
        return self._as(Job, self._json("POST", "/jobs", content=body, headers=headers))

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
        parameters = {"state": state} if state is not None else {}
        try:
            with self._http.stream("GET", f"/jobs/{job_id}/results", params=parameters) as response:
                if response.is_error:
                    response.read()
                    raise _refused(response)
                rest = b""
                for part in response.iter_raw():
                    *lines, rest = (rest + part).split(b"\n")
                    yield from lines
        except httpx.HTTPError as error:
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

    def _json(self, method: str, path: str, **arguments: Any) -> Any:  # noqa: ANN401 - httpx's own
        try:
            response = self._http.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise Unreachable(f"{self._http.base_url} does not answer: {error}") from error
        if response.is_error:
            raise _refused(response)
        try:
            return response.json()
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


def _refused(response: httpx.Response) -> Refused:
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    return Refused(response.status_code, problem if isinstance(problem, dict) else {})
