"""The client over a blocking connection. `async_http.py` is its twin."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar

import httpx

from fanfold.client import calls
from fanfold.client.calls import Call, JobBody, OnJob, Page
from fanfold.client.errors import Unreachable
from fanfold.client.models import CatalogEntry, Child, Item, Job, Part
from fanfold.client.transfer import BrokenOff, Expander, Lines, OnProgress, Source

Read = TypeVar("Read")

# Longer than the longest `Prefer: wait`, which the gateway answers in time by itself.
TIMEOUT = httpx.Timeout(30.0, read=90.0)


class Fanfold:
    """A connection to a gateway; use it in a `with` block. Not to be shared by threads.

    Every method raises Refused where the gateway answers with a problem, and Unreachable
    where it does not answer.
    """

    def __init__(self, url: str, *, headers: Mapping[str, str] | None = None) -> None:
        """Talk to the gateway at this base URL.

        `headers` go with every request: what a proxy before the gateway asks for, say.
        """
        base_url, all_headers = calls.connection(url, headers)
        self._http = httpx.Client(base_url=base_url, headers=all_headers, timeout=TIMEOUT)
        self._url = url

    def __enter__(self) -> Self:
        """Keep connections open until the block ends."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit(
        self,
        job: JobBody,
        *,
        items: Iterable[Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Submit a job, given as the request's object or as its JSON text.

        `items` may be a generator: they are sent as they come, and never all held. Dates,
        dataclasses and pydantic models are sent as their JSON.

        Without a key of yours one is made up, so that trying again after a broken connection
        (which this does, twice, unless the items come from a generator) makes no second job.
        """
        return self._send(calls.submit(job, items, idempotency_key))

    def submit_file(
        self,
        job: JobBody,
        items: Path | BinaryIO,
        *,
        file_name: str | None = None,
        idempotency_key: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Job:
        """Submit a job whose items are in a file or a stream, read and sent bit by bit.

        What is in it is told by the file's name, or by `file_name`, which a stream needs:
        .ndjson, .jsonl, .csv or .json, and then .gz where it is compressed. Raises OSError
        where it cannot be read. A stream is not sent a second time where nobody answers.
        """
        return self._send(calls.submit_file(job, items, file_name, idempotency_key, on_progress))

    def put_part(self, job_id: str, number: int, items: Iterable[Any]) -> Part:
        """Send a part, 1 to 100,000, of the items of a job with `"source": "upload"`.

        A part sent again under its number takes the place of the earlier one.
        """
        return self._send(calls.put_part(job_id, number, items))

    def seal(self, job_id: str) -> Job:
        """Start a job whose items came in parts."""
        return self._send(calls.seal(job_id))

    def get(self, job_id: str, *, wait_seconds: int | None = None) -> Job:
        """The job; with `wait_seconds`, at most 60, as soon as it is finished, or then."""
        return self._send(calls.get(job_id, wait_seconds))

    def wait(
        self, job_id: str, *, timeout: float | None = None, on_progress: OnJob | None = None
    ) -> Job:
        """The job once it is finished.

        Raises WaitTimeout, a TimeoutError, where that takes longer than `timeout` seconds; the
        job goes on. `on_progress` is called with the job about once a second, and at its end.
        """
        waiting = calls.Waiting(job_id, timeout, on_progress)
        while not waiting.is_over(job := self._send(waiting.call())):
            pass
        return job

    def cancel(self, job_id: str) -> Job:
        """Cancel the job; what has finished is kept."""
        return self._send(calls.cancel(job_id))

    def purge(self, job_id: str) -> None:
        """Remove a finished job with all its data."""
        self._send(calls.purge(job_id))

    def jobs(
        self,
        *,
        state: str | None = None,
        labels: Mapping[str, str] | None = None,
        limit: int | None = None,
    ) -> Iterator[Job]:
        """Jobs, newest first, read page by page; at most `limit`."""
        return self._each(calls.jobs(state, labels, limit))

    def children(
        self, job_id: str, *, state: str | None = None, limit: int | None = None
    ) -> Iterator[Child]:
        """The job's children in index order, read page by page; at most `limit`."""
        return self._each(calls.children(job_id, state, limit))

    def child(self, job_id: str, index: int) -> Child:
        """One child of the job."""
        return self._send(calls.child(job_id, index))

    def items(
        self, job_id: str, *, state: str | None = None, limit: int | None = None
    ) -> Iterator[Item]:
        """The job's items in order, each with what came of it; at most `limit`."""
        return self._each(calls.items(job_id, state, limit))

    def results(self, job_id: str, *, state: str | None = None) -> Iterator[Child]:
        """The finished children in index order, streamed; with `state` those in that state."""
        lines = Lines()
        for piece in self.result_bytes(job_id, state=state):
            for line in lines.feed(piece):
                yield calls.read_result(self._url, line)
        for line in lines.end():
            yield calls.read_result(self._url, line)

    def result_bytes(
        self,
        job_id: str,
        *,
        state: str | None = None,
        format: str = "ndjson",  # noqa: A002 - the gateway's word for it
        columns: Sequence[str] = (),
    ) -> Iterator[bytes]:
        """The results as NDJSON or, with the format "csv", as CSV: bytes as they arrive."""
        request = self._request(calls.results(job_id, state, format, columns))
        try:
            response = self._http.send(request, stream=True)
            try:
                if response.is_error:
                    raise calls.refused(response.status_code, response.read())
                expander = Expander(response.headers.get("Content-Encoding"))
                for piece in response.iter_raw():
                    yield from expander.feed(piece)
                yield from expander.end()
            finally:
                response.close()
        except (httpx.HTTPError, BrokenOff) as error:
            raise Unreachable(f"{self._url} broke off: {error}") from error

    def processors(self) -> list[CatalogEntry]:
        """What the workers can do with a chunk or an item."""
        return self._send(calls.processors())

    def reducers(self) -> list[CatalogEntry]:
        """What the workers can make of all results."""
        return self._send(calls.reducers())

    def _each(self, call: Call[Page[Read]] | None) -> Iterator[Read]:
        while call is not None:
            page = self._send(call)
            yield from page.entries
            call = page.next

    def _send(self, call: Call[Read]) -> Read:
        try:
            response = self._http.send(self._request(call))
        except httpx.HTTPError as error:
            if call.tries > 1:
                return self._send(replace(call, tries=call.tries - 1))
            raise calls.no_answer(self._url, error) from error
        return call.read(self._url, response.status_code, response.content)

    def _request(self, call: Call[Any]) -> httpx.Request:
        content = call.content
        return self._http.build_request(
            call.method,
            call.path,
            params=call.parameters,
            headers=call.headers,
            content=content.pieces() if isinstance(content, Source) else content,
        )
