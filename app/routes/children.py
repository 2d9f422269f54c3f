"""/jobs/{job_id}/children and /results: lists, shows and streams a job's children."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import StreamingResponse

from fanfold.app.answers.children import child_json
from fanfold.app.answers.csv_results import csv_rows
from fanfold.app.answers.tree import Leaf, LeafChunk, counts_of, leaves
from fanfold.app.documentation import examples
from fanfold.app.http import cursor, errors
from fanfold.app.http.accept import Accept, AcceptEncoding, Format, wants_csv
from fanfold.app.http.parameters import (
    DEFAULT_PAGE,
    IN_DIGITS,
    MAX_PAGE,
    PageCursor,
    PageLimit,
    invalid_parameter,
)
from fanfold.app.http.problems import responses
from fanfold.app.http.streaming import in_pieces, streamed
from fanfold.app.routes.trees import refuse_without_chunks
from fanfold.app.services import Services, ServicesOf
from fanfold.contract.names import JobId
from fanfold.contract.states import ChunkState
from fanfold.ledger.chunks import ChunkData
from fanfold.ledger.error_groups import LAST_INDEX
from fanfold.ledger.records import ChunkOutput, ChunkRecord, JobRecord

Child = tuple[ChunkRecord, ChunkOutput]

ChildIndex = Annotated[
    int, Path(ge=0, le=LAST_INDEX, description="Position of the chunk."), IN_DIGITS
]

_TERMINAL = tuple(state for state in ChunkState if state.is_terminal)
MANY_ITEMS = 1_000_000
"""More than a batch of a megabyte has."""

router = APIRouter(prefix="/jobs/{job_id}", tags=["children"])


class RemovedMeanwhile(Exception):
    """The job was removed while its results were sent: what was sent is not all of them."""


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
    job_id: JobId,
    services: ServicesOf,
    state: Annotated[ChunkState | None, Query(description="Only children in this state.")] = None,
    limit: PageLimit = DEFAULT_PAGE,
    cursor_text: PageCursor = None,
) -> Response:
    """One page; it is streamed, so large results cost neither side memory.

    Of a job made of jobs those of all of these, each with the `job` it is of and its `path`.
    """
    job = await services.job(job_id)
    filters: list[Any] = ["children", job_id, state]
    limit = min(limit, MAX_PAGE)
    position, index = job.place.position, -1
    if cursor_text is not None:
        at = cursor.decode(cursor_text, filters)
        position, index = at if job.is_parent else (position, at)
    states, chunks = _states(state), services.tenant.chunks
    found: list[tuple[Leaf, list[ChunkRecord]]] = []
    left = limit + 1
    async for leaf in leaves(services.tenant.jobs, job, first=position, counted=counts_of(states)):
        after = index if leaf.job.place.position == position else -1
        some = await chunks.page(leaf.job.id, states=states, after=after, limit=left)
        if some:
            found.append((leaf, some))
        left -= len(some)
        if not left:
            some.pop()  # it only tells that there are more
            break

    async def page() -> AsyncIterator[bytes]:
        separator = b'{"children":['
        last: cursor.Position = -1
        for leaf, shown in found:
            async for chunk, output in _whole(leaf.job.id, chunks.outputs(leaf.job.id, shown)):
                yield separator + child_json(leaf, chunk, output)
                separator = b","
                last = (leaf.job.place.position, chunk.index) if job.is_parent else chunk.index
        end = b"]" if separator == b"," else separator + b"]"
        if not left:
            end += b',"next_cursor":"%b"' % cursor.encode(last, filters).encode()
        yield end + b"}"

    return StreamingResponse(in_pieces(page()), media_type="application/json")


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
        **responses(errors.NotFound, errors.NotOfThisJob, errors.Unavailable),
    },
)
async def get_child(job_id: JobId, index: ChildIndex, services: ServicesOf) -> Response:
    """One chunk's state, attempts, result or error."""
    job = await services.job(job_id)
    return await child_answer(services, job, await find_child(services, job, index), 200)


async def find_child(services: Services, job: JobRecord, index: int) -> ChunkRecord:
    """The job's child of this index; raises NotFound, and NotOfThisJob where it is made of jobs."""
    refuse_without_chunks(job)
    chunk = await services.tenant.chunks.find(job.id, index)
    if chunk is None:
        raise no_such_child(job)
    return chunk


