"""/livez and /readyz: liveness and readiness."""

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel

from fanfold.app.http import errors
from fanfold.app.http.problems import responses
from fanfold.app.services import ServicesOf
from fanfold.app.temporal.calls import TemporalUnavailable
from fanfold.contract.names import JobId
from fanfold.ledger.database import LedgerUnavailable

router = APIRouter(tags=["health"])


OK: dict[str, Any] = {"content": {"application/json": {"example": {"status": "ok"}}}}


class HealthView(BaseModel):
    """The answer when all is well."""

    status: Literal["ok"] = "ok"


@router.get("/livez", operation_id="livez", summary="Is the process alive?", responses={200: OK})
async def livez() -> HealthView:
    """200 while the gateway's loop turns, whatever is behind it."""
    return HealthView()


@router.get(
    "/readyz",
    operation_id="readyz",
    summary="Can jobs be taken and run?",
    responses={200: OK, **responses(errors.Unavailable)},
)
async def readyz(services: ServicesOf) -> HealthView:
    """200 when the ledger and Temporal answer and workers poll; else 503 names the part.

    A gateway that is not ready still takes jobs as long as the ledger answers: they
    run once the rest is back.
    """
    try:
        await services.tenant.jobs.state(JobId(""))
    except LedgerUnavailable:
        raise errors.Unavailable("not_ready", "The ledger cannot be reached.") from None
    try:
        await services.orchestration.check_temporal()
        idle = await services.orchestration.queues_without_worker()
    except TemporalUnavailable:
        raise errors.Unavailable("not_ready", "Temporal cannot be reached.") from None
    if idle:
        detail = f"No worker polls the task queue {' or '.join(idle)}."
        raise errors.Unavailable("not_ready", detail)
    return HealthView()
