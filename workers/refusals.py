"""What `SubmitJob` fails with where its input is no job that can be run."""

from collections.abc import Sequence
from typing import Final

from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

INVALID_JOB: Final = "InvalidJob"
"""The type of the failure."""


def invalid_job(code: str, faults: Sequence[tuple[str, str]]) -> ApplicationError:
    """The failure for these faults, each with its JSON pointer: all are told, and in the details.

    `code` is one of docs/errors.md, as the gateway would answer it.
    """
    told = "; ".join(f"{pointer or 'the job'}: {message}" for pointer, message in faults)
    errors = [{"pointer": pointer, "message": message} for pointer, message in faults]
    details = {"code": code, "errors": errors}
    return ApplicationError(
        told,
        details,
        type=INVALID_JOB,
        non_retryable=True,
        category=ApplicationErrorCategory.BENIGN,  # no defect of the worker's, so it logs none
    )
