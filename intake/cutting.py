"""Cuts items into chunks, within the limits of a job; or checks the chunks that a job gives."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fanfold.contract.settings import IntakeSettings
from fanfold.intake.faults import Path, pointer, refuse, refuse_limit
from fanfold.intake.job_request import JobBody
from fanfold.intake.validation import check_nesting, encode
from fanfold.ledger.records import NewChunk

DEFAULT_CHUNK_SIZE: Final = 100


@dataclass(frozen=True, slots=True)
class Cut:
    """How a job's items are cut."""

    size: int
    max_chunk_bytes: int | None
    """A chunk is closed before its JSON text grows past this."""
    refused_above_bytes: int | None = None
    """A chunk whose JSON text is larger is refused: a gateway does not hold it in memory."""


def split(job: JobBody, limits: IntakeSettings, path: Path = ()) -> list[NewChunk]:
    """The job's chunks in order; raises InvalidJob where the data is over a limit.

    `path` is where in the body of the request the job stands.
    """
    if job.chunks is not None:
        return _given_chunks(job.chunks, limits, path)
    texts = _item_texts(job.items or [], limits, (*path, "items"))
    cut = Cut(job.chunk_size or DEFAULT_CHUNK_SIZE, job.max_chunk_bytes)
    return list(chunks(([text] for text in texts), cut, limits, path))


def chunks(
    items: Iterable[Sequence[bytes]], cut: Cut, limits: IntakeSettings, path: Path = ()
) -> Iterator[NewChunk]:
    """The chunks of these items, which come a few at a time; raises InvalidJob."""
    item_count = 0
    for count, group in enumerate(_groups(items, cut, path), start=1):
        item_count += len(group)
        check_items(item_count, limits, (*path, "items"))
        check_chunks(count, limits, (*path, "chunk_size"))
        yield chunk(group)


def check_items(count: int, limits: IntakeSettings, path: Path) -> None:
    """Raises InvalidJob where the job, with what is at this place, has too many items."""
    if count > limits.max_items:
        refuse_limit(pointer(*path), "items", limits.max_items, "FANFOLD_MAX_ITEMS")


def check_chunks(count: int, limits: IntakeSettings, path: Path) -> None:
    """Raises InvalidJob where the job, with what is at this place, has too many chunks."""
    if count > limits.max_chunks:
        refuse_limit(pointer(*path), "chunks", limits.max_chunks, "FANFOLD_MAX_CHUNKS")


def chunk(texts: Sequence[bytes]) -> NewChunk:
    """The chunk that has these items."""
    return NewChunk(item_count=len(texts), body=b"[" + b",".join(texts) + b"]")


def _groups(items: Iterable[Sequence[bytes]], cut: Cut, path: Path) -> Iterator[list[bytes]]:
    """Items in order, cut by count and, where given, by the bytes of the chunk's JSON text."""
    most = cut.max_chunk_bytes or cut.refused_above_bytes
    group: list[bytes] = []
    group_bytes = 1  # a bracket; each item brings the comma or bracket after it
    index = 0
    for texts in items:
        if most is None or group_bytes + _bytes_of(texts) <= most:
            # These cannot make a chunk too large, so they are taken many at a time.
            start = 0
            while start < len(texts):
                taken = texts[start : start + cut.size - len(group)]
                start += len(taken)
                group += taken
                group_bytes += _bytes_of(taken)
                if len(group) == cut.size:
                    yield group
                    group, group_bytes = [], 1
            index += len(texts)
            continue
        for text in texts:
            added = len(text) + 1
            if group and cut.max_chunk_bytes and group_bytes + added > most:
                yield group
                group, group_bytes = [], 1
            if group_bytes + added > most:
                _refuse_item(index, cut, path)
            group.append(text)
            group_bytes += added
            index += 1
            if len(group) == cut.size:
                yield group
                group, group_bytes = [], 1
    if group:
        yield group


def _bytes_of(texts: Sequence[bytes]) -> int:
    return sum(map(len, texts)) + len(texts)


def _refuse_item(index: int, cut: Cut, path: Path) -> None:
    if cut.max_chunk_bytes is not None:
        message = f"the item alone is larger than max_chunk_bytes ({cut.max_chunk_bytes})"
    else:
        message = (
            f"with this item the chunk has more than {cut.refused_above_bytes} bytes "
            "(FANFOLD_MAX_BODY_BYTES); choose a smaller chunk_size, or max_chunk_bytes"
        )
    refuse("limit_exceeded", pointer(*path, "items", index), message)


def _given_chunks(given: Sequence[list[Any]], limits: IntakeSettings, path: Path) -> list[NewChunk]:
    place = (*path, "chunks")
    check_chunks(len(given), limits, place)
    check_items(sum(map(len, given)), limits, place)
    made: list[NewChunk] = []
    for index, items in enumerate(given):
        made.append(chunk(list(_item_texts(items, limits, (*place, index)))))
    return made


def _item_texts(items: Sequence[Any], limits: IntakeSettings, path: Path) -> Iterator[bytes]:
    for index, value in enumerate(items):
        yield item_text(value, limits, (*path, index))


def item_text(value: Any, limits: IntakeSettings, path: Path) -> bytes:  # noqa: ANN401
    """The JSON text of the item at this place; raises InvalidJob where it is over a limit."""
    check_nesting(value, limits.max_nesting_depth, path)
    text = encode(value, path)
    if len(text) > limits.max_item_bytes:
        most = limits.max_item_bytes
        refuse_limit(pointer(*path), "bytes an item", most, "FANFOLD_MAX_ITEM_BYTES")
    return text
