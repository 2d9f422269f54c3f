"""The services that routes call, built once at start-up."""

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from fanfold.app.answers.rendered import RenderedJobs
from fanfold.app.http.errors import NotFound
from fanfold.app.intake.uploads import Uploads
from fanfold.app.loops.housekeeping import Housekeeping
from fanfold.app.loops.orchestration import Orchestration
from fanfold.app.temporal.schedules import Schedules
from fanfold.contract.names import DEFAULT_TENANT, JobId
from fanfold.contract.settings import GatewaySettings
from fanfold.ledger.connect import Ledger, TenantLedger
from fanfold.ledger.records import JobRecord


@dataclass(frozen=True, slots=True)
class Services:
    """The gateway's long-lived parts."""

    settings: GatewaySettings
    ledger: Ledger
    """Of all tenants; what belongs to one is asked of `tenant`."""
    orchestration: Orchestration
    housekeeping: Housekeeping
    schedules: Schedules
    uploads: Uploads
    rendered: RenderedJobs
    stopping: asyncio.Event
    """Set when the gateway stops: clients that wait for a job get it as it is."""
    workflows_url: str | None
    """Where Temporal's web UI shows workflows by id, if known."""

    @property
    def tenant(self) -> TenantLedger:
        """The ledger as the tenant of a request has it: there is one tenant yet."""
        return self.ledger.of(DEFAULT_TENANT)

    async def job(self, job_id: JobId) -> JobRecord:
        """The job; raises NotFound."""
        job = await self.tenant.jobs.find(job_id)
        if job is None:
            raise NotFound("job_not_found", "There is no job of this id.")
        return job


# async, though it waits for nothing: a plain function would cost every request a thread.
async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


ServicesOf = Annotated[Services, Depends(_services)]
"""A route parameter of this type gets the gateway's services."""
