"""Exit codes, for scripts. docs/cli.md lists them."""

from enum import IntEnum

from fanfold.contract.states import JobState


class Exit(IntEnum):
    """What the end of a command means."""

    OK = 0
    """Done; of a job waited for: it succeeded, or was skipped."""
    REFUSED = 1
    """The gateway refused the request, or something else failed."""
    USAGE = 2
    """The command line or a setting is wrong."""
    PARTIALLY_SUCCEEDED = 3
    """The job finished with some items failed."""
    FAILED = 4
    """The job failed."""
    CANCELLED = 5
    """The job was cancelled."""
    UNREACHABLE = 6
    """The gateway does not answer."""
    INTERRUPTED = 130
    """Ctrl-C; a job that was waited for goes on."""


BY_STATE: dict[str, Exit] = {
    JobState.SUCCEEDED: Exit.OK,
    JobState.PARTIALLY_SUCCEEDED: Exit.PARTIALLY_SUCCEEDED,
    JobState.FAILED: Exit.FAILED,
    JobState.CANCELLED: Exit.CANCELLED,
    JobState.SKIPPED: Exit.OK,
}
