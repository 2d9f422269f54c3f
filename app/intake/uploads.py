"""Uploads: data that streams in, by form or in parts, stored as a whole or not at all."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Final

from fanfold.app.http.errors import JobNotReceiving, RequestTimeout
from fanfold.app.http.idempotency import earlier_job
from fanfold.app.intake.body import decode_body
from fanfold.app.intake.certainty import recorded_with_certainty, with_certainty
from fanfold.app.intake.items.formats import Encoded, recognise
from fanfold.app.intake.items.parsing import chunks_of
from fanfold.app.intake.multipart import Form
from fanfold.app.intake.pipeline import Store, store_chunks
from fanfold.app.intake.receivers import receivers_of
from fanfold.contract.names import JobId, new_job_id
from fanfold.contract.settings import GatewaySettings, IntakeSettings
from fanfold.intake.cutting import DEFAULT_CHUNK_SIZE, Cut
from fanfold.intake.faults import ITEMS, pointer, refuse, refuse_limit
from fanfold.intake.item_schema import remembered
from fanfold.intake.preparing import Extent, PreparedJob, prepare
from fanfold.intake.published import PublishedCode
from fanfold.intake.spec import resolve_execution
from fanfold.ledger.catalog import Catalog
from fanfold.ledger.connect import TenantLedger
from fanfold.ledger.database import LedgerUnavailable
from fanfold.ledger.idempotency import KeyTaken
from fanfold.ledger.records import IdempotencyKey, JobRecord, NewChunk
from fanfold.ledger.transitions import SEAL
from fanfold.ledger.uploads import MAX_CHUNKS_AN_UPLOAD, WHOLE, TooManyReceived, Upload, UploadGone

MAX_UPLOADS_AT_ONCE: Final = 16
"""Uploads parsed at a time; the clients of further ones wait."""
_FIRST_PART: Final = 1
# On top of the time that the server gives its requests when it stops.
_LAST_SECONDS: Final = 3.0

Make = Callable[[Iterator[bytes]], Iterator[NewChunk]]
"""Makes chunks of blocks of data, in a thread."""

_log = logging.getLogger("fanfold.gateway")


@dataclass(slots=True)
class _Whole:
    """What the thread found in a form."""

    job: PreparedJob | None = None
    job_hash: bytes = b""
    items_hash: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def body_hash(self) -> bytes:
        """The hash of the two parts' bytes, whatever is between them."""
        return hashlib.sha256(self.job_hash + self.items_hash.digest()).digest()


