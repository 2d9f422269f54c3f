"""Redrives: what is asked for, the spec that comes of it, and corrected items."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from fanfold.app.intake.corrections import corrected, read_corrections
from fanfold.app.intake.redriven import does_the_same, redriven_spec
from fanfold.app.intake.steering_request import RedriveRequest
from fanfold.contract.job_spec import Execution, JobSpec, RetrySpec, StageSpec
from fanfold.contract.settings import GatewaySettings
from fanfold.contract.states import ChunkState
from fanfold.intake.faults import InvalidJob
from fanfold.intake.validation import parsed
from fanfold.ledger.chunks import ChunkData
from fanfold.ledger.records import ChunkOutput, ChunkRecord, ItemError
from fanfold.ledger.run_again import Selected

STATES = "must be succeeded, partially_succeeded, failed, cancelled or held"
LIMITS = GatewaySettings()
PLAIN = JobSpec(
    stages=(StageSpec(processor="double", options={"a": 1}, retry=RetrySpec(max_attempts=2)),),
    is_staged=False,
    reducer="sum",
    execution=Execution.WORKFLOW,
)
STAGED = replace(
    PLAIN,
    stages=(
        StageSpec(processor="first", retry=RetrySpec(max_attempts=2)),
        StageSpec(processor="second", retry=RetrySpec(max_attempts=9), timeout_seconds=5),
    ),
    is_staged=True,
    retry=RetrySpec(max_attempts=2),
    chunk_timeout_seconds=300.0,
)
ONCE = RetrySpec(max_attempts=1)


def request(**document: Any) -> RedriveRequest:
    return parsed(RedriveRequest, document)


def faults_of(refusal: InvalidJob) -> dict[str, str]:
    return {fault.pointer: fault.message for fault in refusal.errors}


@pytest.mark.parametrize(
    ("document", "place", "message"),
    [
        ({"corections": []}, "/corections", "unknown field; did you mean corrections or options?"),
        ({"indexes": [1]}, "/indexes", "unknown field here; it is a field of select"),
        ({"select": {"index": [1]}}, "/select/index", "unknown field; did you mean indexes?"),
        ({"select": {"indexes": [-1]}}, "/select/indexes/0", "must be at least 0"),
        ({"select": {"indexes": []}}, "/select/indexes", "must have at least 1 item, not 0"),
        (
            {"select": {"states": ["faild"]}},
            "/select/states/0",
            f"{STATES}; did you mean failed?",
        ),
        ({"corrections": [{"index": 1, "item": 0}]}, "/corrections/0/value", "is required"),
        (
            {"processor": "a", "stages": [{"processor": "b"}]},
            "",
            "give only one of processor and stages: they do not go together",
        ),
        (
            {"options": {}, "stages": [{"processor": "b"}]},
            "",
            "options go with processor; stages have their own",
        ),
    ],
)
def test_a_mistake_is_named_by_its_place(
    document: dict[str, Any], place: str, message: str
) -> None:
    with pytest.raises(InvalidJob) as refusal:
        request(**document)
    assert faults_of(refusal.value) == {place: message}


def test_without_a_word_everything_stays() -> None:
    assert redriven_spec(PLAIN, request()) == PLAIN
    assert redriven_spec(STAGED, request()) == STAGED


def test_options_alone_keep_the_processor() -> None:
    (stage,) = redriven_spec(PLAIN, request(options={"b": 2})).stages
    assert stage == replace(PLAIN.stages[0], options={"b": 2})


def test_another_processor_comes_with_its_own_options() -> None:
    (stage,) = redriven_spec(PLAIN, request(processor="other")).stages
    assert stage == replace(PLAIN.stages[0], processor="other", options={})


def test_a_retry_alone_is_for_the_stages_that_have_none_of_their_own() -> None:
    asked = request(retry={"max_attempts": 1}, chunk_timeout_seconds=7)
    (stage,) = redriven_spec(PLAIN, asked).stages
    assert (stage.retry, stage.timeout_seconds) == (ONCE, 7.0)

    spec = redriven_spec(STAGED, asked)

    told = [(stage.retry.max_attempts, stage.timeout_seconds) for stage in spec.stages]
    assert told == [(1, 7.0), (9, 5)]
    assert (spec.retry, spec.chunk_timeout_seconds) == (ONCE, 7.0)


def test_stages_may_take_the_place_of_a_processor_and_the_other_way_round() -> None:
    staged = redriven_spec(
        PLAIN, request(stages=[{"processor": "a"}, {"processor": "b", "timeout_seconds": 4}])
    )
    told = [(s.processor, s.retry.max_attempts, s.timeout_seconds) for s in staged.stages]
    assert told == [("a", 2, 300.0), ("b", 2, 4.0)]
    assert (staged.is_staged, staged.retry) == (True, RetrySpec(max_attempts=2))

    plain = redriven_spec(STAGED, request(processor="c", options={"x": 1}))
    assert [(s.processor, s.options, s.retry.max_attempts) for s in plain.stages] == [
        ("c", {"x": 1}, 2)
    ]
    assert (plain.is_staged, plain.retry, plain.chunk_timeout_seconds) == (False, None, None)


def test_options_alone_say_nothing_of_a_job_with_stages() -> None:
    with pytest.raises(InvalidJob) as refusal:
        redriven_spec(STAGED, request(options={}))
    message = "the job has stages, which have options of their own: give stages, as a whole"
    assert faults_of(refusal.value) == {"/options": message}


@pytest.mark.parametrize(
    ("asked", "is_same"),
    [
        ({}, True),
        ({"retry": {"max_attempts": 1}, "chunk_timeout_seconds": 5}, True),
        ({"options": {"a": 1}}, True),
        ({"processor": "double", "options": {"a": 1}}, True),
        ({"stages": [{"processor": "double", "options": {"a": 1}}]}, True),
        ({"options": {"a": True}}, False),
        ({"options": {}}, False),
        ({"processor": "double"}, False),
        ({"processor": "other", "options": {"a": 1}}, False),
    ],
)
def test_what_was_given_before_counts_while_the_work_is_the_same(
    asked: dict[str, Any], *, is_same: bool
) -> None:
    assert does_the_same(redriven_spec(PLAIN, request(**asked)), PLAIN) is is_same


@pytest.mark.parametrize(
    ("corrections", "code", "place"),
    [
        ([(0, 0, "\x00")], "invalid_value", "/corrections/0/value"),
        ([(0, 0, [["x"]]), (0, 1, [[["x"]]])], "limit_exceeded", "/corrections/1/value"),
        ([(0, 0, "x" * 20)], "limit_exceeded", "/corrections/0/value"),
        ([(0, 0, 1), (1, 0, 1), (0, 0, 1)], "invalid_job", "/corrections/2"),
    ],
)
def test_a_correction_has_to_be_an_item_and_to_be_alone(
    corrections: list[tuple[int, int, Any]], code: str, place: str
) -> None:
    limits = LIMITS.model_copy(update={"max_nesting_depth": 2, "max_item_bytes": 10})
    given = [{"index": index, "item": item, "value": v} for index, item, v in corrections]
    with pytest.raises(InvalidJob) as refusal:
        read_corrections(request(corrections=given).corrections, limits)
    assert (refusal.value.code, list(faults_of(refusal.value))) == (code, [place])


def test_a_line_of_failures_is_a_correction_as_it_is() -> None:
    line = {"index": 1, "item": 2, "key": "k", "value": {"a": 1}, "error": {"type": "T"}}
    assert set(read_corrections(request(corrections=[line]).corrections, LIMITS)) == {1}


def held(
    items: bytes,
    *failed: int,
    state: ChunkState = ChunkState.HELD,
    body: bytes = b"[1]",
    by_item: bool | None = True,
    items_failed: int | None = None,
) -> ChunkData:
    """A chunk of which these items failed."""
    record = ChunkRecord(
        index=4,
        state=state,
        item_count=len(json.loads(items)),
        items_failed=len(failed) if items_failed is None else items_failed,
        attempts=1,
        error=None,
        started_at=0,
        finished_at=0,
        result_bytes=len(body),
        by_item=by_item,
        block=None,
        stage=0,
        stage_attempts=1,
        run=1,
        resolved_by=None,
    )
    errors = tuple(ItemError(item=item, type="T", message="m") for item in failed)
    return ChunkData(record, items, ChunkOutput(body=body, item_errors=errors, by_item=by_item))


def with_corrections(
    data: ChunkData,
    corrections: dict[int, Any],
    selected: Selected | None = None,
    *,
    is_resumed: bool = True,
) -> tuple[bytes, Selected]:
    """The chunk's items then, and what of it runs again."""
    given = [{"index": 4, "item": item, "value": value} for item, value in corrections.items()]
    read = read_corrections(request(corrections=given).corrections, LIMITS)
    chosen = {4: selected or Selected(4, data.record.state)}

    async def chunks() -> AsyncIterator[ChunkData]:
        yield data

    bodies, again = asyncio.run(corrected(read, chunks(), chosen, is_resumed=is_resumed))
    return bodies[4], again[4]


