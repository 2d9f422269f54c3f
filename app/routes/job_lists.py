"""/jobs and /jobs/{job_id}/jobs: lists jobs, and those that a job is made of."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from fanfold.answers import rendering, views
from fanfold.app.documentation import examples
from fanfold.app.http import cursor, errors
from fanfold.app.http.parameters import (
    DEFAULT_PAGE,
    MAX_PAGE,
    PageCursor,
    PageLimit,
    invalid_parameter,
)
from fanfold.app.http.problems import responses
from fanfold.app.services import Services, ServicesOf
from fanfold.contract.names import JobId
from fanfold.contract.states import JobState
from fanfold.intake.fields import LABEL_NAME_PATTERN
from fanfold.ledger.records import JobRecord

router = APIRouter(tags=["jobs"])

_Label = Annotated[str, Field(json_schema_extra={"pattern": rf"^{LABEL_NAME_PATTERN}:[^\u0000]*$"})]
_State = Annotated[JobState | None, Query(description="Only jobs in this state.")]


@router.get(
    "/jobs",
    operation_id="list_jobs",
    summary="List jobs, newest first",
    response_model=views.JobPageView,
    response_model_exclude_unset=True,
    responses={
        200: {
            "description": "A page of jobs.",
            "content": {"application/json": {"example": examples.JOB_PAGE}},
        },
        **responses(errors.MalformedRequest, errors.NotFound, errors.Unavailable),
    },
)
async def list_jobs(
    services: ServicesOf,
    state: _State = None,
    label: Annotated[
        list[_Label] | None, Query(description="Only jobs with this label, as `name:value`.")
    ] = None,
    parent: Annotated[
        JobId | None,
        Query(description="Only jobs that this one is made of; without it those of no other."),
    ] = None,
    limit: PageLimit = DEFAULT_PAGE,
    cursor_text: PageCursor = None,
) -> views.JobPageView:
    """Jobs without their results: those are at each job's own address."""
    labels = _labels(label or [])
    filters: list[Any] = ["jobs", state, labels, *([] if parent is None else [parent])]
    before = cursor.decode(cursor_text, filters) if cursor_text is not None else None
    if parent is not None:
        await services.job(parent)
    limit = min(limit, MAX_PAGE)
    found = await services.tenant.jobs.page(
        state=state, labels=labels, before=before, limit=limit + 1, parent=parent
    )
    following = cursor.encode(found[limit - 1].id, filters) if len(found) > limit else None
    return _page(services, found[:limit], following)


@router.get(
    "/jobs/{job_id}/jobs",
    operation_id="list_sub_jobs",
    summary="List the jobs that a job is made of",
    response_model=views.JobPageView,
    response_model_exclude_unset=True,
    responses={
        200: {
            "description": "A page of its direct sub-jobs, in order.",
            "content": {"application/json": {"example": examples.SUB_JOB_PAGE}},
        },
        **responses(errors.MalformedRequest, errors.NotFound, errors.Unavailable),
    },
)
async def list_sub_jobs(
    job_id: JobId,
    services: ServicesOf,
    state: _State = None,
    limit: PageLimit = DEFAULT_PAGE,
    cursor_text: PageCursor = None,
) -> views.JobPageView:
    """In the order in which the job names them, without their results.

    None of a job that is made of none. What compensated a job is listed here too.
    """
    await services.job(job_id)
    filters: list[Any] = ["sub_jobs", job_id, state]
    position, last_id = (-1, "")
    if cursor_text is not None:
        position, last_id = cursor.decode(cursor_text, filters)
    limit = min(limit, MAX_PAGE)
    found = await services.tenant.jobs.sub_jobs(
        job_id, state=state, after=(position, last_id), limit=limit + 1
    )
    following = None
    if len(found) > limit:
        last = found[limit - 1]
        following = cursor.encode((last.place.position, last.id), filters)
    return _page(services, found[:limit], following)


def _page(services: Services, found: list[JobRecord], next_cursor: str | None) -> views.JobPageView:
    jobs = [rendering.job_summary(job, services.workflows_url) for job in found]
    if next_cursor is None:
        return views.JobPageView(jobs=jobs)
    return views.JobPageView(jobs=jobs, next_cursor=next_cursor)


def _labels(texts: list[str]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for text in texts:
        name, colon, value = text.partition(":")
        if not (name and colon) or "\x00" in text:
            raise invalid_parameter("label", "must be a name, a colon and a value: label=team:data")
        if not re.fullmatch(LABEL_NAME_PATTERN, name):
            what = "no label has this name: names are 1 to 64 of A-Z a-z 0-9 _ . - /"
            raise invalid_parameter("label", what)
        if labels.setdefault(name, value) != value:
            raise invalid_parameter("label", "no job has two values of the same label")
    return labels
