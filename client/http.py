"""The client over a blocking connection. `async_http.py` is its twin."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar, Unpack

import httpx

from fanfold.client import calls, schedules, steering
from fanfold.client.calls import JobBody, OnJob
from fanfold.client.errors import Unreachable
from fanfold.client.exchange import Call, Page, connection, no_answer, read_line, refused
from fanfold.client.models import (
    Answer,
    Attempts,
    CatalogEntry,
    Child,
    DryRun,
    FailedItem,
    Item,
    Job,
    Part,
)
from fanfold.client.schedule_models import Schedule
from fanfold.client.schedules import ScheduleOptions
from fanfold.client.steering import Correction, JobChanges, RunChanges
from fanfold.client.transfer import BrokenOff, Expander, Lines, OnProgress, Source

Read = TypeVar("Read")
Line = TypeVar("Line", bound=Answer)

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
        base_url, all_headers = connection(url, headers)
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

    def validate(self, job: JobBody) -> DryRun:
        """Check a job without submitting it; raises Refused where it would be refused."""
        return self._send(calls.validate(job))

    def put_part(self, job_id: str, number: int, items: Iterable[Any]) -> Part:
        """Send a part, 1 to 100,000, of the items of a job with `"source": "upload"`.

        A part sent again under its number takes the place of the earlier one.
        """
        return self._send(calls.put_part(job_id, number, items))

    def seal(self, job_id: str) -> Job:
        """Start a job whose items came in parts."""
        return self._send(calls.seal(job_id))

    def get(self, job_id: str, *, wait_seconds: int | None = None, run: int | None = None) -> Job:
        """The job; with `wait_seconds`, at most 60, as soon as it is finished, or then.

        With `run` as that run of it ended, without the result unless it is the last one.
        """
        return self._send(calls.get(job_id, wait_seconds, run))

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

    def pause(self, job_id: str) -> Job:
        """Let no further attempt begin; those in flight finish, and count."""
        return self._send(steering.pause(job_id))

    def resume(self, job_id: str) -> Job:
        """Let a paused job go on."""
        return self._send(steering.resume(job_id))

    def update(self, job_id: str, **changes: Unpack[JobChanges]) -> Job:
        """Change limits, priority, name or labels, of a running job too.

        None takes a limit away, or goes back to the default. What is not named stays.
        """
        return self._send(steering.update(job_id, changes))

    def cancel(self, job_id: str, *, drain: bool = False) -> Job:
        """Cancel the job; what has finished is kept. With `drain` what is in flight finishes."""
        return self._send(steering.cancel(job_id, drain=drain))

    def cancel_child(self, job_id: str, index: int) -> Child:
        """Cancel one chunk; the job goes on without it."""
        return self._send(steering.cancel_child(job_id, index))

    def redrive(
        self,
        job_id: str,
        *,
        states: Iterable[str] | None = None,
        error_types: Iterable[str] | None = None,
        indexes: Iterable[int] | None = None,
        corrections: Iterable[Correction] | None = None,
        idempotency_key: str | None = None,
        **changes: Unpack[RunChanges],
    ) -> Job:
        """Run chunks of a finished job again, or held chunks of a waiting one.

        Without a selection all that failed or were cancelled; `states`, `error_types` and
        `indexes` narrow each other. `corrections` give items new values: mappings with `index`,
        `item` and `value`. `changes`, a processor or options say, hold from this run on.

        Tried again after a broken connection as a submission is: it makes no second run.
        """
        return self._send(
            steering.redrive(
                job_id,
                states=states,
                error_types=error_types,
                indexes=indexes,
                corrections=corrections,
                key=idempotency_key,
                changes=changes,
            )
        )

    def release(self, job_id: str) -> Job:
        """Give up the held chunks of a waiting job: they fail, and the job ends."""
        return self._send(steering.release(job_id))

    def resolve_child(self, job_id: str, index: int, result: Any) -> Child:  # noqa: ANN401 - any JSON value
        """Give a held chunk its result by hand."""
        return self._send(steering.resolve_child(job_id, index, result))

    def purge(self, job_id: str) -> None:
        """Remove a finished job with all its data."""
        self._send(calls.purge(job_id))

    def jobs(
        self,
        *,
        state: str | None = None,
        labels: Mapping[str, str] | None = None,
        parent: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Job]:
        """Jobs, newest first, read page by page; at most `limit`.

        Those that no other is made of; with `parent` those that this one is made of.
        """
        return self._each(calls.jobs(state, labels, parent, limit))

    def sub_jobs(
        self, job_id: str, *, state: str | None = None, limit: int | None = None
    ) -> Iterator[Job]:
        """The jobs that this one is made of, in order, read page by page; at most `limit`.

        What each of them is made of is asked of that one: see `links.jobs` of it.
        """
        return self._each(calls.sub_jobs(job_id, state, limit))

    def children(
        self, job_id: str, *, state: str | None = None, limit: int | None = None
    ) -> Iterator[Child]:
        """The job's children in index order, read page by page; at most `limit`.

        Of a job made of jobs those of all of these, each with its `job` and `path`; so do
        `items`, `results` and `failures`.
        """
        return self._each(calls.children(job_id, state, limit))

    def child(self, job_id: str, index: int) -> Child:
        """One child of the job."""
        return self._send(calls.child(job_id, index))

    def attempts(self, job_id: str, index: int) -> Attempts:
        """What became of the attempts at a chunk, oldest first."""
        return self._send(steering.attempts(job_id, index))

    def items(
        self, job_id: str, *, state: str | None = None, limit: int | None = None
    ) -> Iterator[Item]:
        """The job's items in order, each with what came of it; at most `limit`."""
        return self._each(calls.items(job_id, state, limit))

    def results(self, job_id: str, *, state: str | None = None) -> Iterator[Child]:
        """The finished children in index order, streamed; with `state` those in that state."""
        return self._lines(Child, self.result_bytes(job_id, state=state))

    def result_bytes(
        self,
        job_id: str,
        *,
        state: str | None = None,
        format: str = "ndjson",  # noqa: A002 - the gateway's word for it
        columns: Sequence[str] = (),
    ) -> Iterator[bytes]:
        """The results as NDJSON or, with the format "csv", as CSV: bytes as they arrive."""
        return self._stream(calls.results(job_id, state, format, columns))

    def failures(self, job_id: str) -> Iterator[FailedItem]:
        """The items that failed or were left out, as they were submitted, streamed in order."""
        return self._lines(FailedItem, self.failure_bytes(job_id))

    def failure_bytes(
        self,
        job_id: str,
        *,
        format: str = "ndjson",  # noqa: A002 - the gateway's word for it
    ) -> Iterator[bytes]:
        """The failed items as NDJSON or, with the format "csv", as CSV: bytes as they arrive."""
        return self._stream(steering.failures(job_id, format))

    def create_schedule(
        self, name: str, job: JobBody, **options: Unpack[ScheduleOptions]
    ) -> Schedule:
        """Have a job submitted by a cron expression, or every so many seconds.

        Its jobs are those of `jobs(labels={"schedule": name})`, also once it is deleted.
        """
        return self._send(schedules.create(name, job, options))

    def schedules(self, *, limit: int | None = None) -> Iterator[Schedule]:
        """Schedules, newest first, read page by page, without their jobs and runs."""
        return self._each(schedules.schedules(limit))

    def schedule(self, name: str) -> Schedule:
        """A schedule, with its job and its last runs."""
        return self._send(schedules.schedule(name))

    def pause_schedule(self, name: str) -> Schedule:
        """Let a schedule submit nothing until it is resumed."""
        return self._send(schedules.pause(name))

    def resume_schedule(self, name: str) -> Schedule:
        """Let a paused schedule go on, from its next time on."""
        return self._send(schedules.resume(name))

    def run_schedule(self, name: str) -> Schedule:
        """Submit the job of a schedule now."""
        return self._send(schedules.run(name))

    def delete_schedule(self, name: str) -> None:
        """Delete a schedule; its jobs are kept, and one that runs goes on."""
        self._send(schedules.delete(name))

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

    def _lines(self, model: type[Line], pieces: Iterator[bytes]) -> Iterator[Line]:
        lines = Lines()
        for piece in pieces:
            for line in lines.feed(piece):
                yield read_line(model, self._url, line)
        for line in lines.end():
            yield read_line(model, self._url, line)

    def _stream(self, call: Call[None]) -> Iterator[bytes]:
        try:
            response = self._http.send(self._request(call), stream=True)
            try:
                if response.is_error:
                    raise refused(response.status_code, response.read())
                expander = Expander(response.headers.get("Content-Encoding"))
                for piece in response.iter_raw():
                    yield from expander.feed(piece)
                yield from expander.end()
            finally:
                response.close()
        except (httpx.HTTPError, BrokenOff) as error:
            raise Unreachable(f"{self._url} broke off: {error}") from error

    def _send(self, call: Call[Read]) -> Read:
        try:
            response = self._http.send(self._request(call))
        except httpx.HTTPError as error:
            if call.tries > 1:
                return self._send(replace(call, tries=call.tries - 1))
            raise no_answer(self._url, error) from error
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
