"""Jobs made of jobs, for tests: recorded as the gateway does, and looked at afterwards."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from fanfold.contract import json_values
from fanfold.contract.job_spec import Controls, Execution, JobSpec, Order, StageSpec
from fanfold.contract.names import DEFAULT_TENANT, JobId, new_job_id
from fanfold.contract.wire import JobInput, JobRef
from fanfold.ledger.recording import NewJob, NewSubJob
from fanfold.ledger.records import JobRecord, NewChunk
from fanfold.processing import ValidationError
from tests.ledger.jobs_recorded import ours
from tests.workflows.running import Fanfold

Chunks = Sequence[list[Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A job, or one that another is made of."""

    processor: str = "double"
    chunks: Chunks | None = None
    jobs: "dict[str, Job]" = dataclasses.field(default_factory=dict)
    order: Order = Order.PARALLEL
    reducer: str | None = "collect"
    spec: dict[str, Any] = dataclasses.field(default_factory=dict)
    controls: dict[str, Any] = dataclasses.field(default_factory=dict)

    def spec_of(self, execution: Execution) -> JobSpec:
        return JobSpec(
            **{
                "stages": (StageSpec(processor=self.processor),),
                "reducer": self.reducer,
                "execution": execution,
                "order": self.order if self.jobs else None,
            }
            | self.spec
        )


def refuse_negative(item: int) -> int:
    """A processor under which some items fail for good."""
    if item < 0:
        raise ValidationError(f"{item} is negative")
    return item


def job(processor: str = "double", chunks: Chunks | None = None, **given: Any) -> Job:
    """A job with these chunks, or with those of the job above it."""
    known = {field.name for field in dataclasses.fields(Job)}
    controls = {field.name for field in dataclasses.fields(Controls)}
    return Job(
        processor=processor,
        chunks=chunks,
        **{name: value for name, value in given.items() if name in known},
        spec={
            name: value
            for name, value in given.items()
            if name not in known and name not in controls
        },
        controls={name: value for name, value in given.items() if name in controls},
    )


def parallel(**jobs: Job) -> dict[str, Any]:
    return {"jobs": jobs}


def sequence(**jobs: Job) -> dict[str, Any]:
    return {"jobs": jobs, "order": Order.SEQUENCE}


async def record(fanfold: Fanfold, root: Job) -> JobInput:
    """Record a job with all that it is made of; what its workflow is to be started with."""
    execution = fanfold.shape.execution
    new = NewJob(
        id=new_job_id(),
        spec=root.spec_of(execution),
        controls=Controls(**root.controls),
        jobs=_sub_jobs(root, execution),
    )
    await ours(fanfold.ledger).recording.record(new, _chunks(root.chunks) or ())
    ref = JobRef(id=new.id, tenant=DEFAULT_TENANT, ledger=fanfold.ledger.id)
    row = await fanfold.row(new.id)
    return dataclasses.replace(
        JobInput.of(ref, row.total_chunks, new.spec, new.controls),
        pace=fanfold.shape.pace,
        tuning=fanfold.shape.tuning,
    )


async def below(fanfold: Fanfold, job_id: JobId) -> dict[str, JobRecord]:
    """All jobs below this one by their paths, in order."""
    found: dict[str, JobRecord] = {}
    for row in await ours(fanfold.ledger).jobs.sub_jobs(job_id, limit=1000):
        assert row.place.path is not None
        found[row.place.path] = row
        found |= await below(fanfold, row.id)
    return found


async def states(fanfold: Fanfold, job_id: JobId) -> dict[str, str]:
    """The states of all jobs below this one by their paths."""
    return {path: str(row.state) for path, row in (await below(fanfold, job_id)).items()}


def _sub_jobs(above: Job, execution: Execution) -> list[NewSubJob]:
    return [
        NewSubJob(
            id=new_job_id(),
            name=name,
            spec=given.spec_of(execution),
            controls=Controls(**given.controls),
            data=_chunks(given.chunks),
            jobs=_sub_jobs(given, execution),
        )
        for name, given in above.jobs.items()
    ]


def _chunks(chunks: Chunks | None) -> list[NewChunk] | None:
    if chunks is None:
        return None
    return [NewChunk(item_count=len(items), body=json_values.encode(items)) for items in chunks]
