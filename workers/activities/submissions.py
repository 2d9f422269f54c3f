"""What `SubmitJob` has done: a job checked and recorded, its place and end waited for, shown."""

import asyncio
from dataclasses import replace
from typing import Final

from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from fanfold.answers.carried import carried_job
from fanfold.contract import json_values
from fanfold.contract.names import (
    AWAIT_JOB,
    CANCEL_JOB,
    CLAIM_JOB,
    NAME_LEDGER,
    RECORD_JOB,
    SHOW_JOB,
    JobId,
    TenantId,
)
from fanfold.contract.settings import IntakeSettings
from fanfold.contract.submissions import MOST_BYTES, ClaimedJob, SubmittedJob
from fanfold.contract.wire import JobInput, JobRef
from fanfold.intake.faults import InvalidJob
from fanfold.intake.job_text import decode_job
from fanfold.intake.preparing import PreparedJob
from fanfold.intake.published import PublishedCode, published_code
from fanfold.intake.whole import prepare_whole
from fanfold.ledger.connect import Ledger
from fanfold.ledger.database import UniqueViolation
from fanfold.ledger.jobs import Terms
from fanfold.ledger.starting import CLAIM_MS, Places
from fanfold.workers.refusals import invalid_job

_ENCODING: Final = "encoding"
_JSON: Final = b"json/plain"


class SubmissionActivities:
    """Takes jobs from Temporal as the gateway takes them over HTTP."""

    def __init__(
        self,
        ledger: Ledger,
        tenant: TenantId,
        limits: IntakeSettings,
        places: Places,
        workflows_url: str | None,
    ) -> None:
        """Take whose jobs they are, what they may be, and how many may run at a time."""
        self._ledger = ledger
        self._tenant = tenant
        self._limits = limits
        self._places = places
        self._workflows_url = workflows_url

    @activity.defn(name=NAME_LEDGER)
    async def name_ledger(self) -> str:
        """The ledger that this worker is on: the job will be in it."""
        return self._ledger.id

    @activity.defn(name=RECORD_JOB)
    async def record_job(self, body: RawValue, job_id: str) -> SubmittedJob:
        """Check the body, and record its job under this id; done again, it finds its own.

        Fails for good with `InvalidJob` where the gateway would refuse it.
        """
        ref = JobRef(id=JobId(job_id), tenant=self._tenant, ledger=self._ledger.id)
        ours = self._ledger.of(ref.tenant)
        if (earlier := await ours.jobs.terms(ref.id)) is not None:
            return SubmittedJob(job=ref, start_at=earlier.controls.start_at)
        code = await published_code(self._ledger.catalog)
        # In a thread: a body of two megabytes takes a while.
        prepared = await asyncio.to_thread(self._prepare, body.payload, code)
        # Its workflow is started by SubmitJob; by a gateway where that does not come to it.
        job = replace(prepared.new_job(ref.id, None), own_start_ms=CLAIM_MS)
        try:
            await ours.recording.record(job, prepared.chunks)
        except UniqueViolation:  # by an attempt before this one, which goes on
            if await ours.jobs.state(ref.id) is None:
                raise
        return SubmittedJob(job=ref, start_at=prepared.controls.start_at)

    @activity.defn(name=CLAIM_JOB)
    async def claim_job(self, job: JobRef) -> ClaimedJob:
        """Wait until the job's workflow may be started; what to start it with.

        That is so too where somebody has started it already, or where it is only to be closed.
        """
        terms = await self._terms(job)
        if terms.run == job.run and not await self._ledger.starting.claim(job.id, self._places):
            raise _not_yet("the job waits for its place, or to be resumed")
        given = JobInput.of(job, terms.total_chunks, terms.spec, terms.controls)
        return ClaimedJob(given=given, priority=terms.controls.priority)

    @activity.defn(name=AWAIT_JOB)
    async def await_job(self, job: JobRef) -> str:
        """Wait for the end of a job whose workflow somebody else has started; its state then."""
        terms = await self._terms(job)
        if terms.run == job.run and not terms.state.is_terminal:
            raise _not_yet(f"the job is {terms.state}")
        return terms.state

    @activity.defn(name=CANCEL_JOB)
    async def cancel_job(self, job: JobRef) -> None:
        """Let nothing of the job begin any more."""
        terms = await self._terms(job)
        if terms.run == job.run:
            await self._ledger.of(job.tenant).jobs.request_cancel(job.id)

    @activity.defn(name=SHOW_JOB)
    async def show_job(self, job: JobRef) -> RawValue:
        """The job as the gateway shows it, as this run of it ended."""
        jobs = self._ledger.of(job.tenant).jobs
        found, result = await jobs.find(job.id), await jobs.result(job.id)
        if found is not None and found.run != job.run:  # redriven just now
            found, result = await jobs.earlier_run(job.id, job.run), None
        if found is None:
            raise _gone(job)
        text = carried_job(found, result, self._workflows_url, most_bytes=MOST_BYTES)
        return RawValue(Payload(metadata={_ENCODING: _JSON}, data=text))

    def _prepare(self, body: Payload, code: PublishedCode) -> PreparedJob:
        if not body.ByteSize():
            message = "there is none: give the job as the one input of SubmitJob"
            raise invalid_job("malformed_json", [("", message)])
        if body.metadata.get(_ENCODING) not in {_JSON, b"binary/null"}:
            message = "is not JSON: it has to come in the encoding json/plain"
            raise invalid_job("malformed_json", [("", message)])
        try:
            return prepare_whole(decode_job(body.data or b"null"), self._limits, code)
        except json_values.InvalidJson as error:
            raise invalid_job("malformed_json", [("", f"is not JSON: {error}")]) from None
        except InvalidJob as refused:
            faults = [(fault.pointer, fault.message) for fault in refused.errors]
            raise invalid_job(refused.code, faults) from None

    async def _terms(self, job: JobRef) -> Terms:
        terms = await self._ledger.of(job.tenant).jobs.terms(job.id)
        if terms is None:
            raise _gone(job)
        return terms


def _not_yet(why: str) -> ApplicationError:
    """What ends an attempt that has to be made again: so a wait holds no slot of a worker."""
    return ApplicationError(why, type="NotYet", category=ApplicationErrorCategory.BENIGN)


def _gone(job: JobRef) -> ApplicationError:
    message = f"the job {job.id} has been deleted"
    return ApplicationError(message, type="JobDeleted", non_retryable=True)
