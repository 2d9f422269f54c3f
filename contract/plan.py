"""How a job is laid out over workflows: the sizes of its parts, and the arithmetic of ranges.

The sizes travel in the job's input. So a running job keeps those it was started with,
and a replay does not depend on what they are today.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta

from fanfold.contract.job_spec import Execution
from fanfold.contract.names import chunk_workflow_id, job_workflow_id, shard_workflow_id

Range = tuple[int, int]
"""Consecutive chunks: the index of the first, and how many they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """Sizes that decide how fast a job is and how long its histories get, not what it gives."""

    chunks_without_shards: int = 500
    """Up to here a job in workflow mode starts its children itself: 3 to 4 events each, 9 at
    worst, of the 10,000 that a history should have at most."""
    block_chunks_without_shards: int = 2_000
    """Up to here a job in activity mode runs its blocks itself: some six events each."""
    shard_chunks: int = 500
    """So many chunks a shard in workflow mode has, unless that made too many shards."""
    max_shards: int = 250
    """Each is a child of the job's workflow, with up to ten events and some signals."""
    max_events: int = 8_000
    """Past it a workflow starts nothing more; another one goes on. The server warns at 10,240
    events and ends a workflow at 51,200."""
    least_block_lanes: int = 4
    most_block_lanes: int = 10
    """A block runs so many chunks at a time: few, so that many workers share in a job, and
    more where that made many blocks."""
    blocks_at_once: int = 8
    """So many blocks of a job there are at a time, unless that made too many lanes of each."""
    block_seconds: float = 20.0
    """After about so long, or twenty chunks, a block makes way for another one, which any
    worker may take: so a worker that has just come gets its share."""
    patience_seconds: float = 5.0
    """A block whose lanes all have nothing to do waits so long for chunks that fall due. For
    what is due later, another one is begun then."""
    quick_seconds: float = 2.0
    """While a job's chunks take no longer, they run as local activities, which cost the server
    half as much (docs/decisions/0003-quick-chunks.md)."""
    quick_sample: int = 5
    """So many chunks have to be quick, one after another, before it is believed."""

    least_blocks: int = 2
    """A job of a few chunks has so many blocks all the same, for as many workers."""
    chunks_folded_locally: int = 0
    """Up to here a job is folded in a local activity, which costs the server half as much."""

    def has_shards(self, execution: Execution, total_chunks: int) -> bool:
        """Whether there are shards between the job and its chunks."""
        if execution is Execution.ACTIVITY:
            return total_chunks > self.block_chunks_without_shards
        return total_chunks > self.chunks_without_shards

    def page_chunks(self, total_chunks: int) -> int:
        """How many chunks a job in workflow mode plans at a time: those of a shard."""
        return max(self.shard_chunks, math.ceil(total_chunks / self.max_shards))


TUNING = Tuning(chunks_folded_locally=100)
"""The sizes of the jobs that are started today. The defaults are what a job has that was started
before there was the size."""

ONE_OF_MANY = replace(TUNING, least_block_lanes=10, least_blocks=1)
"""Those of one of many jobs that run side by side: workers share in these, not in its chunks."""


AUTO_WORKFLOW_CHUNKS = 200
"""Up to here a child workflow for each chunk costs less than it shows; see docs/size.md."""


def execution_of(total_chunks: int) -> Execution:
    """How chunks are run where that is left open, of a job with all that it is made of."""
    is_small = total_chunks <= AUTO_WORKFLOW_CHUNKS
    return Execution.WORKFLOW if is_small else Execution.ACTIVITY


def ranges_of(indexes: Iterable[int]) -> list[Range]:
    """The indexes as ranges, in ascending order: what travels grows with the gaps only."""
    ranges: list[Range] = []
    for index in sorted(indexes):
        first, count = ranges[-1] if ranges else (index, 0)
        if ranges and index == first + count:
            ranges[-1] = first, count + 1
        else:
            ranges.append((index, 1))
    return ranges


def indexes_of(ranges: Iterable[Range]) -> list[int]:
    """The indexes in the ranges."""
    return [index for first, count in ranges for index in range(first, first + count)]


_BLOCK_BITS = 40

NO_SHARD = -1
"""Instead of a shard's number: the job itself."""


def block_id(shard: int, number: int) -> int:
    """The id of a block: `number`, of up to 40 bits, tells it from all others of the job."""
    return shard << _BLOCK_BITS | number


def workflow_id_of(
    job_id: str, execution: Execution, index: int, block: int | None, run: int
) -> str:
    """The id of the workflow that runs a chunk: its own, or in activity mode that of its block.

    A chunk in activity mode that no block has begun yet belongs to the workflow of its
    job's run.
    """
    if execution is not Execution.ACTIVITY:
        return chunk_workflow_id(job_id, index)
    shard = NO_SHARD if block is None else block >> _BLOCK_BITS
    return job_workflow_id(job_id, run) if shard == NO_SHARD else shard_workflow_id(job_id, shard)


HEARTBEAT_TIMEOUT = timedelta(seconds=10)
"""A worker that has not been heard of for this long is lost, and its chunk starts again."""

HEARTBEAT_INTERVAL = timedelta(seconds=2)
"""How often a running chunk tells that it is alive, and hears whether it is cancelled."""

TIMEOUT_SLACK = timedelta(seconds=60)
"""The activity ends an attempt itself, at its time limit, and records that. The server's
own limit is this much later: it only ends what the worker no longer can."""
