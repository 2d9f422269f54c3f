"""Cuts the items of a job in one JSON body into chunks, or checks the chunks that it gives."""

from collections.abc import Iterator, Sequence
from typing import Any

from app.http.errors import pointer
from app.intake.faults import refuse, refuse_limit
from app.intake.items import cutting
from app.intake.items.cutting import DEFAULT_CHUNK_SIZE, Cut
from app.intake.job_request import JobRequest
from app.intake.values import check_nesting, encode
from contract.settings import GatewaySettings
from ledger.records import NewChunk


def split(request: JobRequest, limits: GatewaySettings) -> list[NewChunk]:
    """The job's chunks in order; raises InvalidJob where the data is over a limit."""
    if request.chunks is not None:
        return _given_chunks(request.chunks, limits)
    items = request.items or []
    if not items:
        refuse("invalid_job", pointer("items"), "there are no items")
    if len(items) > limits.max_items:
        refuse_limit(pointer("items"), "items", limits.max_items, "FANFOLD_MAX_ITEMS")
    texts = _item_texts(items, limits, ("items",))
    cut = Cut(request.chunk_size or DEFAULT_CHUNK_SIZE, request.max_chunk_bytes)
    return list(cutting.chunks(([text] for text in texts), cut, limits))


def _given_chunks(chunks: Sequence[list[Any]], limits: GatewaySettings) -> list[NewChunk]:
    if not chunks:
        refuse("invalid_job", pointer("chunks"), "there are no chunks")
    if len(chunks) > limits.max_chunks:
        refuse_limit(pointer("chunks"), "chunks", limits.max_chunks, "FANFOLD_MAX_CHUNKS")
    if sum(map(len, chunks)) > limits.max_items:
        refuse_limit(pointer("chunks"), "items", limits.max_items, "FANFOLD_MAX_ITEMS")
    made: list[NewChunk] = []
    for index, items in enumerate(chunks):
        if not items:
            refuse("invalid_job", pointer("chunks", index), "the chunk is empty")
        made.append(cutting.chunk(list(_item_texts(items, limits, ("chunks", index)))))
    return made


def _item_texts(
    items: Sequence[Any], limits: GatewaySettings, path: tuple[str | int, ...]
) -> Iterator[bytes]:
    for index, item in enumerate(items):
        check_nesting(item, limits.max_nesting_depth, (*path, index))
        text = encode(item, (*path, index))
        if len(text) > limits.max_item_bytes:
            refuse_limit(
                pointer(*path, index),
                "bytes an item",
                limits.max_item_bytes,
                "FANFOLD_MAX_ITEM_BYTES",
            )
        yield text
