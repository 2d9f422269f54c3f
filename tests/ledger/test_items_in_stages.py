"""Items through random stages, attempts and lost workers, compared with a model in plain Python."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fanfold.app.answers.item_outcomes import item_outcomes, result_of
from fanfold.contract.job_spec import Controls, JobSpec, RetrySpec, StageSpec
from fanfold.contract.names import DEFAULT_TENANT, JobId, new_job_id
from fanfold.contract.states import ChunkState, JobState
from fanfold.ledger import counting
from fanfold.ledger.connect import Ledger
from fanfold.ledger.database import Statement
from fanfold.ledger.jobs import Terms
from fanfold.ledger.recording import NewJob
from fanfold.ledger.records import Attempt, ChunkOutput, ChunkRecord, NewChunk
from fanfold.processing import ItemDropped, ProcessorContext, ValidationError
from fanfold.workers.attempts import Attempts, Ending
from fanfold.workers.fold import Fold
from fanfold.workers.processor import Processor, ReducerType
from fanfold.workers.reducers.collect import Collect
from tests.ledger.jobs_recorded import begun, found, ours

MAX_ATTEMPTS = 2
MAX_RESULT_BYTES = 10_000

KINDS = {"flaky": "OSError", "final": "ValidationError", "drop": "ItemDropped"}


@dataclass(frozen=True)
class Stage:
    """What happens at a stage."""

    fates: tuple[tuple[str, ...], ...]
    """Of an item processor: of each item by its number, at each attempt; the last one stays."""
    makes: int | None = None
    """Of a chunk processor: how many items it makes of all."""
    lost: tuple[int, ...] = ()
    """The attempts that end without a word."""

    def fate(self, name: str, attempt: int) -> str:
        number = int(name.rpartition("-")[2])
        fates = self.fates[number % len(self.fates)]
        return fates[min(attempt, len(fates)) - 1]


_fates = st.lists(
    st.lists(
        st.sampled_from(["ok", "ok", "ok", "null", "flaky", "final", "drop"]),
        min_size=1,
        max_size=2,
    ).map(tuple),
    min_size=1,
    max_size=5,
).map(tuple)
stages = st.lists(
    st.builds(
        Stage,
        fates=_fates,
        makes=st.none() | st.none() | st.integers(0, 4),
        lost=st.lists(st.integers(1, MAX_ATTEMPTS), max_size=2).map(tuple),
    ),
    min_size=1,
    max_size=5,
)

_plan: list[Stage] = []


async def each(item: dict[str, Any], *, context: ProcessorContext) -> Any:
    if item["name"].startswith("submitted"):
        assert context.item_key == item["name"]
    fate = _plan[context.stage].fate(item["name"], context.attempt)
    if fate == "flaky":
        raise OSError(fate)
    if fate == "final":
        raise ValidationError(fate)
    if fate == "drop":
        raise ItemDropped(fate)
    # Null is a result like any other, though no later stage could tell whose it is.
    return None if fate == "null" and context.stage == len(_plan) - 1 else item


async def whole(chunk: list[Any], *, context: ProcessorContext) -> Any:
    del chunk
    stage = _plan[context.stage]
    fate = stage.fate("-0", context.attempt)
    if fate == "flaky":
        raise OSError(fate)
    if fate == "final":
        raise ValidationError(fate)
    return [{"name": f"{context.stage}-{number}"} for number in range(stage.makes or 0)]


PROCESSORS = {"each": Processor(each), "whole": Processor(whole)}


@dataclass
class Model:
    """What has to become of a chunk of so many items."""

    size: int
    stages: Sequence[Stage]
    own: dict[int, str] = field(default_factory=dict)
    """The failures of submitted items by their positions."""
    made: dict[int, str] = field(default_factory=dict)
    """Those of what a chunk processor has made last."""
    fell: bool = False
    """Whether something failed that a chunk processor has made."""
    state: ChunkState = ChunkState.SUCCEEDED
    error: str | None = None
    result: Any = None

    def __post_init__(self) -> None:
        items: dict[int, Any] = {n: {"name": f"submitted-{n}"} for n in range(self.size)}
        is_derived = False
        for number, stage in enumerate(self.stages):
            if stage.makes is None:
                errors = self.made if is_derived else self.own
                after = self._each(number, stage, items, errors)
                fell_now = is_derived and any(kind != "ItemDropped" for kind in errors.values())
                if fell_now and not self.fell:
                    self.error = None
                self.fell |= fell_now
                if after is not None and not after and set(errors.values()) - {"ItemDropped"}:
                    self.state = ChunkState.FAILED
                    return
            else:
                after = self._whole(number, stage)
                is_derived, self.made = True, {}
            if after is None:
                self.state = ChunkState.FAILED
                return
            items = after
        if self.stages[-1].makes is None:
            errors = self.made if is_derived else self.own
            items |= {n: None for n, kind in errors.items() if kind != "ItemDropped"}
        self.result = [items[n] for n in sorted(items)]
        if self.fell or set(self.own.values()) - {"ItemDropped"}:
            self.state = ChunkState.PARTIALLY_SUCCEEDED

    def _each(
        self, number: int, stage: Stage, items: dict[int, Any], errors: dict[int, str]
    ) -> dict[int, Any] | None:
        open_items, gave, has_checkpoint = dict(items), dict[int, Any](), False
        for attempt in range(1, MAX_ATTEMPTS + 2):
            if attempt > MAX_ATTEMPTS:
                if not has_checkpoint:
                    self.error = "WorkerLost"
                    return None
                errors |= dict.fromkeys(open_items, "WorkerLost")
                break
            if attempt in stage.lost:
                continue
            for n, item in list(open_items.items()):
                fate = stage.fate(item["name"], attempt)
                if fate in {"ok", "null"}:
                    is_null = fate == "null" and number == len(self.stages) - 1
                    gave[n] = None if is_null else item
                if fate != "flaky" or attempt == MAX_ATTEMPTS:
                    if fate in KINDS:
                        errors[n] = KINDS[fate]
                    del open_items[n]
            if not open_items:
                break
            has_checkpoint = True
        return gave

    def _whole(self, number: int, stage: Stage) -> dict[int, Any] | None:
        for attempt in range(1, MAX_ATTEMPTS + 1):
            if attempt in stage.lost:
                continue
            fate = stage.fate("-0", attempt)
            if fate not in {"flaky", "final"}:
                return {n: {"name": f"{number}-{n}"} for n in range(stage.makes or 0)}
            if fate == "final" or attempt == MAX_ATTEMPTS:
                self.error = KINDS[fate]
                return None
        self.error = "WorkerLost"
        return None

    @property
    def items(self) -> list[tuple[str, str | None]]:
        """Of each submitted item the state, and its own failure."""
        falls = self.state is ChunkState.FAILED or self.fell
        return [
            ("failed" if falls or n in self.own else "succeeded", self.own.get(n))
            for n in range(self.size)
        ]


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(size=st.integers(1, 5), stages=stages)
# Of what a chunk processor made, some is left out before the last stage.
@example(
    size=1,
    stages=[
        Stage(fates=(("ok",),), makes=3),
        Stage(fates=(("drop",), ("final",), ("ok",))),
        Stage(fates=(("ok",),)),
    ],
)
# Made of what was made: the positions of the first are none of the second.
@example(
    size=1,
    stages=[
        Stage(fates=(("ok",),), makes=2),
        Stage(fates=(("drop",), ("ok",), ("final",))),
        Stage(fates=(("ok",),), makes=2),
        Stage(fates=(("ok",),)),
    ],
)
@example(
    size=1,
    stages=[
        Stage(fates=(("ok",),), makes=2),
        Stage(fates=(("final",), ("ok",))),
        Stage(fates=(("ok",),), makes=0),
    ],
)
# One fails, and the other is left out at the stage after it.
@example(size=2, stages=[Stage(fates=(("final",), ("ok",))), Stage(fates=(("drop",),))])
def test_each_item_comes_to_what_the_model_says(
    loop: asyncio.Runner, ledger: Ledger, size: int, stages: list[Stage]
) -> None:
    _plan[:] = stages
    model = Model(size, stages)
    job_id, chunk, output = loop.run(run_all(ledger, size, stages))

    assert chunk.state is model.state
    result = result_of(chunk, output)
    assert result.value == model.result
    outcomes = list(item_outcomes(chunk, output, result))
    own = {error.item: error for error in output.item_errors if not error.is_derived}
    assert {n: error.type for n, error in own.items()} == model.own
    assert all(error.key == f"submitted-{n}" for n, error in own.items())
    assert [(str(one.state), model.own.get(one.item)) for one in outcomes] == model.items
    for one in outcomes:
        if one.error is not None and one.item not in own:
            assert one.error == chunk.error
    if chunk.by_item and model.result is not None:
        given = [one.result for one in outcomes if model.own.get(one.item) != "ItemDropped"]
        assert given == model.result
    if model.error is not None:
        assert chunk.error is not None
        assert chunk.error.type == model.error
    elif model.fell:
        assert chunk.error is not None
        derived = [e for e in output.item_errors if e.is_derived and not e.is_dropped]
        assert chunk.error.type in {error.type for error in derived}
    loop.run(check_sums(ledger, job_id, model))
    if model.result is not None:
        loop.run(check_fold(output, model))


async def test_the_log_counts_what_failed_of_what_was_submitted_or_made_of_it(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    _plan[:] = [
        Stage(fates=(("ok",), ("final",))),
        Stage(fates=(("ok",),), makes=3),
        Stage(fates=(("final",),)),
    ]
    await run_all(ledger, 2, _plan)
    what = "items failed, the first with ValidationError: final;"
    assert [record.getMessage() for record in caplog.records] == [
        f"attempt 1 of 2: 1 of 2 {what} the others go on",
        f"attempt 1 of 2: 3 {what} failed for good",
    ]


async def test_a_job_that_is_removed_meanwhile_ends_no_attempt_with_an_exception(
    ledger: Ledger,
) -> None:
    _plan[:] = [Stage(fates=(("ok",),)), Stage(fates=(("ok",),))]
    job_id = await recorded(ledger, 1, _plan)
    attempts = Attempts(ledger, PROCESSORS, max_result_bytes=MAX_RESULT_BYTES)
    terms = await ours(ledger).jobs.terms(job_id)
    assert terms is not None
    await one_attempt(ledger, attempts, await begun(ledger, job_id), terms)
    second = await begun(ledger, job_id, 0, 1)
    await ledger.database.write(Statement("DELETE FROM inputs WHERE job_id = ?", (job_id,)))
    assert isinstance(await attempts.run(second, terms), Ending)


async def check_sums(ledger: Ledger, job_id: JobId, model: Model) -> None:
    kept = (await counting.running_counts(ledger.database, {job_id: 1}))[job_id]
    assert kept == await counting.counted(ledger.database, job_id, DEFAULT_TENANT)
    failed = [own for state, own in model.items if state == "failed"]
    assert kept.items_failed == len(failed)
    assert kept.items_succeeded == model.size - len(failed)
    assert kept.items_dropped == failed.count("ItemDropped")
    assert await ours(ledger).closing.close(job_id, JobState.FAILED, error=None)
    job = await found(ledger, job_id)
    assert sum(group.count for group in job.errors) == len(failed)


async def check_fold(output: ChunkOutput, model: Model) -> None:
    fold = Fold(ReducerType(Collect), max_result_bytes=MAX_RESULT_BYTES)
    await fold.add([(0, output)])
    (folded,) = json.loads(await fold.result())
    last = model.stages[-1]
    kept = [model.result[n] for n in range(len(model.result)) if n not in output.failed_places]
    assert folded["result"] == kept
    if last.makes is not None:
        assert kept == model.result
    elif not any("null" in fates for fates in last.fates):
        assert kept == [each for each in model.result if each is not None]


async def recorded(ledger: Ledger, size: int, stages: Sequence[Stage]) -> JobId:
    """Record and open a job of one chunk."""
    retry = RetrySpec(max_attempts=MAX_ATTEMPTS, initial_interval_seconds=0.0)
    spec = JobSpec(
        stages=tuple(
            StageSpec(processor="each" if stage.makes is None else "whole", retry=retry)
            for stage in stages
        ),
        is_staged=True,
        item_key="name",
    )
    job = NewJob(id=JobId(new_job_id()), spec=spec, controls=Controls(), key=None, keep_ms=None)
    items = [{"name": f"submitted-{number}"} for number in range(size)]
    body = json.dumps(items).encode()
    await ours(ledger).recording.record(job, [NewChunk(item_count=size, body=body)])
    await ours(ledger).jobs.open(job.id)
    return job.id


async def run_all(
    ledger: Ledger, size: int, stages: Sequence[Stage]
) -> tuple[JobId, ChunkRecord, ChunkOutput]:
    """Run a job of one chunk to its end, as a worker does."""
    job_id = await recorded(ledger, size, stages)
    attempts = Attempts(ledger, PROCESSORS, max_result_bytes=MAX_RESULT_BYTES)
    terms = await ours(ledger).jobs.terms(job_id)
    assert terms is not None
    state = ChunkState.PENDING
    for stage in range(len(stages)):
        while True:
            attempt = await begun(ledger, job_id, 0, stage)
            if attempt.number in stages[stage].lost:
                continue
            state = await one_attempt(ledger, attempts, attempt, terms)
            if state is not ChunkState.PENDING:
                break
        if state is ChunkState.FAILED:
            break
    chunk = await ours(ledger).chunks.find(job_id, 0)
    assert chunk is not None
    assert chunk.state is state
    ((_, output),) = [pair async for pair in ours(ledger).chunks.outputs(job_id, [chunk])]
    return job_id, chunk, output


async def one_attempt(
    ledger: Ledger, attempts: Attempts, attempt: Attempt, terms: Terms
) -> ChunkState:
    ending = await attempts.run(attempt, terms)
    for _ in range(2):
        assert await attempts.record(ours(ledger).work, attempt, ending.whole_script) is None
    return ending.state
