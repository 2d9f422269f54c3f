"""/jobs/{job_id}/children/{index}/attempts: shows how the attempts at a child ended."""

from fastapi import APIRouter

from fanfold.app.answers.attempts import AttemptListView, attempt_list
from fanfold.app.documentation import examples
from fanfold.app.http import errors
from fanfold.app.http.problems import responses
from fanfold.app.routes.children import ChildIndex, no_such_child
from fanfold.app.routes.trees import refuse_without_chunks
from fanfold.app.services import ServicesOf
from fanfold.contract.names import JobId

router = APIRouter(prefix="/jobs/{job_id}", tags=["children"])


@router.get(
    "/children/{index}/attempts",
    operation_id="list_attempts",
    summary="List the attempts at a child",
    responses={
        200: {
            "description": "The attempts, oldest first.",
            "content": {"application/json": {"example": examples.ATTEMPTS}},
        },
        **responses(errors.NotFound, errors.NotOfThisJob, errors.Unavailable),
    },
)
async def list_attempts(job_id: JobId, index: ChildIndex, services: ServicesOf) -> AttemptListView:
    """Every attempt that failed, and the last one. One under way is not among them yet."""
    job = await services.job(job_id)
    refuse_without_chunks(job)
    history = await services.tenant.attempts.of_chunk(job_id, index)
    if history is None:
        raise no_such_child(job)
    return attempt_list(history)
