"""Calls to Temporal; sorts their errors by what to do next."""

from collections.abc import Awaitable
from datetime import timedelta
from typing import TypeVar

from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure
from temporalio.service import RPCError, RPCStatusCode

Answer = TypeVar("Answer")

RPC_TIMEOUT = timedelta(seconds=5)

_UNAVAILABLE = {
    RPCStatusCode.CANCELLED,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.UNAVAILABLE,
}
_NO_RIGHTS = {RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED}


class TemporalUnavailable(Exception):
    """Temporal cannot be reached right now; any other call would fail too."""


class NoSuchWorkflow(Exception):
    """Temporal knows no workflow of this id."""


class CallRefused(Exception):
    """Temporal refuses the call; the message says what to do about it."""


async def call(asked: Awaitable[Answer]) -> Answer:
    """The call's answer; raises TemporalUnavailable, NoSuchWorkflow or CallRefused."""
    try:
        return await asked
    except RPCError as error:
        if error.status in _UNAVAILABLE:
            raise TemporalUnavailable(f"Temporal: {error.message}") from error
        if error.status is RPCStatusCode.NOT_FOUND and not _is_about_namespace(error):
            raise NoSuchWorkflow(error.message) from error
        message = f"Temporal refuses it ({error.status.name}: {error.message})"
        raise CallRefused(f"{message}; {_advice(error)}") from error
    except RuntimeError as error:  # a lazy client that cannot connect
        raise TemporalUnavailable(f"Temporal: {error}") from error


def _advice(error: RPCError) -> str:
    if error.status is RPCStatusCode.NOT_FOUND:
        return "create the namespace, or name another one in TEMPORAL_NAMESPACE"
    if error.status in _NO_RIGHTS:
        return "check TEMPORAL_API_KEY or the TLS certificate, and their rights in the namespace"
    if error.status is RPCStatusCode.INVALID_ARGUMENT:
        return "it will not be accepted later either: cancel the job with DELETE /jobs/{id}"
    return "it is tried again; if it goes on, look into the Temporal server's log"


def _is_about_namespace(error: RPCError) -> bool:
    details = error.grpc_status.details
    return any(detail.Is(NamespaceNotFoundFailure.DESCRIPTOR) for detail in details)
