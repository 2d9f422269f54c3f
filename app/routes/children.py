"""/jobs/{job_id}/children and /results: lists, shows and streams a job's children."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import StreamingResponse

from fanfold.app.answers.children import child_json
from fanfold.app.answers.csv_results import csv_rows
from fanfold.app.documentation import examples
from fanfold.app.http import cursor, errors
from fanfold.app.http.accept import Accept, AcceptEncoding, Format, wants_csv
from fanfold.app.http.parameters import IN_DIGITS, invalid_parameter
from fanfold.app.http.problems import responses
from fanfold.app.http.streaming import in_pieces, streamed
from fanfold.app.routes.jobs import DEFAULT_PAGE, MAX_PAGE
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
    limit: Annotated[
        int,
        Query(ge=1, description="Most children on a page; more than 1,000 are 1,000."),
        IN_DIGITS,
    ] = DEFAULT_PAGE,
    cursor_text: Annotated[
        str | None, Query(alias="cursor", description="`next_cursor` of the page before.")
    ] = None,
) -> Response:
    """One page; it is streamed, so large results cost neither side memory."""
    job = await services.job(job_id)
    filters: list[Any] = ["children", job_id, state]
    limit = min(limit, MAX_PAGE)
    after = cursor.decode(cursor_text, filters) if cursor_text is not None else -1
    chunks = services.tenant.chunks
    found = await chunks.page(job_id, states=_states(state), after=after, limit=limit + 1)
    shown = found[:limit]

    async def page() -> AsyncIterator[bytes]:
        separator = b'{"children":['
        async for chunk, output in _whole(job_id, chunks.outputs(job_id, shown)):
            yield separator + child_json(job, chunk, output)
            separator = b","
        end = b"]" if shown else b'{"children":[]'
        if len(found) > limit:
            end += b',"next_cursor":"%b"' % cursor.encode(shown[-1].index, filters).encode()
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
        **responses(errors.NotFound, errors.Unavailable),
    },
)
async def get_child(job_id: JobId, index: ChildIndex, services: ServicesOf) -> Response:
    """One chunk's state, attempts, result or error."""
    job = await services.job(job_id)
    return await child_answer(services, job, await find_child(services, job, index), 200)


async def find_child(services: Services, job: JobRecord, index: int) -> ChunkRecord:
    """The job's child of this index; raises NotFound."""
    chunk = await services.tenant.chunks.find(job.id, index)
    if chunk is None:
        raise no_such_child(job)
    return chunk


async def child_answer(
    services: Services, job: JobRecord, chunk: ChunkRecord, status: int
) -> Response:
    """The child with its result."""
    async for record, output in services.tenant.chunks.outputs(job.id, [chunk]):
        return Response(child_json(job, record, output), status, media_type="application/json")
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
    """Works while the job runs and after it was cancelled; memory stays flat at both ends."""
    is_csv = wants_csv(format_, accept)
    if columns is not None and not is_csv:
        raise invalid_parameter("columns", "goes with format=csv: add that, or leave it out")
    job = await services.job(job_id)
    states = _TERMINAL if state is None else (state,)
    if is_csv:
        # Each once: a second one would have to go by another name.
        named = list(dict.fromkeys(columns.split(","))) if columns else None
        parts = csv_rows(_with_items(services, job, states), named, item_key=job.spec.item_key)
    else:
        parts = _lines(job, _children(services, job_id, states))
    return streamed(parts, is_csv=is_csv, accept_encoding=accept_encoding)


def no_such_child(job: JobRecord) -> errors.NotFound:
    """The error for an index that the job has no child of."""
    extent = f"they go from 0 to {job.total_chunks - 1}" if job.total_chunks else "it has none yet"
    return errors.NotFound("child_not_found", f"The job has no child of this index: {extent}.")


async def _children(
    services: Services, job_id: JobId, states: Sequence[ChunkState]
) -> AsyncIterator[Child]:
    stream = services.tenant.chunks.stream(job_id, states=states)
    async for child in _whole(job_id, stream):
        yield child
    await check_is_there(services, job_id)


async def _with_items(
    services: Services, job: JobRecord, states: Sequence[ChunkState]
) -> AsyncIterator[ChunkData]:
    """The children with their items, where the job has keys, which are in these."""
    if job.spec.item_key is None:
        async for chunk, output in _children(services, job.id, states):
            yield ChunkData(chunk, b"", output)
        return
    data = services.tenant.chunks.data(job.id, states=states, items_wanted=MANY_ITEMS)
    async for found in data:
        yield found
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


async def _lines(job: JobRecord, children: AsyncIterator[Child]) -> AsyncIterator[bytes]:
    async for chunk, output in children:
        yield child_json(job, chunk, output) + b"\n"


def _states(state: ChunkState | None) -> tuple[ChunkState, ...]:
    return () if state is None else (state,)
