"""A job's children over HTTP: listed, looked at, streamed."""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import StreamingResponse

from app import cursor, errors, examples, views
from app.problems import responses
from app.routes.jobs import DEFAULT_PAGE, MAX_PAGE
from app.services import ServicesOf
from contract.states import ChunkState

NDJSON = "application/x-ndjson"
_MAX_INDEX = 2**31 - 1

router = APIRouter(prefix="/jobs/{job_id}", tags=["children"])


@router.get(
    "/children",
    operation_id="list_children",
    summary="List a job's children",
    response_class=Response,
    responses={
        200: {
            "description": "A page of children, ordered by index.",
            "content": examples.answer("ChildPage", examples.CHILD_PAGE),
        },
        **responses(errors.MalformedRequest, errors.NotFound, errors.Unavailable),
    },
)
async def list_children(
    job_id: str,
    services: ServicesOf,
    state: Annotated[ChunkState | None, Query(description="Only children in this state.")] = None,
    limit: Annotated[
        int, Query(ge=1, description="Most children on a page; more than 1,000 are 1,000.")
    ] = DEFAULT_PAGE,
    cursor_text: Annotated[
        str | None, Query(alias="cursor", description="`next_cursor` of the page before.")
    ] = None,
) -> Response:
    """One page; it is streamed, so large results cost neither side memory."""
    await services.job(job_id)
    filters: list[Any] = ["children", job_id, state]
    limit = min(limit, MAX_PAGE)
    after = cursor.decode(cursor_text, filters) if cursor_text is not None else -1
    chunks = services.ledger.chunks
    found = await chunks.page(job_id, state=state, after=after, limit=limit + 1)
    shown = found[:limit]

    async def page() -> AsyncIterator[bytes]:
        separator = b'{"children":['
        async for chunk, output in chunks.outputs(job_id, shown):
            yield separator + views.child_json(job_id, chunk, output)
            separator = b","
        end = b"]" if shown else b'{"children":[]'
        if len(found) > limit:
            end += b',"next_cursor":"%b"' % cursor.encode(shown[-1].index, filters).encode()
        yield end + b"}"

    return StreamingResponse(page(), media_type="application/json")


@router.get(
    "/children/{index}",
    operation_id="get_child",
    summary="Get one child",
    response_class=Response,
    responses={
        200: {
            "description": "The child.",
            "content": examples.answer("Child", examples.CHILD),
        },
        **responses(errors.NotFound, errors.Unavailable),
    },
)
async def get_child(
    job_id: str,
    index: Annotated[int, Path(ge=0, le=_MAX_INDEX, description="Position of the chunk.")],
    services: ServicesOf,
) -> Response:
    """One chunk's state, attempts, result or error."""
    await services.job(job_id)
    chunks = services.ledger.chunks
    chunk = await chunks.find(job_id, index)
    if chunk is None:
        raise errors.NotFound("child_not_found", "The job has no child of this index.")
    async for record, output in chunks.outputs(job_id, [chunk]):
        return Response(views.child_json(job_id, record, output), media_type="application/json")
    raise AssertionError("outputs gives back every record it was given")


@router.get(
    "/results",
    operation_id="stream_results",
    summary="Stream the children's results",
    response_class=Response,
    responses={
        200: {
            "description": "One child a line, ordered by index: those that have finished so far.",
            "content": {
                NDJSON: {
                    "schema": {"type": "string"},
                    "example": json.dumps(examples.CHILD) + "\n",
                }
            },
        },
        **responses(errors.MalformedRequest, errors.NotFound, errors.Unavailable),
    },
)
async def stream_results(
    job_id: str,
    services: ServicesOf,
    state: Annotated[
        ChunkState | None,
        Query(description="Only children in this state; by default all that have finished."),
    ] = None,
) -> Response:
    """Works while the job runs and after it was cancelled; memory stays flat at both ends."""
    await services.job(job_id)
    chunks = services.ledger.chunks

    async def lines() -> AsyncIterator[bytes]:
        async for chunk, output in chunks.stream(job_id, state=state):
            if state is not None or chunk.state.is_terminal:
                yield views.child_json(job_id, chunk, output) + b"\n"

    return StreamingResponse(lines(), media_type=NDJSON)
