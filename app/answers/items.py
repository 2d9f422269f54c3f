"""The JSON of items, as the HTTP contract has it."""

import json
from collections.abc import Iterator
from typing import Any

from pydantic import ConfigDict, Field

from fanfold.answers.views import FailureView, View
from fanfold.app.answers.item_outcomes import item_outcomes, result_of
from fanfold.app.answers.tree import Leaf
from fanfold.contract import json_values
from fanfold.contract.states import ItemState
from fanfold.ledger.chunks import ChunkData


class ItemView(View):
    """An item of a job."""

    model_config = ConfigDict(title="Item")

    job: str | None = Field(
        default=None, description="Where a job made of jobs was asked for: the one that it is of."
    )
    path: str | None = Field(default=None, description="And the path of that.")
    index: int = Field(description="The chunk it is in.")
    item: int = Field(description="Its position in the chunk.")
    key: Any = Field(description="Its own key, where the job names a field for it.")
    state: ItemState = Field(description="Items that were left out have failed.")
    value: Any = Field(description="The item as it was submitted.")
    result: Any = Field(
        description="What it gave; null where it has given nothing, or a chunk processor has made "
        "one result of all items."
    )
    error: FailureView | None = Field(description="Why it failed, or was left out.")


class ItemPageView(View):
    """A page of items, ordered by chunk and position, and by job before that."""

    model_config = ConfigDict(title="ItemPage")

    items: list[ItemView]
    next_cursor: str | None = Field(default=None, description="Absent on the last page.")


def item_lines(
    leaf: Leaf, chunk: ChunkData, *, state: ItemState | None, after: int
) -> Iterator[tuple[int, bytes]]:
    """The items of a chunk in this state, or all, as JSON, each with its position.

    Only those with a position above `after`.
    """
    # The ledger holds valid JSON only.
    values = json.loads(chunk.items)
    result = result_of(chunk.record, chunk.output)
    for outcome in item_outcomes(chunk.record, chunk.output, result):
        if outcome.item <= after or (state is not None and outcome.state is not state):
            continue
        value = values[outcome.item]
        shown = {
            **leaf.origin,
            "index": chunk.record.index,
            "item": outcome.item,
            "key": leaf.key_of(value),
            "state": outcome.state,
            "value": value,
            "result": outcome.result,
            "error": outcome.error.as_json() if outcome.error else None,
        }
        yield outcome.item, json_values.encode(shown)