class Uploads:
    """Stores uploads, each parsed in a thread."""

    def __init__(self, limits: GatewaySettings) -> None:
        """Work within these limits."""
        self._limits = limits
        self._threads: Executor = ThreadPoolExecutor(
            MAX_UPLOADS_AT_ONCE, thread_name_prefix="upload"
        )
        self._running: set[asyncio.Task[Any]] = set()

    async def close(self) -> None:
        """Let cancelled uploads delete what they stored, then release the threads.

        What takes longer is deleted by another gateway, or after a restart.
        """
        if self._running:
            await asyncio.wait(self._running, timeout=_LAST_SECONDS)
        self._threads.shutdown(wait=False)

    async def store_part(
        self,
        tenant: TenantLedger,
        job: JobRecord,
        part: int,
        encoded: Encoded,
        pieces: AsyncIterator[bytes],
        catalog: Catalog,
    ) -> tuple[int, int]:
        """Store one part of a receiving job's data; how many chunks and items it has.

        Where the job wants that, the items have to fit the schemas in the catalog. Raises a
        Problem or InvalidJob, having changed nothing.
        """
        receivers = await receivers_of(job, tenant)
        schema = await remembered(job.spec, receivers.specs, catalog)
        cut = self._cut(job.spec.chunk_size, job.spec.max_chunk_bytes)

        def make(blocks: Iterator[bytes]) -> Iterator[NewChunk]:
            is_whole = part == _FIRST_PART  # of a job in parts, what comes after is a rest
            return chunks_of(blocks, encoded, cut, self._limits, is_whole=is_whole, schema=schema)

        self._note_running()
        try:
            upload = await tenant.uploads.begin(job.id, part)
            try:
                await self._store(tenant, upload, pieces, make)
                return await tenant.uploads.complete(
                    upload,
                    part,
                    max_chunks=receivers.most_sent(self._limits.max_chunks),
                    max_items=self._limits.max_items,
                )
            except BaseException:
                await self._drop(tenant, upload)
                raise
        except UploadGone:
            raise not_receiving() from None
        except TooManyReceived:
            limits = self._limits
            message = (
                f"with this part the job has more than {limits.max_items} items "
                f"(FANFOLD_MAX_ITEMS) or more than {limits.max_chunks} chunks (FANFOLD_MAX_CHUNKS)"
            )
            refuse("limit_exceeded", ITEMS, message)

    async def record_form(
        self,
        tenant: TenantLedger,
        boundary: bytes,
        pieces: AsyncIterator[bytes],
        code: PublishedCode,
        key_name: str | None,
    ) -> tuple[JobId, bool]:
        """Record the job of a form with its data.

        Its id, and whether an earlier request had made it already. Raises a Problem,
        having changed nothing.
        """
        whole, make = self._reader(boundary, code)
        self._note_running()
        upload = await tenant.uploads.begin(new_job_id(), WHOLE)
        key: IdempotencyKey | None = None
        try:
            stored = await self._store(tenant, upload, pieces, make)
            prepared = _complete(whole, stored, self._limits)
            if key_name is not None:
                key = IdempotencyKey(key=key_name, body_hash=whole.body_hash())
            write = tenant.recording.record(prepared.new_job(upload.job_id, key), upload)
            await recorded_with_certainty(tenant.jobs, upload.job_id, write)
        except KeyTaken as taken:
            await self._drop(tenant, upload)
            return earlier_job(taken, key), taken.job_id != upload.job_id
        except UploadGone:
            raise RequestTimeout("body_timeout", "The data came too slowly.") from None
        except BaseException:
            await self._drop(tenant, upload)
            raise
        return upload.job_id, False

    async def measure_form(
        self,
        boundary: bytes,
        pieces: AsyncIterator[bytes],
        code: PublishedCode,
    ) -> Extent:
        """How much data the job of a form has, which is not stored; raises a Problem."""
        whole, make = self._reader(boundary, code)
        extent = Extent()

        async def count(batch: list[NewChunk]) -> None:
            _check_count(extent.chunks + len(batch))
            extent.add(batch)

        await self._parse(pieces, make, count)
        return _complete(whole, extent, self._limits).extent

    async def seal(self, tenant: TenantLedger, job: JobRecord) -> bool:
        """Seal a receiving job, so that it starts with the data it has; whether this call did so.

        Raises InvalidJob if it has none, or too much for the jobs that it is made of.
        """
        if job.state not in SEAL.before:
            return False
        if not job.total_chunks:
            message = "there are no items: send some with PUT /jobs/{job_id}/items, and seal then"
            refuse("invalid_job", ITEMS, message)
        receivers = await receivers_of(job, tenant)
        execution = resolve_execution(job.spec.execution, receivers.chunk_count(job.total_chunks))
        spec = replace(job.spec, execution=execution)
        write = tenant.recording.seal(job.id, spec, job.controls, job.revision)

        async def is_sealed() -> bool:
            state = await tenant.jobs.state(job.id)
            return state not in SEAL.before

        if_unknown = (
            "The ledger went away while the job was sealed, so it is unknown whether it is. "
            "Try again in a moment: to seal a job twice is safe."
        )
        sealed = await with_certainty(write, is_sealed, if_unknown=if_unknown)
        return True if sealed is None else sealed

    def _cut(self, size: int | None, max_chunk_bytes: int | None) -> Cut:
        # No larger than a chunk of a job in one JSON body: it is held in memory.
        most = self._limits.max_body_bytes
        closed_at = min(max_chunk_bytes, most) if max_chunk_bytes else None
        return Cut(size or DEFAULT_CHUNK_SIZE, closed_at, most)

    def _reader(self, boundary: bytes, code: PublishedCode) -> tuple[_Whole, Make]:
        """What makes chunks of a form, and what it finds there besides."""
        limits, whole = self._limits, _Whole()

        def make(blocks: Iterator[bytes]) -> Iterator[NewChunk]:
            form = Form(blocks, boundary, limits)
            text = form.job()
            whole.job_hash = hashlib.sha256(text).digest()
            whole.job = prepared = prepare(_without_data(text), limits, code)
            part, data = form.items()
            encoded = recognise(
                part.headers.get("content-type", ""),
                part.headers.get("content-encoding", ""),
                part.file_name,
            )
            spec = prepared.spec
            cut = Cut(spec.chunk_size or DEFAULT_CHUNK_SIZE, spec.max_chunk_bytes)
            hashed = _hashed(data, whole.items_hash)
            return chunks_of(hashed, encoded, cut, limits, schema=prepared.schema)

        return whole, make

    async def _store(
        self, tenant: TenantLedger, upload: Upload, pieces: AsyncIterator[bytes], make: Make
    ) -> Extent:
        stored = Extent()

        async def store(batch: list[NewChunk]) -> None:
            _check_count(stored.chunks + len(batch))
            first = stored.chunks
            stored.add(batch)
            await tenant.uploads.add(upload, first, batch)

        await self._parse(pieces, make, store)
        return stored

    async def _parse(self, pieces: AsyncIterator[bytes], make: Make, store: Store) -> None:
        await store_chunks(
            pieces,
            make,
            store,
            threads=self._threads,
            longest_silence_seconds=self._limits.body_timeout_seconds,
        )

    def _note_running(self) -> None:
        """Remember this request until it is answered: `close` waits for it."""
        task = asyncio.current_task()
        if task is not None and task not in self._running:
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _drop(self, tenant: TenantLedger, upload: Upload) -> None:
        """Delete what was stored, even when the request is being cancelled."""
        try:
            await asyncio.shield(tenant.uploads.drop(upload))
        except LedgerUnavailable:
            _log.warning("an upload that failed is deleted later: the ledger is away")


