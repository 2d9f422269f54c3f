"""Redrives: what of a job is to run again, and how, from the body that a client sends."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from fastapi import Request

from fanfold.app.http.errors import JobNotFinished, NothingSelected
from fanfold.app.http.idempotency import earlier_job
from fanfold.app.intake.body import JSON, BodyKind, decode_body, has_body, read_body
from fanfold.app.intake.certainty import with_certainty
from fanfold.app.intake.changes import changed
from fanfold.app.intake.corrections import (
    Corrections,
    check_by,
    check_of,
    check_selected,
    corrected,
    no_such_child,
    read_corrections,
)
from fanfold.app.intake.steering_request import RedriveRequest, Select
from fanfold.contract.job_spec import JobSpec, StageSpec
from fanfold.contract.names import JobId
from fanfold.contract.settings import GatewaySettings
from fanfold.contract.states import ChunkState, JobState
from fanfold.intake.conditions import faults_of_stages
from fanfold.intake.faults import Fault, pointer, refuse, refuse_all
from fanfold.intake.item_schema import ItemSchema
from fanfold.intake.published import check_processors
from fanfold.intake.spec import to_retry, to_stages
from fanfold.intake.validation import (
    MAX_REPORTED_FAULTS,
    Step,
    check_steps,
    encode,
    parsed,
    steps_of,
)
from fanfold.ledger.catalog import Kind, Published
from fanfold.ledger.connect import Ledger, TenantLedger
from fanfold.ledger.idempotency import KeyTaken, raise_key_taken
from fanfold.ledger.records import IdempotencyKey, JobRecord
from fanfold.ledger.redriving import Below, Selection
from fanfold.ledger.run_again import Redrive
from fanfold.ledger.transitions import GO_ON, REDRIVE

_BODY: Final = BodyKind(
    (JSON,),
    "Send what is to run again as JSON, with the header Content-Type: application/json, or no "
    "body.",
    "what is to run again, a JSON object",
)
_UNSUCCESSFUL: Final = (
    ChunkState.FAILED,
    ChunkState.PARTIALLY_SUCCEEDED,
    ChunkState.CANCELLED,
)
_IF_UNKNOWN: Final = (
    "The ledger went away while it recorded the redrive, so it is unknown whether the job runs "
    "again: GET /jobs/{job_id} tells, once the ledger is back. To try again is safe with the "
    "Idempotency-Key of this request; without one, chunks that fail again could run twice."
)


async def read_redrive(request: Request, limits: GatewaySettings) -> bytes:
    """The body of a request, which may have none. Raises a Problem."""
    return await read_body(request, limits, _BODY) if has_body(request) else b""


def redrive_key(name: str | None, job_id: JobId, body: bytes) -> IdempotencyKey | None:
    """The idempotency key of this name, for a redrive of this job with this body."""
    if name is None:
        return None
    text = b"\0".join((b"redrive", job_id.encode(), body))
    return IdempotencyKey(key=name, body_hash=hashlib.sha256(text).digest())


async def record_redrive(
    ledger: Ledger,
    tenant: TenantLedger,
    limits: GatewaySettings,
    find: Callable[[], Awaitable[JobRecord]],
    body: bytes,
    key: IdempotencyKey | None,
) -> bool:
    """Let chunks of the job that `find` gives run again, as the body says. Raises a Problem.

    Whether an earlier request with this key had done so.
    """
    while True:
        job = await find()
        try:
            if key is not None:
                await raise_key_taken(ledger.database, tenant.tenant, key)
            if job.is_parent:
                below = await _selected_below(tenant, limits, job, body)
                write = tenant.redriving.redrive_below(job, below, key)
            else:
                redrive = await _prepared(ledger, tenant, limits, job, body)
                write = tenant.redriving.redrive(job, replace(redrive, key=key))
            is_done = await _recorded(find, job, write)
        except KeyTaken as taken:
            earlier_job(taken, key)
            return True
        if is_done:
            return False
        # Something has changed since: perhaps it runs already.


async def _recorded(
    find: Callable[[], Awaitable[JobRecord]], job: JobRecord, write: Awaitable[bool]
) -> bool:
    """Whether the redrive is recorded; False where the job is not as it was any more."""

    async def is_written() -> bool:
        now = await find()
        return now.run > job.run or (job.state in GO_ON.before and now.state not in GO_ON.before)

    if_unknown = _IF_UNKNOWN.format(job_id=job.id)
    done = await with_certainty(write, is_written, if_unknown=if_unknown)
    return True if done is None else done


async def _prepared(
    ledger: Ledger, tenant: TenantLedger, limits: GatewaySettings, job: JobRecord, body: bytes
) -> Redrive:
    _refuse_unless_ended(job)
    # In a thread: a large body takes a second.
    request, corrections = await asyncio.to_thread(_read, body, limits)
    check_of(job, request.corrections)
    spec = redriven_spec(job.spec, request)
    if corrections or any(_steps(request, job.spec)):
        processors = await ledger.catalog.published(Kind.PROCESSOR)
        await asyncio.to_thread(_check, request, job.spec, spec, processors)
    controls = changed(job.controls, request, limits)
    selection = _selection(request.select, job)
    chosen = await tenant.redriving.select(job.id, selection)
    if not chosen and not _is_of_fold(request, job):
        raise NothingSelected("nothing_selected", _states_there_are(job, request.select))
    selected = {one.index: one for one in chosen}
    check_selected(corrections, job, selected)
    is_resumed = does_the_same(spec, job.spec)
    chunks = tenant.chunks.data_of(job.id, sorted(corrections))
    bodies, again = await corrected(corrections, chunks, selected, is_resumed=is_resumed)
    return Redrive(
        spec=spec,
        controls=controls,
        selected=list((selected | again).values()),
        corrected=bodies,
        is_resumed=is_resumed,
    )


async def _selected_below(
    tenant: TenantLedger, limits: GatewaySettings, job: JobRecord, body: bytes
) -> Below:
    """What runs again of the jobs that this one is made of: with what they were asked to do."""
    _refuse_unless_ended(job)
    request, _ = await asyncio.to_thread(_read, body, limits)
    places: list[tuple[str, ...]] = [(name,) for name in request.model_fields_set - {"select"}]
    if request.select.indexes is not None:
        places.append(("select", "indexes"))
    if places:
        what = "the job is made of jobs: give it to the one of these that is to run again"
        refuse_all("invalid_job", [Fault(pointer(*place), what) for place in sorted(places)])
    below = await tenant.redriving.select_below(job, _selection(request.select, job))
    if not below.of:
        raise NothingSelected("nothing_selected", _states_there_are(job, request.select))
    return below


def _refuse_unless_ended(job: JobRecord) -> None:
    if job.state not in {*REDRIVE.before, *GO_ON.before}:
        detail = (
            f"The job is {job.state}: its chunks run again once it has finished, or waits for a "
            "person."
        )
        raise JobNotFinished("job_not_finished", detail)


def redriven_spec(spec: JobSpec, request: RedriveRequest) -> JobSpec:
    """The spec of a job that runs again; raises InvalidJob for options that have no place."""
    retry_before = spec.retry or spec.stages[0].retry
    limit_before = spec.chunk_timeout_seconds or spec.stages[0].timeout_seconds
    retry = to_retry(request.retry) if request.retry else retry_before
    limit = request.chunk_timeout_seconds or limit_before
    if request.stages is not None:
        stages, is_staged = to_stages(request.stages, retry, limit), True
    elif request.processor is not None:
        options = request.options or {}
        stage = StageSpec(
            processor=request.processor, options=options, retry=retry, timeout_seconds=limit
        )
        stages, is_staged = (stage,), False
    else:
        if request.options is not None and spec.is_staged:
            message = "the job has stages, which have options of their own: give stages, as a whole"
            refuse("invalid_job", pointer("options"), message)
        is_staged = spec.is_staged
        stages = tuple(
            replace(
                stage,
                options=stage.options if request.options is None else request.options,
                # Those that are as the job's have none of their own.
                retry=retry if stage.retry == retry_before else stage.retry,
                timeout_seconds=(
                    limit if stage.timeout_seconds == limit_before else stage.timeout_seconds
                ),
            )
            for stage in spec.stages
        )
    return replace(
        spec,
        stages=stages,
        is_staged=is_staged,
        retry=retry if is_staged else None,
        chunk_timeout_seconds=limit if is_staged else None,
    )


def does_the_same(spec: JobSpec, before: JobSpec) -> bool:
    """Whether the same is done with every item: if not, nothing that was given before counts."""
    # As text: to Python true is 1.
    work, work_before = (
        [
            (stage.processor, json.dumps(stage.options, sort_keys=True), stage.when)
            for stage in one.stages
        ]
        for one in (spec, before)
    )
    return work == work_before


def _read(body: bytes, limits: GatewaySettings) -> tuple[RedriveRequest, Corrections]:
    document: Any = decode_body(body, kind=_BODY) if body.strip() else {}
    request = parsed(RedriveRequest, document)
    if faults := list(faults_of_stages(request.stages or ())):
        refuse_all("invalid_job", faults)
    check_steps(_steps(request, None), limits)
    encode(request.model_dump(exclude={"corrections"}), ())
    return request, read_corrections(request.corrections, limits)


def _check(request: RedriveRequest, before: JobSpec, spec: JobSpec, processors: Published) -> None:
    """Raises InvalidJob where names or options are unknown, or corrected items do not fit."""
    check_processors(_steps(request, before), processors)
    entry = processors.entries.get(spec.stages[0].processor)
    if spec.check_items and entry is not None and entry.item_schema is not None:
        check_by(ItemSchema(entry.item_schema), request.corrections)


def _steps(request: RedriveRequest, before: JobSpec | None) -> Iterator[Step]:
    """The processors and options that the body names; alone, options go with the job's."""
    if request.stages is not None:
        yield from steps_of(request.stages)
    elif request.processor is not None or request.options is not None:
        name = request.processor or (before.stages[0].processor if before else "")
        yield (), name, request.options or {}


