"""A job and all that it is made of, as one: the jobs below it that have chunks, in order.

A job that is made of none is a tree of itself alone, so whoever lists chunks does it in one way.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fanfold.contract.states import ChunkState
from fanfold.ledger.chunks import ChunkData
from fanfold.ledger.counting import COUNTED_STATES
from fanfold.ledger.jobs import Jobs
from fanfold.ledger.records import JobRecord, key_of

LEAVES_AT_ONCE = 50
"""So many are read before other requests have their turn."""

WITH_FAILED_ITEMS = ("items_failed", "held")
"""The counts of which one is above 0 where items failed, or were left out."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A job that has chunks."""

    job: JobRecord
    origin: Mapping[str, str] = field(default_factory=dict)
    """What a line of it says of where it is from: nothing where the job itself was asked for."""

    @property
    def item_key(self) -> str | None:
        """The field of each of its items that is the item's key."""
        return self.job.spec.item_key

    def key_of(self, item: Any) -> Any:  # noqa: ANN401 - any JSON value
        """The key of one of its items; None where these have none."""
        return key_of(item, self.item_key) if self.item_key is not None else None


LeafChunk = tuple[Leaf, ChunkData]
"""A chunk with its data, and the job that it is of."""


async def leaves(
    jobs: Jobs, job: JobRecord, *, first: int | None = None, counted: Sequence[str] = ()
) -> AsyncIterator[Leaf]:
    """The job itself; of one that is made of jobs, those below it that have chunks, in order.

    From the position `first` on, and where `counted` names counts, only those of which one may be
    above 0. Without those that compensate.
    """
    if not job.is_parent:
        yield Leaf(job)
        return
    after = job.place.position if first is None else first - 1
    while some := await jobs.leaves(job, after=after, counted=counted, limit=LEAVES_AT_ONCE):
        for leaf in some:
            yield Leaf(leaf, {"job": leaf.id, "path": leaf.place.path or ""})
        after = some[-1].place.position
        await asyncio.sleep(0)


def counts_of(states: Sequence[ChunkState]) -> Sequence[str]:
    """The counts of which one is above 0 where a job has chunks in these states.

    None where that is not told by counts: of chunks in any state, and of pending ones.
    """
    is_told = all(state in COUNTED_STATES for state in states)
    return [str(state) for state in states] if is_told else ()