def not_receiving() -> JobNotReceiving:
    """The error for data that comes for a job that takes none."""
    detail = (
        'The job takes no data: it is sealed or closed, or was not posted with "source": "upload".'
    )
    return JobNotReceiving("job_not_receiving", detail)


def not_an_upload() -> JobNotReceiving:
    """The error for sealing a job that never waited for data."""
    detail = (
        "The job came with its data, so there is nothing to seal: it runs, or has run. "
        'Only a job that was posted with "source": "upload" is sealed.'
    )
    return JobNotReceiving("job_not_an_upload", detail)


def _check_count(chunks: int) -> None:
    if chunks > MAX_CHUNKS_AN_UPLOAD:
        refuse_limit(ITEMS, "chunks in one upload", MAX_CHUNKS_AN_UPLOAD, "fixed")


def _complete(whole: _Whole, extent: Extent, limits: IntakeSettings) -> PreparedJob:
    """The job of a form that has been read to its end."""
    if whole.job is None or not extent.chunks:
        refuse("invalid_job", ITEMS, "there are no items")
    return whole.job.with_upload(extent, limits)


def _without_data(text: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """The document of a form's job, whose items come beside it. Raises a Problem."""
    document = decode_body(text, "The part `job`")
    if not isinstance(document, dict):
        return document
    for name in ("items", "chunks"):
        if name in document:
            refuse("invalid_job", pointer(name), "in a form the data is in the part `items` alone")
    if document.get("source") is None:
        document["source"] = "upload"
    return document


def _hashed(blocks: Iterator[bytes], into: "hashlib._Hash") -> Iterator[bytes]:
    for block in blocks:
        into.update(block)
        yield block