async def child_answer(
    services: Services, job: JobRecord, chunk: ChunkRecord, status: int
) -> Response:
    """The child with its result."""
    async for record, output in services.tenant.chunks.outputs(job.id, [chunk]):
        return Response(
            child_json(Leaf(job), record, output), status, media_type="application/json"
        )
    raise AssertionError("outputs gives back every record it was given")


@router.get(
    "/results",
    operation_id="stream_results",
    summary="Stream the children's results",
    response_class=Response,
    responses={
        200: {
            "description": "The children that have finished so far, ordered by index: one a "
            "line as NDJSON, or one row an item as CSV.",
            **examples.streamed(examples.CHILD, examples.RESULTS_CSV),
        },
        **responses(errors.MalformedRequest, errors.NotFound, errors.Unavailable),
    },
)
async def stream_results(
    job_id: JobId,
    services: ServicesOf,
    state: Annotated[
        ChunkState | None,
        Query(description="Only children in this state; by default all that have finished."),
    ] = None,
    format_: Format = None,
    columns: Annotated[
        str | None,
        Query(description="Of CSV: the fields of items to give, separated by commas."),
    ] = None,
    accept: Accept = None,
    accept_encoding: AcceptEncoding = None,
) -> Response:
    """Works while the job runs and after it was cancelled; memory stays flat at both ends.

    Of a job made of jobs the children of all of these, each with the `job` it is of and its
    `path`.
    """
    is_csv = wants_csv(format_, accept)
    if columns is not None and not is_csv:
        raise invalid_parameter("columns", "goes with format=csv: add that, or leave it out")
    job = await services.job(job_id)
    states = _TERMINAL if state is None else (state,)
    if is_csv:
        # Each once: a second one would have to go by another name.
        named = list(dict.fromkeys(columns.split(","))) if columns else None
        parts = csv_rows(_with_items(services, job, states), named, of=job)
    else:
        parts = _lines(services, job, states)
    return streamed(parts, is_csv=is_csv, accept_encoding=accept_encoding)


def no_such_child(job: JobRecord) -> errors.NotFound:
    """The error for an index that the job has no child of."""
    extent = f"they go from 0 to {job.total_chunks - 1}" if job.total_chunks else "it has none yet"
    return errors.NotFound("child_not_found", f"The job has no child of this index: {extent}.")


async def _with_items(
    services: Services, job: JobRecord, states: Sequence[ChunkState]
) -> AsyncIterator[LeafChunk]:
    """The children, with their items where these have keys."""
    chunks = services.tenant.chunks
    async for leaf in leaves(services.tenant.jobs, job, counted=counts_of(states)):
        if leaf.item_key is None:
            stream = chunks.stream(leaf.job.id, states=states)
            async for chunk, output in _whole(leaf.job.id, stream):
                yield leaf, ChunkData(chunk, b"", output)
            continue
        data = chunks.data(leaf.job.id, states=states, items_wanted=MANY_ITEMS)
        async for found in data:
            yield leaf, found
    await check_is_there(services, job.id)


async def check_is_there(services: Services, job_id: JobId) -> None:
    """Raise RemovedMeanwhile where the job is gone; to be asked after its data was read."""
    if await services.tenant.jobs.state(job_id) is None:
        raise RemovedMeanwhile(job_id)


async def _whole(job_id: JobId, children: AsyncIterator[Child]) -> AsyncIterator[Child]:
    async for chunk, output in children:
        if chunk.state.is_terminal and chunk.result_bytes and not output.body:
            raise RemovedMeanwhile(job_id)
        yield chunk, output


async def _lines(
    services: Services, job: JobRecord, states: Sequence[ChunkState]
) -> AsyncIterator[bytes]:
    async for leaf in leaves(services.tenant.jobs, job, counted=counts_of(states)):
        stream = services.tenant.chunks.stream(leaf.job.id, states=states)
        async for chunk, output in _whole(leaf.job.id, stream):
            yield child_json(leaf, chunk, output) + b"\n"
    await check_is_there(services, job.id)


def _states(state: ChunkState | None) -> tuple[ChunkState, ...]:
    return () if state is None else (state,)
