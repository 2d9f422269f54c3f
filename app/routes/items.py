"""/jobs/{job_id}/items and /seal: lists a job's items; takes them in parts, sent after the job."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from fanfold.answers import rendering, views
from fanfold.app.answers.items import item_lines
from fanfold.app.answers.tree import WITH_FAILED_ITEMS, LeafChunk, counts_of, leaves
from fanfold.app.documentation import examples
from fanfold.app.http import cursor, errors
from fanfold.app.http.parameters import DEFAULT_PAGE, IN_DIGITS, MAX_PAGE, PageCursor, PageLimit
from fanfold.app.http.problems import responses
from fanfold.app.http.streaming import LARGE_BYTES, in_pieces
from fanfold.app.intake.items import formats
from fanfold.app.intake.uploads import not_an_upload, not_receiving
from fanfold.app.routes.children import check_is_there
from fanfold.app.services import Services, ServicesOf
from fanfold.contract.names import JobId
from fanfold.contract.states import WITH_RESULT, ChunkState, ItemState
from fanfold.ledger.records import JobRecord
from fanfold.ledger.transitions import SEAL

MAX_PARTS = 100_000

router = APIRouter(tags=["jobs"])

# Failed items are in chunks of several states, which an index of its own holds.
_CHUNKS_WITH_ITEMS: dict[ItemState | None, tuple[ChunkState, ...]] = {
    ItemState.PENDING: (ChunkState.PENDING,),
    ItemState.RUNNING: (ChunkState.RUNNING,),
    ItemState.SUCCEEDED: WITH_RESULT,
    ItemState.HELD: (ChunkState.HELD,),
    ItemState.CANCELLED: (ChunkState.CANCELLED,),
}
_ITEMS: dict[str, Any] = {
    "application/x-ndjson": {
        "schema": {"type": "string"},
        "example": '{"iata": "HEL"}\n{"iata": "ARN"}\n',
    },
    "text/csv": {"schema": {"type": "string"}, "example": "iata,country\nHEL,FI\nARN,SE\n"},
    "application/json": {
        "schema": {"type": "array", "items": {}},
        "example": [{"iata": "HEL"}, {"iata": "ARN"}],
    },
}


@router.get(
    "/jobs/{job_id}/items",
    operation_id="list_items",
    summary="List a job's items",
    response_class=Response,
    responses={
        200: {
            "description": "A page of items, ordered by chunk and position.",
            "content": examples.answer("ItemPage", examples.ITEM_PAGE),
        },
        **responses(errors.MalformedRequest, errors.NotFound, errors.Unavailable),
    },
)
async def list_items(
    job_id: JobId,
    services: ServicesOf,
    state: Annotated[ItemState | None, Query(description="Only items in this state.")] = None,
    limit: PageLimit = DEFAULT_PAGE,
    cursor_text: PageCursor = None,
) -> Response:
    """Each item as it was submitted, with what became of it.

    Of a job made of jobs those of all of these, each with the `job` it is of and its `path`. One
    page; it is streamed, so large items cost neither side memory.
    """
    job = await services.job(job_id)
    filters: list[Any] = ["items", job_id, state]
    limit = min(limit, MAX_PAGE)
    start = (job.place.position, 0, -1)
    if cursor_text is not None:
        at = cursor.decode(cursor_text, filters)
        start = tuple(at) if job.is_parent else (job.place.position, *at)

    async def page() -> AsyncIterator[bytes]:
        separator, shown, last = b'{"items":[', 0, start
        async for leaf, chunk in _chunks(services, job, state, start, limit + 1):
            at = (leaf.job.place.position, chunk.record.index)
            after = start[2] if at == start[:2] else -1
            lines = item_lines(leaf, chunk, state=state, after=after)
            if chunk.size_bytes > LARGE_BYTES:
                lines = await asyncio.to_thread(_first, lines, limit - shown + 1)
            for item, line in lines:
                if shown == limit:
                    await check_is_there(services, job_id)
                    place = last if job.is_parent else last[1:]
                    yield b'],"next_cursor":"%b"}' % cursor.encode(place, filters).encode()
                    return
                yield separator + line
                separator, shown, last = b",", shown + 1, (*at, item)
        await check_is_there(services, job_id)
        yield b"]}" if shown else b'{"items":[]}'

    return StreamingResponse(in_pieces(page()), media_type="application/json")


async def _chunks(
    services: Services,
    job: JobRecord,
    state: ItemState | None,
    start: tuple[int, int, int],
    items_wanted: int,
) -> AsyncIterator[LeafChunk]:
    """The chunks that have items in this state, with their data, from that of `start` on."""
    states = _CHUNKS_WITH_ITEMS.get(state, ())
    is_failed = state is ItemState.FAILED
    counted = WITH_FAILED_ITEMS if is_failed else counts_of(states)
    position, index, _ = start
    async for leaf in leaves(services.tenant.jobs, job, first=position, counted=counted):
        chunks = services.tenant.chunks.data(
            leaf.job.id,
            states=states,
            with_failed_items=is_failed,
            after=index - 1 if leaf.job.place.position == position else -1,
            items_wanted=items_wanted,
        )
        async for chunk in chunks:
            yield leaf, chunk


def _first(lines: Iterator[tuple[int, bytes]], count: int) -> Iterator[tuple[int, bytes]]:
    """So many of them, made now."""
    return iter(list(islice(lines, count)))


@router.put(
    "/jobs/{job_id}/items",
    operation_id="send_items",
    summary="Send a part of a job's items",
    response_model=views.PartView,
    responses={
        200: {
            "description": "The part is stored, and has taken the place of an earlier one.",
            "content": {"application/json": {"example": examples.PART}},
        },
        **responses(
            errors.MalformedRequest,
            errors.NotFound,
            errors.RequestTimeout,
            errors.JobNotReceiving,
            errors.BodyTooLarge,
            errors.UnsupportedMediaType,
            errors.InvalidJob,
            errors.Unavailable,
        ),
    },
    openapi_extra={"requestBody": {"required": True, "content": _ITEMS}},
)
async def send_items(
    job_id: JobId,
    request: Request,
    services: ServicesOf,
    part: Annotated[
        int,
        Query(
            ge=1,
            le=MAX_PARTS,
            description="Where among the parts it belongs; a part may be sent again.",
        ),
        IN_DIGITS,
    ],
) -> views.PartView:
    """Store one part of the items of a job with `"source": "upload"`, plain or in gzip.

    A part that fails changes nothing. Parts may come in any order, and several at a time.
    """
    job = await services.job(job_id)
    if job.state not in SEAL.before:
        raise not_receiving()
    encoded = formats.recognise(
        request.headers.get("content-type", ""), request.headers.get("content-encoding", "")
    )
    chunks, items = await services.uploads.store_part(
        services.tenant, job, part, encoded, request.stream(), services.ledger.catalog
    )
    return views.PartView(part=part, items=items, chunks=chunks)


@router.post(
    "/jobs/{job_id}/seal",
    operation_id="seal_job",
    summary="Start a job with the items sent",
    status_code=202,
    response_class=Response,
    responses={
        202: {
            "description": "The job has its items and will run; or it was sealed before.",
            "content": examples.answer("Job", examples.JOB),
        },
        **responses(errors.NotFound, errors.JobNotReceiving, errors.InvalidJob, errors.Unavailable),
    },
)
async def seal_job(job_id: JobId, services: ServicesOf) -> Response:
    """Make the parts that are whole the job's items, in the order of their numbers."""
    job = await services.job(job_id)
    if not job.spec.is_upload:
        raise not_an_upload()
    while job.state in SEAL.before:
        if await services.uploads.seal(services.tenant, job):
            services.orchestration.kick()
        job = await services.job(job_id)
    if job.state.is_terminal and not job.total_chunks:
        raise not_receiving()
    return Response(
        rendering.job_json(job, None, services.workflows_url),
        202,
        headers={"Cache-Control": "no-cache", "Location": f"/jobs/{job_id}", "Retry-After": "1"},
        media_type="application/json",
    )
