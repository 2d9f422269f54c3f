"""Renders every error as application/problem+json (RFC 9457)."""

import logging
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from fanfold.app.http.errors import (
    CODES,
    InternalError,
    InvalidJob,
    MethodNotAllowed,
    NotFound,
    Problem,
    Unavailable,
)
from fanfold.app.http.parameters import problem_with
from fanfold.intake import faults
from fanfold.ledger.database import LedgerUnavailable

_log = logging.getLogger("fanfold.gateway")

_SAFE_METHODS = frozenset({"GET", "HEAD"})
MEDIA_TYPE = "application/problem+json"


class FaultView(BaseModel):
    """One thing wrong with the body."""

    pointer: str = Field(description="Where: a JSON pointer into the body.")
    message: str = Field(description="What is wrong there.")


class ProblemView(BaseModel):
    """Problem details (RFC 9457)."""

    model_config = ConfigDict(title="Problem")

    type: str = Field(description="A URI reference that names the kind of problem.")
    title: str = Field(description="The kind of problem in words.")
    status: int = Field(description="The HTTP status code.")
    detail: str = Field(description="What was wrong here, and what to do.")
    code: str = Field(description="Stable name of the problem; see docs/errors.md.")
    errors: list[FaultView] | None = Field(
        default=None, description="For invalid bodies: each fault with its place."
    )


def render(problem: Problem) -> JSONResponse:
    """The response for a problem."""
    headers = dict(problem.headers)
    if isinstance(problem, Unavailable):
        headers.setdefault("Retry-After", "2")
    return JSONResponse(_body(problem), problem.status, headers=headers, media_type=MEDIA_TYPE)


def _body(problem: Problem) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": f"urn:fanfold:problem:{problem.code}",
        "title": CODES[problem.code],
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
    }
    if problem.errors:
        body["errors"] = [asdict(fault) for fault in problem.errors]
    return body


def responses(*kinds: type[Problem]) -> dict[int | str, dict[str, Any]]:
    """The error responses of a route, for its OpenAPI description.

    Their examples are in `fanfold.app.documentation.problems`.
    """
    described: dict[int | str, list[str]] = {}
    for kind in kinds:
        described.setdefault(kind.status, []).append((kind.__doc__ or "").strip())
    return {
        status: {
            "description": " Or: ".join(texts),
            "content": {
                MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}},
            },
        }
        for status, texts in described.items()
    }


def install(app: FastAPI) -> None:
    """Make the app answer every error this way."""

    @app.exception_handler(Problem)
    async def on_problem(_request: Request, problem: Problem) -> JSONResponse:
        return render(problem)

    @app.exception_handler(faults.InvalidJob)
    async def on_invalid_job(_request: Request, refused: faults.InvalidJob) -> JSONResponse:
        return render(InvalidJob(refused.code, refused.detail, refused.errors))

    @app.exception_handler(LedgerUnavailable)
    async def on_ledger_unavailable(request: Request, error: LedgerUnavailable) -> JSONResponse:
        _log.warning("the ledger is unavailable: %s", error)
        detail = "The ledger cannot be reached. Try again in a moment."
        if request.method not in _SAFE_METHODS:
            # POST /jobs and /redrive find out by themselves (app/intake/certainty.py); all else may
            # be repeated.
            detail = (
                "The ledger cannot be reached, so it is unknown whether this took effect. "
                "Try again in a moment: to ask twice is safe."
            )
        return render(Unavailable("ledger_unavailable", detail))

    @app.exception_handler(RequestValidationError)
    async def on_invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        return render(problem_with(error))

    @app.exception_handler(HTTPException)
    async def on_http_exception(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == MethodNotAllowed.status:
            allowed = ", ".join(_methods(request))
            detail = f"This address takes {allowed}."
            return render(
                MethodNotAllowed("method_not_allowed", detail, headers={"Allow": allowed})
            )
        return render(NotFound("not_found", "There is nothing at this address; see /docs."))

    @app.exception_handler(Exception)
    async def on_defect(request: Request, error: Exception) -> JSONResponse:
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        detail = (
            "The request failed; the gateway's log has the details. To try again is safe, "
            "for POST /jobs with an Idempotency-Key."
        )
        return render(InternalError("internal_error", detail))


def _methods(request: Request) -> list[str]:
    """The methods that the address takes, over all routes that share its path."""
    methods: set[str] = set()
    for path, operations in request.app.openapi()["paths"].items():
        if compile_path(path)[0].match(request.url.path):
            methods.update(method.upper() for method in operations)
    return sorted(methods)
