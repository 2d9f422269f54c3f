"""A cache of rendered jobs: rendering one costs several times as much as sending it.

A job that is settled stays as it is at its revision. Any other may be shown as it was some
milliseconds ago.
"""

import time
from collections import OrderedDict
from dataclasses import dataclass, field

from fanfold.contract.states import JobState

MAX_BYTES = 32 * 1024 * 1024
MAX_BYTES_OF_ONE = 256 * 1024
UNSETTLED_SECONDS = 0.025
"""How long the answer for a job that is not settled is used again."""


@dataclass(frozen=True, slots=True)
class RenderedJob:
    """The JSON text of a job, and its ETag."""

    body: bytes
    etag: str
    state: JobState
    revision: int
    is_settled: bool
    """Whether all of it stays as it is at this revision."""
    rendered_at: float = field(default_factory=time.monotonic)


class RenderedJobs:
    """The jobs last asked for, within a bound of bytes.

    The caller still asks the ledger for the job's revision at every request: a client that
    cancelled a job sees it cancelled, and one that was deleted is gone.
    """

    def __init__(self) -> None:
        """Start with none."""
        self._jobs: OrderedDict[str, RenderedJob] = OrderedDict()
        self._bytes = 0

    def get(self, job_id: str) -> RenderedJob | None:
        """The job, if it is here and not too old."""
        job = self._jobs.get(job_id)
        if job is None:
            return None
        if not job.is_settled and time.monotonic() > job.rendered_at + UNSETTLED_SECONDS:
            self._forget(job_id)
            return None
        self._jobs.move_to_end(job_id)
        return job

    def remember(self, job_id: str, job: RenderedJob) -> None:
        """Keep the job; drops those that were not asked for the longest."""
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
