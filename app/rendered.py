"""Jobs ready to be sent: rendering one costs several times what sending it does.

A finished job never changes, and clients ask for it again. A running one changes all the
time, but nobody can tell an answer from one that is some milliseconds old.
"""

import time
from collections import OrderedDict
from dataclasses import dataclass, field

from contract.states import JobState

MAX_BYTES = 32 * 1024 * 1024
MAX_BYTES_OF_ONE = 256 * 1024
RUNNING_SECONDS = 0.025
"""How long the answer for a running job is used again."""


@dataclass(frozen=True, slots=True)
class RenderedJob:
    """The JSON text of a job, and its ETag."""

    body: bytes
    etag: str
    state: JobState
    revision: int
    rendered_at: float = field(default_factory=time.monotonic)


class RenderedJobs:
    """The most recently asked for, within a bound of bytes.

    The job's revision is asked of the ledger at every request all the same: who cancelled
    a job sees it cancelled, and one that was deleted is gone.
    """

    def __init__(self) -> None:
        """Start with none."""
        self._jobs: OrderedDict[str, RenderedJob] = OrderedDict()
        self._bytes = 0

    def get(self, job_id: str) -> RenderedJob | None:
        """The job, where it is remembered and may still be so."""
        job = self._jobs.get(job_id)
        if job is None:
            return None
        if not job.state.is_terminal and time.monotonic() > job.rendered_at + RUNNING_SECONDS:
            self._forget(job_id)
            return None
        self._jobs.move_to_end(job_id)
        return job

    def remember(self, job_id: str, job: RenderedJob) -> None:
        """Keep the job; those not asked for the longest make room."""
        if job_id in self._jobs:
            self._forget(job_id)
        if len(job.body) > MAX_BYTES_OF_ONE:
            return
        self._jobs[job_id] = job
        self._bytes += len(job.body)
        while self._bytes > MAX_BYTES:
            self._forget(next(iter(self._jobs)))

    def _forget(self, job_id: str) -> None:
        self._bytes -= len(self._jobs.pop(job_id).body)
