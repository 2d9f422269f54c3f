"""Corrections: items of a finished or waiting job that have another value when they run again."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from fanfold.app.intake.items.json_array import elements
from fanfold.app.intake.steering_request import Correction
from fanfold.contract.settings import GatewaySettings
from fanfold.contract.wording import counted
from fanfold.intake.cutting import chunk, item_text
from fanfold.intake.faults import Fault, pointer, refuse_all
from fanfold.intake.item_schema import ItemSchema
from fanfold.intake.validation import MAX_REPORTED_FAULTS
from fanfold.ledger.chunks import ChunkData
from fanfold.ledger.records import JobRecord
from fanfold.ledger.run_again import Selected


@dataclass(frozen=True, slots=True)
class _New:
    """The new text of an item, and where in the body it stands."""

    text: bytes
    place: int


Corrections = Mapping[int, Mapping[int, _New]]
"""The new items, by chunk and by position in it."""


def read_corrections(given: Sequence[Correction], limits: GatewaySettings) -> Corrections:
    """The corrections in a body; raises InvalidJob for a value that could not be an item."""
    found: dict[int, dict[int, _New]] = defaultdict(dict)
    for place, one in enumerate(given):
        earlier = found[one.index].get(one.item)
        if earlier is not None:
            message = f"this item is corrected twice: at /corrections/{earlier.place} too"
            refuse_all("invalid_job", [Fault(pointer("corrections", place), message)])
        text = item_text(one.value, limits, ("corrections", place, "value"))
        found[one.index][one.item] = _New(text, place)
    return dict(found)


def check_of(job: JobRecord, given: Sequence[Correction]) -> None:
    """Raises InvalidJob where a correction says that it is of another job."""
    _refuse_if_any(
        Fault(
            pointer("corrections", place, "job"),
            f"the item is of another job: this one is {job.id}",
        )
        for place, one in enumerate(given)
        if one.job is not None and one.job != job.id
    )


def check_by(schema: ItemSchema, given: Sequence[Correction]) -> None:
    """Raises InvalidJob where a corrected item does not fit the schema."""
    schema.check_values(
        (("corrections", place, "value"), one.value) for place, one in enumerate(given)
    )


def check_selected(
    corrections: Corrections, job: JobRecord, selected: Mapping[int, Selected]
) -> None:
    """Raises InvalidJob where a corrected item is in a chunk that does not run again."""
    _refuse_if_any(
        Fault(pointer("corrections", new.place, "index"), _not_selected(job, index))
        for index, items in corrections.items()
        if index not in selected
        for new in items.values()
    )


async def corrected(
    corrections: Corrections,
    chunks: AsyncIterator[ChunkData],
    selected: Mapping[int, Selected],
    *,
    is_resumed: bool,
) -> tuple[dict[int, bytes], dict[int, Selected]]:
    """The items of these chunks as they are from now on, and which of them run again.

    Raises InvalidJob where a chunk has no item at a position.
    """
    bodies: dict[int, bytes] = {}
    again: dict[int, Selected] = {}
    async for data in chunks:
        index = data.record.index
        new = corrections[index]
        _refuse_if_any(
            Fault(
                pointer("corrections", one.place, "item"),
                f"the child has {counted(data.record.item_count, 'item')}: "
                f"they go from 0 to {data.record.item_count - 1}",
            )
            for item, one in new.items()
            if item >= data.record.item_count
        )
        # In a thread: a chunk may be as large as a request.
        bodies[index] = await asyncio.to_thread(_replaced, data.items, new)
        again[index] = selected[index]
        if is_resumed:
            again[index] = _with_items(selected[index], data, new.keys())
    return bodies, again


def no_such_child(job: JobRecord) -> str:
    """What is wrong with an index that no child of the job has."""
    last = job.total_chunks - 1
    extent = f"they go from 0 to {last}" if job.total_chunks else "it has none"
    return f"the job has no child of this index: {extent}"


def _not_selected(job: JobRecord, index: int) -> str:
    if index >= job.total_chunks:
        return no_such_child(job)
    return (
        f"the child {index} does not run again, so the correction would do nothing: name it in "
        "select.indexes, or leave the correction out"
    )


def _replaced(items: bytes, new: Mapping[int, _New]) -> bytes:
    """The JSON array with some of its elements replaced; of the others the text stays as it is."""
    texts = list(elements(iter([items]), len(items)))
    for item, one in new.items():
        texts[item] = one.text
    return chunk(texts).body


def _with_items(selected: Selected, data: ChunkData, items: Collection[int]) -> Selected:
    """These items run again too, of a chunk of which the others keep what they gave."""
    failed = {error.item for error in data.output.item_errors if not error.is_derived}
    is_kept = data.record.by_item and data.output.body and data.record.items_failed <= len(failed)
    if not is_kept:
        return selected  # all of it runs again
    again = failed if selected.items_again is None else selected.items_again
    return replace(selected, items_again=tuple(sorted({*again, *items})))


def _refuse_if_any(faults: Iterator[Fault]) -> None:
    found = list(islice(faults, MAX_REPORTED_FAULTS))
    if found:
        refuse_all("invalid_job", found)
