"""GET /processors and /reducers: what the workers know."""

from fastapi import APIRouter
from pydantic import BaseModel

from fanfold.app.answers.catalog import CatalogEntryView, ProcessorView, catalog_entry, processor
from fanfold.app.documentation import examples
from fanfold.app.http import errors
from fanfold.app.http.problems import responses
from fanfold.app.services import ServicesOf
from fanfold.ledger.catalog import Kind

router = APIRouter(tags=["catalog"])


class ProcessorsView(BaseModel):
    """All processors."""

    processors: list[ProcessorView]


class ReducersView(BaseModel):
    """All reducers."""

    reducers: list[CatalogEntryView]


@router.get(
    "/processors",
    operation_id="list_processors",
    summary="List the processors",
    responses={
        200: {"content": {"application/json": {"example": {"processors": [examples.PROCESSOR]}}}},
        **responses(errors.Unavailable),
    },
)
async def list_processors(services: ServicesOf) -> ProcessorsView:
    """What a job's `processor` may be, as the workers published it."""
    published = await services.ledger.catalog.published(Kind.PROCESSOR)
    return ProcessorsView(processors=[processor(entry) for entry in published.entries.values()])


@router.get(
    "/reducers",
    operation_id="list_reducers",
    summary="List the reducers",
    responses={
        200: {"content": {"application/json": {"example": {"reducers": [examples.REDUCER]}}}},
        **responses(errors.Unavailable),
    },
)
async def list_reducers(services: ServicesOf) -> ReducersView:
    """What a job's `reducer` may be, as the workers published it."""
    published = await services.ledger.catalog.published(Kind.REDUCER)
    return ReducersView(reducers=[catalog_entry(entry) for entry in published.entries.values()])
