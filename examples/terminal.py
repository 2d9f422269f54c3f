"""What the scripts of the examples have in common: the way to the gateway, and to the terminal."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from fanfold import Fanfold, FanfoldError, Job


@contextmanager
def gateway() -> Iterator[Fanfold]:
    """The gateway at FANFOLD_URL; what it refuses ends the script with a line that says why."""
    try:
        with Fanfold(os.environ.get("FANFOLD_URL", "http://localhost:8000")) as client:
            yield client
    except FanfoldError as error:
        sys.exit(str(error))


def watch(client: Fanfold, job: Job) -> Job:
    """The job once it is finished; its progress is shown on standard error meanwhile."""
    job = client.wait(job.id, on_progress=_show)
    sys.stderr.write("\n")
    return job


def _show(job: Job) -> None:
    sys.stderr.write(f"\r{job.progress.percent:5.1f} %  {job.state:<20}")
    sys.stderr.flush()