def _selection(select: Select, job: JobRecord) -> Selection:
    """The chunks that are meant; raises InvalidJob where the job has no child of an index."""
    faults = [
        Fault(pointer("select", "indexes", place), no_such_child(job))
        for place, index in enumerate(select.indexes or ())
        if index >= job.total_chunks
    ]
    if faults:
        refuse_all("invalid_job", faults[:MAX_REPORTED_FAULTS])
    states = None if select.states is None else [ChunkState(state) for state in select.states]
    if states is None and select.indexes is None:
        states = [ChunkState.HELD] if job.state is JobState.WAITING else list(_UNSUCCESSFUL)
    return Selection(
        states=states,
        error_types=select.error_types,
        indexes=select.indexes,
        with_folds=not select.model_fields_set,
    )


def _is_of_fold(request: RedriveRequest, job: JobRecord) -> bool:
    """Whether the fold alone is meant: of a job that came to nothing, though its chunks did not."""
    asks_for_chunks = request.model_fields_set - {"select"} or request.select.model_fields_set
    has_begun = job.started_at is not None
    return not asks_for_chunks and has_begun and job.state in (JobState.FAILED, JobState.CANCELLED)


def _states_there_are(job: JobRecord, select: Select) -> str:
    counts = {state: getattr(job.counts, state) for state in ChunkState}
    there = ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "none"
    detail = f"No child is selected. The job's children are: {there}."
    if select.error_types is not None and job.errors:
        types = ", ".join(dict.fromkeys(group.type for group in job.errors))
        detail += f" Their errors are of the types {types}."
    others = "select.states" if job.is_parent else "select.states or select.indexes"
    return f"{detail} Name others in {others}."
