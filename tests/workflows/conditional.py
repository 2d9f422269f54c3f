"""Jobs with conditional stages, and processors that note what they ran."""

from typing import Any

from fanfold.contract import json_values
from fanfold.contract.job_spec import RetrySpec, StageSpec
from fanfold.contract.names import JobId
from fanfold.contract.wire import JobInput
from fanfold.ledger.records import ChunkRecord
from fanfold.processing import ItemDropped, ProcessorContext, ValidationError
from tests.ledger.jobs_recorded import ours
from tests.workflows.running import ONE_ATTEMPT, Fanfold

IS_A = "first.kind == 'a'"
IS_B = "first.kind == 'b'"
NEVER = "`false`"


def stages(*names: str, when: dict[int, str], retry: RetrySpec = ONE_ATTEMPT) -> list[StageSpec]:
    """A stage for each processor; conditions by their positions."""
    return [
        StageSpec(processor=name, retry=retry, when=when.get(stage))
        for stage, name in enumerate(names)
    ]


def items(kinds: str) -> list[Any]:
    """An item of each of these kinds, numbered."""
    return [{"kind": kind, "n": n, "path": ""} for n, kind in enumerate(kinds)]


class Works:
    """Processors that note what they ran; some items fail, or are left out."""

    def __init__(self) -> None:
        self.ran: list[tuple[int, int, int]] = []
        """Run of the job, stage, number of the item."""
        self.failing: dict[int, set[int]] = {}
        """The numbers of the items that fail, by stage."""
        self.dropped: set[int] = set()
        self.keys: dict[int, Any] = {}

    def work(self, item: Any, *, context: ProcessorContext) -> Any:
        """The path of an item has the stages that it ran through."""
        number, stage = item["n"], context.stage
        self.ran.append((context.run, stage, number))
        self.keys[number] = context.item_key
        if number in self.dropped:
            raise ItemDropped("not wanted")
        if number in self.failing.get(stage, set()):
            raise ValidationError(f"{number} is bad")
        return item | {"path": f"{item['path']}{stage}"}

    def twice(self, chunk: list[Any], *, context: ProcessorContext) -> Any:
        """A chunk processor that makes other items of those it gets: each of them twice."""
        self.ran += [(context.run, context.stage, item["n"]) for item in chunk]
        return [item | {"path": f"{item['path']}x"} for item in chunk for _ in "12"]

    def count(self, chunk: Any) -> Any:
        """One that gives no array."""
        return {"count": len(chunk)}

    def again(self) -> None:
        """From now on nothing fails any more."""
        self.ran.clear()
        self.failing = {}

    @property
    def all(self) -> tuple[Any, ...]:
        return (self.work, self.twice, self.count)


async def output(fanfold: Fanfold, job: JobInput, index: int = 0) -> tuple[ChunkRecord, Any]:
    """The chunk, and its result: the path of each item, null where it has none."""
    record = (await fanfold.chunks(job))[index]
    async for chunk, given in ours(fanfold.ledger).chunks.outputs(job.job.id, [record]):
        value = json_values.decode(given.body) if given.body else None
        if isinstance(value, list):
            value = [None if one is None else one.get("path", one) for one in value]
        return chunk, value
    raise AssertionError("the chunk has an output")


async def errors(fanfold: Fanfold, job: JobInput, index: int = 0) -> list[tuple[int, str, int]]:
    """Item, type and stage of each error of the chunk."""
    record = (await fanfold.chunks(job))[index]
    async for _, given in ours(fanfold.ledger).chunks.outputs(job.job.id, [record]):
        return [(error.item, error.type, error.stage) for error in given.item_errors]
    return []


async def attempts(fanfold: Fanfold, job_id: JobId, index: int = 0) -> list[tuple[Any, ...]]:
    """Run, stage, number and state of the chunk's attempts."""
    history = await ours(fanfold.ledger).attempts.of_chunk(job_id, index)
    assert history is not None
    return [(one.run, one.stage, one.number, one.state) for one in history.attempts]
