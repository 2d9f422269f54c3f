"""What an exception from user code means: why it failed, and whether and when to try again."""

from temporalio.exceptions import ApplicationError

from fanfold.contract.failures import Failure
from fanfold.contract.job_spec import RetrySpec
from fanfold.processing import RetryLater, ValidationError
from fanfold.workers.tracebacks import user_frames

USER_ERRORS = (Exception, SystemExit, KeyboardInterrupt)
"""Whatever user code raises is its failure, also where it wants to end the process."""

LONGEST_WAIT_SECONDS = 30 * 24 * 3600.0
"""The longest wait between attempts, whoever asks for it; the server refuses endless timers."""


def failure_of(error: BaseException, retry: RetrySpec, *, keeps_traceback: bool = False) -> Failure:
    """The failure that an exception from user code stands for."""
    kind, is_final = type(error).__name__, isinstance(error, ValidationError)
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - user classes may raise anything
        message = "the exception has no words"
    if isinstance(error, ApplicationError):
        kind, message, is_final = error.type or kind, error.message, error.non_retryable
    return Failure(
        type=kind,
        message=message or kind,
        retryable=not is_final and kind not in retry.non_retryable,
        traceback=user_frames(error) if keeps_traceback else "",
    )


def wait_asked_for(error: BaseException) -> float | None:
    """The seconds until the next attempt that the error itself names: a service's Retry-After."""
    if isinstance(error, RetryLater):
        seconds = float(error.seconds)
    elif isinstance(error, ApplicationError) and error.next_retry_delay is not None:
        seconds = error.next_retry_delay.total_seconds()
    else:
        return None
    return min(max(0.0, seconds), LONGEST_WAIT_SECONDS)
