"""What a person may do next, as commands that work as pasted."""

import os
import shlex

from fanfold import Job, JobState
from fanfold.cli.options import DEFAULT_URL


def command(url: str, *words: str) -> str:
    """A command of this command line, for the same gateway."""
    parts = ["fanfold", *words]
    if url != os.environ.get("FANFOLD_URL", DEFAULT_URL):
        parts += ["--url", url]
    return shlex.join(parts)


def what_to_do(job: Job, url: str) -> str | None:
    """Of a job that goes on only once somebody says so, or some of its parts: how to say it."""
    if job.state == JobState.PAUSED:
        return f"The job is paused; to let it go on: {command(url, 'resume', job.id)}"
    if job.state == JobState.WAITING:
        held = f"{job.chunks.held} chunk{' is' if job.chunks.held == 1 else 's are'} held"
        return (
            f"The job waits for you: {held}. What failed: {command(url, 'failures', job.id)}; "
            f"to run it again: {command(url, 'redrive', job.id)}; "
            f"to give it up: {command(url, 'release', job.id)}"
        )
    if needs_a_look(job):
        return (
            f"Of its chunks {job.chunks.held} wait for you, and the others go on. In which of its "
            f"jobs: {command(url, 'jobs', job.id)}"
        )
    return None


def needs_a_look(job: Job) -> bool:
    """Whether jobs that it is made of hold chunks: it goes on, but may end with these only."""
    return job.jobs is not None and job.chunks.held > 0