def test_items_that_are_not_corrected_keep_their_text() -> None:
    items = b'[1.50, {"a": 1,  "a": 2},"\\u00e4"  ,1e5]'

    body, _ = with_corrections(held(items, 0), {3: {"b": "ä"}})

    assert body == b'[1.50,{"a": 1,  "a": 2},"\\u00e4",{"b":"\xc3\xa4"}]'


def test_a_corrected_item_that_had_succeeded_runs_again_with_those_that_had_not() -> None:
    assert with_corrections(held(b"[1,2,3]", 1), {2: 9})[1].items_again == (1, 2)


def test_of_a_chunk_that_succeeded_corrected_items_alone_run_again() -> None:
    data = held(b"[1,2,3]", state=ChunkState.SUCCEEDED)
    assert with_corrections(data, {2: 9})[1].items_again == (2,)


def test_items_that_were_selected_by_their_error_are_joined_by_the_corrected_ones() -> None:
    selected = Selected(4, ChunkState.HELD, (1,))
    assert with_corrections(held(b"[1,2,3]", 0, 1), {2: 9}, selected)[1].items_again == (1, 2)


@pytest.mark.parametrize(
    "data",
    [
        held(b"[1,2]", body=b"", items_failed=2),
        held(b"[1,2]", by_item=False),
        held(b"[1,2]", by_item=None),
        held(b"[1,2]", 0, items_failed=2),
    ],
    ids=["nothing succeeded", "of a chunk processor", "of an old release", "failed as a whole"],
)
def test_a_chunk_that_keeps_no_items_runs_as_a_whole(data: ChunkData) -> None:
    assert with_corrections(data, {1: 9})[1].items_again is None


def test_with_other_options_every_item_runs_again() -> None:
    assert with_corrections(held(b"[1,2]", 0), {1: 9}, is_resumed=False)[1].items_again is None


def test_a_position_that_the_chunk_does_not_have_is_told() -> None:
    with pytest.raises(InvalidJob) as refusal:
        with_corrections(held(b"[1,2]", 0), {0: 1, 2: 9})
    message = "the child has 2 items: they go from 0 to 1"
    assert faults_of(refusal.value) == {"/corrections/1/item": message}
