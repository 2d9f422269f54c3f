"""Finished jobs, ready to be sent: they never change, and clients ask for them again."""

from collections import OrderedDict
from dataclasses import dataclass

MAX_BYTES = 32 * 1024 * 1024
MAX_BYTES_OF_ONE = 256 * 1024


@dataclass(frozen=True, slots=True)
class RenderedJob:
    """The JSON text of a job, and its ETag."""

    body: bytes
    etag: str
    is_finished: bool


class FinishedJobs:
    """The most recently asked for, within a bound of bytes.

    Rendering a job costs several times what sending it does. Whether the job is still
    there, and whose it is, is asked of the ledger at every request all the same.
    """

    def __init__(self) -> None:
        """Start with none."""
        self._jobs: OrderedDict[str, RenderedJob] = OrderedDict()
        self._bytes = 0

    def get(self, job_id: str) -> RenderedJob | None:
        """The job, where it is remembered."""
        job = self._jobs.get(job_id)
        if job is not None:
            self._jobs.move_to_end(job_id)
        return job

    def remember(self, job_id: str, job: RenderedJob) -> None:
        """Keep the job; those not asked for the longest make room."""
        if len(job.body) > MAX_BYTES_OF_ONE or job_id in self._jobs:
            return
        self._jobs[job_id] = job
        self._bytes += len(job.body)
        while self._bytes > MAX_BYTES:
            _, forgotten = self._jobs.popitem(last=False)
            self._bytes -= len(forgotten.body)
