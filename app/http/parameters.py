"""The parameters of a query: those that an operation has, each once, and each valid."""

import re
from typing import Annotated, Any, Final, get_args, get_origin

from fastapi import Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BeforeValidator
from pydantic_core import PydanticKnownError

from fanfold.app.http.errors import MalformedRequest, NotFound, Problem
from fanfold.contract.pydantic_faults import message_of
from fanfold.contract.wording import did_you_mean

_DIGITS: Final = re.compile("-?[0-9]+")


def _digits(text: object) -> object:
    # Pydantic would also read 1.0, 1_000 and the digits of other scripts.
    if isinstance(text, str) and not _DIGITS.fullmatch(text):
        raise PydanticKnownError("int_parsing")
    return text


IN_DIGITS: Final = BeforeValidator(_digits)
"""Of an integer in a query or a path; after the limits, which pydantic would not publish else."""

DEFAULT_PAGE: Final = 100
MAX_PAGE: Final = 1000
PageLimit = Annotated[
    int, Query(ge=1, description="Most on a page; more than 1,000 are taken as 1,000."), IN_DIGITS
]
PageCursor = Annotated[
    str | None, Query(alias="cursor", description="`next_cursor` of the page before.")
]

_LONGEST_SHOWN: Final = 50
"""As much of the name of an unknown parameter is repeated."""


# async, though it waits for nothing: a plain function would cost every request a thread.
async def only_known_parameters(request: Request) -> None:
    """Raises MalformedRequest for a parameter that the operation does not have.

    And for one that is there more often than it may be: which of them counts, nobody knows.
    """
    given = [name for name, _ in request.query_params.multi_items()]
    if not given:
        return
    route: APIRoute = request.scope["route"]
    fields = {field.alias: field for field in route.dependant.query_params}
    for name in given:
        if name not in fields:
            raise _unknown(name, list(fields))
        if given.count(name) > 1 and not _may_repeat(fields[name].field_info.annotation):
            raise invalid_parameter(name, "is there more than once")


def invalid_parameter(name: str, what: str) -> MalformedRequest:
    """The error for a parameter, or a header, of this name."""
    return MalformedRequest("invalid_parameter", f"{name}: {what}")


def problem_with(error: RequestValidationError) -> Problem:
    """The error for parameters that FastAPI refused."""
    faults = error.errors()
    if any(fault["loc"][0] == "path" for fault in faults):
        return NotFound(
            "child_not_found", "The index of a child is a whole number from 0 to chunks.total - 1."
        )
    told = (f"{fault['loc'][1]}: {message_of(fault)}" for fault in faults)
    return MalformedRequest("invalid_parameter", "; ".join(told))


def _unknown(name: str, known: list[str]) -> MalformedRequest:
    if not known:
        return MalformedRequest("invalid_parameter", "This address takes no query parameters.")
    if not name:
        detail = f"A query parameter has no name; those there are: {', '.join(known)}"
        return MalformedRequest("invalid_parameter", detail)
    near = did_you_mean(name, known) or f"; those there are: {', '.join(known)}"
    return invalid_parameter(name[:_LONGEST_SHOWN], f"there is no such query parameter here{near}")


def _may_repeat(annotation: Any) -> bool:  # noqa: ANN401 - any type there is
    """Whether the parameter is an array, perhaps an optional one."""
    return any(get_origin(kind) is list for kind in (annotation, *get_args(annotation)))
