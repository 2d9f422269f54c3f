"""What can go wrong for a client.

FanfoldError
├── Refused       the gateway answered with a problem; `code` names it
├── Unreachable   there was no answer, or none of a gateway
└── WaitTimeout   the job had not finished in time, and is not stopped by that
"""

from typing import Any

from fanfold.client.models import Job, JobState


class FanfoldError(Exception):
    """The base of all client errors; the message is for people."""


class Unreachable(FanfoldError):
    """The gateway does not answer, or breaks off, or what answers is none."""


class Refused(FanfoldError):
    """The gateway answered with problem details: what was wrong, where, and what to do."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        """Keep the problem; see docs/errors.md for the codes."""
        self.status = status
        """The HTTP status."""
        self.code: str = problem.get("code") or "unknown"
        """The problem's stable name."""
        self.detail: str = problem.get("detail") or f"the gateway answered {status}"
        """What was wrong, in a sentence."""
        self.errors: list[dict[str, str]] = problem.get("errors") or []
        """Of an invalid job each fault: its `pointer`, a JSON pointer, and its `message`."""
        super().__init__(status, problem)

    def __str__(self) -> str:
        """The detail, and a line for each fault that it does not name already."""
        faults = [
            f"{fault.get('pointer') or 'the job'}: {fault.get('message')}" for fault in self.errors
        ]
        return "\n  ".join([self.detail, *(fault for fault in faults if fault not in self.detail)])


class WaitTimeout(FanfoldError, TimeoutError):
    """The job had not finished when the time was up. It can be waited for again."""

    def __init__(self, job: Job) -> None:
        """Keep the job as it was last seen."""
        self.job = job
        super().__init__(job)

    def __str__(self) -> str:
        """How far the job was, and what it takes for it to go on."""
        goes_on = {
            JobState.PAUSED: "and goes on once it is resumed",
            JobState.WAITING: "and goes on once what is held is redriven, resolved or released",
        }.get(self.job.state, "and goes on")
        return (
            f"{self.job.id} has not finished yet: it is {self.job.state}, "
            f"{self.job.progress.percent:g} percent done, {goes_on}"
        )
